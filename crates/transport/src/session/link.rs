//! The TCP connection of a session, which does not wait for the kernel to say that there is room.
//!
//! Linux says so only once a third of the send buffer is free, whatever `TCP_NOTSENT_LOWAT` allows. On a long, fast link the
//! bytes on their way fill more of it than that, and the connection would run dry while it may take more (decision 0008).

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use socket2::SockRef;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::Instant;

use crate::deadline::Deadline;

/// How often a connection that takes nothing is asked again where that is of use: at 0.5 Gbit/s it sends in this time what
/// may wait in it.
const ASK_MIN: Duration = Duration::from_millis(1);
/// And where it is of no use.
const ASK_MAX: Duration = Duration::from_millis(16);

/// The TCP connection of a session.
#[derive(Debug)]
pub struct Link {
    stream: TcpStream,
    /// The time between two questions: halves when one is answered well, doubles when the kernel spoke first.
    ask: Duration,
    /// Since when nothing was taken.
    blocked: Option<Instant>,
    /// Set once and left to fire, which is cheaper than taking it back.
    timer: Deadline,
}

impl Link {
    /// Wraps a connection.
    #[must_use]
    pub fn new(stream: TcpStream) -> Self {
        Self { stream, ask: ASK_MAX, blocked: None, timer: Deadline::default() }
    }

    /// The connection.
    #[must_use]
    pub fn stream(&self) -> &TcpStream {
        &self.stream
    }

    /// `written` is what came of writing `bufs` if the kernel has said that there is room. If it has not, it is asked all
    /// the same, now and then.
    fn poll_ask(
        &mut self,
        written: Poll<io::Result<usize>>,
        bufs: &[IoSlice<'_>],
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<usize>> {
        if written.is_ready() {
            if self.blocked.take().is_some() {
                self.ask = self.ask.saturating_mul(2).min(ASK_MAX);
            }
            return written;
        }
        loop {
            let since = *self.blocked.get_or_insert_with(Instant::now);
            let Some(due) = since.checked_add(self.ask) else { return Poll::Pending };
            ready!(self.timer.poll(due, cx));
            self.blocked = None;
            match SockRef::from(&self.stream).send_vectored(bufs) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                sent => {
                    self.ask = (self.ask / 2).max(ASK_MIN);
                    return Poll::Ready(sent);
                }
            }
        }
    }
}

impl AsyncRead for Link {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buf)
    }
}

impl AsyncWrite for Link {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write(cx, buf);
        self.poll_ask(written, &[IoSlice::new(buf)], cx)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write_vectored(cx, bufs);
        self.poll_ask(written, bufs, cx)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpSocket;
    use tokio::time::timeout;

    use super::*;

    /// Writes until nothing is taken any more.
    async fn fill<W: AsyncWrite + Unpin>(writer: &mut W) {
        let piece = [0; 16 * 1024];
        while timeout(Duration::from_millis(100), writer.write(&piece)).await.is_ok() {}
    }

    /// A connection whose send buffer is full, but for what is left free by a reader that took a little.
    async fn nearly_full<W: AsyncWrite + Unpin>(wrap: impl Fn(TcpStream) -> W) -> (W, TcpStream) {
        let listener = TcpSocket::new_v4().unwrap();
        listener.set_recv_buffer_size(32 * 1024).unwrap();
        listener.bind("127.0.0.1:0".parse().unwrap()).unwrap();
        let listener = listener.listen(1).unwrap();
        let socket = TcpSocket::new_v4().unwrap();
        socket.set_send_buffer_size(200_000).unwrap();
        let stream = socket.connect(listener.local_addr().unwrap()).await.unwrap();
        let (mut reader, _) = listener.accept().await.unwrap();
        let mut writer = wrap(stream);
        fill(&mut writer).await;
        let mut some = vec![0; 96 * 1024];
        reader.read_exact(&mut some).await.unwrap();
        (writer, reader)
    }

    #[tokio::test]
    async fn room_is_found_that_the_kernel_does_not_speak_of() {
        let soon = Duration::from_millis(500);
        let (mut bare, _reader) = nearly_full(|stream| stream).await;
        timeout(soon, bare.write(b"!"))
            .await
            .expect_err("Linux says nothing; if it does, nobody needs to ask");
        let (mut link, _reader) = nearly_full(Link::new).await;
        assert_eq!(timeout(soon, link.write(b"!")).await.unwrap().unwrap(), 1);
    }

    #[tokio::test]
    async fn a_break_is_found_too() {
        let (mut link, reader) = nearly_full(Link::new).await;
        fill(&mut link).await;
        crate::socket::abort(reader);
        timeout(Duration::from_secs(5), link.write(b"!")).await.unwrap().unwrap_err();
    }
}
