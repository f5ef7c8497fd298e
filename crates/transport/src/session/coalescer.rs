//! Between the multiplexer and TLS: gathers small frames into full records, and sends them when the driver says so. The
//! multiplexer flushes after every frame; here that costs nothing.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::{Buf, Bytes};
use parking_lot::Mutex;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::buffer_pool::Filled;

struct Coalescer<T> {
    io: T,
    /// Bytes that were read together with the last handshake frame.
    early: Bytes,
    out: Option<Filled>,
    /// A write was refused since the last flush: whoever flushed has to let the multiplexer try again.
    refused: bool,
}

/// The two ends of the coalescer: the multiplexer reads and writes, the driver flushes. Both run in one task, so the lock
/// is never contended.
pub(super) struct Link<T>(Arc<Mutex<Coalescer<T>>>);

impl<T> Clone for Link<T> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

/// What a flush did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Flushed {
    /// Everything has gone, and nobody waits for room.
    All,
    /// There is room again for a multiplexer that was refused.
    RoomAgain,
}

impl<T: AsyncRead + AsyncWrite + Unpin> Link<T> {
    pub(super) fn new(io: T, early: Bytes) -> Self {
        Self(Arc::new(Mutex::new(Coalescer { io, early, out: None, refused: false })))
    }

    /// Sends what has been gathered.
    pub(super) fn poll_flush_out(&self, cx: &mut Context<'_>) -> Poll<io::Result<Flushed>> {
        let mut link = self.0.lock();
        ready!(link.poll_write_out(cx))?;
        ready!(Pin::new(&mut link.io).poll_flush(cx))?;
        let refused = std::mem::take(&mut link.refused);
        Poll::Ready(Ok(if refused { Flushed::RoomAgain } else { Flushed::All }))
    }

    /// Reads and drops until the other end has closed too: closing with unread bytes would be a reset, which may overtake
    /// the last words.
    pub(super) fn poll_discard(&self, cx: &mut Context<'_>) -> Poll<()> {
        let mut link = self.0.lock();
        let mut sink = [0; 4096];
        loop {
            let mut buf = ReadBuf::new(&mut sink);
            match ready!(Pin::new(&mut link.io).poll_read(cx, &mut buf)) {
                Ok(()) if !buf.filled().is_empty() => {}
                Ok(()) | Err(_) => return Poll::Ready(()),
            }
        }
    }

    /// Sends what has been gathered, and that this is the end.
    pub(super) fn poll_close(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut link = self.0.lock();
        ready!(link.poll_write_out(cx))?;
        Pin::new(&mut link.io).poll_shutdown(cx)
    }
}

impl<T: AsyncWrite + Unpin> Coalescer<T> {
    fn poll_write_out(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while let Some(out) = &mut self.out {
            if out.is_empty() {
                self.out = None;
                break;
            }
            let n = ready!(Pin::new(&mut self.io).poll_write(cx, out.bytes()))?;
            if n == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            out.advance(n);
        }
        Poll::Ready(Ok(()))
    }
}

impl<T: AsyncRead + Unpin> futures_util::AsyncRead for Link<T> {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut [u8]) -> Poll<io::Result<usize>> {
        let mut link = self.0.lock();
        if !link.early.is_empty() {
            let n = link.early.len().min(buf.len());
            if let Some(to) = buf.get_mut(..n) {
                link.early.copy_to_slice(to);
            }
            return Poll::Ready(Ok(n));
        }
        let mut buf = ReadBuf::new(buf);
        ready!(Pin::new(&mut link.io).poll_read(cx, &mut buf))?;
        Poll::Ready(Ok(buf.filled().len()))
    }
}

impl<T: AsyncRead + AsyncWrite + Unpin> futures_util::AsyncWrite for Link<T> {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let mut link = self.0.lock();
        if buf.is_empty() {
            return Poll::Ready(Ok(0));
        }
        let n = link.out.get_or_insert_with(Filled::empty).append(buf);
        if n > 0 {
            return Poll::Ready(Ok(n));
        }
        match link.poll_write_out(cx) {
            Poll::Ready(Ok(())) => Poll::Ready(Ok(link.out.get_or_insert_with(Filled::empty).append(buf))),
            Poll::Ready(Err(error)) => Poll::Ready(Err(error)),
            Poll::Pending => {
                link.refused = true;
                Poll::Pending
            }
        }
    }

    fn poll_flush(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_close(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Self::poll_close(&self, cx)
    }
}
