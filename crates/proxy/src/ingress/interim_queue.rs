//! A visitor's connection of HTTP/1.1, into which interim responses are put between the responses that hyper writes.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, ready};

use bytes::{Buf, Bytes, BytesMut};
use parking_lot::Mutex;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// The interim responses of the current request, as they are to be written.
#[derive(Debug, Default)]
pub(super) struct InterimQueue {
    bytes: Mutex<BytesMut>,
    /// Whether there are any. Both ends are polled by one task: this saves it the lock.
    waits: AtomicBool,
    /// hyper has the response: it may have written the head of it.
    answered: AtomicBool,
}

impl InterimQueue {
    /// A request begins; what belongs to the one before comes too late.
    pub(super) fn begin(&self) {
        drop(self.take());
        self.answered.store(false, Ordering::Release);
    }

    /// hyper gets the response.
    pub(super) fn answered(&self) {
        self.answered.store(true, Ordering::Release);
    }

    /// Another one is to be written.
    pub(super) fn push(&self, head: &[u8]) {
        self.bytes.lock().extend_from_slice(head);
        self.waits.store(true, Ordering::Release);
    }

    fn take(&self) -> Bytes {
        if self.waits.swap(false, Ordering::AcqRel) {
            return std::mem::take(&mut *self.bytes.lock()).freeze();
        }
        Bytes::new()
    }
}

/// The connection as hyper sees it. hyper asks for a flush when it has nothing unwritten, and each time it has done what it
/// can; between that and what it writes next there is no response that could be torn apart.
#[derive(Debug)]
pub(super) struct Interposed<I> {
    io: I,
    queue: Arc<InterimQueue>,
    /// An interim response that was begun.
    writing: Bytes,
    /// hyper has written nothing since it had nothing unwritten: what it writes next is the head of the current response,
    /// or a 100.
    between: bool,
}

impl<I: AsyncWrite + Unpin> Interposed<I> {
    /// Puts into `io` what comes into `queue`.
    pub(super) const fn new(io: I, queue: Arc<InterimQueue>) -> Self {
        Self { io, queue, writing: Bytes::new(), between: true }
    }

    fn poll_writing(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while !self.writing.is_empty() {
            let written = ready!(Pin::new(&mut self.io).poll_write(cx, &self.writing))?;
            if written == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.writing.advance(written);
        }
        Poll::Ready(Ok(()))
    }

    /// Before hyper writes.
    fn poll_ahead(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        loop {
            ready!(self.poll_writing(cx))?;
            if self.between {
                self.writing = self.queue.take();
            }
            if self.writing.is_empty() {
                self.between = false;
                return Poll::Ready(Ok(()));
            }
        }
    }
}

impl<I: AsyncRead + Unpin> AsyncRead for Interposed<I> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_read(cx, buf)
    }
}

impl<I: AsyncWrite + Unpin> AsyncWrite for Interposed<I> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        ready!(self.poll_ahead(cx))?;
        Pin::new(&mut self.io).poll_write(cx, buf)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        ready!(self.poll_ahead(cx))?;
        Pin::new(&mut self.io).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = &mut *self;
        ready!(this.poll_writing(cx))?;
        this.between = true;
        let waiting = this.queue.take();
        // Behind the head of its response it comes too late.
        if !this.queue.answered.load(Ordering::Acquire) {
            this.writing = waiting;
            ready!(this.poll_writing(cx))?;
        }
        Pin::new(&mut this.io).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;
    use std::time::Duration;

    use http::{Request, Response};
    use http_body_util::Full;
    use hyper::body::Incoming;
    use hyper::server::conn::http1;
    use hyper::service::service_fn;
    use hyper_util::rt::TokioIo;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::sync::Notify;
    use tokio::time::timeout;

    use super::*;

    #[tokio::test]
    async fn nothing_comes_into_the_middle_of_a_response() {
        let (ours, mut visitor) = tokio::io::duplex(1024);
        let queue = Arc::new(InterimQueue::default());
        let mut io = Interposed::new(ours, queue.clone());
        queue.begin();
        queue.push(b"[1]");
        io.flush().await.unwrap();
        queue.push(b"[2]");
        queue.answered();
        io.write_all(b"head ").await.unwrap();
        // Too late, whoever says so.
        queue.push(b"[3]");
        io.write_all(b"body ").await.unwrap();
        io.flush().await.unwrap();
        queue.begin();
        io.write_all(b"rest ").await.unwrap();
        // What comes before may not be whole yet.
        queue.push(b"[4]");
        io.write_all(b"of it ").await.unwrap();
        io.flush().await.unwrap();
        drop(io);
        let mut seen = String::new();
        visitor.read_to_string(&mut seen).await.unwrap();
        assert_eq!(seen, "[1][2]head body rest of it [4]");
    }

    #[tokio::test]
    async fn one_that_was_begun_is_written_to_its_end() {
        let (ours, mut visitor) = tokio::io::duplex(2);
        let queue = Arc::new(InterimQueue::default());
        let mut io = Interposed::new(ours, queue.clone());
        queue.begin();
        queue.push(b"[interim]");
        assert!(futures_util::poll!(Box::pin(io.flush())).is_pending());
        queue.answered();
        let mut seen = String::new();
        let writing = async {
            io.write_all(b"head").await.unwrap();
            io.flush().await.unwrap();
            drop(io);
        };
        let (_, read) = tokio::join!(writing, visitor.read_to_string(&mut seen));
        read.unwrap();
        assert_eq!(seen, "[interim]head");
    }

    /// Two pipelined requests, while most of the first response waits in hyper's buffer; the second is answered at once, or
    /// when the visitor has read so much.
    async fn pipelined(at: Option<usize>) -> String {
        let (ours, mut visitor) = tokio::io::duplex(1024);
        let queue = Arc::new(InterimQueue::default());
        let read = Arc::new(Notify::new());
        let service = service_fn(|request: Request<Incoming>| {
            queue.begin();
            let (queue, read) = (queue.clone(), read.clone());
            async move {
                let mut response = Response::new(Full::new(Bytes::from_static(b"two")));
                if request.uri() == "/1" {
                    *response.body_mut() = Full::new(vec![b'1'; 10_000].into());
                } else {
                    queue.push(b"[interim]");
                    if at.is_some() {
                        // hyper does what it can in between.
                        read.notified().await;
                    }
                }
                response.headers_mut().insert("date", "x".parse().unwrap());
                queue.answered();
                Ok::<_, Infallible>(response)
            }
        });
        let io = Interposed::new(ours, queue.clone());
        let serving = http1::Builder::new().serve_connection(TokioIo::new(io), service);
        let visiting = async {
            let head = |path| format!("GET {path} HTTP/1.1\r\nHost: a\r\n");
            let requests = [head("/1"), "\r\n".into(), head("/2"), "Connection: close\r\n\r\n".into()];
            visitor.write_all(requests.concat().as_bytes()).await.unwrap();
            let mut seen = vec![0; at.unwrap_or(0)];
            visitor.read_exact(&mut seen).await.unwrap();
            read.notify_one();
            visitor.read_to_end(&mut seen).await.unwrap();
            String::from_utf8(seen).unwrap()
        };
        let both = async { tokio::join!(serving, visiting) };
        let (served, seen) = timeout(Duration::from_secs(10), both).await.unwrap();
        served.unwrap();
        seen
    }

    #[tokio::test]
    async fn a_response_that_waits_in_hyper_is_not_torn_apart() {
        let first =
            format!("HTTP/1.1 200 OK\r\ndate: x\r\ncontent-length: 10000\r\n\r\n{}", "1".repeat(10_000));
        let before = |seen: String| {
            let (before, second) = seen.split_at(seen.rfind("HTTP/1.1 200 OK\r\n").unwrap());
            assert!(second.ends_with("\r\n\r\ntwo"), "{second}");
            before.to_owned()
        };
        let both = first + "[interim]";
        for at in [None, Some(both.len())] {
            assert_eq!(before(pipelined(at).await), both);
        }
    }
}
