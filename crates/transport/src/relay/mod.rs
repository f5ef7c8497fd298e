//! Copying raw bytes between a connection and a substream until both ways are done (`spec/06`): half-close is kept, an end
//! stays an end and a reset a reset, and an idle relay holds no buffer.

mod local;

pub use local::LocalStream;

use std::future::{Future, poll_fn};
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::{Buf, Bytes};
use tokio::io::AsyncWrite;
use tokio::time::{Instant, Sleep, sleep_until};

use crate::buffer_pool::poll_read_piece;
use crate::session::Substream;

/// Chunks of a substream that are passed on in one system call.
const CHUNKS: usize = 16;
/// How long the connection may take for the bytes that came before the substream broke.
const BREAK_TIMEOUT: Duration = Duration::from_secs(1);

/// How often a connection is looked at while nobody reads it, because the substream has no room or its end was read: a reset
/// wakes nobody then.
const UNREAD_LOOK: Duration = Duration::from_secs(1);

/// How long a relay may be without a byte.
#[derive(Debug, Clone, Copy)]
pub struct IdleLimits {
    /// While both ways are open; `None`: for ever.
    pub open: Option<Duration>,
    /// Once one way has ended.
    pub half_closed: Duration,
}

/// How a relay ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RelayEnd {
    /// Both ways ended with FIN.
    Clean,
    /// The connection was reset or failed; the substream has been reset.
    LocalReset,
    /// The substream was reset by its peer; the connection has been reset.
    SubstreamReset,
    /// The session died; the connection has been reset.
    SessionLost,
    /// No byte for too long; both have been reset.
    Idle,
}

/// What a relay did.
#[derive(Debug, Clone, Copy)]
pub struct Relayed {
    /// Bytes from the connection to the substream.
    pub to_substream: u64,
    /// Bytes from the substream to the connection.
    pub from_substream: u64,
    /// How it ended.
    pub end: RelayEnd,
}

/// Relays until both ways are done, one of them fails, or nothing moves for too long. `early` are bytes of the substream
/// that were read before; `local_ended` says that the connection's end was read before and still has to be passed on.
///
/// Cancel safe in that dropping it resets both.
pub async fn relay(
    local: LocalStream,
    substream: Substream,
    early: Bytes,
    local_ended: bool,
    limits: IdleLimits,
) -> Relayed {
    let mut relay = Relay {
        local,
        substream,
        up: if local_ended { Way::Ending } else { Way::Open },
        up_bytes: 0,
        down: Way::Open,
        down_bytes: 0,
        idle: Box::pin(sleep_until(Instant::now())),
        limits,
        last_bytes: Instant::now(),
        broken: None,
        armed: false,
        stalled: false,
    };
    relay.substream.unread(early);
    // From the start, so that the death of this process is no end of the connection either.
    relay.local.reset_on_close();
    let end = poll_fn(|cx| relay.poll(cx)).await;
    // What came whole is not taken back, though the substream takes no more: a reset would destroy what the connection has
    // not delivered yet. Who still writes is reset by the kernel.
    let broken = matches!(end, RelayEnd::SubstreamReset | RelayEnd::SessionLost);
    if end == RelayEnd::Clean || (broken && relay.down == Way::Done) {
        relay.local.end_on_close();
    }
    Relayed { to_substream: relay.up_bytes, from_substream: relay.down_bytes, end }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Way {
    Open,
    /// The source has ended; the end still has to be passed on.
    Ending,
    Done,
    /// The substream takes nothing more, for this reason. What came from it before can still be delivered.
    Broken(RelayEnd),
}

struct Relay {
    local: LocalStream,
    substream: Substream,
    /// Connection to substream.
    up: Way,
    up_bytes: u64,
    /// Substream to connection.
    down: Way,
    down_bytes: u64,
    idle: Pin<Box<Sleep>>,
    limits: IdleLimits,
    last_bytes: Instant,
    /// Since when the substream is broken while the connection does not take what came before.
    broken: Option<Instant>,
    armed: bool,
    /// The substream has no room: the connection is not read.
    stalled: bool,
}

impl Relay {
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<RelayEnd> {
        let before = (self.up_bytes, self.down_bytes, self.up, self.down);
        if let Poll::Ready(Err(end)) = self.poll_down(cx) {
            return Poll::Ready(end);
        }
        // Behind it, because it has more to look after once that way is done.
        if let Poll::Ready(Err(end)) = self.poll_up(cx) {
            return Poll::Ready(end);
        }
        match (self.up, self.down) {
            (Way::Done, Way::Done) => return Poll::Ready(RelayEnd::Clean),
            (Way::Broken(end), Way::Done) => return Poll::Ready(end),
            _ => {}
        }
        if before != (self.up_bytes, self.down_bytes, self.up, self.down) {
            self.last_bytes = Instant::now();
        }
        self.poll_idle(cx)
    }

    /// The timer is set once and looked at when it fires: bytes only note the time.
    fn poll_idle(&mut self, cx: &mut Context<'_>) -> Poll<RelayEnd> {
        let half_closed = self.up != Way::Open || self.down != Way::Open;
        let limit = if half_closed { Some(self.limits.half_closed) } else { self.limits.open };
        let idle = limit.and_then(|limit| self.last_bytes.checked_add(limit));
        let broken = self.broken.and_then(|since| since.checked_add(BREAK_TIMEOUT));
        let (deadline, end) = match (idle, broken) {
            (_, Some(broken)) => (Some(broken), self.break_end(cx)),
            (idle, None) => (idle, RelayEnd::Idle),
        };
        let unread = self.stalled || self.up == Way::Done;
        let look = unread.then(|| Instant::now() + UNREAD_LOOK);
        let Some(next) = deadline.into_iter().chain(look).min() else { return Poll::Pending };
        if !self.armed || next < self.idle.deadline() {
            self.idle.as_mut().reset(next);
            self.armed = true;
        }
        while self.idle.as_mut().poll(cx).is_ready() {
            if deadline.is_some_and(|deadline| Instant::now() >= deadline) {
                return Poll::Ready(end);
            }
            if unread && self.local.has_failed() {
                return Poll::Ready(RelayEnd::LocalReset);
            }
            self.idle.as_mut().reset(next);
        }
        Poll::Pending
    }

    /// Ready with an error when the relay is over, pending otherwise. Reads only what the substream has room for, so that
    /// nothing is held here.
    fn poll_up(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), RelayEnd>> {
        loop {
            if self.up == Way::Ending {
                self.up = match ready!(Pin::new(&mut self.substream).poll_shutdown(cx)) {
                    Ok(()) => Way::Done,
                    Err(error) => Way::Broken(substream_end(&error)),
                };
            }
            if self.up != Way::Open {
                return Poll::Pending;
            }
            // Nobody reads the substream any more who would see it break.
            if self.down == Way::Done && self.substream.poll_broken(cx).is_ready() {
                self.up = Way::Broken(self.break_end(cx));
                return Poll::Pending;
            }
            let room = self.substream.poll_write_ready(cx);
            self.stalled = room.is_pending();
            if let Err(error) = ready!(room) {
                self.up = Way::Broken(substream_end(&error));
                continue;
            }
            ready!(self.local.poll_read_ready(cx)).map_err(|_| RelayEnd::LocalReset)?;
            let read = poll_read_piece(Pin::new(&mut self.local), cx).map_err(|_| RelayEnd::LocalReset)?;
            let mut piece = ready!(read);
            if piece.is_empty() {
                self.up = Way::Ending;
                continue;
            }
            let n = u64::try_from(piece.len()).unwrap_or(u64::MAX);
            // There was room, and nobody else writes.
            match ready!(self.substream.poll_write_bytes(cx, &mut piece)) {
                Ok(()) => self.up_bytes = self.up_bytes.saturating_add(n),
                Err(error) => self.up = Way::Broken(substream_end(&error)),
            }
        }
    }

    /// Ready with an error when the relay is over, pending otherwise. What the connection does not take stays in the
    /// substream.
    fn poll_down(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), RelayEnd>> {
        loop {
            match self.down {
                Way::Done | Way::Broken(_) => return Poll::Pending,
                Way::Ending => {
                    ready!(Pin::new(&mut self.local).poll_shutdown(cx)).map_err(|_| RelayEnd::LocalReset)?;
                    self.down = Way::Done;
                    continue;
                }
                Way::Open => {}
            }
            if self.local.poll_write_ready(cx).map_err(|_| RelayEnd::LocalReset)?.is_pending() {
                if self.substream.poll_cut(cx).is_ready() {
                    self.broken.get_or_insert_with(Instant::now);
                }
                return Poll::Pending;
            }
            let mut chunks = [const { Bytes::new() }; CHUNKS];
            let taken = match ready!(self.substream.poll_chunks(cx, &mut chunks)) {
                Ok(0) => {
                    self.down = Way::Ending;
                    continue;
                }
                Ok(taken) => taken,
                Err(error) => return Poll::Ready(Err(substream_end(&error))),
            };
            let mut slices = [IoSlice::new(&[]); CHUNKS];
            for (slice, chunk) in slices.iter_mut().zip(&chunks) {
                *slice = IoSlice::new(chunk);
            }
            let slices = slices.get(..taken).unwrap_or_default();
            let written = match Pin::new(&mut self.local).poll_write_vectored(cx, slices) {
                Poll::Ready(Ok(n)) if n > 0 => n,
                Poll::Ready(_) => return Poll::Ready(Err(RelayEnd::LocalReset)),
                Poll::Pending => 0,
            };
            self.down_bytes = self.down_bytes.saturating_add(u64::try_from(written).unwrap_or(0));
            self.put_back(&mut chunks, written);
        }
    }

    /// How the substream broke.
    fn break_end(&mut self, cx: &mut Context<'_>) -> RelayEnd {
        match (self.up, self.substream.poll_write_ready(cx)) {
            (Way::Broken(end), _) => end,
            (_, Poll::Ready(Err(error))) => substream_end(&error),
            _ => RelayEnd::SubstreamReset,
        }
    }

    /// Gives the substream back what is left of `chunks` after `written` bytes.
    fn put_back(&mut self, chunks: &mut [Bytes], mut written: usize) {
        for chunk in chunks.iter_mut() {
            let n = written.min(chunk.len());
            chunk.advance(n);
            written = written.saturating_sub(n);
        }
        for chunk in chunks.iter_mut().rev() {
            self.substream.unread(std::mem::take(chunk));
        }
    }
}

fn substream_end(error: &io::Error) -> RelayEnd {
    match error.kind() {
        io::ErrorKind::ConnectionAborted => RelayEnd::SessionLost,
        _ => RelayEnd::SubstreamReset,
    }
}

#[cfg(test)]
mod tests;
