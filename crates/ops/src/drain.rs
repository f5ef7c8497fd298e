//! Drain: no new work, finish old work, with a deadline.

use std::future::pending;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use tokio::sync::{SetOnce, watch};
use tokio::time::{Instant, sleep, sleep_until};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tokio_util::task::task_tracker::TaskTrackerToken;

use crate::signals::Shutdown;

/// The longest that a drain may be asked to take: clocks do not go as far as a number of seconds does.
const LONGEST: Duration = Duration::from_secs(30 * 24 * 3600);

/// What every part of a program listens to in order to end. A clone is the same drain.
///
/// Parts that take work in stop when [`start`](Self::start) is cancelled; work in progress holds a
/// [`Work`] and ends at the latest when [`now`](Self::now) is cancelled.
#[derive(Debug, Clone, Default)]
pub struct Drain {
    /// Cancelled when no new work may start.
    pub start: CancellationToken,
    /// Cancelled when work in progress must end as well.
    pub now: CancellationToken,
    work: TaskTracker,
    course: Arc<Course>,
}

/// How a drain goes, where that differs from the usual.
#[derive(Debug, Default)]
struct Course {
    /// When work is cut, where somebody has said so.
    until: watch::Sender<Option<Instant>>,
    linger: OnceLock<Duration>,
    ended: SetOnce<Drained>,
}

/// A piece of work that a drain waits for, for as long as this lives.
#[derive(Debug)]
#[must_use = "the drain waits only as long as this lives"]
pub struct Work(#[expect(dead_code, reason = "held for its drop")] TaskTrackerToken);

/// How a drain ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Drained {
    /// All work was finished.
    Clean,
    /// This many pieces of work were cut, by the deadline or by a second signal.
    Cut(usize),
}

impl Drain {
    /// A drain that nothing but [`finish`](Self::finish) starts.
    pub fn new() -> Self {
        Self::default()
    }

    /// A drain that `shutdown` starts and cuts short.
    pub fn of(shutdown: &Shutdown) -> Self {
        Self { start: shutdown.drain.clone(), now: shutdown.now.clone(), ..Self::default() }
    }

    /// The same drain for one listener of many, who looks often: it asks nobody else's lock.
    #[must_use]
    pub fn apart(&self) -> Self {
        Self {
            start: self.start.child_token(),
            now: self.now.child_token(),
            work: self.work.clone(),
            course: self.course.clone(),
        }
    }

    /// Starts the drain; work is given [this long](Self::patience) from now on, and not as long as usual. The last word counts,
    /// also of a drain that goes on.
    pub fn ask(&self, patience: Option<Duration>) {
        if let Some(until) = patience.and_then(|it| Instant::now().checked_add(it.min(LONGEST))) {
            self.course.until.send_replace(Some(until));
        }
        self.start.cancel();
    }

    /// Changes when somebody says anew how long work may go on.
    #[must_use]
    pub fn moves(&self) -> watch::Receiver<Option<Instant>> {
        self.course.until.subscribe()
    }

    /// Connections without a request are not closed when the drain starts, but this much later: a request may be on its
    /// way, and somebody else takes the next connection. To be said before the start.
    pub fn linger(&self, linger: Duration) {
        let _ = self.course.linger.set(linger);
    }

    /// Whether connections without a request are kept for a while.
    pub fn lingers(&self) -> bool {
        self.course.linger.get().is_some()
    }

    /// Waits until connections without a request are to be closed.
    pub async fn idle_ends(&self) {
        self.start.cancelled().await;
        if let Some(linger) = self.course.linger.get() {
            sleep(*linger).await;
        }
    }

    /// Waits until the drain is over.
    pub async fn ended(&self) -> Drained {
        *self.course.ended.wait().await
    }

    /// The same drain for a part that `start`, a child of this one's, may end before.
    #[must_use]
    pub fn begun_by(&self, start: CancellationToken) -> Self {
        Self { start, ..self.clone() }
    }

    /// Counts a piece of work in progress. Work that starts during the drain is waited for too.
    pub fn work(&self) -> Work {
        Work(self.work.token())
    }

    /// How many pieces of work are in progress.
    pub fn in_progress(&self) -> usize {
        self.work.len()
    }

    /// Whether new work may start.
    pub fn is_draining(&self) -> bool {
        self.start.is_cancelled()
    }

    /// Starts the drain if nobody has, waits until all work is done, at most for `usual` or as long as was asked for, and
    /// cuts what is left.
    pub async fn finish(&self, usual: Duration) -> Drained {
        self.start.cancel();
        self.work.close();
        let cut = tokio::select! {
            biased;
            () = self.work.wait() => false,
            () = self.deadline(usual) => true,
            () = self.now.cancelled() => true,
        };
        let left = self.in_progress();
        self.now.cancel();
        let ended = if cut && left > 0 { Drained::Cut(left) } else { Drained::Clean };
        // There is no second drain.
        let _ = self.course.ended.set(ended);
        ended
    }

    /// How long work may go on from now: what is left of what was asked for, or else the `usual`.
    pub fn patience(&self, usual: Duration) -> Duration {
        let until = *self.course.until.borrow();
        until.map_or(usual, |until| until.saturating_duration_since(Instant::now()))
    }

    /// Waits until work is to be cut, wherever that is moved to meanwhile.
    async fn deadline(&self, usual: Duration) {
        let mut moves = self.moves();
        let usual = Instant::now().checked_add(usual);
        loop {
            let until = moves.borrow_and_update().or(usual);
            let over = async {
                match until {
                    Some(until) => sleep_until(until).await,
                    None => pending().await,
                }
            };
            tokio::select! {
                () = over => return,
                // It is as long as this drain is.
                Ok(()) = moves.changed() => {}
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LONG: Duration = Duration::from_secs(3600);

    #[tokio::test]
    async fn waits_for_work_and_then_says_clean() {
        let drain = Drain::new();
        let work = drain.work();
        let started = drain.start.clone();
        let (ended, ()) = tokio::join!(drain.finish(LONG), async {
            started.cancelled().await;
            drop(work);
        });
        assert_eq!(ended, Drained::Clean);
        assert!(drain.now.is_cancelled());
    }

    #[tokio::test]
    async fn the_deadline_cuts_what_is_left() {
        let drain = Drain::new();
        let _work = (drain.work(), drain.work());
        assert_eq!(drain.finish(Duration::ZERO).await, Drained::Cut(2));
        assert!(drain.is_draining());
    }

    #[tokio::test(start_paused = true)]
    async fn whoever_asks_last_says_how_long_it_may_take() {
        for (first, second, takes) in [(3600, 3, 5), (3, 3600, 3602), (u64::MAX, 1, 3)] {
            let drain = Drain::new();
            let _work = drain.work();
            drain.ask(Some(Duration::from_secs(first)));
            let (began, listener) = (Instant::now(), drain.apart());
            let again = async {
                sleep(Duration::from_secs(2)).await;
                listener.ask(Some(Duration::from_secs(second)));
                // Who has nothing to say moves nothing.
                listener.ask(None);
            };
            let (ended, heard, ()) =
                tokio::join!(drain.finish(Duration::from_secs(1)), listener.ended(), again);
            assert_eq!((ended, heard), (Drained::Cut(1), Drained::Cut(1)));
            assert_eq!(began.elapsed().as_secs(), takes);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn idle_connections_linger_where_somebody_else_goes_on() {
        let (usual, handed) = (Drain::new(), Drain::new());
        handed.linger(Duration::from_secs(5));
        let began = Instant::now();
        usual.ask(None);
        handed.ask(None);
        usual.idle_ends().await;
        assert!(began.elapsed().is_zero());
        handed.apart().idle_ends().await;
        assert_eq!(began.elapsed().as_secs(), 5);
    }

    #[tokio::test]
    async fn a_second_signal_cuts_at_once() {
        let shutdown = Shutdown::default();
        let drain = Drain::of(&shutdown);
        let _work = drain.work();
        shutdown.now.cancel();
        assert_eq!(drain.finish(LONG).await, Drained::Cut(1));
    }
}
