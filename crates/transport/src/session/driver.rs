//! The one task that owns the link: reads, feeds the multiplexer, sends what it has to say, and notices a dead peer.

use std::future::{Future, poll_fn};
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};
use ops::called::WhenCalled;
use protocol::mux::{Batch, Breach, READ_SIZE};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::{Interval, MissedTickBehavior, interval, timeout};
use tokio_util::io::poll_read_buf;
use tokio_util::sync::WaitForCancellationFutureOwned;

use super::SessionEnd;
use super::shared::{Shared, Wakers};
use super::sleep::Sleep;

/// Reads in one turn, of one TLS record each, before those whose bytes they were get theirs.
const READS: usize = 16;
/// Bytes sent in one write: four full TLS records. What is above waits in the multiplexer, where a short message of
/// another substream can still go ahead of it.
pub(super) const BATCH: usize = 4 * 16 * 1024;
/// Parts of a batch in one write.
const PARTS: usize = 64;
/// How often the clock is looked at.
const TICK: Duration = Duration::from_millis(500);
/// Heartbeats that have to be missed before a peer is dead.
const BEATS: u32 = 3;
/// What a heartbeat may be late after the machine has slept.
const HEARTBEAT_LATE: Duration = Duration::from_secs(1);
/// How long the last bytes may take at a close, ours or those of a peer that takes no more.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(1);

pub(super) struct Driver<T> {
    link: T,
    shared: Arc<Shared>,
    dead_after: Duration,
    read: BytesMut,
    batch: Batch,
    /// Something was written and may still be above the socket.
    unflushed: bool,
    tick: Interval,
    sleep: Sleep,
    close: WhenCalled<WaitForCancellationFutureOwned>,
    wakers: Wakers,
}

/// Why a link carries no more.
enum Failure {
    /// Nothing will come from it either.
    Over(SessionEnd),
    /// It takes no more; what had come before that is still to be read.
    Write(io::ErrorKind),
}

/// What a turn came to.
enum Turn {
    /// There may be more to do at once.
    Again,
    /// Somebody will call.
    Idle,
}

impl<T: AsyncRead + AsyncWrite + Unpin> Driver<T> {
    pub(super) fn new(link: T, early: &Bytes, shared: Arc<Shared>, dead_after: Duration) -> Self {
        let mut tick = interval(TICK);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        Self {
            link,
            close: WhenCalled::new(shared.close.clone().cancelled_owned()),
            shared,
            dead_after,
            read: BytesMut::from(&early[..]),
            batch: Batch::default(),
            unflushed: false,
            tick,
            sleep: Sleep::new(),
            wakers: Wakers::default(),
        }
    }

    /// Drives the session to its end.
    pub(super) async fn run(mut self) -> SessionEnd {
        let end = match poll_fn(|cx| self.poll(cx)).await {
            Failure::Over(end) => end,
            Failure::Write(kind) => self.last_words(kind).await,
        };
        if let SessionEnd::Breach(breach) = end {
            self.shared.drive(&mut self.wakers, |state| state.mux.go_away(breach.code()));
        }
        self.shared.ended(end.clone());
        if matches!(end, SessionEnd::Closed | SessionEnd::Breach(_)) {
            // Either the peer takes the last bytes, or it is left behind.
            let _ = timeout(CLOSE_TIMEOUT, poll_fn(|cx| self.poll_last_bytes(cx))).await;
            let farewell = async {
                if poll_fn(|cx| Pin::new(&mut self.link).poll_shutdown(cx)).await.is_ok() {
                    poll_fn(|cx| self.poll_discard(cx)).await;
                }
            };
            let _ = timeout(CLOSE_TIMEOUT, farewell).await;
        }
        end
    }

    /// Reads what the peer had said before the link took no more: answers, their ends, and that it closes.
    async fn last_words(&mut self, kind: io::ErrorKind) -> SessionEnd {
        let rest = poll_fn(|cx| {
            let read = self.read_some(cx);
            self.wakers.wake();
            match read {
                Err(end) => Poll::Ready(end),
                Ok(Turn::Idle) => Poll::Pending,
                Ok(Turn::Again) => {
                    cx.waker().wake_by_ref();
                    Poll::Pending
                }
            }
        });
        match timeout(CLOSE_TIMEOUT, rest).await {
            Ok(SessionEnd::Link(_)) | Err(_) => SessionEnd::Link(kind),
            Ok(end) => end,
        }
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Failure> {
        if Pin::new(&mut self.close).poll(cx).is_ready() {
            return Poll::Ready(Failure::Over(SessionEnd::Closed));
        }
        // Before the clock: a process that has stood still finds what came meanwhile.
        let read = self.read_some(cx);
        if read.is_ok() && self.poll_tick(cx) {
            return Poll::Ready(Failure::Over(SessionEnd::Silent));
        }
        let turn = read.map_err(Failure::Over).and_then(|read| {
            let sent = self.send_some(cx).map_err(|error| Failure::Write(error.kind()))?;
            Ok((read, sent))
        });
        self.wakers.wake();
        match turn {
            Err(failure) => Poll::Ready(failure),
            Ok((Turn::Idle, Turn::Idle)) => Poll::Pending,
            Ok(_) => {
                // Behind those that were just woken.
                cx.waker().wake_by_ref();
                Poll::Pending
            }
        }
    }

    /// Looks at the clock; true if the peer is dead.
    fn poll_tick(&mut self, cx: &mut Context<'_>) -> bool {
        while self.tick.poll_tick(cx).is_ready() {
            self.shared.drive(&mut self.wakers, |state| state.mux.tick(Instant::now()));
            if self.read.is_empty() {
                // An idle session holds no buffer.
                self.read = BytesMut::new();
            }
            if self.sleep.since() {
                // Whoever is still there says so with its next heartbeat.
                let patience = (self.dead_after / BEATS).saturating_add(HEARTBEAT_LATE);
                self.shared.liveness.doubt(self.dead_after.saturating_sub(patience));
            }
            if self.shared.liveness.silent_for() >= self.dead_after {
                return true;
            }
        }
        false
    }

    fn read_some(&mut self, cx: &mut Context<'_>) -> Result<Turn, SessionEnd> {
        for _ in 0..READS {
            if self.read.is_empty() {
                self.read.reserve(READ_SIZE);
                match poll_read_buf(Pin::new(&mut self.link), cx, &mut self.read) {
                    Poll::Pending => return Ok(Turn::Idle),
                    Poll::Ready(Ok(0)) => return Err(SessionEnd::ClosedByPeer),
                    Poll::Ready(Ok(_)) => {}
                    Poll::Ready(Err(error)) => return Err(SessionEnd::Link(error.kind())),
                }
            }
            let (shared, read) = (&self.shared, &mut self.read);
            let received = shared.drive(&mut self.wakers, |state| state.mux.recv(read, Instant::now()));
            received.map_err(end_of)?;
        }
        Ok(Turn::Again)
    }

    fn send_some(&mut self, cx: &mut Context<'_>) -> io::Result<Turn> {
        match self.poll_send(cx)? {
            Poll::Pending => Ok(Turn::Idle),
            Poll::Ready(()) => {
                let batch = &mut self.batch;
                let more = self.shared.drive(&mut self.wakers, |state| {
                    state.mux.transmit(BATCH, Instant::now(), batch);
                    if batch.is_empty() {
                        state.drive_later(cx);
                    }
                    !batch.is_empty()
                });
                if !more {
                    return Ok(Turn::Idle);
                }
                Ok(if self.poll_send(cx)?.is_ready() { Turn::Again } else { Turn::Idle })
            }
        }
    }

    /// Sends the batch, all the way into the socket: what is queued below the multiplexer is kept short.
    fn poll_send(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while !self.batch.is_empty() {
            let mut parts = [IoSlice::new(&[]); PARTS];
            let filled = self.batch.slices(&mut parts);
            let parts = parts.get(..filled).unwrap_or_default();
            let n = ready!(Pin::new(&mut self.link).poll_write_vectored(cx, parts))?;
            if n == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.batch.advance(n);
            self.unflushed = true;
        }
        if self.unflushed {
            ready!(Pin::new(&mut self.link).poll_flush(cx))?;
            self.unflushed = false;
        }
        Poll::Ready(Ok(()))
    }

    /// Sends what is queued and may be sent.
    fn poll_last_bytes(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        loop {
            if ready!(self.poll_send(cx)).is_err() {
                return Poll::Ready(());
            }
            let batch = &mut self.batch;
            self.shared.drive(&mut self.wakers, |state| state.mux.transmit(BATCH, Instant::now(), batch));
            self.wakers.wake();
            if self.batch.is_empty() {
                return Poll::Ready(());
            }
        }
    }

    /// Reads and drops until the other end has closed too: closing with unread bytes would be a reset, which may overtake
    /// the last words.
    fn poll_discard(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        loop {
            self.read.clear();
            self.read.reserve(READ_SIZE);
            match ready!(poll_read_buf(Pin::new(&mut self.link), cx, &mut self.read)) {
                Ok(n) if n > 0 => {}
                Ok(_) | Err(_) => return Poll::Ready(()),
            }
        }
    }
}

fn end_of(breach: Breach) -> SessionEnd {
    match breach {
        Breach::GoAway(_) => SessionEnd::ClosedByPeer,
        breach => SessionEnd::Breach(breach),
    }
}
