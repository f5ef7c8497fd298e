//! A connection to an HTTP service.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll};

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
        Self { stream: Stream::Plain(stream), poison: Poison::default() }
    }
}

impl From<TlsStream<LocalStream>> for ServiceIo {
    fn from(stream: TlsStream<LocalStream>) -> Self {
        Self { stream: Stream::Tls(Box::new(stream)), poison: Poison::default() }
    }
}

impl ServiceIo {
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
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        match &mut self.stream {
            Stream::Plain(stream) => Pin::new(stream).poll_write(cx, buf),
            Stream::Tls(stream) => Pin::new(stream).poll_write(cx, buf),
        }
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match &mut self.stream {
            Stream::Plain(stream) => Pin::new(stream).poll_write_vectored(cx, bufs),
            Stream::Tls(stream) => Pin::new(stream).poll_write_vectored(cx, bufs),
        }
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.stream {
            Stream::Plain(stream) => Pin::new(stream).poll_flush(cx),
            Stream::Tls(stream) => Pin::new(stream).poll_flush(cx),
        }
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.poison.is_applied() {
            return Poll::Ready(Ok(()));
        }
        match &mut self.stream {
            Stream::Plain(stream) => Pin::new(stream).poll_shutdown(cx),
            Stream::Tls(stream) => Pin::new(stream).poll_shutdown(cx),
        }
    }
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
