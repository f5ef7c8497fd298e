//! Whether the machine has slept. Time spans do not count sleep, so that a peer that has long given up seems to have spoken a
//! moment ago.

use std::time::Duration;

/// Less is the two clocks being read one after the other.
const SLEEP: Duration = Duration::from_secs(2);

/// What is known of the machine's sleep.
#[derive(Debug)]
pub(super) struct Sleep {
    so_far: Duration,
}

impl Sleep {
    /// From now on.
    pub(super) fn new() -> Self {
        Self { so_far: so_far() }
    }

    /// Whether the machine has slept since the last time that this was asked.
    pub(super) fn since(&mut self) -> bool {
        self.is_more(so_far())
    }

    fn is_more(&mut self, so_far: Duration) -> bool {
        let more = so_far.saturating_sub(self.so_far) >= SLEEP;
        if more {
            self.so_far = so_far;
        }
        more
    }
}

/// How long it has slept since its start: what the clock that counts it is ahead of the one that does not.
#[cfg(target_os = "linux")]
fn so_far() -> Duration {
    use rustix::time::{ClockId, clock_gettime};
    let read = |clock| Duration::try_from(clock_gettime(clock)).unwrap_or_default();
    let awake = read(ClockId::Monotonic);
    read(ClockId::Boottime).saturating_sub(awake)
}

/// Elsewhere that is not known.
#[cfg(not(target_os = "linux"))]
fn so_far() -> Duration {
    Duration::ZERO
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_machine_that_is_awake_has_not_slept_and_one_sleep_is_told_once() {
        let mut sleep = Sleep::new();
        assert!(!sleep.since());
        let before = sleep.so_far;
        assert!(!sleep.is_more(before + Duration::from_secs(1)));
        assert!(sleep.is_more(before + Duration::from_secs(3600)));
        assert!(!sleep.is_more(before + Duration::from_secs(3601)));
    }
}
