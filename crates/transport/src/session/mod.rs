//! Sessions: one authenticated link, multiplexed (`spec/04`). A [`Session`] opens substreams and [`Inbound`] accepts those
//! of the peer; one task drives both. Nothing outside this folder knows which multiplexer it is.

mod coalescer;
mod driver;
mod end;
mod liveness;
mod read_ahead;
mod substream;

pub use end::SessionEnd;
pub use liveness::Liveness;
pub use read_ahead::ReadAhead;
pub use substream::Substream;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use ops::spawn::{Spawner, Worker};
use protocol::limits::{OPEN_TIMEOUT, SUBSTREAMS_OPENED_MAX};
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot, watch};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use driver::{Driver, Open};

/// Substreams that this end opens at most at once (`spec/09`).
pub const MAX_OPENED: u32 = SUBSTREAMS_OPENED_MAX;
/// Substreams of the peer that wait to be accepted; further ones are reset.
const ACCEPT_QUEUE: usize = 1_024;

/// Which end of the link this is: the client dialled it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// The end that dialled.
    Client,
    /// The end that accepted.
    Server,
}

/// What a session is made of, besides its byte stream.
#[derive(Debug)]
pub struct SessionConfig {
    /// Which end this is.
    pub role: Role,
    /// Substreams that the peer accepts at once; the lower of this and [`MAX_OPENED`] holds.
    pub max_opened: u32,
    /// Notes the bytes received; shared with the [`ReadAhead`] below TLS.
    pub liveness: Arc<Liveness>,
    /// The session is over after this long without a byte.
    pub dead_after: Duration,
    /// Bytes that were read behind the handshake.
    pub early: Bytes,
}

/// Why no substream was opened. [`OpenError::nothing_sent`] says whether the peer may have seen the first bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum OpenError {
    /// As many substreams are open as the two ends agreed on; another session may have room.
    #[error("the session has no room for another substream")]
    Full,
    /// The session is over.
    #[error("the session is over")]
    Lost,
    /// The multiplexer did not open one, or not send all of the first bytes, in time.
    #[error("the session did not open a substream in time")]
    Timeout,
    /// The session or the substream ended while the first bytes were on their way.
    #[error("the session ended while a substream was being opened")]
    Interrupted,
}

impl OpenError {
    /// Whether it is certain that nothing reached the peer, so that another session may be tried.
    #[must_use]
    pub const fn nothing_sent(self) -> bool {
        matches!(self, Self::Full | Self::Lost)
    }
}

/// The handle to a session; clones are cheap. Dropping all of them, and [`Inbound`], does not end it: [`Session::close`] does.
#[derive(Debug, Clone)]
pub struct Session {
    shared: Arc<Shared>,
    opens: mpsc::Sender<Open>,
    permits: Arc<Semaphore>,
    worker: Worker,
}

/// The substreams that the peer opens.
#[derive(Debug)]
pub struct Inbound(mpsc::Receiver<Substream>);

/// What the handles, the substreams and the driver share.
#[derive(Debug)]
pub(crate) struct Shared {
    liveness: Arc<Liveness>,
    end: watch::Sender<Option<SessionEnd>>,
    close: CancellationToken,
    substreams: AtomicUsize,
    lingering: mpsc::Sender<OwnedSemaphorePermit>,
}

impl Shared {
    fn is_over(&self) -> bool {
        self.end.borrow().is_some()
    }

    /// The first end is the true one.
    fn ended(&self, end: SessionEnd) {
        self.end.send_if_modified(|current| {
            let first = current.is_none();
            if first {
                *current = Some(end);
            }
            first
        });
    }
}

/// Says that the session is over even if the driver's task dies by a panic.
struct EndOnDrop(Arc<Shared>);

impl Drop for EndOnDrop {
    fn drop(&mut self) {
        self.0.ended(SessionEnd::Driver);
    }
}

/// Starts a session over `io`, driven by one task on `worker`.
pub fn start<T>(io: T, config: SessionConfig, spawner: &Spawner, worker: Worker) -> (Session, Inbound)
where
    T: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let max_opened = config.max_opened.min(MAX_OPENED);
    let limit = usize::try_from(max_opened).unwrap_or(0);
    let (opens, open_requests) = mpsc::channel(ACCEPT_QUEUE);
    let (inbound, accepted) = mpsc::channel(ACCEPT_QUEUE);
    let (lingering, lingering_permits) = mpsc::channel(limit.max(1));
    let shared = Arc::new(Shared {
        liveness: config.liveness.clone(),
        end: watch::Sender::new(None),
        close: CancellationToken::new(),
        substreams: AtomicUsize::new(0),
        lingering,
    });
    let session = Session { shared: shared.clone(), opens, permits: Arc::new(Semaphore::new(limit)), worker };
    let guard = EndOnDrop(shared.clone());
    spawner.spawn(worker, "session", async move {
        let driver = Driver::new(io, config, shared, open_requests, inbound, lingering_permits);
        let end = driver.run().await;
        guard.0.ended(end);
    });
    (session, Inbound(accepted))
}

impl Session {
    /// Opens a substream whose first bytes are `first`; they leave in one write as far as the peer's window allows.
    ///
    /// Not cancel safe in the sense that dropping the future may leave a substream behind that is reset at once.
    ///
    /// # Errors
    /// [`OpenError`], which tells whether the peer may have seen the bytes.
    pub async fn open(&self, first: Bytes) -> Result<Substream, OpenError> {
        if self.is_closed() {
            return Err(OpenError::Lost);
        }
        let permit = self.permits.clone().try_acquire_owned().map_err(|_| OpenError::Full)?;
        let (reply, opened) = oneshot::channel();
        let request = async {
            let open = Open { first, permit, reply };
            self.opens.send(open).await.map_err(|_| OpenError::Lost)?;
            opened.await.map_err(|_| OpenError::Interrupted)
        };
        let (mut substream, rest) =
            timeout(OPEN_TIMEOUT, request).await.map_err(|_| OpenError::Timeout)??;
        if !rest.is_empty() {
            // A head above the window of a fresh substream: the peer reads it as it comes.
            match timeout(OPEN_TIMEOUT, substream.write_all(&rest)).await {
                Ok(Ok(())) => {}
                Ok(Err(_)) => return Err(OpenError::Interrupted),
                Err(_) => return Err(OpenError::Timeout),
            }
        }
        Ok(substream)
    }

    /// Ends the session: what is queued is sent, within one second, then the link is closed, which waits up to another second
    /// for the peer to have read it. Open substreams see its death.
    pub fn close(&self) {
        self.shared.close.cancel();
    }

    /// Waits for the end.
    pub async fn closed(&self) -> SessionEnd {
        let mut end = self.shared.end.subscribe();
        match end.wait_for(Option::is_some).await {
            Ok(end) => end.clone().unwrap_or(SessionEnd::Driver),
            Err(_) => SessionEnd::Driver,
        }
    }

    /// Whether the session is over, or told to end.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.shared.close.is_cancelled() || self.shared.is_over()
    }

    /// How long no byte has come from the peer.
    #[must_use]
    pub fn idle_for(&self) -> Duration {
        self.shared.liveness.silent_for()
    }

    /// Substreams open now, in both directions.
    #[must_use]
    pub fn substreams_open(&self) -> usize {
        self.shared.substreams.load(Ordering::Relaxed)
    }

    /// Where the session runs, and where what it carries runs best.
    #[must_use]
    pub fn worker(&self) -> Worker {
        self.worker
    }

    /// Whether two handles are of one session.
    #[must_use]
    pub fn is_same(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.shared, &other.shared)
    }
}

impl Inbound {
    /// The next substream that the peer opened; `None` when the session is over. Cancel safe.
    pub async fn accept(&mut self) -> Option<Substream> {
        self.0.recv().await
    }
}

#[cfg(test)]
mod tests;
