//! Sessions: one authenticated link, multiplexed (`spec/04`). A [`Session`] opens substreams and [`Inbound`] accepts those
//! of the peer; one task drives both. The multiplexer itself is [`protocol::mux`]; this folder moves its bytes and wakes
//! those who wait for it.

mod driver;
mod end;
mod link;
mod liveness;
mod read_ahead;
mod shared;
mod substream;

pub use end::SessionEnd;
pub use link::Link;
pub use liveness::Liveness;
pub use protocol::mux::{ProcessBudget, Role};
pub use read_ahead::ReadAhead;
pub use substream::Substream;

use std::future::poll_fn;
use std::hash::RandomState;
use std::sync::Arc;
use std::task::Poll;
use std::time::{Duration, Instant};

use bytes::Bytes;
use ops::spawn::{Spawner, Worker};
use protocol::handshake::PeerLimits;
use protocol::limits::{
    FIRST_WINDOW, SESSION_BUFFER_MAX, SUBSTREAMS_ACCEPTED_MAX, SUBSTREAMS_OPENED_MAX, SUBSTREAMS_SLACK,
};
use protocol::mux::{self, Mux};
use tokio::io::{AsyncRead, AsyncWrite};

use driver::Driver;
use shared::Shared;

/// What TLS may hold for the socket, bytes: a whole batch of the driver, so that it goes in one system call.
pub const TLS_BUFFER: usize = 2 * driver::BATCH;

/// What a session is made of, besides its byte stream.
#[derive(Debug)]
pub struct SessionConfig {
    /// Which end this is.
    pub role: Role,
    /// What the peer said it takes.
    pub peer: PeerLimits,
    /// Notes the bytes received; shared with the [`ReadAhead`] below TLS.
    pub liveness: Arc<Liveness>,
    /// The session is over after this long without a byte.
    pub dead_after: Duration,
    /// Bytes that were read behind the handshake.
    pub early: Bytes,
    /// What all sessions of this process may hold.
    pub budget: Arc<ProcessBudget>,
}

/// Why no substream was opened. The peer has seen nothing of it: another session may be tried.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum OpenError {
    /// As many substreams are open as the two ends agreed on; another session may have room.
    #[error("the session has no room for another substream")]
    Full,
    /// The session is over, or takes no more substreams.
    #[error("the session is over")]
    Lost,
}

impl From<mux::OpenError> for OpenError {
    fn from(error: mux::OpenError) -> Self {
        match error {
            mux::OpenError::Full => Self::Full,
            mux::OpenError::GoingAway => Self::Lost,
        }
    }
}

/// The handle to a session; clones are cheap. Dropping all of them, and [`Inbound`], does not end it: [`Session::close`] does.
#[derive(Debug, Clone)]
pub struct Session {
    shared: Arc<Shared>,
    worker: Worker,
}

/// The substreams that the peer opens.
#[derive(Debug)]
pub struct Inbound(Arc<Shared>);

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
    let count = |n: u32| usize::try_from(n).unwrap_or(usize::MAX);
    let mux = Mux::new(
        mux::Config {
            role: config.role,
            receive_first: FIRST_WINDOW,
            send_first: config.peer.first_window,
            max_inbound: count(SUBSTREAMS_ACCEPTED_MAX.saturating_add(SUBSTREAMS_SLACK)),
            max_outbound: count(config.peer.max_substreams.min(SUBSTREAMS_OPENED_MAX)),
            max_held: SESSION_BUFFER_MAX,
            process: config.budget,
            hasher: RandomState::new(),
        },
        Instant::now(),
    );
    let shared = Arc::new(Shared::new(mux, config.liveness));
    let session = Session { shared: shared.clone(), worker };
    let guard = EndOnDrop(shared.clone());
    let inbound = Inbound(shared.clone());
    let (early, dead_after) = (config.early, config.dead_after);
    spawner.spawn(worker, "session", async move {
        let end = Driver::new(io, &early, shared, dead_after).run().await;
        guard.0.ended(end);
    });
    (session, inbound)
}

impl Session {
    /// Opens a substream whose first bytes are `first`. It waits for nothing: they leave with the next write of the session,
    /// and what is above the window of a fresh substream follows as the peer reads.
    ///
    /// # Errors
    /// [`OpenError`]; nothing was sent.
    pub fn open(&self, first: Bytes) -> Result<Substream, OpenError> {
        if self.shared.close.is_cancelled() {
            return Err(OpenError::Lost);
        }
        let key = self.shared.with(|state| match state.is_over {
            true => Err(OpenError::Lost),
            false => state.mux.open(first).map_err(OpenError::from),
        })?;
        Ok(Substream::new(self.shared.clone(), key))
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

    /// Whether the session is over, or told to end, or its peer takes no more substreams.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.shared.close.is_cancelled()
            || self.shared.with(|state| state.is_over || state.mux.is_going_away())
    }

    /// How long no byte has come from the peer.
    #[must_use]
    pub fn idle_for(&self) -> Duration {
        self.shared.liveness.silent_for()
    }

    /// Substreams open now, in both directions.
    #[must_use]
    pub fn substreams_open(&self) -> usize {
        self.shared.with(|state| state.mux.substreams())
    }

    /// Substreams that there have been in all, opened by either end; from 2^32 on they are counted anew.
    #[must_use]
    pub fn substreams_ever(&self) -> u32 {
        self.shared.with(|state| state.mux.substreams_ever())
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
        let key = poll_fn(|cx| {
            self.0.with(|state| {
                if state.is_over {
                    return Poll::Ready(None);
                }
                match state.mux.accept() {
                    Some(key) => Poll::Ready(Some(key)),
                    None => {
                        state.accept_later(cx);
                        Poll::Pending
                    }
                }
            })
        })
        .await?;
        Some(Substream::new(self.0.clone(), key))
    }
}

#[cfg(test)]
mod tests;
