//! Fields behind a chunked body of HTTP/1.1 (RFC 9112 section 7.1.2). hyper writes only those that the head has announced,
//! and senders need not announce any: here they are put into the last chunk as it leaves.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, ready};

use bytes::{Buf, BytesMut};
use http::HeaderMap;
use parking_lot::Mutex;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// What hyper ends a chunked body with.
const END: &[u8] = b"0\r\n\r\n";
const LINE_END: &[u8] = b"\r\n";

/// The fields behind the message that is being written, shared by its body and its connection.
#[derive(Debug, Clone, Default)]
pub(crate) struct LastChunk(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    /// Whether there are any: asked for every write.
    there: AtomicBool,
    fields: Mutex<BytesMut>,
}

impl LastChunk {
    /// The body has ended, and these stand behind it. To be called when hyper is told of the end and not before, so that the
    /// next that it flushes ends with the last chunk.
    pub(crate) fn set(&self, trailers: &HeaderMap) {
        let mut fields = BytesMut::new();
        for (name, value) in trailers {
            for part in [name.as_str().as_bytes(), b": ", value.as_bytes(), LINE_END] {
                fields.extend_from_slice(part);
            }
        }
        *self.0.fields.lock() = fields;
        self.0.there.store(true, Ordering::Release);
    }

    /// Another message begins: what was behind the one before is not behind this one.
    pub(crate) fn begin(&self) {
        self.0.there.store(false, Ordering::Release);
    }

    fn is_set(&self) -> bool {
        self.0.there.load(Ordering::Acquire)
    }

    fn take(&self) -> Option<BytesMut> {
        self.0.there.swap(false, Ordering::AcqRel).then(|| std::mem::take(&mut *self.0.fields.lock()))
    }
}

/// A connection on which hyper writes.
#[derive(Debug)]
pub(crate) struct Trailing<I> {
    io: I,
    last: LastChunk,
    /// Written by hyper since the fields were there: it ends with the last chunk once it is flushed.
    held: BytesMut,
    /// The fields are in it.
    whole: bool,
}

impl<I> Trailing<I> {
    /// Puts the fields of `last` into what is written to `io`.
    pub(crate) fn new(io: I, last: LastChunk) -> Self {
        Self { io, last, held: BytesMut::new(), whole: false }
    }

    /// The connection, once its last message has been flushed.
    pub(crate) fn into_inner(self) -> I {
        self.io
    }

    fn complete(&mut self) {
        if self.whole || self.held.is_empty() {
            return;
        }
        self.whole = true;
        if let Some(fields) = self.last.take()
            && self.held.ends_with(END)
        {
            self.held.truncate(self.held.len().saturating_sub(LINE_END.len()));
            self.held.extend_from_slice(&fields);
            self.held.extend_from_slice(LINE_END);
        }
    }
}

impl<I: AsyncWrite + Unpin> Trailing<I> {
    /// Writes what was held.
    fn poll_held(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.complete();
        while !self.held.is_empty() {
            let written = ready!(Pin::new(&mut self.io).poll_write(cx, &self.held))?;
            if written == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.held.advance(written);
        }
        if self.whole {
            // An idle connection keeps no memory.
            (self.held, self.whole) = (BytesMut::new(), false);
        }
        Poll::Ready(Ok(()))
    }
}

impl<I: AsyncRead + Unpin> AsyncRead for Trailing<I> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_read(cx, buf)
    }
}

impl<I: AsyncWrite + Unpin> AsyncWrite for Trailing<I> {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        self.poll_write_vectored(cx, &[IoSlice::new(buf)])
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        if self.whole {
            ready!(self.poll_held(cx))?;
        }
        if self.held.is_empty() && !self.last.is_set() {
            return Pin::new(&mut self.io).poll_write_vectored(cx, bufs);
        }
        // The rest of a message, which hyper has in memory as well.
        let before = self.held.len();
        bufs.iter().for_each(|buf| self.held.extend_from_slice(buf));
        Poll::Ready(Ok(self.held.len().saturating_sub(before)))
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_held(cx))?;
        Pin::new(&mut self.io).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_held(cx))?;
        Pin::new(&mut self.io).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use http::{HeaderName, HeaderValue};
    use tokio::io::AsyncWriteExt;

    use super::*;

    fn trailers() -> HeaderMap {
        let value = HeaderValue::from_static("7");
        HeaderMap::from_iter([(HeaderName::from_static("x-sum"), value)])
    }

    #[tokio::test]
    async fn fields_stand_in_the_last_chunk_and_nowhere_else() {
        let last = LastChunk::default();
        let mut io = Trailing::new(Vec::new(), last.clone());
        io.write_all(b"4\r\n00\r\n\r\n").await.unwrap();
        io.flush().await.unwrap();
        last.set(&trailers());
        // What hyper had not written yet, which ends like a last chunk itself.
        io.write_all(b"5\r\n0\r\n\r\n\r\n").await.unwrap();
        io.write_all(b"0\r\n").await.unwrap();
        io.write_all(b"\r\n").await.unwrap();
        io.flush().await.unwrap();
        io.write_all(b"next").await.unwrap();
        io.flush().await.unwrap();
        assert_eq!(io.io, b"4\r\n00\r\n\r\n5\r\n0\r\n\r\n\r\n0\r\nx-sum: 7\r\n\r\nnext");
    }

    #[tokio::test]
    async fn fields_of_one_message_are_never_behind_another() {
        let last = LastChunk::default();
        let mut io = Trailing::new(Vec::new(), last.clone());
        last.set(&trailers());
        last.begin();
        io.write_all(END).await.unwrap();
        io.flush().await.unwrap();
        last.set(&trailers());
        // A body of a stated length has no last chunk.
        io.write_all(b"hello").await.unwrap();
        io.flush().await.unwrap();
        io.write_all(END).await.unwrap();
        io.flush().await.unwrap();
        assert_eq!(io.io, b"0\r\n\r\nhello0\r\n\r\n");
    }
}
