//! How long a client waits before it dials again.

use std::time::{Duration, Instant};

use rand::{Rng, RngExt};

/// Upper bound of the first delay; it doubles with every attempt that failed.
pub const BASE: Duration = Duration::from_millis(250);

/// Cap of a delay soon after a session was up.
pub const SHORT_CAP: Duration = Duration::from_secs(1);

/// How long after a session was up [`SHORT_CAP`] holds.
pub const SHORT_FOR: Duration = Duration::from_secs(60);

/// Cap of any other delay.
pub const LONG_CAP: Duration = Duration::from_secs(30);

/// A session that lasted for less does not start the count of attempts anew, so that a server that greets and
/// then hangs up is not dialled ever faster.
pub const PROOF_OF_LIFE: Duration = Duration::from_secs(5);

/// The most that a server's `retry_after` is heeded: as long as the longest ban.
pub const FLOOR_MAX: Duration = Duration::from_secs(15 * 60);

/// The delays of one slot of a client.
#[derive(Debug, Clone, Copy, Default)]
pub struct Backoff {
    attempts: u32,
    last_up: Option<Instant>,
}

impl Backoff {
    /// No attempt was made yet.
    #[must_use]
    pub const fn new() -> Self {
        Self { attempts: 0, last_up: None }
    }

    /// A session ended at `now` after it had lasted for `lasted`.
    pub fn session_ended(&mut self, now: Instant, lasted: Duration) {
        self.last_up = Some(now);
        if lasted >= PROOF_OF_LIFE {
            self.attempts = 0;
        }
    }

    /// The server refused the login for a reason that does not pass by itself: from here on the delays are the
    /// longest.
    pub const fn refused(&mut self) {
        self.attempts = u32::MAX;
        self.last_up = None;
    }

    /// The delay before the next attempt: uniform in \[0, min(cap, [`BASE`] · 2ⁿ)\] for the n-th attempt, and not
    /// less than what the server asked for in `retry_after` (of which at most [`FLOOR_MAX`] is heeded).
    pub fn delay(&mut self, now: Instant, retry_after: Option<Duration>, rng: &mut impl Rng) -> Duration {
        let ceiling = self.ceiling(now);
        self.attempts = self.attempts.saturating_add(1);
        rng.random_range(Duration::ZERO..=ceiling).max(retry_after.unwrap_or_default().min(FLOOR_MAX))
    }

    fn ceiling(&self, now: Instant) -> Duration {
        let soon = self.last_up.is_some_and(|up| now.saturating_duration_since(up) < SHORT_FOR);
        let cap = if soon { SHORT_CAP } else { LONG_CAP };
        let factor = 1u32.checked_shl(self.attempts).unwrap_or(u32::MAX);
        BASE.saturating_mul(factor).min(cap)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use rand::SeedableRng;
    use rand::rngs::StdRng;

    #[test]
    fn the_ceiling_doubles_to_its_cap() {
        let (now, mut backoff, mut rng) = (Instant::now(), Backoff::new(), StdRng::seed_from_u64(1));
        let ceilings: Vec<u128> = (0..10)
            .map(|_| {
                let ceiling = backoff.ceiling(now).as_millis();
                backoff.delay(now, None, &mut rng);
                ceiling
            })
            .collect();
        assert_eq!(ceilings, [250, 500, 1000, 2000, 4000, 8000, 16_000, 30_000, 30_000, 30_000]);
    }

    #[test]
    fn for_a_minute_after_a_session_the_cap_is_a_second() {
        let (start, mut backoff, mut rng) = (Instant::now(), Backoff::new(), StdRng::seed_from_u64(2));
        backoff.session_ended(start, Duration::from_secs(100));
        assert_eq!(backoff.ceiling(start), BASE);
        for _ in 0..50 {
            assert!(backoff.delay(start + Duration::from_secs(59), None, &mut rng) <= SHORT_CAP);
        }
        assert_eq!(backoff.ceiling(start + SHORT_FOR), LONG_CAP);
    }

    #[test]
    fn a_session_that_ends_at_once_does_not_reset_the_count() {
        let (now, mut backoff, mut rng) = (Instant::now(), Backoff::new(), StdRng::seed_from_u64(3));
        for _ in 0..3 {
            backoff.delay(now, None, &mut rng);
            backoff.session_ended(now, Duration::from_millis(3));
        }
        assert_eq!(backoff.ceiling(now), SHORT_CAP);
        backoff.session_ended(now, PROOF_OF_LIFE);
        assert_eq!(backoff.ceiling(now), BASE);
    }

    #[test]
    fn a_refusal_goes_to_the_long_cap() {
        let (now, mut backoff) = (Instant::now(), Backoff::new());
        backoff.session_ended(now, Duration::from_secs(100));
        backoff.refused();
        assert_eq!(backoff.ceiling(now), LONG_CAP);
    }

    proptest! {
        #[test]
        fn a_delay_is_between_the_floor_and_the_cap(
            seed: u64,
            attempts: u32,
            floor in prop::option::of(0u64..10_000_000),
        ) {
            let now = Instant::now();
            let floor = floor.map(Duration::from_millis);
            let mut backoff = Backoff { attempts, last_up: None };
            let delay = backoff.delay(now, floor, &mut StdRng::seed_from_u64(seed));
            prop_assert!(delay >= floor.unwrap_or_default().min(FLOOR_MAX));
            prop_assert!(delay <= LONG_CAP.max(floor.unwrap_or_default().min(FLOOR_MAX)));
        }
    }
}
