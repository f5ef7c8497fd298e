//! A substream with what was read and not decoded, and what was encoded and not written. One future owns it.

use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::{Buf, Bytes, BytesMut};
use protocol::code::Code;
use protocol::codec::DecodeError;
use protocol::exchange::{self, Message, OrderError, RequestOrder, ResponseOrder};
use protocol::frame::{FrameType, HEADER_LEN, Header};
use protocol::limits::{DATA_MAX, RESET_TIMEOUT};
use protocol::text::Text;
use tokio::io::AsyncWrite;
use tokio::time::timeout;
use transport::session::Substream;

use super::outbox::{COPIED_BELOW, Frames, Outbox, WAITING_MAX};

/// Why no more messages come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Broken {
    /// The substream ended.
    #[error("the substream ended")]
    Ended,
    /// The substream was reset.
    #[error("the substream was reset")]
    Reset,
    /// The session died.
    #[error("the session died")]
    SessionLost,
    /// The other end sent something that is no message.
    #[error("the other end broke the protocol: {0}")]
    Malformed(#[from] DecodeError),
    /// The other end sent a message where it may not.
    #[error("the other end broke the protocol: {0}")]
    Misplaced(#[from] OrderError),
}

impl From<io::Error> for Broken {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::ConnectionAborted => Self::SessionLost,
            _ => Self::Reset,
        }
    }
}

/// What the other end may send.
#[derive(Debug, Clone)]
pub(crate) enum Order {
    /// A request.
    Request(RequestOrder),
    /// A response.
    Response(ResponseOrder),
    /// The statuses of a TCP substream.
    Statuses,
}

impl Order {
    fn accept(&mut self, message: &Message) -> Result<(), OrderError> {
        match self {
            Self::Request(order) => order.accept(message),
            Self::Response(order) => order.accept(message),
            Self::Statuses => match message {
                Message::Status(_) => Ok(()),
                _ => Err(OrderError { message: "a message", place: "among statuses" }),
            },
        }
    }
}

/// A substream that carries messages.
#[derive(Debug)]
pub(crate) struct Channel {
    substream: Substream,
    /// Read and not looked at.
    chunk: Bytes,
    /// How much that was when it was read.
    read: usize,
    /// A frame that is not complete, other than data.
    partial: BytesMut,
    /// What is still to come of a data frame: its bytes are passed on as they come, never gathered.
    data_left: usize,
    order: Order,
    /// The other end has ended its way.
    ended: bool,
    /// Encoded and not written.
    pub(crate) out: Outbox,
}

impl Channel {
    /// A channel on `substream`, of which `read` was read before.
    pub(crate) fn new(substream: Substream, read: Bytes, order: Order) -> Self {
        let (partial, out) = (BytesMut::new(), Outbox::default());
        Self { substream, read: read.len(), chunk: read, partial, data_left: 0, order, ended: false, out }
    }

    /// The next message. Data comes in pieces that need not be the frames that were sent. An end of the substream is an
    /// error too: where the exchange has ended, nobody asks.
    pub(crate) fn poll_message(&mut self, cx: &mut Context<'_>) -> Poll<Result<Message, Broken>> {
        loop {
            if let Some(message) = self.decode()? {
                self.order.accept(&message)?;
                return Poll::Ready(Ok(message));
            }
            self.chunk = match ready!(self.substream.poll_chunk(cx))? {
                Some(chunk) => chunk,
                None => {
                    self.ended = true;
                    return Poll::Ready(Err(Broken::Ended));
                }
            };
            self.read = self.chunk.len();
        }
    }

    /// The next message of what was read, if it is complete. Otherwise all of that has been taken.
    fn decode(&mut self) -> Result<Option<Message>, Broken> {
        loop {
            if self.data_left > 0 {
                let length = self.data_left.min(self.chunk.len());
                self.data_left = self.data_left.saturating_sub(length);
                return Ok((length > 0).then(|| Message::Data(self.chunk.split_to(length))));
            }
            let whole = if self.partial.is_empty() {
                if self.take_data_header()? {
                    continue;
                }
                self.decode_whole()?
            } else {
                Message::decode(&mut self.partial)?
            };
            if whole.is_some() || self.chunk.is_empty() {
                return Ok(whole);
            }
            // No more than this frame: what follows may be data, or raw bytes.
            let header = HEADER_LEN.saturating_sub(self.partial.len()).max(1);
            let missing = Message::missing(&self.partial).unwrap_or(header).min(self.chunk.len());
            self.partial.extend_from_slice(&self.chunk.split_to(missing));
        }
    }

    /// The next message where it was read. What is kept of it keeps all that was read, which therefore is little.
    fn decode_whole(&mut self) -> Result<Option<Message>, DecodeError> {
        if self.read > COPIED_BELOW { Ok(None) } else { Message::decode(&mut self.chunk) }
    }

    fn take_data_header(&mut self) -> Result<bool, DecodeError> {
        match Header::peek(&self.chunk) {
            // Without a byte it is left to the decoder, which refuses it.
            Some(header) if header.kind == FrameType::DATA && header.length > 0 => {
                self.data_left = header.check(DATA_MAX)?.length;
                self.chunk.advance(HEADER_LEN);
                Ok(true)
            }
            _ => Ok(false),
        }
    }

    /// Whether more may be encoded.
    pub(crate) fn has_room(&self) -> bool {
        self.out.waiting() < WAITING_MAX
    }

    /// Writes what was encoded.
    pub(crate) fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Broken>> {
        while self.out.waiting() > 0 {
            ready!(self.substream.poll_write_ready(cx))?;
            ready!(self.substream.poll_write_bytes(cx, &mut self.out.take()))?;
        }
        Poll::Ready(Ok(()))
    }

    /// Writes what was encoded.
    pub(crate) async fn flush(&mut self) -> Result<(), Broken> {
        poll_fn(|cx| self.poll_flush(cx)).await
    }

    /// The next message. What was encoded is written if it has to be waited for.
    pub(crate) async fn message(&mut self) -> Result<Message, Broken> {
        poll_fn(|cx| match self.poll_message(cx) {
            Poll::Pending => {
                ready!(self.poll_flush(cx))?;
                Poll::Pending
            }
            message => message,
        })
        .await
    }

    /// Ready once the other end has broken off, even while bytes of it wait to be read.
    pub(crate) fn poll_broken(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        self.substream.poll_broken(cx)
    }

    /// As [`Self::poll_broken`], but never if all that the other end says is here.
    pub(crate) fn poll_cut(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        self.substream.poll_cut(cx)
    }

    /// Whether the other end has broken off, even while bytes of it wait to be read.
    pub(crate) fn is_broken(&self) -> bool {
        self.substream.is_broken()
    }

    /// The other end asked for an upgrade, and gets it: data may come now.
    pub(crate) fn switched(&mut self) {
        if let Order::Request(order) = &mut self.order {
            order.switched();
        }
    }

    /// Ends this direction, and lets the other end read what was written. Best effort: what was said before counts.
    pub(crate) fn poll_finish(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if ready!(self.poll_flush(cx)).is_ok() {
            // Asked twice it would be an error, which is as good.
            let _ = ready!(Pin::new(&mut self.substream).poll_shutdown(cx));
        }
        Poll::Ready(())
    }

    /// Ends this direction with all that it says, for which it waits as long as the other end takes. Then it waits until
    /// that one has ended too, at most `linger`.
    pub(crate) async fn finish(mut self, linger: Duration) {
        let flushed = poll_fn(|cx| self.poll_flush(cx)).await;
        if flushed.is_ok() && !self.substream.end() {
            poll_fn(|cx| self.poll_finish(cx)).await;
        }
        if !self.ended {
            let _ = timeout(linger, self.discard()).await;
        }
    }

    /// Ends this direction behind what was written, and waits for nothing.
    pub(crate) fn end(&mut self) {
        self.substream.end();
    }

    /// Says last words, then waits until the other end has read them and gone, at most `linger`: a close before that could
    /// destroy them. If they can not be written within a second, the substream is reset.
    pub(crate) async fn close(mut self, linger: Duration) {
        if timeout(RESET_TIMEOUT, poll_fn(|cx| self.poll_finish(cx))).await.is_ok() {
            let _ = timeout(linger, self.discard()).await;
        }
    }

    /// Breaks this direction off, after what was encoded.
    pub(crate) async fn reset(mut self, code: Code, text: &Text, linger: Duration) {
        // Without the frame it is a reset all the same.
        if exchange::encode_reset(code, text, self.out.buffer()).is_ok() {
            self.close(linger).await;
        }
    }

    /// Reads and drops until the other end is done.
    async fn discard(&mut self) {
        while let Ok(Some(_)) = poll_fn(|cx| self.substream.poll_chunk(cx)).await {}
    }

    /// The substream, and what was read of it and not decoded.
    pub(crate) fn into_raw(self) -> (Substream, Bytes) {
        if self.partial.is_empty() {
            return (self.substream, self.chunk);
        }
        let mut rest = self.partial;
        rest.extend_from_slice(&self.chunk);
        (self.substream, rest.freeze())
    }
}
