//! A connection to an HTTP service.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};

use hyper_util::client::legacy::connect::{Connected, Connection};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_rustls::client::TlsStream;
use transport::relay::LocalStream;
use transport::socket;

use crate::poison::Poison;

/// Tells an exchange which connection it is on, so that it can make its close a reset.
#[derive(Debug, Clone, Default)]
pub(crate) struct ServiceTap {
    poison: Poison,
    /// Counts the exchanges.
    turns: Arc<AtomicU64>,
}

/// One exchange's hold on its connection, which ends when the next exchange gets one.
#[derive(Debug)]
pub(crate) struct Turn {
    tap: ServiceTap,
    number: u64,
}

impl ServiceTap {
    /// The next exchange begins.
    pub(crate) fn take_turn(self) -> Turn {
        let number = self.turns.fetch_add(1, Ordering::AcqRel).wrapping_add(1);
        // What became of the one before does not concern it.
        self.poison.clear();
        Turn { tap: self, number }
    }
}

impl Turn {
    /// Whether `tap` is that of the same connection.
    pub(crate) fn is_on(&self, tap: &ServiceTap) -> bool {
        Arc::ptr_eq(&self.tap.turns, &tap.turns)
    }

    /// The coming close of the connection is a reset, unless another exchange has it.
    pub(crate) fn poison(&self) {
        if self.tap.turns.load(Ordering::Acquire) == self.number {
            self.tap.poison.apply();
        }
    }

    /// The connection becomes one of its own, whose end the poison decides.
    pub(crate) fn switch(self) -> Poison {
        self.tap.poison
    }
}

/// A connection to a service that ends with a reset if the exchange on it was broken off.
#[derive(Debug)]
pub(crate) struct ServiceIo {
    stream: Stream,
    tap: ServiceTap,
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
        Self { stream: Stream::Plain(stream), tap: ServiceTap::default() }
    }
}

impl From<TlsStream<LocalStream>> for ServiceIo {
    fn from(stream: TlsStream<LocalStream>) -> Self {
        Self { stream: Stream::Tls(Box::new(stream)), tap: ServiceTap::default() }
    }
}

impl Connection for ServiceIo {
    fn connected(&self) -> Connected {
        Connected::new().extra(self.tap.clone())
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
        if self.tap.poison.is_applied() {
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
            && self.tap.poison.is_applied()
        {
            // A failure means that the service was faster: there is nobody left to tell.
            drop(socket::reset_on_close(stream));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_exchange_poisons_only_its_own_turn() {
        let tap = ServiceTap::default();
        let first = tap.clone().take_turn();
        let second = tap.clone().take_turn();
        first.poison();
        assert!(!tap.poison.is_applied());
        second.poison();
        assert!(tap.poison.is_applied());
        let third = tap.clone().take_turn();
        assert!(third.is_on(&tap) && !third.is_on(&ServiceTap::default()));
        assert!(!third.switch().is_applied());
    }
}
