//! Copying raw bytes between a connection and a substream until both ways are done (`spec/06`): half-close is kept, an end
//! stays an end and a reset a reset, and buffers are held only while there are bytes in them.

mod local;

pub use local::LocalStream;

use std::future::{Future, poll_fn};
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::{Buf, Bytes};
use tokio::io::AsyncWrite;
use tokio::time::{Instant, Sleep, sleep_until};

use crate::buffer_pool::Filled;
use crate::session::Substream;

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
        up: Up { buffer: None, state: if local_ended { Way::Ending } else { Way::Open }, bytes: 0 },
        down: Down { chunk: early, state: Way::Open, bytes: 0 },
        idle: Box::pin(sleep_until(Instant::now())),
        limits,
        last_bytes: Instant::now(),
        armed: false,
    };
    // From the start, so that the death of this process is no end of the connection either.
    relay.local.reset_on_close();
    let end = poll_fn(|cx| relay.poll(cx)).await;
    if end == RelayEnd::Clean {
        relay.local.end_on_close();
    }
    Relayed { to_substream: relay.up.bytes, from_substream: relay.down.bytes, end }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Way {
    Open,
    /// The source has ended; the end still has to be passed on.
    Ending,
    Done,
}

/// Connection to substream.
struct Up {
    buffer: Option<Filled>,
    state: Way,
    bytes: u64,
}

/// Substream to connection.
struct Down {
    chunk: Bytes,
    state: Way,
    bytes: u64,
}

struct Relay {
    local: LocalStream,
    substream: Substream,
    up: Up,
    down: Down,
    idle: Pin<Box<Sleep>>,
    limits: IdleLimits,
    last_bytes: Instant,
    armed: bool,
}

impl Relay {
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<RelayEnd> {
        let before = (self.up.bytes, self.down.bytes, self.up.state, self.down.state);
        if let Poll::Ready(Err(end)) = self.up.poll(&self.local, &mut self.substream, cx) {
            return Poll::Ready(end);
        }
        if let Poll::Ready(Err(end)) = self.down.poll(&mut self.local, &mut self.substream, cx) {
            return Poll::Ready(end);
        }
        if self.up.state == Way::Done && self.down.state == Way::Done {
            return Poll::Ready(RelayEnd::Clean);
        }
        if before != (self.up.bytes, self.down.bytes, self.up.state, self.down.state) {
            self.last_bytes = Instant::now();
        }
        self.poll_idle(cx)
    }

    /// The timer is set once and looked at when it fires: bytes only note the time.
    fn poll_idle(&mut self, cx: &mut Context<'_>) -> Poll<RelayEnd> {
        let half_closed = self.up.state != Way::Open || self.down.state != Way::Open;
        let limit = if half_closed { Some(self.limits.half_closed) } else { self.limits.open };
        let Some(deadline) = limit.and_then(|limit| self.last_bytes.checked_add(limit)) else {
            return Poll::Pending;
        };
        if !self.armed || deadline < self.idle.deadline() {
            self.idle.as_mut().reset(deadline);
            self.armed = true;
        }
        while self.idle.as_mut().poll(cx).is_ready() {
            if Instant::now() >= deadline {
                return Poll::Ready(RelayEnd::Idle);
            }
            self.idle.as_mut().reset(deadline);
        }
        Poll::Pending
    }
}

impl Up {
    /// Ready with an error when the relay is over, pending otherwise.
    fn poll(
        &mut self,
        local: &LocalStream,
        substream: &mut Substream,
        cx: &mut Context<'_>,
    ) -> Poll<Result<(), RelayEnd>> {
        loop {
            if let Some(buffer) = &mut self.buffer {
                let n = ready!(Pin::new(&mut *substream).poll_write(cx, buffer.bytes()))
                    .map_err(|error| substream_end(&error))?;
                buffer.advance(n);
                self.bytes = self.bytes.saturating_add(u64::try_from(n).unwrap_or(0));
                if buffer.is_empty() {
                    self.buffer = None;
                }
                continue;
            }
            match self.state {
                Way::Done => return Poll::Pending,
                Way::Ending => {
                    ready!(Pin::new(&mut *substream).poll_shutdown(cx))
                        .map_err(|error| substream_end(&error))?;
                    self.state = Way::Done;
                }
                Way::Open => {
                    ready!(local.poll_read_ready(cx)).map_err(|_| RelayEnd::LocalReset)?;
                    match Filled::with(|buffer| local.try_read(buffer)) {
                        Ok(None) => self.state = Way::Ending,
                        Ok(filled) => self.buffer = filled,
                        Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                        Err(_) => return Poll::Ready(Err(RelayEnd::LocalReset)),
                    }
                }
            }
        }
    }
}

impl Down {
    /// Ready with an error when the relay is over, pending otherwise.
    fn poll(
        &mut self,
        local: &mut LocalStream,
        substream: &mut Substream,
        cx: &mut Context<'_>,
    ) -> Poll<Result<(), RelayEnd>> {
        loop {
            if !self.chunk.is_empty() {
                let n = ready!(Pin::new(&mut *local).poll_write(cx, &self.chunk))
                    .map_err(|_| RelayEnd::LocalReset)?;
                if n == 0 {
                    return Poll::Ready(Err(RelayEnd::LocalReset));
                }
                self.chunk.advance(n);
                self.bytes = self.bytes.saturating_add(u64::try_from(n).unwrap_or(0));
                continue;
            }
            match self.state {
                Way::Done => return Poll::Pending,
                Way::Ending => {
                    ready!(Pin::new(&mut *local).poll_shutdown(cx)).map_err(|_| RelayEnd::LocalReset)?;
                    self.state = Way::Done;
                }
                Way::Open => match ready!(substream.poll_chunk(cx)) {
                    Ok(Some(chunk)) => self.chunk = chunk,
                    Ok(None) => self.state = Way::Ending,
                    Err(error) => return Poll::Ready(Err(substream_end(&error))),
                },
            }
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
