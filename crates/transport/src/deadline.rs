//! A moment by which something has to happen, cheap to move.

use std::fmt;
use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::time::error::Elapsed;
use tokio::time::{Instant, Sleep, sleep_until, timeout};

/// A timer that is set once and looked at when it fires: moving the moment costs nothing until then, so that every read
/// and write may move it.
#[derive(Default)]
pub struct Deadline {
    sleep: Option<Pin<Box<Sleep>>>,
}

impl Deadline {
    /// Ready once `due` has passed. The task is woken at `due` or earlier, and then asks again.
    pub fn poll(&mut self, due: Instant, cx: &mut Context<'_>) -> Poll<()> {
        let sleep = self.sleep.get_or_insert_with(|| Box::pin(sleep_until(due)));
        if sleep.deadline() > due {
            sleep.as_mut().reset(due);
        }
        loop {
            ready!(sleep.as_mut().poll(cx));
            if sleep.deadline() >= due {
                return Poll::Ready(());
            }
            sleep.as_mut().reset(due);
        }
    }
}

/// What `future` gives, if that is within `limit`. What is ready at once, as a rule, costs no timer.
///
/// # Errors
/// It is not.
pub async fn within<F: Future>(limit: Duration, future: F) -> Result<F::Output, Elapsed> {
    let mut future = pin!(future);
    match poll_fn(|cx| Poll::Ready(future.as_mut().poll(cx))).await {
        Poll::Ready(output) => Ok(output),
        Poll::Pending => timeout(limit, future).await,
    }
}

impl fmt::Debug for Deadline {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Deadline").field("set", &self.sleep.is_some()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn what_is_ready_needs_no_time_and_what_is_not_gets_its_limit() {
        assert_eq!(within(Duration::ZERO, async { 1 }).await, Ok(1));
        let start = Instant::now();
        let late = tokio::time::sleep(Duration::from_secs(9));
        within(Duration::from_secs(10), late).await.unwrap();
        within(Duration::from_secs(3), std::future::pending::<()>()).await.unwrap_err();
        assert_eq!(start.elapsed(), Duration::from_secs(12));
    }

    #[tokio::test(start_paused = true)]
    async fn a_deadline_moves_both_ways() {
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        let mut deadline = Deadline::default();
        let pending = poll_fn(|cx| Poll::Ready(deadline.poll(at(10), cx).is_pending())).await;
        assert!(pending);
        poll_fn(|cx| deadline.poll(at(5), cx)).await;
        assert_eq!(Instant::now(), at(5));
        poll_fn(|cx| deadline.poll(at(60), cx)).await;
        assert_eq!(Instant::now(), at(60));
        // What has passed needs no waiting.
        poll_fn(|cx| deadline.poll(at(1), cx)).await;
        assert_eq!(Instant::now(), at(60));
    }
}
