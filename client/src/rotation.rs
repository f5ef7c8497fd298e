//! When a session has served its time: another one takes its place, while it finishes what it carries.
//!
//! The ids of a session's substreams run out, and what a connection has gathered in months (a path that has become a detour,
//! a limit on the way) goes with it. The new session is there before the old one takes no more: nobody notices.

use std::time::{Duration, Instant};

use rand::{Rng, RngExt};

/// How long a session serves if nobody says otherwise.
const AFTER: Duration = Duration::from_secs(24 * 3600);
/// Substreams of a session if nobody says otherwise: half of what there is.
const SUBSTREAMS: u32 = 1 << 30;
/// How far clients that began together are apart at the end: a tenth of the time to either side.
const SPREAD: u32 = 10;
/// How long after a failed attempt it is tried again.
const AGAIN: Duration = Duration::from_secs(60);

/// What a session may serve at most.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rotation {
    /// So long, more or less.
    pub after: Duration,
    /// So many substreams.
    pub substreams: u32,
}

impl Default for Rotation {
    fn default() -> Self {
        Self { after: AFTER, substreams: SUBSTREAMS }
    }
}

/// When one session is to be replaced.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Due {
    at: Instant,
    substreams: u32,
}

impl Rotation {
    /// For a session that begins now.
    pub(crate) fn begin(self, now: Instant, rng: &mut impl Rng) -> Due {
        let spread = self.after.checked_div(SPREAD).unwrap_or_default();
        let early = spread.mul_f64(2.0 * rng.random::<f64>());
        let after = self.after.saturating_add(spread).saturating_sub(early);
        Due { at: later(now, after), substreams: self.substreams }
    }
}

impl Due {
    /// Whether it is time, for a session that has carried so many `substreams`.
    pub(crate) fn is_due(&self, now: Instant, substreams: u32) -> bool {
        now >= self.at || substreams >= self.substreams
    }

    /// No other session could be had: it goes on for a while.
    pub(crate) fn postpone(&mut self, now: Instant, substreams: u32) {
        self.at = later(now, AGAIN);
        self.substreams = substreams.saturating_add(self.substreams / 2).max(self.substreams);
    }
}

fn later(now: Instant, after: Duration) -> Instant {
    // What is too far away for the clock does not come.
    now.checked_add(after).unwrap_or(now + Duration::from_secs(u64::from(u32::MAX)))
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng;
    use rand::rngs::SmallRng;

    use super::*;

    #[test]
    fn clients_that_began_together_are_replaced_a_tenth_earlier_or_later() {
        let (now, mut rng) = (Instant::now(), SmallRng::seed_from_u64(7));
        let hours: Vec<f64> = (0..1_000)
            .map(|_| (Rotation::default().begin(now, &mut rng).at - now).as_secs_f64() / 3600.0)
            .collect();
        assert!(hours.iter().all(|hours| (21.6..=26.4).contains(hours)));
        assert!(hours.iter().any(|hours| *hours < 22.0) && hours.iter().any(|hours| *hours > 26.0));
    }

    #[test]
    fn either_limit_ends_it_and_a_failed_attempt_puts_it_off() {
        let (now, mut rng) = (Instant::now(), SmallRng::seed_from_u64(7));
        let rotation = Rotation { after: Duration::from_secs(100), substreams: 1_000 };
        let mut due = rotation.begin(now, &mut rng);
        assert!(!due.is_due(now + Duration::from_secs(80), 999));
        assert!(due.is_due(now + Duration::from_secs(111), 0) && due.is_due(now, 1_000));
        due.postpone(now, 1_200);
        assert!(!due.is_due(now + Duration::from_secs(59), 1_600));
        assert!(due.is_due(now + AGAIN, 0) && due.is_due(now, 1_700));
    }
}
