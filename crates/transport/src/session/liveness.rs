//! When a byte last came from the peer: any byte counts as a sign of life (`spec/04`).

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::time::Instant;

/// The moment of the last received byte, shared by the link that sees it and those who judge it.
#[derive(Debug)]
pub struct Liveness {
    born: Instant,
    last_received_ms: AtomicU64,
}

impl Liveness {
    /// Counts from now.
    #[must_use]
    pub fn new() -> Self {
        Self { born: Instant::now(), last_received_ms: AtomicU64::new(0) }
    }

    pub(crate) fn received(&self) {
        self.last_received_ms.store(self.age_ms(), Ordering::Relaxed);
    }

    /// How long the peer has been silent.
    #[must_use]
    pub fn silent_for(&self) -> Duration {
        let last = self.last_received_ms.load(Ordering::Relaxed);
        Duration::from_millis(self.age_ms().saturating_sub(last))
    }

    fn age_ms(&self) -> u64 {
        u64::try_from(self.born.elapsed().as_millis()).unwrap_or(u64::MAX)
    }
}

impl Default for Liveness {
    fn default() -> Self {
        Self::new()
    }
}
