//! One substream: a byte stream each way, of one request or one connection.

use std::fmt;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Instant;

use bytes::Bytes;
use protocol::mux::{Broken, Key, Read, Write};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::shared::{Shared, State};

/// A substream of a session. Shutting it down sends FIN and leaves the other way open; dropping it before both ways have
/// ended resets it, though what was written and shut down still arrives.
///
/// An end (`Ok(0)`, `None`), a reset ([`io::ErrorKind::ConnectionReset`]) and the death of the session
/// ([`io::ErrorKind::ConnectionAborted`]) are three different things, whatever this end has done before. Bytes that came
/// before a reset or a death can still be read.
pub struct Substream {
    shared: Arc<Shared>,
    key: Key,
}

impl Substream {
    pub(super) fn new(shared: Arc<Shared>, key: Key) -> Self {
        Self { shared, key }
    }

    /// The next bytes as they came, without copying; `None` at the end.
    ///
    /// # Errors
    /// As for reading: see [`Substream`].
    pub fn poll_chunk(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<Option<Bytes>>> {
        self.poll_read_at_most(cx, usize::MAX)
    }

    /// As many of the next chunks as there are and as fit; none at the end.
    ///
    /// # Errors
    /// As for reading: see [`Substream`].
    pub fn poll_chunks(&mut self, cx: &mut Context<'_>, chunks: &mut [Bytes]) -> Poll<io::Result<usize>> {
        let key = self.key;
        self.shared.with(|state| {
            let mut taken = 0_usize;
            for place in chunks {
                match state.mux.read(key, usize::MAX) {
                    Read::Bytes(bytes) => {
                        *place = bytes;
                        taken = taken.saturating_add(1);
                    }
                    _ if taken > 0 => break,
                    other => return state.not_bytes(key, &other, cx).map_ok(|()| 0),
                }
            }
            Poll::Ready(Ok(taken))
        })
    }

    /// Puts bytes back that were read last and not used; of several chunks the last one first.
    pub fn unread(&mut self, chunk: Bytes) {
        if !chunk.is_empty() {
            self.shared.with(|state| state.mux.unread(self.key, chunk));
        }
    }

    /// Ready when there is room to write, which is then taken whole.
    ///
    /// # Errors
    /// As for writing: see [`Substream`].
    pub fn poll_write_ready(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let key = self.key;
        self.shared.with(|state| {
            let write = state.mux.poll_write(key);
            state.written(key, write, cx)
        })
    }

    /// Writes all of `bytes`, without copying, as soon as there is room for any.
    ///
    /// # Errors
    /// As for writing: see [`Substream`].
    pub fn poll_write_bytes(&mut self, cx: &mut Context<'_>, bytes: &mut Bytes) -> Poll<io::Result<()>> {
        let key = self.key;
        self.shared.with(|state| {
            if state.is_over {
                return Poll::Ready(Err(io::ErrorKind::ConnectionAborted.into()));
            }
            let write = state.mux.write(key, bytes);
            state.written(key, write, cx)
        })
    }

    /// Whether the peer has reset the substream or the session is over, even while bytes wait to be read. For those who
    /// can not read now because nobody takes what they read.
    #[must_use]
    pub fn is_broken(&self) -> bool {
        self.shared.with(|state| state.is_over || state.mux.broken(self.key).is_some())
    }

    /// As [`Substream::is_broken`]; if not, the task is woken when it breaks.
    pub fn poll_broken(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let key = self.key;
        self.shared.with(|state| {
            if state.is_over || state.mux.broken(key).is_some() {
                return Poll::Ready(());
            }
            state.mux.watch(key);
            state.read_later(key, cx);
            Poll::Pending
        })
    }

    /// As [`Substream::poll_broken`], but never if all that the peer wrote has come, to its end: that can still be read,
    /// whatever happened to the substream since.
    pub fn poll_cut(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if self.shared.with(|state| state.mux.is_whole(self.key)) {
            return Poll::Pending;
        }
        self.poll_broken(cx)
    }

    /// Ends this end's way behind what was written, and waits for nothing. Whether all of it will go out whatever the peer
    /// does and even if the substream is dropped; if not, [`AsyncWrite::poll_shutdown`] waits.
    pub fn end(&mut self) -> bool {
        let key = self.key;
        self.shared.with(|state| state.mux.finish(key) == Write::Ready && state.mux.needs_no_credit(key))
    }

    /// Resets the substream: the peer learns at once that this was no end. What it has not sent is not sent.
    pub fn reset(self) {
        self.shared.with(|state| state.mux.reset(self.key));
    }

    fn poll_read_at_most(&mut self, cx: &mut Context<'_>, max: usize) -> Poll<io::Result<Option<Bytes>>> {
        let key = self.key;
        self.shared.with(|state| match state.mux.read(key, max) {
            Read::Bytes(bytes) => Poll::Ready(Ok(Some(bytes))),
            other => state.not_bytes(key, &other, cx).map_ok(|()| None),
        })
    }
}

impl State {
    /// What a read means that brought no bytes; ready without an error is the end.
    fn not_bytes(&mut self, key: Key, read: &Read, cx: &Context<'_>) -> Poll<io::Result<()>> {
        match read {
            Read::Bytes(_) | Read::End => Poll::Ready(Ok(())),
            Read::Broken(broken) => Poll::Ready(Err(error_of(*broken))),
            Read::Blocked if self.is_over => Poll::Ready(Err(io::ErrorKind::ConnectionAborted.into())),
            Read::Blocked => {
                self.read_later(key, cx);
                Poll::Pending
            }
        }
    }

    /// Ready when all that was written has gone to the link.
    fn flushed(&mut self, key: Key, cx: &Context<'_>) -> Poll<io::Result<()>> {
        match self.mux.poll_flush(key) {
            // What came after does not matter.
            Write::Ready => Poll::Ready(Ok(())),
            write => self.written(key, write, cx),
        }
    }

    fn written(&mut self, key: Key, write: Write, cx: &Context<'_>) -> Poll<io::Result<()>> {
        match write {
            Write::Broken(broken) => Poll::Ready(Err(error_of(broken))),
            Write::Ready | Write::Blocked if self.is_over => {
                Poll::Ready(Err(io::ErrorKind::ConnectionAborted.into()))
            }
            Write::Ready => Poll::Ready(Ok(())),
            Write::Blocked => {
                self.write_later(key, cx);
                Poll::Pending
            }
        }
    }
}

fn error_of(broken: Broken) -> io::Error {
    let kind = match broken {
        Broken::ByPeer | Broken::OverBudget => io::ErrorKind::ConnectionReset,
        Broken::Here => io::ErrorKind::BrokenPipe,
    };
    io::Error::new(kind, broken)
}

impl AsyncRead for Substream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let room = buf.remaining();
        if room > 0
            && let Some(bytes) = ready!(self.poll_read_at_most(cx, room))?
        {
            buf.put_slice(&bytes);
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Substream {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        self.poll_write_vectored(cx, &[IoSlice::new(buf)])
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let key = self.key;
        self.shared.with(|state| {
            if state.is_over {
                return Poll::Ready(Err(io::ErrorKind::ConnectionAborted.into()));
            }
            let mut written = 0_usize;
            for buf in bufs.iter().filter(|buf| !buf.is_empty()) {
                let mut rest: &[u8] = buf;
                let write = state.mux.write_copy(key, &mut rest);
                let n = buf.len().saturating_sub(rest.len());
                written = written.saturating_add(n);
                if n == 0 && written == 0 {
                    return state.written(key, write, cx).map_ok(|()| 0);
                }
                if !rest.is_empty() {
                    break;
                }
            }
            Poll::Ready(Ok(written))
        })
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    /// Written bytes go without it. It waits until they have gone: a drop can not take them back then.
    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let key = self.key;
        self.shared.with(|state| state.flushed(key, cx))
    }

    /// Ends this end's way, and waits as [`Self::poll_flush`] does: a drop right behind it cuts nothing, however slowly the
    /// peer reads.
    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let key = self.key;
        self.shared.with(|state| match state.mux.finish(key) {
            // The link died before it could say so.
            Write::Ready if state.is_over && !state.mux.has_finished(key) => {
                Poll::Ready(Err(io::ErrorKind::ConnectionAborted.into()))
            }
            Write::Ready => state.flushed(key, cx),
            write => state.written(key, write, cx),
        })
    }
}

impl fmt::Debug for Substream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Substream({})", self.key.id())
    }
}

impl Drop for Substream {
    fn drop(&mut self) {
        self.shared.with(|state| {
            state.mux.release(self.key, Instant::now());
            state.forget(self.key);
        });
    }
}
