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

    /// The peer may be gone, though it does not seem so: from now on it counts as silent for at least so long.
    pub(crate) fn doubt(&self, silent: Duration) {
        let silent = u64::try_from(silent.as_millis()).unwrap_or(u64::MAX);
        let heard = self.age_ms().saturating_sub(silent);
        self.last_received_ms.fetch_min(heard, Ordering::Relaxed);
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

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_doubt_counts_until_the_peer_speaks() {
        let liveness = Liveness::new();
        tokio::time::advance(Duration::from_secs(100)).await;
        liveness.received();
        liveness.doubt(Duration::from_secs(9));
        assert_eq!(liveness.silent_for(), Duration::from_secs(9));
        liveness.doubt(Duration::from_secs(1));
        assert_eq!(liveness.silent_for(), Duration::from_secs(9));
        liveness.received();
        assert_eq!(liveness.silent_for(), Duration::ZERO);
    }
}
