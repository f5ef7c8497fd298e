//! One stream of a visitor's HTTP/2 connection: the tasks that hyper asks for, and how they end.

use std::future::{Future, poll_fn};
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use hyper::rt::Executor;
use ops::spawn::Spawner;
use parking_lot::Mutex;
use tokio::time::Instant;
use transport::deadline::Deadline;

use super::streams::{Open, Streams};
use crate::poison::Poison;

tokio::task_local! {
    /// The stream whose request the task answers.
    static CURRENT: Arc<Stream>;
}

/// What the tasks of a stream share.
#[derive(Debug)]
pub(crate) struct Stream {
    /// Since when the visitor has not made room for what it was handed of the body.
    handed: Mutex<Option<Instant>>,
    /// After an upgrade: the way to the visitor is broken off, never ended.
    poison: Poison,
    half: Mutex<SendHalf>,
    _open: Open,
}

/// The task that carries bytes to the visitor after an upgrade.
#[derive(Debug, Default)]
struct SendHalf {
    state: HalfState,
    task: Option<Waker>,
    asker: Option<Waker>,
}

#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum HalfState {
    #[default]
    Unasked,
    /// Somebody wants to know whether the visitor has reset the stream.
    Asked,
    /// It had not, when the task looked.
    Alive,
    Ended,
}

impl Stream {
    fn new(open: Open) -> Self {
        Self { handed: Mutex::default(), poison: Poison::default(), half: Mutex::default(), _open: open }
    }

    /// The stream of the running task; none where the visitor does not speak HTTP/2.
    pub(crate) fn current() -> Option<Arc<Self>> {
        CURRENT.try_with(Clone::clone).ok()
    }

    /// More of the body is asked for: there is room.
    pub(crate) fn asks() {
        // Without a stream nobody wants to know.
        let _ = CURRENT.try_with(|stream| *stream.handed.lock() = None);
    }

    /// A piece of the body was handed out.
    pub(crate) fn hands() {
        let _ = CURRENT.try_with(|stream| *stream.handed.lock() = Some(Instant::now()));
    }

    /// Decides how an upgraded stream ends.
    pub(crate) fn poison(&self) -> Poison {
        self.poison.clone()
    }

    /// After an upgrade, once the visitor's way seems to have ended: whether it has not been reset instead. hyper shows
    /// `RST_STREAM` with `CANCEL` as an end to whoever reads, and as an error to whoever writes.
    pub(crate) fn poll_alive(&self, cx: &mut Context<'_>) -> Poll<bool> {
        let mut half = self.half.lock();
        match half.state {
            HalfState::Alive => Poll::Ready(true),
            HalfState::Ended => Poll::Ready(false),
            HalfState::Unasked | HalfState::Asked => {
                half.state = HalfState::Asked;
                half.asker = Some(cx.waker().clone());
                if let Some(task) = half.task.take() {
                    task.wake();
                }
                Poll::Pending
            }
        }
    }

    /// The send half was polled, and has `ended` or waits.
    fn half_polled(&self, ended: bool, cx: &mut Context<'_>) {
        let mut half = self.half.lock();
        half.state = match half.state {
            _ if ended => HalfState::Ended,
            HalfState::Asked => HalfState::Alive,
            state => state,
        };
        half.task = Some(cx.waker().clone());
        if half.state != HalfState::Unasked
            && let Some(asker) = half.asker.take()
        {
            asker.wake();
        }
    }
}

/// Starts the tasks of one connection where the connection is.
#[derive(Debug, Clone)]
pub(super) struct StreamExecutor {
    spawner: Spawner,
    streams: Arc<Streams>,
    /// A visitor may make no room for so long.
    stalled: Duration,
}

impl StreamExecutor {
    pub(super) const fn new(spawner: Spawner, streams: Arc<Streams>, stalled: Duration) -> Self {
        Self { spawner, streams, stalled }
    }
}

impl<F> Executor<F> for StreamExecutor
where
    F: Future<Output = ()> + Send + 'static,
{
    /// hyper asks for a task per stream, and from within that one for another if the stream was upgraded.
    fn execute(&self, future: F) {
        let here = self.spawner.here();
        if let Some(stream) = Stream::current() {
            self.spawner.spawn(here, "stream-upgraded", send(future, stream));
        } else {
            let stream = Arc::new(Stream::new(self.streams.open()));
            let answering = answer(future, stream.clone(), self.stalled);
            self.spawner.spawn(here, "stream", CURRENT.scope(stream, answering));
        }
    }
}

/// Answers a request, until it is done or the visitor has made no room for `limit`: then the stream is reset.
fn answer(
    future: impl Future<Output = ()> + Send,
    stream: Arc<Stream>,
    limit: Duration,
) -> impl Future<Output = ()> + Send {
    // Boxed, so that the wrappers of a task do not each hold all of it.
    let mut future = Box::pin(future);
    let mut deadline = Deadline::default();
    poll_fn(move |cx| {
        if future.as_mut().poll(cx).is_ready() {
            return Poll::Ready(());
        }
        let due = stream.handed.lock().and_then(|since| since.checked_add(limit));
        due.map_or(Poll::Pending, |due| deadline.poll(due, cx))
    })
}

/// Carries bytes to the visitor. Dropped before its end, it resets the stream.
fn send(future: impl Future<Output = ()> + Send, stream: Arc<Stream>) -> impl Future<Output = ()> + Send {
    let mut future = Box::pin(future);
    poll_fn(move |cx| {
        if stream.poison.is_applied() {
            return Poll::Ready(());
        }
        let sent = future.as_mut().poll(cx);
        stream.half_polled(sent.is_ready(), cx);
        sent
    })
}
