//! How many tasks are alive, and how many ended by panicking.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use tokio::sync::Notify;
use tokio::time::{Instant, timeout_at};

/// The counts of one spawner.
#[derive(Debug, Default)]
pub(super) struct Census {
    alive: AtomicUsize,
    panicked: AtomicU64,
    idle: Notify,
}

/// Counts one task for as long as it exists.
#[derive(Debug)]
pub(super) struct Alive(Arc<Census>);

impl Census {
    pub(super) fn enter(self: &Arc<Self>) -> Alive {
        self.alive.fetch_add(1, Ordering::Relaxed);
        Alive(Arc::clone(self))
    }

    pub(super) fn alive(&self) -> usize {
        self.alive.load(Ordering::Acquire)
    }

    pub(super) fn panicked(&self) -> u64 {
        self.panicked.load(Ordering::Relaxed)
    }

    /// Waits until no task is alive; false if `deadline` comes first.
    pub(super) async fn wait_idle(&self, deadline: Instant) -> bool {
        let idle = async {
            loop {
                let mut change = std::pin::pin!(self.idle.notified());
                change.as_mut().enable();
                if self.alive() == 0 {
                    return;
                }
                change.await;
            }
        };
        timeout_at(deadline, idle).await.is_ok()
    }
}

impl Alive {
    pub(super) fn panicked(&self) {
        self.0.panicked.fetch_add(1, Ordering::Relaxed);
    }
}

impl Drop for Alive {
    fn drop(&mut self) {
        if self.0.alive.fetch_sub(1, Ordering::AcqRel) == 1 {
            self.0.idle.notify_waiters();
        }
    }
}
