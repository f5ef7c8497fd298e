//! A pooled connection to an HTTP service.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll};

use hyper_util::client::legacy::connect::{Connected, Connection};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpStream, UnixStream};
use transport::relay::LocalStream;
use transport::socket;

use crate::poison::Poison;

/// Tells an exchange which connection it is on, so that it can make its close a reset.
#[derive(Debug, Clone)]
pub(crate) struct ServiceTap(pub(crate) Poison);

/// A connection to a service that ends with a reset if the exchange on it was broken off.
#[derive(Debug)]
pub(crate) struct ServiceIo {
    socket: Socket,
    poison: Poison,
}

#[derive(Debug)]
enum Socket {
    Tcp(TcpStream),
    Unix(UnixStream),
}

impl From<LocalStream> for ServiceIo {
    fn from(stream: LocalStream) -> Self {
        let socket = match stream {
            LocalStream::Tcp(stream) => Socket::Tcp(stream),
            LocalStream::Unix(stream) => Socket::Unix(stream),
        };
        Self { socket, poison: Poison::default() }
    }
}

impl Connection for ServiceIo {
    fn connected(&self) -> Connected {
        Connected::new().extra(ServiceTap(self.poison.clone()))
    }
}

impl AsyncRead for ServiceIo {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match &mut self.socket {
            Socket::Tcp(stream) => Pin::new(stream).poll_read(cx, buf),
            Socket::Unix(stream) => Pin::new(stream).poll_read(cx, buf),
        }
    }
}

impl AsyncWrite for ServiceIo {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        match &mut self.socket {
            Socket::Tcp(stream) => Pin::new(stream).poll_write(cx, buf),
            Socket::Unix(stream) => Pin::new(stream).poll_write(cx, buf),
        }
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match &mut self.socket {
            Socket::Tcp(stream) => Pin::new(stream).poll_write_vectored(cx, bufs),
            Socket::Unix(stream) => Pin::new(stream).poll_write_vectored(cx, bufs),
        }
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.poison.is_applied() {
            return Poll::Ready(Ok(()));
        }
        match &mut self.socket {
            Socket::Tcp(stream) => Pin::new(stream).poll_shutdown(cx),
            Socket::Unix(stream) => Pin::new(stream).poll_shutdown(cx),
        }
    }
}

impl Drop for ServiceIo {
    fn drop(&mut self) {
        if let Socket::Tcp(stream) = &self.socket
            && self.poison.is_applied()
        {
            // A failure means that the service was faster: there is nobody left to tell.
            drop(socket::reset_on_close(stream));
        }
    }
}
