//! The new process: what it is given, and how it takes over.

use std::collections::BTreeSet;
use std::io;
use std::net::{TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::Duration;

use ops::handover::{AsyncLine, Line, Message};
use ops::sockets::{Label, Sockets};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use super::{Moved, New, Old};
use crate::admission::{self, Door};
use crate::registry::Registry;

/// The old process says the next thing within it.
const ANSWER: Duration = Duration::from_secs(10);
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
    /// cancelled when visitors may come. Ends with the old process.
    pub(crate) async fn follow(
        self,
        registry: Arc<Registry>,
        door: Arc<Door>,
        sockets: Arc<Sockets>,
        open: CancellationToken,
    ) {
        if let Err(error) = self.follow_line(&registry, &door, &open).await {
            tracing::warn!(%error, "the process before this one is not heard any more");
        }
        // It is gone, and there is nobody else.
        open.cancel();
        sockets.close_unclaimed();
    }

    async fn follow_line(
        &self,
        registry: &Registry,
        door: &Arc<Door>,
        open: &CancellationToken,
    ) -> io::Result<()> {
        self.line.send(&New::Serving, &[]).await?;
        let mut changes = registry.names().changes();
        let mut told = BTreeSet::new();
        loop {
            tokio::select! {
                message = self.line.receive::<Old>() => match message? {
                    None => return Ok(()),
                    Some(Message { said: Old::Client { peer }, descriptors }) => {
                        for connection in descriptors {
                            admission::take(door, TcpStream::from(connection), peer);
                        }
                    }
                    Some(Message { said: Old::Take, .. }) => {
                        open.cancel();
                        self.line.send(&New::Taken, &[]).await?;
                    }
                    Some(_) => {}
                },
                Ok(()) = changes.changed(), if !open.is_cancelled() => {
                    let settled = registry.settled();
                    let instances: Vec<_> =
                        settled.iter().map(Moved::from).filter(|moved| told.insert(moved.clone())).collect();
                    for part in instances.chunks(PART) {
                        self.line.send(&New::Settled { instances: part.to_vec() }, &[]).await?;
                    }
                }
            }
        }
    }
}
