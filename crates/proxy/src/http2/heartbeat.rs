//! Whether the other end of a silent connection is still there.

use std::future::poll_fn;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use h2::{Ping, PingPong};
use parking_lot::Mutex;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, sleep, sleep_until};

/// When the other end was last heard, whatever it said: an answer behind a full link is as good as a pong.
#[derive(Debug, Clone)]
pub(crate) struct Heard(Arc<Mutex<Instant>>);

impl Heard {
    /// From now on.
    pub(crate) fn now() -> Self {
        Self(Arc::new(Mutex::new(Instant::now())))
    }

    fn last(&self) -> Instant {
        *self.0.lock()
    }
}

/// A connection that notes when bytes come.
#[derive(Debug)]
pub(crate) struct Listened<I> {
    io: I,
    heard: Heard,
}

impl<I> Listened<I> {
    /// Notes in `heard` what comes on `io`.
    pub(crate) const fn new(io: I, heard: Heard) -> Self {
        Self { io, heard }
    }
}

impl<I: AsyncRead + Unpin> AsyncRead for Listened<I> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        ready!(Pin::new(&mut self.io).poll_read(cx, buf))?;
        if buf.filled().len() > before {
            *self.heard.0.lock() = Instant::now();
        }
        Poll::Ready(Ok(()))
    }
}

impl<I: AsyncWrite + Unpin> AsyncWrite for Listened<I> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write(cx, buf)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(cx)
    }
}

/// Asks the other end with a ping when it has been silent.
pub(crate) struct Heartbeat {
    pings: PingPong,
    heard: Heard,
}

impl Heartbeat {
    /// Asks with `pings` when nothing was `heard`.
    pub(crate) const fn new(pings: PingPong, heard: Heard) -> Self {
        Self { pings, heard }
    }

    /// Returns when the other end was silent for `limit`, was asked, and was silent for as long again. It is asked only
    /// while the connection `carries` something.
    pub(crate) async fn lost(mut self, limit: Duration, carries: impl Fn() -> bool) {
        let mut asked = None;
        loop {
            let last = self.heard.last();
            let unanswered = asked.filter(|asked| *asked > last);
            let Some(due) = unanswered.unwrap_or(last).checked_add(limit) else {
                return std::future::pending().await;
            };
            if due > Instant::now() {
                sleep_until(due).await;
            } else if unanswered.is_some() {
                return;
            } else if carries() {
                self.ask().await;
                asked = Some(Instant::now());
            } else {
                sleep(limit).await;
            }
        }
    }

    async fn ask(&mut self) {
        // Another ping may be sent once the answer to the last one was taken. If it has not come, it will do for this one
        // too; and whoever drives a connection that has ended knows it.
        let _ = poll_fn(|cx| Poll::Ready(self.pings.poll_pong(cx).is_ready())).await;
        let _ = self.pings.send_ping(Ping::opaque());
    }
}

#[cfg(test)]
mod tests {
    use std::pin::pin;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_peer_that_answers_is_there_and_one_that_is_silent_is_not() {
        const LIMIT: Duration = Duration::from_secs(20);
        let (near, far) = tokio::io::duplex(4096);
        let heard = Heard::now();
        let near = h2::client::handshake(Listened::new(near, heard.clone()));
        let (near, far) = tokio::join!(near, h2::server::handshake(far));
        let ((_sender, mut near), mut far) = (near.unwrap(), far.unwrap());
        let pings = near.ping_pong().unwrap();
        let mut lost = pin!(Heartbeat::new(pings, heard).lost(LIMIT, || true));
        let started = Instant::now();
        tokio::select! {
            () = lost.as_mut() => panic!("lost after {:?}", started.elapsed()),
            _ = &mut near => panic!("the connection ended"),
            _ = far.accept() => panic!("the connection ended"),
            () = sleep(10 * LIMIT) => {}
        }
        // It is there, and nobody looks.
        let silent = Instant::now();
        tokio::select! {
            () = lost.as_mut() => {}
            _ = &mut near => panic!("the connection ended"),
        }
        assert!((LIMIT..=2 * LIMIT).contains(&silent.elapsed()), "{:?}", silent.elapsed());
    }

    #[tokio::test(start_paused = true)]
    async fn a_connection_that_carries_nothing_is_left_alone() {
        let limit = Duration::from_secs(20);
        let (near, _far) = tokio::io::duplex(4096);
        let heard = Heard::now();
        let (_sender, mut near) = h2::client::handshake(Listened::new(near, heard.clone())).await.unwrap();
        let pings = near.ping_pong().unwrap();
        tokio::select! {
            () = Heartbeat::new(pings, heard).lost(limit, || false) => panic!("lost"),
            _ = &mut near => panic!("the connection ended"),
            () = sleep(10 * limit) => {}
        }
    }
}
