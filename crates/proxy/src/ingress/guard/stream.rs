//! A visitor's connection with the guard before it.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::{Buf, BytesMut};
use ops::metrics::{GuardReason, Metrics};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_util::io::poll_read_buf;

use super::requests::{Requests, Verdict};
use crate::error::Fault;
use crate::ingress::visitor::VisitorState;

/// Stands where a bad head was: hyper makes a request of it, in its turn, and the ingress answers that with the fault.
/// It has no `Host`, so that it would be refused wherever it came.
const IN_PLACE: &[u8] = b"GET / HTTP/1.1\r\n\r\n";
/// Bytes read at once behind those that are held back.
const READ: usize = 8 * 1024;
/// Bytes held back behind a last request; what is further back waits in the socket.
const BEHIND_LAST_MAX: usize = 16 * 1024;

/// What the guard does with what it reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mode {
    /// Follows the requests.
    Following,
    /// The last request has passed: what comes behind it waits for a 101.
    Last,
    /// Nothing passes any more: the head is answered.
    Refused,
    /// The body is broken, and whoever reads it is told.
    Broken,
    /// After a 101.
    Switched,
}

/// A visitor's connection, of which only whole and unambiguous heads are read, and bodies that are what their framing
/// says. Bytes are read in place; a head or a line that is not whole yet is held back.
#[derive(Debug)]
pub(in crate::ingress) struct Guarded<I> {
    io: I,
    requests: Requests,
    mode: Mode,
    /// Bytes that were read and not handed on.
    held: BytesMut,
    /// So many of them may pass.
    passed: usize,
    state: Arc<VisitorState>,
    metrics: Metrics,
}

impl<I: AsyncRead + Unpin> Guarded<I> {
    /// A guard before `io`, whose requests share `state`.
    pub(in crate::ingress) fn new(io: I, state: Arc<VisitorState>, metrics: Metrics) -> Self {
        let (requests, mode) = (Requests::default(), Mode::Following);
        Self { io, requests, mode, held: BytesMut::new(), passed: 0, state, metrics }
    }

    /// Hands on what may pass of the bytes that are held.
    fn hand_on(&mut self, buf: &mut ReadBuf<'_>) {
        let len = self.passed.min(buf.remaining());
        let (passed, _) = self.held.split_at_checked(len).unwrap_or_default();
        buf.put_slice(passed);
        self.held.advance(len);
        self.passed = self.passed.saturating_sub(len);
        if self.held.is_empty() {
            // An idle connection keeps no memory.
            self.held = BytesMut::new();
        }
    }

    /// Reads into `buf` and takes from it what may not pass.
    fn poll_in_place(&mut self, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<usize>> {
        let before = buf.filled().len();
        ready!(Pin::new(&mut self.io).poll_read(cx, buf))?;
        let fresh = buf.filled().get(before..).unwrap_or_default();
        let read = fresh.len();
        let step = self.requests.advance(fresh);
        if step.pass < read {
            self.held.extend_from_slice(fresh.get(step.pass..).unwrap_or_default());
            buf.set_filled(before.saturating_add(step.pass));
        }
        self.judge(step.verdict);
        Poll::Ready(Ok(read))
    }

    /// Reads behind the bytes that are held.
    fn poll_held(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        self.held.reserve(READ);
        let read = ready!(poll_read_buf(Pin::new(&mut self.io), cx, &mut self.held))?;
        if self.mode == Mode::Following {
            let step = self.requests.advance(&self.held);
            self.passed = step.pass;
            self.judge(step.verdict);
        }
        Poll::Ready(Ok(read))
    }

    fn judge(&mut self, verdict: Verdict) {
        if self.requests.is_last() {
            self.state.end_with(self.requests.heads());
        }
        match verdict {
            Verdict::Open => {}
            Verdict::Over => self.mode = Mode::Last,
            Verdict::BadHead(fault) => {
                self.mode = Mode::Refused;
                self.held.truncate(self.passed);
                self.held.extend_from_slice(IN_PLACE);
                self.passed = self.held.len();
                self.state.refuse(self.requests.heads().saturating_add(1), fault);
                let large = matches!(fault, Fault::Fields | Fault::Target);
                self.metrics.guard_closed(if large { GuardReason::LargeHead } else { GuardReason::BadHead });
            }
            Verdict::BadBody => {
                self.mode = Mode::Broken;
                self.held.truncate(self.passed);
                self.metrics.guard_closed(GuardReason::BadBody);
            }
        }
    }
}

impl<I: AsyncRead + Unpin> AsyncRead for Guarded<I> {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let before = buf.filled().len();
        loop {
            if this.passed > 0 {
                this.hand_on(buf);
                return Poll::Ready(Ok(()));
            }
            let read = match this.mode {
                Mode::Following if this.held.is_empty() => ready!(this.poll_in_place(cx, buf))?,
                Mode::Following => ready!(this.poll_held(cx))?,
                Mode::Last if this.state.is_switched() => {
                    this.mode = Mode::Switched;
                    this.passed = this.held.len();
                    continue;
                }
                // Whoever looks only for the end of the visitor has another way to find it.
                Mode::Last if this.held.len() >= BEHIND_LAST_MAX => return Poll::Pending,
                Mode::Last => ready!(this.poll_held(cx))?,
                // The answer is on its way already.
                Mode::Refused => return Poll::Pending,
                Mode::Broken => return Poll::Ready(Err(io::ErrorKind::InvalidData.into())),
                Mode::Switched => return Pin::new(&mut this.io).poll_read(cx, buf),
            };
            if read == 0 || buf.filled().len() > before {
                return Poll::Ready(Ok(()));
            }
        }
    }
}

impl<I: AsyncRead + AsyncWrite + Unpin> AsyncWrite for Guarded<I> {
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
        if !matches!(self.mode, Mode::Following | Mode::Switched) {
            // The visitor may have said more than was read.
            self.state.leave_unread();
        }
        Pin::new(&mut self.io).poll_shutdown(cx)
    }
}
