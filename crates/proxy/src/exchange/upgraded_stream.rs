//! A stream of HTTP/2 after an extended CONNECT, whose ends are told apart (RFC 8441 section 5).

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use hyper::upgrade::Upgraded;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::ingress::Stream;

/// The visitor's bytes. Dropping it before it was shut down resets the stream, so that what was cut never looks complete.
#[derive(Debug)]
pub(super) struct UpgradedStream {
    io: TokioIo<Upgraded>,
    stream: Arc<Stream>,
    /// The visitor has ended its way, or reset the stream.
    heard_end: bool,
    /// Our way is being ended.
    ending: bool,
    ended: bool,
}

impl UpgradedStream {
    pub(super) const fn new(io: TokioIo<Upgraded>, stream: Arc<Stream>) -> Self {
        Self { io, stream, heard_end: false, ending: false, ended: false }
    }
}

impl AsyncRead for UpgradedStream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if !self.heard_end {
            let before = buf.filled().len();
            ready!(Pin::new(&mut self.io).poll_read(cx, buf))?;
            if buf.filled().len() > before {
                return Poll::Ready(Ok(()));
            }
            self.heard_end = true;
        }
        // Once our way has ended nobody is left who could tell.
        if self.ending || ready!(self.stream.poll_alive(cx)) {
            return Poll::Ready(Ok(()));
        }
        Poll::Ready(Err(io::ErrorKind::ConnectionReset.into()))
    }
}

impl AsyncWrite for UpgradedStream {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.ending = true;
        ready!(Pin::new(&mut self.io).poll_shutdown(cx))?;
        self.ended = true;
        Poll::Ready(Ok(()))
    }
}

impl Drop for UpgradedStream {
    fn drop(&mut self) {
        if !self.ended {
            self.stream.poison().apply();
        }
    }
}
