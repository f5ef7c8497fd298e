//! A stream of HTTP/2 after an extended CONNECT, whose ends are told apart (RFC 8441 section 5).

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Buf, Bytes};
use h2::{Reason, RecvStream, SendStream};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// Written at once, at most.
const PIECE_MAX: usize = 64 * 1024;

/// Bytes both ways. END_STREAM is the end of one way, RST_STREAM an error, whatever its reason. Dropping it before it was
/// shut down resets the stream, so that what was cut never looks complete.
#[derive(Debug)]
pub(crate) struct StreamIo {
    receive: RecvStream,
    send: SendStream<Bytes>,
    /// What has come and was not read.
    pending: Bytes,
    /// Our way was ended.
    ended: bool,
}

impl StreamIo {
    /// Both halves of one stream.
    pub(crate) const fn new(receive: RecvStream, send: SendStream<Bytes>) -> Self {
        Self { receive, send, pending: Bytes::new(), ended: false }
    }
}

fn reset() -> io::Error {
    io::ErrorKind::ConnectionReset.into()
}

impl AsyncRead for StreamIo {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        while self.pending.is_empty() {
            match ready!(self.receive.poll_data(cx)) {
                Some(Ok(data)) => self.pending = data,
                Some(Err(_)) => return Poll::Ready(Err(reset())),
                None => return Poll::Ready(Ok(())),
            }
        }
        let length = self.pending.len().min(buf.remaining());
        buf.put_slice(self.pending.get(..length).unwrap_or_default());
        self.pending.advance(length);
        self.receive.flow_control().release_capacity(length).map_err(|_| reset())?;
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for StreamIo {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        if self.send.poll_reset(cx).is_ready() {
            return Poll::Ready(Err(reset()));
        }
        let wanted = buf.len().min(PIECE_MAX);
        self.send.reserve_capacity(wanted);
        let mut room = self.send.capacity();
        while room == 0 {
            match ready!(self.send.poll_capacity(cx)) {
                Some(Ok(more)) => room = more,
                _ => return Poll::Ready(Err(reset())),
            }
        }
        let piece = buf.get(..room.min(wanted)).unwrap_or_default();
        self.send.send_data(Bytes::copy_from_slice(piece), false).map_err(|_| reset())?;
        Poll::Ready(Ok(piece.len()))
    }

    /// Nothing waits here; but a reset is heard, also by somebody who has heard an end before.
    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let gone = self.send.poll_reset(cx).is_ready();
        Poll::Ready(if gone { Err(reset()) } else { Ok(()) })
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if !self.ended {
            self.send.send_data(Bytes::new(), true).map_err(|_| reset())?;
            self.ended = true;
        }
        Poll::Ready(Ok(()))
    }
}

impl Drop for StreamIo {
    fn drop(&mut self) {
        // After an end a reset could overtake what is still on its way.
        if !self.ended {
            self.send.send_reset(Reason::CANCEL);
        }
    }
}
