//! The streams of a visitor's HTTP/2 connection, counted.

use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::Notify;
use tokio::time::{Instant, sleep_until};

/// How many streams a connection has and had.
#[derive(Debug)]
pub(super) struct Streams {
    counts: Mutex<Counts>,
    max: u32,
    used_up: Notify,
}

#[derive(Debug)]
struct Counts {
    opened: u32,
    open: u32,
    /// Since when there is none, if there is none.
    idle_since: Instant,
}

/// One stream, for as long as anything of it is left.
#[derive(Debug)]
pub(super) struct Open(Arc<Streams>);

impl Streams {
    /// No stream so far, and `max` in all.
    pub(super) fn new(max: u32) -> Self {
        let counts = Counts { opened: 0, open: 0, idle_since: Instant::now() };
        Self { counts: Mutex::new(counts), max, used_up: Notify::new() }
    }

    /// A stream begins.
    pub(super) fn open(self: &Arc<Self>) -> Open {
        let mut counts = self.counts.lock();
        counts.opened = counts.opened.saturating_add(1);
        counts.open = counts.open.saturating_add(1);
        if counts.opened == self.max {
            self.used_up.notify_one();
        }
        Open(self.clone())
    }

    /// Waits until there were as many as there may be.
    pub(super) async fn used_up(&self) {
        self.used_up.notified().await;
    }

    /// Waits until there was none for `limit`.
    pub(super) async fn idle(&self, limit: Duration) {
        loop {
            let now = Instant::now();
            let since = self.idle_since().unwrap_or(now);
            let Some(due) = since.checked_add(limit) else { return std::future::pending().await };
            if due <= now {
                return;
            }
            // One that begins and ends until then is seen by the time of its end.
            sleep_until(due).await;
        }
    }

    fn idle_since(&self) -> Option<Instant> {
        let counts = self.counts.lock();
        (counts.open == 0).then_some(counts.idle_since)
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        let mut counts = self.0.counts.lock();
        counts.open = counts.open.saturating_sub(1);
        if counts.open == 0 {
            counts.idle_since = Instant::now();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_connection_is_idle_only_after_its_last_stream() {
        let (start, limit) = (Instant::now(), Duration::from_secs(60));
        let streams = Arc::new(Streams::new(2));
        let open = streams.open();
        let ended = async {
            sleep_until(start + 2 * limit).await;
            drop(open);
        };
        tokio::join!(streams.idle(limit), ended);
        assert_eq!(start.elapsed(), 3 * limit);
        streams.idle(limit).await;
        assert_eq!(start.elapsed(), 3 * limit);
        drop(streams.open());
        streams.used_up().await;
    }
}
