//! A connection to an HTTP service.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_rustls::client::TlsStream;
use transport::relay::LocalStream;
use transport::socket;

use crate::poison::Poison;

/// A connection to a service that ends with a reset if the exchange on it was broken off.
#[derive(Debug)]
pub(crate) struct ServiceIo {
    stream: Stream,
    poison: Poison,
    /// Whether all that was written has left.
    flushed: Arc<AtomicBool>,
    /// The service reads no more. What it said before can still be read, and is followed by why.
    deaf: bool,
}

#[derive(Debug)]
enum Stream {
    Plain(LocalStream),
    Tls(Box<TlsStream<LocalStream>>),
}

impl Stream {
    fn socket(&self) -> &LocalStream {
        match self {
            Self::Plain(stream) => stream,
            Self::Tls(stream) => stream.get_ref().0,
        }
    }
}

impl From<LocalStream> for ServiceIo {
    fn from(stream: LocalStream) -> Self {
        Self::new(Stream::Plain(stream))
    }
}

impl From<TlsStream<LocalStream>> for ServiceIo {
    fn from(stream: TlsStream<LocalStream>) -> Self {
        Self::new(Stream::Tls(Box::new(stream)))
    }
}

impl ServiceIo {
    fn new(stream: Stream) -> Self {
        Self { stream, poison: Poison::default(), flushed: Arc::new(AtomicBool::new(true)), deaf: false }
    }

    /// Whether all that was written has left.
    pub(super) fn flushed(&self) -> Arc<AtomicBool> {
        self.flushed.clone()
    }

    /// Decides how it ends.
    pub(super) fn poison(&self) -> Poison {
        self.poison.clone()
    }
}

impl AsyncRead for ServiceIo {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match &mut self.stream {
            Stream::Plain(stream) => Pin::new(stream).poll_read(cx, buf),
            Stream::Tls(stream) => Pin::new(stream).poll_read(cx, buf),
        }
    }
}

impl AsyncWrite for ServiceIo {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        self.poll_write_vectored(cx, &[IoSlice::new(buf)])
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = &mut *self;
        this.flushed.store(false, Ordering::Relaxed);
        let all = bufs.iter().fold(0, |length: usize, buf| length.saturating_add(buf.len()));
        if this.deaf {
            return Poll::Ready(Ok(all));
        }
        let written = match &mut this.stream {
            Stream::Plain(stream) => Pin::new(stream).poll_write_vectored(cx, bufs),
            Stream::Tls(stream) => Pin::new(stream).poll_write_vectored(cx, bufs),
        };
        match written {
            Poll::Ready(Err(error)) if is_deaf(&error) => {
                this.deaf = true;
                Poll::Ready(Ok(all))
            }
            written => written,
        }
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = &mut *self;
        if this.deaf {
            return Poll::Ready(Ok(()));
        }
        let flushed = ready!(match &mut this.stream {
            Stream::Plain(stream) => Pin::new(stream).poll_flush(cx),
            Stream::Tls(stream) => Pin::new(stream).poll_flush(cx),
        });
        match flushed {
            Err(error) if is_deaf(&error) => this.deaf = true,
            Err(error) => return Poll::Ready(Err(error)),
            Ok(()) => this.flushed.store(true, Ordering::Relaxed),
        }
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.poison.is_applied() || self.deaf {
            return Poll::Ready(Ok(()));
        }
        match &mut self.stream {
            Stream::Plain(stream) => Pin::new(stream).poll_shutdown(cx),
            Stream::Tls(stream) => Pin::new(stream).poll_shutdown(cx),
        }
    }
}

/// Whether a service reads no more: it may have answered before it closed, and that can still be read.
fn is_deaf(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::BrokenPipe | io::ErrorKind::ConnectionReset)
}

impl Drop for ServiceIo {
    fn drop(&mut self) {
        if let LocalStream::Tcp(stream) = self.stream.socket()
            && self.poison.is_applied()
        {
            // A failure means that the service was faster: there is nobody left to tell.
            drop(socket::reset_on_close(stream));
        }
    }
}
