//! How often clients are asked whether they are there.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use protocol::limits::HEARTBEAT_INTERVAL;

/// Heartbeats that a client may let pass before it is given up.
const MISSED: u32 = 3;

/// How often clients are asked whether they are there. It may change, and holds for sessions that begin after that. A clone is
/// the same one.
#[derive(Debug, Clone)]
pub struct Pulse(Arc<AtomicU64>);

impl Default for Pulse {
    fn default() -> Self {
        let pulse = Self(Arc::default());
        pulse.beat_every(HEARTBEAT_INTERVAL);
        pulse
    }
}

impl Pulse {
    /// From now on so often.
    pub fn beat_every(&self, interval: Duration) {
        let millis = u64::try_from(interval.as_millis()).unwrap_or(u64::MAX).max(1);
        self.0.store(millis, Ordering::Relaxed);
    }

    /// Between two heartbeats.
    #[must_use]
    pub fn interval(&self) -> Duration {
        Duration::from_millis(self.0.load(Ordering::Relaxed))
    }

    /// A client of which no byte came for so long is gone.
    #[must_use]
    pub fn dead_after(&self) -> Duration {
        self.interval().saturating_mul(MISSED)
    }
}

#[cfg(test)]
mod tests {
    use protocol::limits::DEAD_AFTER;

    use super::*;

    #[test]
    fn three_of_them_are_the_time_of_the_wire() {
        let pulse = Pulse::default();
        assert_eq!(pulse.dead_after(), DEAD_AFTER);
        pulse.clone().beat_every(Duration::from_secs(1));
        assert_eq!((pulse.interval(), pulse.dead_after()), (Duration::from_secs(1), Duration::from_secs(3)));
    }
}
