//! After a 101: bytes both ways, between a connection and the data frames of an exchange. Both ends use it.

use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::{Buf, Bytes};
use ops::error_kind::ErrorKind;
use protocol::code::Code;
use protocol::codec::EncodeError;
use protocol::exchange::{Message, encode_data, encode_end};
use protocol::text::Text;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::Instant;

use super::outbox::Frames;
use super::{Broken, Channel};
use crate::context::Timeouts;
use crate::error::kind_of;
use crate::poison::Poison;
use transport::deadline::Deadline;

/// Read from the connection at once. On the stack, so that a silent WebSocket holds no buffer.
const READ: usize = 8 * 1024;

/// What a bridge carried.
#[derive(Debug, Clone, Copy)]
pub(super) struct Bridged {
    /// Bytes from the connection to the other end.
    pub(super) sent: u64,
    /// Bytes from the other end to the connection.
    pub(super) received: u64,
    /// What ended it, unless both ways ended well or the connection was reset.
    pub(super) failure: Option<ErrorKind>,
}

/// How a bridge ends early.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Torn {
    /// By the connection.
    Connection,
    /// By the other end, which said why.
    Reset(Code),
    /// By the substream.
    Broken(Broken),
    /// By nobody: nothing moved.
    Idle,
}

impl Torn {
    const fn kind(self) -> Option<ErrorKind> {
        match self {
            // Whoever is at the connection wanted it so.
            Self::Connection | Self::Reset(Code::CANCEL) | Self::Broken(Broken::Reset) => None,
            Self::Reset(code) => Some(kind_of(code)),
            Self::Broken(Broken::SessionLost) => Some(ErrorKind::SessionLost),
            Self::Broken(_) => Some(ErrorKind::Internal),
            Self::Idle => Some(ErrorKind::ServiceTimeout),
        }
    }
}

/// Carries bytes between `io`, of which `early` was read before, and `channel` until both ways have ended. A way that is cut
/// is never ended: the other side sees a reset, for which `poison` marks the connection.
pub(super) async fn bridge<T>(
    io: T,
    early: Bytes,
    mut channel: Channel,
    poison: &Poison,
    timeouts: &Timeouts,
) -> Bridged
where
    T: AsyncRead + AsyncWrite + Unpin,
{
    let sent = count(early.len());
    if channel.out.data(early).is_err() {
        // It is above no limit.
        poison.apply();
        return Bridged { sent: 0, received: 0, failure: Some(ErrorKind::Internal) };
    }
    let mut bridge = Bridge {
        io,
        channel,
        pending: Bytes::new(),
        from_io: Way::Open,
        to_io: Way::Open,
        sent,
        received: 0,
        moved: Instant::now(),
        idle: Deadline::default(),
        open_limit: timeouts.upgraded,
        half_closed_limit: timeouts.half_closed,
    };
    let end = poll_fn(|cx| bridge.poll(cx)).await;
    let Bridge { io, channel, sent, received, .. } = bridge;
    let failure = match end {
        Ok(()) => {
            drop(io);
            channel.finish(timeouts.linger).await;
            None
        }
        Err(torn) => {
            poison.apply();
            drop(io);
            match torn {
                Torn::Connection => channel.reset(Code::CANCEL, &Text::default(), timeouts.linger).await,
                Torn::Idle => channel.reset(Code::IDLE_TIMEOUT, &Text::default(), timeouts.linger).await,
                Torn::Reset(_) | Torn::Broken(_) => drop(channel),
            }
            torn.kind()
        }
    };
    Bridged { sent, received, failure }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Way {
    Open,
    /// The source has ended; the end still has to be passed on.
    Ending,
    Done,
}

struct Bridge<T> {
    io: T,
    channel: Channel,
    /// Read from the channel and not written to the connection.
    pending: Bytes,
    from_io: Way,
    to_io: Way,
    sent: u64,
    received: u64,
    moved: Instant,
    idle: Deadline,
    open_limit: Duration,
    half_closed_limit: Duration,
}

impl<T: AsyncRead + AsyncWrite + Unpin> Bridge<T> {
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Torn>> {
        let before = (self.sent, self.received, self.from_io, self.to_io);
        if let Poll::Ready(Err(torn)) = self.poll_to_io(cx) {
            return Poll::Ready(Err(torn));
        }
        if let Poll::Ready(Err(torn)) = self.poll_from_io(cx) {
            return Poll::Ready(Err(torn));
        }
        if self.from_io == Way::Done && self.to_io == Way::Done {
            return Poll::Ready(Ok(()));
        }
        if before != (self.sent, self.received, self.from_io, self.to_io) {
            self.moved = Instant::now();
        }
        let open = self.from_io == Way::Open && self.to_io == Way::Open;
        let limit = if open { self.open_limit } else { self.half_closed_limit };
        let Some(due) = self.moved.checked_add(limit) else { return Poll::Pending };
        self.idle.poll(due, cx).map(|()| Err(Torn::Idle))
    }

    /// Ready with an error when the bridge is torn, pending otherwise.
    fn poll_from_io(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Torn>> {
        loop {
            let mut waits = false;
            while self.from_io == Way::Open && self.channel.has_room() && !waits {
                let mut bytes = [0; READ];
                let mut buffer = ReadBuf::new(&mut bytes);
                match Pin::new(&mut self.io).poll_read(cx, &mut buffer) {
                    Poll::Pending => waits = true,
                    Poll::Ready(read) => {
                        read.map_err(|_| Torn::Connection)?;
                        self.encode(buffer.filled()).map_err(|_| Torn::Connection)?;
                    }
                }
            }
            let Poll::Ready(flushed) = self.channel.poll_flush(cx) else {
                // Nobody reads the connection now; one that is flushed looks after its end all the same.
                return match Pin::new(&mut self.io).poll_flush(cx) {
                    Poll::Ready(Err(_)) => Poll::Ready(Err(Torn::Connection)),
                    _ => Poll::Pending,
                };
            };
            flushed.map_err(Torn::Broken)?;
            match self.from_io {
                Way::Ending => self.from_io = Way::Done,
                Way::Open if !waits => {}
                Way::Open | Way::Done => return Poll::Pending,
            }
        }
    }

    fn encode(&mut self, read: &[u8]) -> Result<(), EncodeError> {
        if read.is_empty() {
            self.from_io = Way::Ending;
            return encode_end(self.channel.out.buffer());
        }
        self.sent = self.sent.saturating_add(count(read.len()));
        encode_data(read, self.channel.out.buffer())
    }

    /// As [`Self::poll_from_io`].
    fn poll_to_io(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Torn>> {
        loop {
            while !self.pending.is_empty() {
                let Poll::Ready(written) = Pin::new(&mut self.io).poll_write(cx, &self.pending) else {
                    return self.poll_cut(cx);
                };
                let written = written.and_then(nonzero).map_err(|_| Torn::Connection)?;
                self.pending.advance(written);
                self.received = self.received.saturating_add(count(written));
            }
            match self.to_io {
                Way::Done => return self.poll_quiet(cx),
                Way::Ending => {
                    let Poll::Ready(ended) = Pin::new(&mut self.io).poll_shutdown(cx) else {
                        return self.poll_cut(cx);
                    };
                    ended.map_err(|_| Torn::Connection)?;
                    self.to_io = Way::Done;
                }
                Way::Open => {
                    let message = self.channel.poll_message(cx);
                    if message.is_pending() {
                        // What was written may wait in a buffer of the connection.
                        let Poll::Ready(flushed) = Pin::new(&mut self.io).poll_flush(cx) else {
                            return self.poll_cut(cx);
                        };
                        flushed.map_err(|_| Torn::Connection)?;
                    }
                    match ready!(message).map_err(Torn::Broken)? {
                        Message::Data(data) => self.pending = data,
                        Message::End => self.to_io = Way::Ending,
                        Message::Reset { code, .. } => return Poll::Ready(Err(Torn::Reset(code))),
                        // Nobody reads what the connection still says, so that it need not say it.
                        Message::Stop { .. } => return Poll::Ready(Err(Torn::Reset(Code::CANCEL))),
                        // The order of messages lets nothing else through.
                        _ => return Poll::Ready(Err(Torn::Broken(Broken::Reset))),
                    }
                }
            }
        }
    }

    /// The connection takes nothing now, so that nobody reads the channel: the other end may break off all the same.
    fn poll_cut(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Torn>> {
        self.channel.poll_cut(cx).map(|()| Err(Torn::Broken(Broken::Reset)))
    }

    /// The other end has ended its way: it may still close, or break off the other.
    fn poll_quiet(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Torn>> {
        match ready!(self.channel.poll_message(cx)) {
            Err(Broken::Ended) => Poll::Pending,
            Err(broken) => Poll::Ready(Err(Torn::Broken(broken))),
            Ok(_) => Poll::Ready(Err(Torn::Reset(Code::CANCEL))),
        }
    }
}

fn nonzero(written: usize) -> io::Result<usize> {
    if written == 0 { Err(io::ErrorKind::WriteZero.into()) } else { Ok(written) }
}

fn count(bytes: usize) -> u64 {
    u64::try_from(bytes).unwrap_or(u64::MAX)
}
