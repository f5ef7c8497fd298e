//! The new process: what it is given, and how it takes over.

use std::io;
use std::net::{TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::Duration;

use ops::handover::{AsyncLine, Line, Message};
use ops::sockets::{Label, Sockets};
use tokio::time::{MissedTickBehavior, interval, timeout};
use tokio_util::sync::CancellationToken;

use super::{Moved, New, Old};
use crate::admission::{self, Door};
use crate::registry::Registry;

/// The old process says the next thing within it.
const ANSWER: Duration = Duration::from_secs(10);
/// How often the old process is told who has come.
const TELL: Duration = Duration::from_millis(20);
/// Instances in one message.
const PART: usize = 100;

/// What a process is given that is to take over.
#[derive(Debug)]
pub(crate) struct Inheritance {
    line: Line,
    sockets: Vec<(Label, TcpListener)>,
    /// The open lock file of the state directory.
    pub(crate) lock: Option<OwnedFd>,
    /// The admin socket.
    pub(crate) admin: Option<OwnedFd>,
}

/// Why a process can not take over.
#[derive(Debug, thiserror::Error)]
pub(crate) enum InheritanceError {
    /// The line to the old process does not work.
    #[error("talking to the process that is to be upgraded: {0}")]
    Line(#[from] io::Error),
    /// It says something else than this version expects.
    #[error(
        "the process that is to be upgraded does not say what is expected ({0}): it may be too old or too new; restart it instead"
    )]
    Unexpected(&'static str),
}

impl Inheritance {
    /// What this process is given; none if it is not to take over from anybody.
    ///
    /// # Errors
    /// [`InheritanceError`].
    pub(crate) fn of_process() -> Result<Option<Self>, InheritanceError> {
        let Some(line) = Line::of_process()? else { return Ok(None) };
        let mut sockets = Vec::new();
        loop {
            let message = line.receive::<Old>(ANSWER)?.ok_or(InheritanceError::Unexpected("its end"))?;
            let Message { said, mut descriptors } = message;
            match said {
                Old::Sockets { labels } if labels.len() == descriptors.len() => {
                    sockets.extend(labels.into_iter().zip(descriptors.into_iter().map(TcpListener::from)));
                }
                Old::Rest if descriptors.len() == 2 => {
                    let (admin, lock) = (descriptors.pop(), descriptors.pop());
                    return Ok(Some(Self { line, sockets, lock, admin }));
                }
                _ => return Err(InheritanceError::Unexpected("its sockets")),
            }
        }
    }

    /// The sockets, once.
    pub(crate) fn sockets(&mut self) -> Sockets {
        Sockets::inherited(std::mem::take(&mut self.sockets))
    }

    /// Tells the old process why nothing becomes of it.
    pub(crate) fn refuse(&self, text: &str) {
        // It hears of our end in any case.
        let _ = self.line.send(&New::Refused { text: text.to_owned() }, &[]);
    }

    /// To be called within a runtime.
    ///
    /// # Errors
    /// The kernel's.
    pub(crate) async fn into_successor(self) -> Result<Successor, InheritanceError> {
        Ok(Successor { line: self.line.into_async()? })
    }
}

/// The end of the line at the new process, which is complete and serves nobody yet.
#[derive(Debug)]
pub(crate) struct Successor {
    line: AsyncLine,
}

impl Successor {
    /// Says that it is ready, and waits for the old process's word. One that is gone has nothing against it.
    ///
    /// # Errors
    /// [`InheritanceError`].
    pub(crate) async fn ready(&self) -> Result<(), InheritanceError> {
        self.line.send(&New::Ready, &[]).await?;
        match timeout(ANSWER, self.line.receive::<Old>()).await {
            Ok(Ok(None | Some(Message { said: Old::Go, .. }))) => Ok(()),
            Ok(Ok(Some(_))) | Err(_) => Err(InheritanceError::Unexpected("its word to go on")),
            Ok(Err(error)) => Err(error.into()),
        }
    }

    /// Tells what happens here, from the moment that clients are let in, and does what the old process asks. `open` is
    /// cancelled when visitors may come. Ends with the old process, or with this one's own end.
    pub(crate) async fn follow(
        self,
        registry: Arc<Registry>,
        door: Arc<Door>,
        sockets: Arc<Sockets>,
        open: CancellationToken,
    ) {
        let opens = || {
            // The old process has descriptors of its own, should it go on after all.
            let closed = sockets.close_unclaimed();
            if !closed.is_empty() {
                let closed: Vec<_> = closed.iter().map(ToString::to_string).collect();
                tracing::info!(addresses = closed.join(", "), "nothing listens there any more");
            }
            open.cancel();
        };
        match self.follow_line(&registry, &door, &open, opens).await {
            Ok(Followed::ToOurEnd) => {}
            // It is gone, and there is nobody else.
            Ok(Followed::ToItsEnd) => opens(),
            Err(error) => {
                tracing::warn!(%error, "the process before this one is not heard any more");
                opens();
            }
        }
    }

    async fn follow_line(
        &self,
        registry: &Registry,
        door: &Arc<Door>,
        open: &CancellationToken,
        opens: impl Fn(),
    ) -> io::Result<Followed> {
        self.line.send(&New::Serving, &[]).await?;
        let mut changes = registry.names().changes();
        changes.mark_changed();
        let mut tell = interval(TELL);
        tell.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                message = self.line.receive::<Old>() => match message? {
                    None => return Ok(Followed::ToItsEnd),
                    Some(Message { said: Old::Client { peer }, descriptors }) => {
                        for connection in descriptors {
                            admission::take(door, TcpStream::from(connection), peer);
                        }
                    }
                    Some(Message { said: Old::Take, .. }) => {
                        opens();
                        self.line.send(&New::Taken, &[]).await?;
                    }
                    Some(_) => {}
                },
                () = door.closes(), if !open.is_cancelled() => {
                    let text = "it was told to stop".to_owned();
                    self.line.send(&New::Refused { text }, &[]).await?;
                    return Ok(Followed::ToOurEnd);
                }
                _ = tell.tick(), if !open.is_cancelled() => {
                    if changes.has_changed().unwrap_or(false) {
                        changes.mark_unchanged();
                        for part in registry.newly_settled().chunks(PART) {
                            let instances = part.iter().map(Moved::from).collect();
                            self.line.send(&New::Settled { instances }, &[]).await?;
                        }
                    }
                }
            }
        }
    }
}

/// How long the old process was followed.
enum Followed {
    /// It has ended.
    ToItsEnd,
    /// This one was told to stop before it had taken over.
    ToOurEnd,
}
