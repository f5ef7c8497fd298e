//! One substream: a byte stream each way, of one request or one connection.

use std::fmt;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use futures_util::{AsyncWrite as _, Stream as _};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::sync::OwnedSemaphorePermit;

use super::Shared;

/// A substream of a session. Shutting it down sends FIN and leaves the other way open; dropping it without that resets it.
///
/// Reading tells an end (`Ok(0)`, `None`) from a reset ([`io::ErrorKind::ConnectionReset`]) as far as the multiplexer does
/// (not once this end has shut down), and from the death of the session ([`io::ErrorKind::ConnectionAborted`]).
pub struct Substream {
    stream: yamux::Stream,
    /// The rest of a chunk that was only partly read.
    chunk: Bytes,
    shared: Arc<Shared>,
    permit: Option<OwnedSemaphorePermit>,
    write_closed: bool,
    read_ended: bool,
}

impl Substream {
    pub(super) fn new(
        stream: yamux::Stream,
        shared: Arc<Shared>,
        permit: Option<OwnedSemaphorePermit>,
    ) -> Self {
        shared.substreams.fetch_add(1, Ordering::Relaxed);
        Self { stream, chunk: Bytes::new(), shared, permit, write_closed: false, read_ended: false }
    }

    /// The next bytes as they came, without copying; `None` at the end.
    ///
    /// # Errors
    /// As for reading: see [`Substream`].
    pub fn poll_chunk(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<Option<Bytes>>> {
        if !self.chunk.is_empty() {
            return Poll::Ready(Ok(Some(std::mem::take(&mut self.chunk))));
        }
        loop {
            match ready!(Pin::new(&mut self.stream).poll_next(cx)) {
                Some(Ok(packet)) => {
                    let chunk = Bytes::from_owner(packet);
                    if !chunk.is_empty() {
                        return Poll::Ready(Ok(Some(chunk)));
                    }
                }
                Some(Err(error)) => return Poll::Ready(Err(self.failed(error))),
                None => return Poll::Ready(self.ended().map(|()| None)),
            }
        }
    }

    /// Whether the peer has reset the substream or the session is over, even while bytes wait to be read. For those who
    /// can not read now because nobody takes what they read.
    #[must_use]
    pub fn is_broken(&self) -> bool {
        self.shared.is_over() || (self.stream.is_closed() && !self.write_closed)
    }

    /// Resets the substream: the peer learns at once that this was no end.
    pub fn reset(self) {
        drop(self);
    }

    /// Which of its ends the multiplexer means by "no more bytes".
    fn ended(&mut self) -> io::Result<()> {
        if self.shared.is_over() {
            return Err(io::ErrorKind::ConnectionAborted.into());
        }
        self.read_ended = true;
        if self.stream.is_closed() && !self.write_closed {
            return Err(io::ErrorKind::ConnectionReset.into());
        }
        Ok(())
    }

    fn failed(&self, error: io::Error) -> io::Error {
        if self.shared.is_over() {
            return io::ErrorKind::ConnectionAborted.into();
        }
        match error.kind() {
            // What the multiplexer says of a substream that was reset.
            io::ErrorKind::WriteZero => io::ErrorKind::BrokenPipe.into(),
            _ => error,
        }
    }
}

impl AsyncRead for Substream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let Some(mut chunk) = ready!(self.poll_chunk(cx))? else {
            return Poll::Ready(Ok(()));
        };
        let n = chunk.len().min(buf.remaining());
        buf.put_slice(&chunk.split_to(n));
        self.chunk = chunk;
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Substream {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        if buf.is_empty() {
            return Poll::Ready(Ok(0));
        }
        let written = ready!(Pin::new(&mut self.stream).poll_write(cx, buf));
        Poll::Ready(written.map_err(|error| self.failed(error)))
    }

    /// Written bytes are on their way without it: the session's task sends what it has whenever it runs.
    fn poll_flush(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let closed = ready!(Pin::new(&mut self.stream).poll_close(cx));
        self.write_closed = true;
        Poll::Ready(closed.map_err(|error| self.failed(error)))
    }
}

impl fmt::Debug for Substream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Substream({})", self.stream.id())
    }
}

impl Drop for Substream {
    fn drop(&mut self) {
        self.shared.substreams.fetch_sub(1, Ordering::Relaxed);
        if let Some(permit) = self.permit.take()
            && !self.write_closed
            && !self.read_ended
        {
            // Aborted: the peer counts it for a while longer. A full queue can not be, it has a place for each permit.
            drop(self.shared.lingering.try_send(permit));
        }
    }
}
