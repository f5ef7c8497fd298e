//! Read-ahead below TLS: rustls reads 4 KiB at a time, which would be five system calls for each full record.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::Liveness;
use crate::buffer_pool::Filled;

/// A byte stream that is read in large pieces, and that notes when bytes came.
#[derive(Debug)]
pub struct ReadAhead<T> {
    io: T,
    ahead: Option<Filled>,
    liveness: Arc<Liveness>,
}

impl<T> ReadAhead<T> {
    /// Wraps `io`; received bytes are noted in `liveness`.
    pub fn new(io: T, liveness: Arc<Liveness>) -> Self {
        Self { io, ahead: None, liveness }
    }

    /// What notes when bytes came.
    pub fn liveness(&self) -> &Arc<Liveness> {
        &self.liveness
    }

    /// Goes on with another handle to the same stream.
    pub(crate) fn replace(&mut self, io: T) {
        self.io = io;
    }

    /// The stream below.
    pub fn get_ref(&self) -> &T {
        &self.io
    }
}

impl<T: AsyncRead + Unpin> AsyncRead for ReadAhead<T> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = &mut *self;
        if this.ahead.is_none() {
            let mut pending = false;
            let filled = Filled::with(|buffer| {
                let mut buffer = ReadBuf::new(buffer);
                match Pin::new(&mut this.io).poll_read(cx, &mut buffer) {
                    Poll::Ready(Ok(())) => Ok(buffer.filled().len()),
                    Poll::Ready(Err(error)) => Err(error),
                    Poll::Pending => {
                        pending = true;
                        Ok(0)
                    }
                }
            })?;
            if pending {
                return Poll::Pending;
            }
            match filled {
                None => return Poll::Ready(Ok(())),
                Some(filled) => {
                    this.liveness.received();
                    this.ahead = Some(filled);
                }
            }
        }
        if let Some(ahead) = &mut this.ahead {
            let bytes = ahead.bytes();
            let n = bytes.len().min(buf.remaining());
            buf.put_slice(bytes.get(..n).unwrap_or_default());
            ahead.advance(n);
            if ahead.is_empty() {
                this.ahead = None;
            }
        }
        Poll::Ready(Ok(()))
    }
}

impl<T: AsyncWrite + Unpin> AsyncWrite for ReadAhead<T> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write(cx, buf)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(Pin::new(&mut self.io).poll_flush(cx))?;
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(cx)
    }
}
