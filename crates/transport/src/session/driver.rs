//! The one task that owns the multiplexer: opens, accepts, flushes, and notices a dead peer.

use std::collections::VecDeque;
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::{Buf, Bytes};
use futures_util::AsyncWrite as _;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::{OwnedSemaphorePermit, mpsc, oneshot};
use tokio::time::{Instant, Interval, MissedTickBehavior, Sleep, interval, sleep, timeout};
use tokio_util::sync::WaitForCancellationFutureOwned;
use yamux::{Config, Connection, ConnectionError, FrameDecodeError, Mode};

use super::coalescer::{Flushed, Link};
use super::substream::Substream;
use super::{Role, SessionConfig, SessionEnd, Shared};

/// Substreams that may exist at once; more would end the session, so it is all that both ends may open.
const MAX_SUBSTREAMS: usize = 8_192 + 4_096;
/// Initial window of every substream, bytes; fixed by the multiplexer's specification.
const INITIAL_WINDOW: usize = 256 * 1024;
/// What windows may grow by in all, bytes.
const WINDOW_GROWTH: usize = 64 * 1024 * 1024;
/// Payload of a data frame at most: with its 12-byte header, one full TLS record.
const SPLIT_SEND_SIZE: usize = 16 * 1024 - 12;
/// The multiplexer forgets to wake openers when an unanswered substream is reset: they are asked again this often.
const REOPEN_EVERY: Duration = Duration::from_millis(100);
/// How often silence is looked at.
const TICK: Duration = Duration::from_millis(500);
/// The peer counts an aborted substream until its own task has dropped it; its place is kept taken for this long.
const LINGER: Duration = Duration::from_secs(5);
/// How long the last bytes may take at a close.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(1);

/// A request to open a substream.
#[derive(Debug)]
pub(super) struct Open {
    pub(super) first: Bytes,
    pub(super) permit: OwnedSemaphorePermit,
    /// Gets the substream and what of `first` did not fit into its window.
    pub(super) reply: oneshot::Sender<(Substream, Bytes)>,
}

pub(super) struct Driver<T> {
    connection: Connection<Link<T>>,
    link: Link<T>,
    shared: Arc<Shared>,
    dead_after: Duration,
    requests: mpsc::Receiver<Open>,
    waiting: VecDeque<Open>,
    reopen: Pin<Box<Sleep>>,
    inbound: mpsc::Sender<Substream>,
    lingering: mpsc::Receiver<OwnedSemaphorePermit>,
    lingers: VecDeque<(Instant, OwnedSemaphorePermit)>,
    tick: Interval,
    close: Pin<Box<WaitForCancellationFutureOwned>>,
}

impl<T: AsyncRead + AsyncWrite + Unpin> Driver<T> {
    pub(super) fn new(
        io: T,
        config: SessionConfig,
        shared: Arc<Shared>,
        requests: mpsc::Receiver<Open>,
        inbound: mpsc::Sender<Substream>,
        lingering: mpsc::Receiver<OwnedSemaphorePermit>,
    ) -> Self {
        let mut settings = Config::default();
        // The order matters: each setter asserts that the window covers all substreams.
        settings
            .set_max_connection_receive_window(Some(INITIAL_WINDOW * MAX_SUBSTREAMS + WINDOW_GROWTH))
            .set_max_num_streams(MAX_SUBSTREAMS)
            .set_split_send_size(SPLIT_SEND_SIZE);
        let mode = match config.role {
            Role::Client => Mode::Client,
            Role::Server => Mode::Server,
        };
        let link = Link::new(io, config.early);
        let mut tick = interval(TICK);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        Self {
            connection: Connection::new(link.clone(), settings, mode),
            link,
            close: Box::pin(shared.close.clone().cancelled_owned()),
            shared,
            dead_after: config.dead_after,
            requests,
            waiting: VecDeque::new(),
            reopen: Box::pin(sleep(REOPEN_EVERY)),
            inbound,
            lingering,
            lingers: VecDeque::new(),
            tick,
        }
    }

    /// Drives the session to its end.
    pub(super) async fn run(mut self) -> SessionEnd {
        let end = poll_fn(|cx| self.poll(cx)).await;
        // Substreams learn of the death before the multiplexer tells them "no more bytes".
        self.shared.ended(end.clone());
        if end == SessionEnd::Closed {
            // Either the peer has the last bytes, or it would not take them.
            let _ = timeout(CLOSE_TIMEOUT, poll_fn(|cx| self.poll_last_bytes(cx))).await;
        }
        // Dropping the multiplexer wakes all substreams; closing it by its own means would leave readers asleep.
        drop(self.connection);
        if end == SessionEnd::Closed {
            let farewell = async {
                if poll_fn(|cx| self.link.poll_close(cx)).await.is_ok() {
                    poll_fn(|cx| self.link.poll_discard(cx)).await;
                }
            };
            // A peer that does not close is left behind.
            let _ = timeout(CLOSE_TIMEOUT, farewell).await;
        }
        end
    }

    /// Sends what substreams have queued.
    fn poll_last_bytes(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        loop {
            match self.connection.poll_next_inbound(cx) {
                Poll::Ready(Some(Ok(refused))) => drop(refused),
                Poll::Ready(Some(Err(_)) | None) => return Poll::Ready(()),
                Poll::Pending => match std::task::ready!(self.link.poll_flush_out(cx)) {
                    Ok(Flushed::RoomAgain) => {}
                    Ok(Flushed::All) | Err(_) => return Poll::Ready(()),
                },
            }
        }
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<SessionEnd> {
        if self.close.as_mut().poll(cx).is_ready() {
            return Poll::Ready(SessionEnd::Closed);
        }
        if self.poll_tick(cx) {
            return Poll::Ready(SessionEnd::Silent);
        }
        loop {
            if let Err(error) = self.poll_opens(cx) {
                return Poll::Ready(end_of(error));
            }
            match self.connection.poll_next_inbound(cx) {
                Poll::Ready(Some(Ok(stream))) => {
                    let substream = Substream::new(stream, self.shared.clone(), None);
                    // A full queue means that nobody accepts: dropping resets the substream.
                    drop(self.inbound.try_send(substream));
                    continue;
                }
                Poll::Ready(Some(Err(error))) => return Poll::Ready(end_of(error)),
                Poll::Ready(None) => return Poll::Ready(SessionEnd::ClosedByPeer),
                Poll::Pending => {}
            }
            match self.link.poll_flush_out(cx) {
                Poll::Ready(Ok(Flushed::RoomAgain)) => {}
                Poll::Ready(Ok(Flushed::All)) | Poll::Pending => return Poll::Pending,
                Poll::Ready(Err(error)) => return Poll::Ready(SessionEnd::Link(error.kind())),
            }
        }
    }

    /// Looks at the clock; true if the peer is dead.
    fn poll_tick(&mut self, cx: &mut Context<'_>) -> bool {
        while let Poll::Ready(Some(permit)) = self.lingering.poll_recv(cx) {
            self.lingers.push_back((Instant::now() + LINGER, permit));
        }
        while self.tick.poll_tick(cx).is_ready() {
            let now = Instant::now();
            while self.lingers.front().is_some_and(|(until, _)| *until <= now) {
                self.lingers.pop_front();
            }
            if self.shared.liveness.silent_for() >= self.dead_after {
                return true;
            }
        }
        false
    }

    fn poll_opens(&mut self, cx: &mut Context<'_>) -> Result<(), ConnectionError> {
        while let Poll::Ready(Some(open)) = self.requests.poll_recv(cx) {
            self.waiting.push_back(open);
        }
        while let Some(open) = self.waiting.pop_front() {
            if open.reply.is_closed() {
                continue;
            }
            match self.connection.poll_new_outbound(cx) {
                Poll::Ready(Ok(stream)) => self.opened(stream, open, cx),
                Poll::Ready(Err(error)) => return Err(error),
                Poll::Pending => {
                    self.waiting.push_front(open);
                    if self.reopen.as_mut().poll(cx).is_ready() {
                        self.reopen.as_mut().reset(Instant::now() + REOPEN_EVERY);
                        cx.waker().wake_by_ref();
                    }
                    break;
                }
            }
        }
        Ok(())
    }

    /// Sends the first bytes in the same turn, so that an open costs the opener one wake-up.
    fn opened(&self, mut stream: yamux::Stream, open: Open, cx: &mut Context<'_>) {
        let Open { mut first, permit, reply } = open;
        while !first.is_empty() {
            match Pin::new(&mut stream).poll_write(cx, &first) {
                Poll::Ready(Ok(n)) if n > 0 => first.advance(n),
                _ => break,
            }
        }
        let substream = Substream::new(stream, self.shared.clone(), Some(permit));
        // The opener may have given up: dropping resets the substream.
        drop(reply.send((substream, first)));
    }
}

fn end_of(error: ConnectionError) -> SessionEnd {
    match error {
        ConnectionError::Closed => SessionEnd::ClosedByPeer,
        ConnectionError::Io(error) => SessionEnd::Link(error.kind()),
        ConnectionError::Decode(FrameDecodeError::Io(error)) => SessionEnd::Link(error.kind()),
        other => SessionEnd::Protocol(other.to_string()),
    }
}
