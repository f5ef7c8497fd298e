//! The old process: how it hands over, and what it does if that fails.

use std::collections::BTreeSet;
use std::io;
use std::net::{SocketAddr, TcpStream};
use std::os::fd::AsFd;
use std::process::{Child, ExitStatus};
use std::sync::Arc;
use std::time::Duration;

use ops::admin::PassOn;
use ops::drain::Drain;
use ops::handover::{AsyncLine, DESCRIPTORS, Line};
use ops::service_manager::{self, News};
use ops::signals::Upgrades;
use ops::sockets::Sockets;
use ops::spawn::Spawner;
use ops::state_dir::{Locked, StateDir};
use protocol::id::SessionId;
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, MissedTickBehavior, interval, timeout};

use super::{Moved, New, Old, Program};
use crate::identity::Store;
use crate::live::Running;
use crate::registry::{InstanceKey, Registry};
use crate::session::DrainCause;

/// From the start of the new process until it could serve.
const READY: Duration = Duration::from_secs(10);
/// For every further answer of it.
const ANSWER: Duration = Duration::from_secs(5);
/// How long the old process waits for its clients to be at the new one.
const MOVE: Duration = Duration::from_secs(10);
/// How often it looks whether they are.
const LOOK: Duration = Duration::from_millis(50);
/// Clients on their way to the new process that have come by a listener for visitors.
const FORWARDED: usize = 64;

/// Why the old process goes on.
#[derive(Debug, thiserror::Error)]
pub(crate) enum UpgradeError {
    /// The program can not be started.
    #[error("{} can not be started: {error}", .path.display())]
    Start {
        /// Where it should be.
        path: std::path::PathBuf,
        /// What the system said.
        error: io::Error,
    },
    /// It said why it does not take over.
    #[error("the new process does not start: {0}")]
    Refused(String),
    /// It has ended and did not say why.
    #[error("the new process has ended ({0}) and did not say why; its log may")]
    Ended(ExitStatus),
    /// It takes too long.
    #[error("the new process is not {word} within {} s", .limit.as_secs())]
    Slow {
        /// What it should have become.
        word: &'static str,
        /// For how long it was waited.
        limit: Duration,
    },
    /// The line to it does not work.
    #[error("talking to the new process: {0}")]
    Line(#[from] io::Error),
    /// It says something else than this version expects.
    #[error(
        "the new process does not say what is expected: restart instead, its version may be too old or too new"
    )]
    Unexpected,
    /// This one ends.
    #[error("the server stops")]
    Stopping,
}

/// Everything that is handed over, and what has to hold still meanwhile.
pub(crate) struct Handing<'a> {
    pub(crate) program: &'a Program,
    pub(crate) sockets: &'a Sockets,
    pub(crate) lock: &'a Locked,
    pub(crate) admin: &'a PassOn,
    pub(crate) state: &'a StateDir,
    pub(crate) running: &'a Arc<Running>,
    pub(crate) registry: &'a Arc<Registry>,
    pub(crate) identity: &'a Arc<Store>,
    pub(crate) drain: &'a Drain,
    pub(crate) spawner: &'a Spawner,
}

/// The new process, which takes whoever comes now.
#[derive(Debug)]
pub(crate) struct Upgrade {
    /// Its number.
    pub(crate) process: u32,
    /// How many instances were there in time, and how many were to be.
    pub(crate) moved: (usize, usize),
}

/// Clients that have come by a listener for visitors.
type Forwarded = mpsc::Receiver<(TcpStream, SocketAddr)>;

/// A new process that has not taken over. Dropping it ends it.
struct Candidate {
    child: Option<Child>,
    line: Arc<AsyncLine>,
}

impl Drop for Candidate {
    fn drop(&mut self) {
        if let Some(mut child) = self.child.take() {
            // Fails only if it has ended.
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// Where the operator hears what came of it.
pub(crate) type Answer = oneshot::Sender<Result<Upgrade, String>>;

impl Handing<'_> {
    /// Hands over whenever a signal or the operator asks for it, until it has worked; false: the drain has started.
    pub(crate) async fn wanted(&self, signals: &mut Upgrades, asked: &mut mpsc::Receiver<Answer>) -> bool {
        loop {
            let answer = tokio::select! {
                biased;
                () = self.drain.start.cancelled() => return false,
                () = signals.next() => None,
                answer = asked.recv() => answer,
            };
            let result = self.attempt().await;
            match &result {
                Ok(Upgrade { process, moved: (there, of) }) => {
                    tracing::info!(process, there, of, "another process has taken over");
                }
                Err(error) => tracing::error!(%error, "no upgrade: this process goes on"),
            }
            let done = result.is_ok();
            if let Some(answer) = answer {
                // Who does not wait for it finds it in the log.
                let _ = answer.send(result.map_err(|error| error.to_string()));
            }
            if done {
                return true;
            }
        }
    }

    /// Hands over. When it fails everything is as before, unless the whole process comes to its end.
    ///
    /// # Errors
    /// [`UpgradeError`].
    async fn attempt(&self) -> Result<Upgrade, UpgradeError> {
        let attempt = self.drain.start.run_until_cancelled(self.hand_over()).await;
        let result = attempt.unwrap_or(Err(UpgradeError::Stopping));
        if result.is_err() {
            self.state.take_back();
            self.registry.names().write_down();
            self.running.door().open();
        }
        result
    }

    async fn hand_over(&self) -> Result<Upgrade, UpgradeError> {
        // Nothing is half written when the other one reads it, and nobody logs in here who would not be told to move.
        let (forward, forwarded) = mpsc::channel(FORWARDED);
        self.running.door().shut(forward);
        self.write_down().await;
        let mut candidate = self.start()?;
        let answered = self.with(&candidate, forwarded).await;
        let moved = match answered {
            Ok(moved) => moved,
            Err(error) => return Err(candidate.why(error).await),
        };
        // From here on it is not ours to end.
        let process = candidate.child.take().map_or(0, |child| child.id());
        self.admin.done();
        service_manager::tell(News::Successor(process));
        Ok(Upgrade { process, moved })
    }

    fn start(&self) -> Result<Candidate, UpgradeError> {
        let (line, theirs) = Line::pair()?;
        let line = Arc::new(line.into_async()?);
        let path = self.program.path().to_owned();
        let child = self.program.start(theirs).map_err(|error| UpgradeError::Start { path, error })?;
        tracing::info!(process = child.id(), program = %self.program.path().display(), "upgrading");
        Ok(Candidate { child: Some(child), line })
    }

    async fn with(
        &self,
        candidate: &Candidate,
        forwarded: Forwarded,
    ) -> Result<(usize, usize), UpgradeError> {
        let line = &candidate.line;
        let ready = async {
            self.give(line).await?;
            answer(line, |said| matches!(said, New::Ready)).await
        };
        in_time(READY, "ready", ready).await?;
        let serving = async {
            line.send(&Old::Go, &[]).await?;
            answer(line, |said| matches!(said, New::Serving)).await
        };
        in_time(ANSWER, "serving", serving).await?;
        self.forward(line, forwarded);
        let moved = self.clients_moved(line).await?;
        let taken = async {
            line.send(&Old::Take, &[]).await?;
            answer(line, |said| matches!(said, New::Taken)).await
        };
        in_time(ANSWER, "taking visitors", taken).await?;
        Ok(moved)
    }

    /// Gives it all descriptors.
    async fn give(&self, line: &AsyncLine) -> Result<(), UpgradeError> {
        for part in self.sockets.all()?.chunks(DESCRIPTORS) {
            let labels = part.iter().map(|(label, _)| label.clone()).collect();
            let descriptors: Vec<_> = part.iter().map(|(_, socket)| socket.as_fd()).collect();
            line.send(&Old::Sockets { labels }, &descriptors).await?;
        }
        line.send(&Old::Rest, &[self.lock.as_fd(), self.admin.descriptor()]).await?;
        Ok(())
    }

    /// Passes on those who come by a listener for visitors.
    fn forward(&self, line: &Arc<AsyncLine>, mut forwarded: Forwarded) {
        let line = line.clone();
        self.spawner.spawn(self.spawner.here(), "forward clients", async move {
            while let Some((stream, peer)) = forwarded.recv().await {
                if let Err(error) = line.send(&Old::Client { peer }, &[stream.as_fd()]).await {
                    tracing::debug!(%peer, %error, "a client could not be passed on");
                }
            }
        });
    }

    /// The last word of this process in the state directory.
    async fn write_down(&self) {
        let (registry, identity, state) = (self.registry.clone(), self.identity.clone(), self.state.clone());
        let written = tokio::task::spawn_blocking(move || {
            if let Err(error) = identity.keep_used() {
                tracing::warn!(%error, "the last use of credentials can not be kept");
            }
            registry.save(&state);
            state.hand_over();
        });
        // It panics only by a fault of ours, which is logged; the other process reads what was written last then.
        let _ = written.await;
    }

    /// Tells all clients to move, and waits until all of them are at the new process, for a while.
    async fn clients_moved(&self, line: &AsyncLine) -> Result<(usize, usize), UpgradeError> {
        let until = Instant::now() + MOVE;
        let patience = self.drain.patience(self.running.settings().document.timeouts.drain);
        let mut told = BTreeSet::new();
        let mut there: BTreeSet<Moved> = BTreeSet::new();
        let mut look = interval(LOOK);
        look.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                message = line.receive::<New>() => match message?.map(|message| message.said) {
                    Some(New::Settled { instances }) => there.extend(instances),
                    Some(New::Refused { text }) => return Err(UpgradeError::Refused(text)),
                    Some(_) => return Err(UpgradeError::Unexpected),
                    None => return Err(closed()),
                },
                _ = look.tick() => {}
            }
            // Some may have been logging in when the door was shut.
            let ours = self.tell(&mut told, MOVE.saturating_add(patience));
            let left = ours.iter().filter(|instance| !there.contains(*instance)).count();
            let late = Instant::now() >= until;
            if left == 0 || late {
                if late && left > 0 {
                    tracing::warn!(left, "clients have not come to the new process in time");
                }
                return Ok((ours.len().saturating_sub(left), ours.len()));
            }
        }
    }

    /// Tells those who have not been told; says who there is.
    fn tell(&self, told: &mut BTreeSet<SessionId>, within: Duration) -> BTreeSet<Moved> {
        let sessions = self.registry.sessions();
        for live in sessions.iter().filter(|live| told.insert(live.id)) {
            live.drain(within, DrainCause::Shutdown);
        }
        sessions
            .iter()
            .filter(|live| !live.is_over())
            .map(|live| Moved::from(&InstanceKey::of(live)))
            .collect()
    }
}

impl Candidate {
    /// The truer reason: a process that ends closes its line.
    async fn why(mut self, error: UpgradeError) -> UpgradeError {
        if !matches!(&error, UpgradeError::Line(error) if is_closed(error)) {
            return error;
        }
        if let Ok(Err(refused @ UpgradeError::Refused(_))) =
            timeout(ANSWER, answer(&self.line, |_| false)).await
        {
            return refused;
        }
        let Some(mut child) = self.child.take() else { return error };
        let ended = tokio::task::spawn_blocking(move || {
            // Without its line it has nothing to live for.
            let _ = child.kill();
            child.wait()
        });
        match ended.await {
            Ok(Ok(status)) => UpgradeError::Ended(status),
            _ => error,
        }
    }
}

/// Waits for one answer.
async fn answer(line: &AsyncLine, is_it: impl Fn(&New) -> bool) -> Result<(), UpgradeError> {
    match line.receive::<New>().await?.map(|message| message.said) {
        Some(said) if is_it(&said) => Ok(()),
        Some(New::Refused { text }) => Err(UpgradeError::Refused(text)),
        Some(_) => Err(UpgradeError::Unexpected),
        None => Err(closed()),
    }
}

async fn in_time(
    limit: Duration,
    word: &'static str,
    step: impl Future<Output = Result<(), UpgradeError>>,
) -> Result<(), UpgradeError> {
    timeout(limit, step).await.unwrap_or(Err(UpgradeError::Slow { word, limit }))
}

fn closed() -> UpgradeError {
    UpgradeError::Line(io::ErrorKind::UnexpectedEof.into())
}

fn is_closed(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::UnexpectedEof | io::ErrorKind::BrokenPipe)
}
