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
use ops::signals::Upgrades;
use ops::sockets::Sockets;
use ops::spawn::Spawner;
use ops::state_dir::{Locked, StateDir};
use ops::systemd::{self, News};
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
/// The number of the process that a container is.
const FIRST: u32 = 1;
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
    /// Nothing outlives this one.
    #[error(
        "this process is the first of its container, and everything in there ends with it: start a new container instead"
    )]
    First,
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

/// That another process takes whoever comes, and who is to hear it.
pub(crate) struct HandedOver {
    upgrade: Upgrade,
    answer: Option<Answer>,
}

impl HandedOver {
    /// Tells the operator, who may go on with the new process: this one answers nobody any more.
    pub(crate) fn tell(self) {
        if let Some(answer) = self.answer {
            let _ = answer.send(Ok(self.upgrade));
        }
    }
}

/// Where the operator hears what came of it.
pub(crate) type Answer = oneshot::Sender<Result<Upgrade, String>>;

impl Handing<'_> {
    /// Hands over whenever a signal or the operator asks for it, until it has worked; none: the drain has started.
    pub(crate) async fn wanted(
        &self,
        signals: &mut Upgrades,
        asked: &mut mpsc::Receiver<Answer>,
    ) -> Option<HandedOver> {
        loop {
            let answer = tokio::select! {
                biased;
                () = self.drain.start.cancelled() => return None,
                () = signals.next() => None,
                answer = asked.recv() => answer,
            };
            match self.attempt().await {
                Ok(upgrade) => {
                    let (process, (there, of)) = (upgrade.process, upgrade.moved);
                    tracing::info!(process, there, of, "another process has taken over");
                    return Some(HandedOver { upgrade, answer });
                }
                Err(error) => {
                    tracing::error!(%error, "no upgrade: this process goes on");
                    if let Some(answer) = answer {
                        // Who does not wait for it finds it in the log.
                        let _ = answer.send(Err(error.to_string()));
                    }
                }
            }
        }
    }

    /// Hands over. When it fails everything is as before, unless the whole process comes to its end.
    ///
    /// # Errors
    /// [`UpgradeError`].
    async fn attempt(&self) -> Result<Upgrade, UpgradeError> {
        if std::process::id() == FIRST {
            return Err(UpgradeError::First);
        }
        let attempt = self.drain.start.run_until_cancelled(self.hand_over()).await;
        let result = attempt.unwrap_or(Err(UpgradeError::Stopping));
        if result.is_err() {
            // The other one has ended by now: who writes what is known here next must not undo what it has written.
            self.read_again().await;
            self.state.take_back();
            self.registry.dismiss_revoked();
            self.registry.regrant();
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
        systemd::tell(News::Successor(process));
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

    /// What the new process has changed holds: a credential that it has bound or revoked, what is out of service.
    async fn read_again(&self) {
        let (registry, identity, state) = (self.registry.clone(), self.identity.clone(), self.state.clone());
        let read = tokio::task::spawn_blocking(move || {
            if let Err(error) = identity.reload() {
                tracing::error!(%error, "what the new process has changed of credentials is not known here");
            }
            if let Err(error) = registry.restore_disabled(&state) {
                tracing::error!(%error, "what the new process has taken out of service is not known here");
            }
        });
        // It panics only by a fault of ours, which is logged.
        let _ = read.await;
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
            // Some may have been logging in when the door was shut. Asked first: who is through by then is told.
            let under_way = self.registry.logins_under_way();
            let ours = self.tell(&mut told, MOVE.saturating_add(patience));
            let left = ours.iter().filter(|instance| !there.contains(*instance)).count();
            let late = Instant::now() >= until;
            if (left == 0 && under_way == 0) || late {
                if left > 0 || under_way > 0 {
                    tracing::warn!(left, under_way, "clients have not come to the new process in time");
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
        let is_gone = matches!(&error, UpgradeError::Line(error) if is_closed(error));
        let last = match is_gone {
            true => timeout(ANSWER, answer(&self.line, |_| false)).await.ok(),
            false => None,
        };
        match (last, self.end().await) {
            (Some(Err(refused @ UpgradeError::Refused(_))), _) => refused,
            (_, Some(status)) if is_gone => UpgradeError::Ended(status),
            _ => error,
        }
    }

    /// Ends it, and waits until it writes nothing any more.
    async fn end(&mut self) -> Option<ExitStatus> {
        let mut child = self.child.take()?;
        // Fails only if it has ended. Without its line it has nothing to live for.
        let _ = child.kill();
        let ended = tokio::task::spawn_blocking(move || child.wait());
        timeout(ANSWER, ended).await.ok()?.ok()?.ok()
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
