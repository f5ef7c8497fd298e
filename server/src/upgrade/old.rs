//! The old process: how it hands over, and what it does if that fails.

use std::collections::{HashMap, HashSet};
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpStream};
use std::os::fd::AsFd;
use std::process::ExitStatus;
use std::sync::Arc;
use std::time::Duration;

use ops::admin::PassOn;
use ops::drain::Drain;
use ops::handover::{AsyncLine, DESCRIPTORS};
use ops::signals::Upgrades;
use ops::sockets::Sockets;
use ops::spawn::Spawner;
use ops::state_dir::{Locked, StateDir};
use ops::systemd::{self, News};
use policy::moving::{Moving, PATIENCE};
use protocol::id::SessionId;
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, MissedTickBehavior, interval, timeout};
use tokio_util::sync::CancellationToken;

use super::candidate::{ANSWER, Candidate, answer, closed, in_time};
use super::{Moved, New, Old, Program};
use crate::identity::Store;
use crate::live::Running;
use crate::registry::{InstanceKey, Registry};
use crate::session::{DrainCause, Live};

/// From the start of the new process until it could serve.
const READY: Duration = Duration::from_secs(10);
/// How long the old process waits at most for all its clients to be at the new one, however long a drain may take.
const MOVE: Duration = Duration::from_secs(4 * 60);
/// How often it looks whether they are.
const LOOK: Duration = Duration::from_millis(50);
/// The number of the process that a container is.
const FIRST: u32 = 1;
/// How long the disk may take for what is to be handed over.
const WRITTEN: Duration = Duration::from_secs(10);
/// How long whatever is being written when it is handed over may take.
const HANDED: Duration = Duration::from_secs(2);
/// Commands that wait at once for an upgrade that gives way to them.
const HURRIED: usize = 64;
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
    /// It had to let something be changed.
    #[error("somebody was to be shut out at once, and that comes first: upgrade again")]
    GaveWay,
    /// The disk does not take what is to be handed over.
    #[error("the state directory could not be written within {} s: look at its disk", WRITTEN.as_secs())]
    Disk,
    /// This one ends.
    #[error("no upgrade: the server stops")]
    Stopping,
    /// The new process would let somebody in who is shut out here.
    #[error(
        "the disk does not know yet that {0} is revoked, and the new process would let it in: the log says what is wrong with the state directory; mend that, and revoke it again"
    )]
    Unkept(String),
    /// Another one was begun before.
    #[error("another upgrade is under way; wait for what becomes of it")]
    UnderWay,
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
pub(crate) type Answer = oneshot::Sender<Result<Upgrade, UpgradeError>>;

/// What is asked of an old process.
pub(crate) struct Calls {
    /// By signals.
    pub(crate) signals: Upgrades,
    /// By the operator.
    pub(crate) asked: mpsc::Receiver<Answer>,
    /// To give way: something has to be changed at once. Whoever asks hears when nothing is in the way any more.
    pub(crate) hurried: mpsc::Receiver<oneshot::Sender<()>>,
}

impl Handing<'_> {
    /// Hands over whenever a signal or the operator asks for it, until it has worked; none: the drain has started.
    pub(crate) async fn wanted(&self, mut calls: Calls) -> Option<HandedOver> {
        loop {
            let answer = tokio::select! {
                biased;
                () = self.drain.start.cancelled() => return None,
                // Nothing is in its way.
                Some(hurried) = calls.hurried.recv() => {
                    drop(hurried);
                    continue;
                }
                () = calls.signals.next() => None,
                answer = calls.asked.recv() => answer,
            };
            // Whoever says a second time that it is to stop waits for nothing.
            match self.drain.now.run_until_cancelled(self.alone(&mut calls)).await? {
                Ok(upgrade) => {
                    let (process, (there, of)) = (upgrade.process, upgrade.moved);
                    tracing::info!(process, there, of, "another process has taken over");
                    return Some(HandedOver { upgrade, answer });
                }
                Err(error) => {
                    match error {
                        UpgradeError::Stopping => tracing::warn!("{error}"),
                        _ => tracing::error!(%error, "no upgrade: this process goes on"),
                    }
                    if let Some(answer) = answer {
                        // Who does not wait for it finds it in the log.
                        let _ = answer.send(Err(error));
                    }
                }
            }
        }
    }

    /// One attempt; whoever asks for another one meanwhile hears that.
    async fn alone(&self, calls: &mut Calls) -> Result<Upgrade, UpgradeError> {
        let give_way = CancellationToken::new();
        let attempt = self.attempt(&give_way);
        tokio::pin!(attempt);
        // They hear that it is over when this is dropped.
        let mut hurried = Vec::new();
        loop {
            tokio::select! {
                biased;
                result = &mut attempt => return result,
                () = calls.signals.next() => tracing::warn!("SIGUSR2: {}", UpgradeError::UnderWay),
                Some(answer) = calls.asked.recv() => drop(answer.send(Err(UpgradeError::UnderWay))),
                Some(one) = calls.hurried.recv(), if hurried.len() < HURRIED => {
                    give_way.cancel();
                    hurried.push(one);
                }
            }
        }
    }

    /// Hands over. When it fails everything is as before, unless the whole process comes to its end.
    ///
    /// # Errors
    /// [`UpgradeError`].
    async fn attempt(&self, give_way: &CancellationToken) -> Result<Upgrade, UpgradeError> {
        if std::process::id() == FIRST {
            return Err(UpgradeError::First);
        }
        // Nothing is half written when the other one reads it, and nobody logs in here who would not be told to move.
        let (forward, forwarded) = mpsc::channel(FORWARDED);
        self.running.door().shut(forward);
        // Also if the server is told to stop meanwhile: it must not be the last that is said in the state directory.
        if let Err(error) = self.write_down().await {
            self.running.door().open();
            return Err(error);
        }
        let result = self.hand_over(forwarded, give_way).await;
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

    async fn hand_over(
        &self,
        forwarded: Forwarded,
        give_way: &CancellationToken,
    ) -> Result<Upgrade, UpgradeError> {
        let stopping = &self.drain.start;
        if stopping.is_cancelled() {
            return Err(UpgradeError::Stopping);
        }
        let candidate = Candidate::start(self.program)?;
        let prepared = tokio::select! {
            biased;
            () = stopping.cancelled() => Err(UpgradeError::Stopping),
            () = give_way.cancelled() => Err(UpgradeError::GaveWay),
            prepared = self.prepare(&candidate, forwarded) => prepared,
        };
        // What follows is not undone half-way: it has visitors once it has heard the word.
        let handed = match prepared {
            Ok(moved) => take(&candidate.line).await.map(|()| moved),
            Err(error) => Err(error),
        };
        let moved = match handed {
            Ok(moved) => moved,
            Err(error) => return Err(candidate.why(error).await),
        };
        if stopping.is_cancelled() {
            // Whoever has told this one to stop meant the server.
            candidate.ask_to_stop();
        }
        let process = candidate.release();
        self.admin.done();
        systemd::tell(News::Successor(process));
        Ok(Upgrade { process, moved })
    }

    /// Everything that can be undone. Says how many instances are at the new process, and of how many.
    async fn prepare(
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
        self.clients_moved(line).await
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
    ///
    /// # Errors
    /// [`UpgradeError::Disk`], [`UpgradeError::Unkept`]: nothing is handed over.
    async fn write_down(&self) -> Result<(), UpgradeError> {
        let (registry, identity, state) = (self.registry.clone(), self.identity.clone(), self.state.clone());
        let written = tokio::task::spawn_blocking(move || {
            if let Err(error) = identity.keep_used() {
                tracing::warn!(%error, "the last use of credentials can not be kept");
            }
            registry.save(&state);
            identity.unkept()
        });
        // It panics only by a fault of ours, which is logged; the other process reads what was written last then.
        let unkept = timeout(WRITTEN, written).await.map_err(|_| UpgradeError::Disk)?.unwrap_or_default();
        if !unkept.is_empty() {
            return Err(UpgradeError::Unkept(unkept.into_iter().collect::<Vec<_>>().join(", ")));
        }
        // Apart, and with a limit of its own: what comes too late hands nothing over.
        let state = self.state.clone();
        match tokio::task::spawn_blocking(move || state.hand_over(HANDED)).await {
            Ok(true) => Ok(()),
            Ok(false) | Err(_) => Err(UpgradeError::Disk),
        }
    }

    /// What the new process has changed holds: a credential that it has bound or revoked, what is out of service.
    async fn read_again(&self) {
        let (registry, identity, state) = (self.registry.clone(), self.identity.clone(), self.state.clone());
        let read = tokio::task::spawn_blocking(move || {
            // It was ended whatever it was writing.
            state.tidy();
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

    /// Tells all clients to move, as many at once as arrive at the new process, and waits until all of them are there, for as
    /// long as a drain may take.
    async fn clients_moved(&self, line: &AsyncLine) -> Result<(usize, usize), UpgradeError> {
        let patience = self.drain.patience(self.running.settings().document.timeouts.drain);
        let began = Instant::now();
        let longest = patience.clamp(PATIENCE, MOVE);
        let (mut moving, mut told) = (Moving::default(), HashSet::new());
        let mut look = interval(LOOK);
        look.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                message = line.receive::<New>() => match message?.map(|message| message.said) {
                    Some(New::Settled { instances }) => {
                        instances.iter().filter_map(Moved::key).for_each(|key| moving.arrived(key));
                        continue;
                    }
                    Some(New::Refused { text }) => return Err(UpgradeError::Refused(text)),
                    Some(_) => return Err(UpgradeError::Unexpected),
                    None => return Err(closed()),
                },
                _ = look.tick() => {}
            }
            // Some may have been logging in when the door was shut. Asked first: who is through by then is told.
            let under_way = self.registry.logins_under_way();
            let here = self.here();
            let (now, passed) = (std::time::Instant::now(), began.elapsed());
            moving.next(here.iter().map(|(key, sessions)| (key, sessions.len(), address(sessions))), now);
            let within = longest.saturating_sub(passed).saturating_add(patience);
            for (_, sessions) in here.iter().filter(|(key, _)| moving.is_under_way(key)) {
                tell(sessions, &mut told, within);
            }
            let standing = moving.standing(here.keys(), now);
            let is_waiting = standing.is_waiting || (under_way > 0 && passed < PATIENCE);
            if !is_waiting || passed >= longest {
                let left = standing.here.saturating_sub(standing.arrived);
                if left > 0 || under_way > 0 {
                    tracing::warn!(left, under_way, "clients have not come to the new process in time");
                }
                return Ok((standing.arrived, standing.here));
            }
        }
    }

    /// The sessions of every instance that has some.
    fn here(&self) -> HashMap<InstanceKey, Vec<Arc<Live>>> {
        let mut here = HashMap::<_, Vec<_>>::new();
        for live in self.registry.sessions().into_iter().filter(|live| !live.is_over()) {
            here.entry(InstanceKey::of(&live)).or_default().push(live);
        }
        here
    }
}

/// Where an instance comes from.
fn address(sessions: &[Arc<Live>]) -> IpAddr {
    sessions.first().map_or(Ipv4Addr::UNSPECIFIED.into(), |live| live.login.peer.ip())
}

/// Tells those sessions to move that have not been told. One that another one has replaced goes on as long as it was told then.
fn tell(sessions: &[Arc<Live>], told: &mut HashSet<SessionId>, within: Duration) {
    for live in sessions.iter().filter(|live| !live.is_draining() && told.insert(live.id)) {
        live.drain(within, DrainCause::Shutdown);
    }
}

/// The new process takes visitors.
async fn take(line: &AsyncLine) -> Result<(), UpgradeError> {
    let taken = async {
        line.send(&Old::Take, &[]).await?;
        loop {
            match line.receive::<New>().await?.map(|message| message.said) {
                Some(New::Taken) => return Ok(()),
                // Somebody has arrived just now.
                Some(New::Settled { .. }) => {}
                Some(New::Refused { text }) => return Err(UpgradeError::Refused(text)),
                Some(_) => return Err(UpgradeError::Unexpected),
                None => return Err(closed()),
            }
        }
    };
    in_time(ANSWER, "taking visitors", taken).await
}
