//! A visitor's HTTP connection: how long it may take for what, and how it ends.

use std::future::poll_fn;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU32, Ordering};
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::{Buf, BytesMut};
use http::HeaderMap;
use ops::metrics::{GuardReason, Metrics};
use parking_lot::Mutex;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::Instant;
use transport::socket;

use super::protocol::{PREFACE, Protocol};
use crate::context::Waits;
use crate::error::Fault;
use crate::last_chunk::LastChunk;
use crate::poison::Poison;
use transport::deadline::Deadline;

/// A visitor that closes its way in the middle of a request is either gone, or waits for the answer: TCP does not tell. It
/// is taken for gone when it has read nothing for so long. Below the second within which a service is to notice.
const HALF_CLOSED: Duration = Duration::from_millis(700);

/// How often a visitor is looked at whose connection nobody reads, because the service does not take what it says.
const LOOK: Duration = Duration::from_millis(500);

/// Between requests.
const IDLE: u8 = 0;
/// A request is being answered.
const BUSY: u8 = 1;
/// The connection was upgraded.
const SWITCHED: u8 = 2;
/// Many requests at once, each with its own time.
const MULTIPLEXED: u8 = 3;

/// A visitor's bytes, whatever they go through on their way here.
pub trait VisitorStream: AsyncRead + AsyncWrite + Send + Unpin + 'static {
    /// The connection below.
    fn socket(&self) -> &TcpStream;
}

impl VisitorStream for TcpStream {
    fn socket(&self) -> &TcpStream {
        self
    }
}

/// What a visitor's connection and the requests on it share.
#[derive(Debug, Default)]
pub(crate) struct VisitorState {
    mode: AtomicU8,
    /// Counts the requests, so that the timers of one do not outlive it.
    requests: AtomicU32,
    poison: Poison,
    /// Whether the visitor may still be sending what nobody reads.
    unread: AtomicBool,
    /// The request behind which the connection ends, counted from 1; 0 while that is not known.
    last: AtomicU32,
    /// What is wrong with the last one, if it stands for one that was not let through.
    refused: OnceLock<Fault>,
    last_chunk: LastChunk,
    /// What tells the time of an exchange, between two of them.
    timer: Mutex<Deadline>,
}

impl VisitorState {
    /// No request comes behind the one with this number.
    pub(super) fn end_with(&self, number: u32) {
        self.last.store(number, Ordering::Release);
    }

    /// The request with this number stands for one with a fault; none comes behind it.
    pub(super) fn refuse(&self, number: u32, fault: Fault) {
        // There is one last request, and it has one fault.
        let _ = self.refused.set(fault);
        self.end_with(number);
    }

    /// The visitor may have sent what nobody will read.
    pub(super) fn leave_unread(&self) {
        self.unread.store(true, Ordering::Release);
    }

    /// What stands behind the response that is being written.
    pub(super) fn last_chunk(&self) -> LastChunk {
        self.last_chunk.clone()
    }

    /// Whether the connection was upgraded.
    pub(super) fn is_switched(&self) -> bool {
        self.mode.load(Ordering::Acquire) == SWITCHED
    }

    /// The visitor speaks HTTP/2: streams end by themselves, and the connection with the last of them.
    pub(super) fn multiplex(&self) {
        self.mode.store(MULTIPLEXED, Ordering::Release);
    }
}

/// One request on a visitor's connection. Dropping it before [`Visiting::finish`] makes the connection end with a reset,
/// so that what the visitor got so far never looks complete.
#[derive(Debug)]
pub(crate) struct Visiting(Option<Arc<VisitorState>>);

impl Visiting {
    /// A request begins.
    pub(crate) fn begin(state: &Arc<VisitorState>) -> Self {
        state.mode.store(BUSY, Ordering::Release);
        state.unread.store(false, Ordering::Release);
        state.requests.fetch_add(1, Ordering::Release);
        state.last_chunk.begin();
        Self(Some(state.clone()))
    }

    /// A request begins on a stream of its own, whose end says all there is to say.
    pub(crate) const fn stream() -> Self {
        Self(None)
    }

    /// The chunked response ends now, with these fields behind it. Whether somebody writes them: not on a stream.
    pub(crate) fn trail(&self, trailers: &HeaderMap) -> bool {
        if let Some(state) = &self.0 {
            state.last_chunk.set(trailers);
        }
        self.0.is_some()
    }

    /// Whether the connection ends with this request.
    pub(super) fn is_last(&self) -> bool {
        let is_last = |state: &Arc<VisitorState>| {
            let last = state.last.load(Ordering::Acquire);
            last != 0 && state.requests.load(Ordering::Acquire) >= last
        };
        self.0.as_ref().is_some_and(is_last)
    }

    /// The fault of the request that this one stands for.
    pub(super) fn refused(&self) -> Option<Fault> {
        let state = self.0.as_ref().filter(|_| self.is_last())?;
        state.refused.get().copied()
    }

    /// A timer that may be set from the request before, which costs less than a new one.
    pub(crate) fn borrow_timer(&self) -> Deadline {
        self.0.as_ref().map(|state| std::mem::take(&mut *state.timer.lock())).unwrap_or_default()
    }

    /// Keeps `timer` for the next request.
    pub(crate) fn return_timer(&self, timer: Deadline) {
        if let Some(state) = &self.0 {
            *state.timer.lock() = timer;
        }
    }

    /// The response is complete. `unread`: the request is not.
    pub(crate) fn finish(mut self, unread: bool) {
        if let Some(state) = self.0.take() {
            state.unread.store(unread, Ordering::Release);
            state.mode.store(IDLE, Ordering::Release);
        }
    }

    /// The connection becomes one of its own, whose end the poison decides.
    pub(crate) fn switch(mut self) -> Poison {
        let Some(state) = self.0.take() else { return Poison::default() };
        state.mode.store(SWITCHED, Ordering::Release);
        state.poison.clone()
    }
}

impl Drop for Visiting {
    fn drop(&mut self) {
        if let Some(state) = self.0.take() {
            state.poison.apply();
        }
    }
}

/// What the connection waits for between requests.
#[derive(Debug, Clone, Copy)]
enum Head {
    /// The first byte of a request, until then.
    Awaited(Instant),
    /// The rest of its head, until then.
    Begun(Instant),
}

/// A visitor's connection as hyper sees it.
#[derive(Debug)]
pub(crate) struct VisitorIo<S: VisitorStream = TcpStream> {
    stream: S,
    /// Read to tell the protocol, and not by whoever speaks it.
    first: BytesMut,
    state: Arc<VisitorState>,
    waits: Waits,
    metrics: Metrics,
    /// None while a request is being answered.
    head: Option<Head>,
    /// Requests that `head` is behind.
    requests: u32,
    /// The visitor has closed its way; when it is given up.
    closed: Option<Instant>,
    /// Since when nothing could be written.
    write_blocked: Option<Instant>,
    /// Since when what was written waits in a buffer of the stream.
    flush_blocked: Option<Instant>,
    /// When reading what nobody wants ends.
    linger_until: Option<Instant>,
    read_timer: Deadline,
    write_timer: Deadline,
    /// Whether a read waits for the visitor, so that its end is noticed at once.
    heard: bool,
    next_look: Instant,
    look_timer: Deadline,
}

impl<S: VisitorStream> VisitorIo<S> {
    /// Wraps a connection that was just accepted.
    pub(crate) fn new(stream: S, waits: Waits, metrics: Metrics) -> (Self, Arc<VisitorState>) {
        let state = Arc::new(VisitorState::default());
        let io = Self {
            stream,
            first: BytesMut::new(),
            state: state.clone(),
            head: Some(Head::Begun(after(waits.now().head))),
            requests: 0,
            waits,
            metrics,
            closed: None,
            write_blocked: None,
            flush_blocked: None,
            linger_until: None,
            read_timer: Deadline::default(),
            write_timer: Deadline::default(),
            heard: false,
            next_look: Instant::now(),
            look_timer: Deadline::default(),
        };
        (io, state)
    }

    /// Which protocol the visitor speaks, from what it says first.
    ///
    /// # Errors
    /// It says too little in time, or the connection fails.
    pub(super) async fn detect(&mut self) -> io::Result<Protocol> {
        let whole = self.head;
        self.head = Some(Head::Begun(after(self.waits.now().detect.min(self.waits.now().head))));
        let protocol = poll_fn(|cx| self.poll_detect(cx)).await?;
        self.head = whole;
        Ok(protocol)
    }

    fn poll_detect(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<Protocol>> {
        loop {
            if let Some(protocol) = Protocol::of(&self.first) {
                return Poll::Ready(Ok(protocol));
            }
            let mut bytes = [0; PREFACE.len()];
            let mut buffer = ReadBuf::new(&mut bytes);
            match Pin::new(&mut self.stream).poll_read(cx, &mut buffer) {
                Poll::Pending => {
                    ready!(self.poll_late(cx))?;
                }
                Poll::Ready(read) => {
                    read?;
                    if buffer.filled().is_empty() {
                        return Poll::Ready(Err(io::ErrorKind::UnexpectedEof.into()));
                    }
                    self.first.extend_from_slice(buffer.filled());
                }
            }
        }
    }

    fn mode(&self) -> u8 {
        self.state.mode.load(Ordering::Acquire)
    }

    /// What was awaited has become a request.
    fn forget_head(&mut self) {
        let requests = self.state.requests.load(Ordering::Acquire);
        if requests != self.requests {
            self.requests = requests;
            self.head = None;
        }
    }

    /// Bytes have come.
    fn received(&mut self) {
        self.forget_head();
        if self.mode() == IDLE && !matches!(self.head, Some(Head::Begun(_))) {
            self.head = Some(Head::Begun(after(self.waits.now().head)));
        }
    }

    /// Nothing has come: is it too late for what is awaited?
    fn poll_late(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.forget_head();
        if self.mode() != IDLE {
            return Poll::Pending;
        }
        let head = *self.head.get_or_insert_with(|| Head::Awaited(after(self.waits.now().keep_alive)));
        let (due, reason) = match head {
            Head::Awaited(due) => (due, GuardReason::Idle),
            Head::Begun(due) => (due, GuardReason::SlowHead),
        };
        ready!(self.read_timer.poll(due, cx));
        self.metrics.guard_closed(reason);
        Poll::Ready(Err(io::ErrorKind::TimedOut.into()))
    }

    /// The visitor has closed its way. In the middle of an answer that is told only once it reads no more.
    fn poll_closed(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        // An answer is over when its last byte is written.
        if self.mode() != BUSY && !self.is_blocked() {
            return Poll::Ready(Ok(()));
        }
        let due = *self.closed.get_or_insert_with(|| after(HALF_CLOSED));
        self.read_timer.poll(due, cx).map(Ok)
    }

    /// Looks for a reset behind bytes that nobody reads.
    fn poll_look(&mut self, cx: &mut Context<'_>) -> io::Result<()> {
        let looks = matches!(self.mode(), BUSY | SWITCHED);
        while looks && !self.heard && self.look_timer.poll(self.next_look, cx).is_ready() {
            if let Some(error) = self.stream.socket().take_error()? {
                return Err(error);
            }
            self.next_look = after(LOOK);
        }
        Ok(())
    }

    fn wrote(&mut self, result: Poll<io::Result<usize>>, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        if result.is_ready() {
            self.write_blocked = None;
            if self.closed.is_some() {
                self.closed = Some(after(HALF_CLOSED));
                // If that was the end of the answer, the visitor's end can be told.
                cx.waker().wake_by_ref();
            }
            return result;
        }
        let since = *self.write_blocked.get_or_insert_with(Instant::now);
        self.poll_stalled(since, cx).map(Err)
    }

    /// Ready with an error if the visitor has read nothing for too long.
    fn poll_stalled(&mut self, since: Instant, cx: &mut Context<'_>) -> Poll<io::Error> {
        match since.checked_add(self.waits.now().stalled) {
            Some(due) if self.mode() != SWITCHED => {
                self.write_timer.poll(due, cx).map(|()| io::ErrorKind::TimedOut.into())
            }
            _ => Poll::Pending,
        }
    }

    const fn is_blocked(&self) -> bool {
        self.write_blocked.is_some() || self.flush_blocked.is_some()
    }

    /// Closing with bytes unread makes the kernel send a reset, which could destroy the end of the response on its way.
    fn poll_linger(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let until = *self.linger_until.get_or_insert_with(|| after(self.waits.now().linger));
        let mut bytes = [0; 4096];
        loop {
            if self.read_timer.poll(until, cx).is_ready() {
                return Poll::Ready(());
            }
            let mut buffer = ReadBuf::new(&mut bytes);
            match ready!(Pin::new(&mut self.stream).poll_read(cx, &mut buffer)) {
                Ok(()) if !buffer.filled().is_empty() => {}
                _ => return Poll::Ready(()),
            }
        }
    }
}

/// A wait that does not end, where the clock can not say when it would.
fn after(duration: Duration) -> Instant {
    let now = Instant::now();
    now.checked_add(duration).unwrap_or(now)
}

impl<S: VisitorStream> AsyncRead for VisitorIo<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if !self.first.is_empty() {
            let length = self.first.len().min(buf.remaining());
            buf.put_slice(self.first.get(..length).unwrap_or_default());
            self.first.advance(length);
            return Poll::Ready(Ok(()));
        }
        if self.closed.is_some() {
            return self.poll_closed(cx);
        }
        let before = buf.filled().len();
        let read = Pin::new(&mut self.stream).poll_read(cx, buf);
        self.heard = read.is_pending();
        match read {
            Poll::Pending => self.poll_late(cx),
            Poll::Ready(Ok(())) if buf.filled().len() == before => self.poll_closed(cx),
            Poll::Ready(Ok(())) => {
                self.received();
                Poll::Ready(Ok(()))
            }
            failed => failed,
        }
    }
}

impl<S: VisitorStream> AsyncWrite for VisitorIo<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let result = Pin::new(&mut self.stream).poll_write(cx, buf);
        self.wrote(result, cx)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let result = Pin::new(&mut self.stream).poll_write_vectored(cx, bufs);
        self.wrote(result, cx)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    /// hyper asks whenever it has done what it can, whether or not there is something to flush.
    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.forget_head();
        if self.mode() == IDLE && self.head.is_none() {
            // A read that waits since the request does not know that the response is over: this starts its time.
            let _ = self.poll_late(cx);
        }
        let Poll::Ready(flushed) = Pin::new(&mut self.stream).poll_flush(cx) else {
            let since = *self.flush_blocked.get_or_insert_with(Instant::now);
            return self.poll_stalled(since, cx).map(Err);
        };
        self.flush_blocked = None;
        flushed?;
        Poll::Ready(self.poll_look(cx))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.state.poison.is_applied() {
            return Poll::Ready(Ok(()));
        }
        if self.linger_until.is_none() {
            ready!(Pin::new(&mut self.stream).poll_shutdown(cx))?;
        }
        if self.state.unread.load(Ordering::Acquire) {
            ready!(self.poll_linger(cx));
        }
        Poll::Ready(Ok(()))
    }
}

impl<S: VisitorStream> Drop for VisitorIo<S> {
    fn drop(&mut self) {
        // What could not be written is as good as cut.
        if self.state.poison.is_applied() || self.mode() == BUSY || self.is_blocked() {
            // A failure means that the visitor was faster: there is nobody left to tell.
            drop(socket::reset_on_close(self.stream.socket()));
        }
    }
}
