//! How many logins a server takes in at once, and when the others shall come back.

use std::time::{Duration, Instant};

use rand::{Rng, RngExt};

/// How fast logins are taken in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pace {
    /// Time between two logins at the sustained rate.
    pub interval: Duration,
    /// Logins admitted at once after a pause.
    pub burst: u32,
}

impl Pace {
    /// 100 a second. The burst is little more than nothing: with the sustained rate it is all that comes back in the first
    /// second after a restart, when the server has its other work to take up as well.
    pub const USUAL: Self = Self { interval: Duration::from_millis(10), burst: 25 };
    /// While the process before this one sends its clients: it sends no more before these have arrived ([`crate::moving`]), so
    /// that nobody has to be put off. The rest of the limit is for everybody else who comes meanwhile.
    pub const TAKING_OVER: Self = Self { interval: Duration::from_millis(1), burst: 500 };
}

/// The furthest that a refused login is put off.
pub const HORIZON: Duration = Duration::from_secs(30);

/// The server has no time for this login now.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("too many logins at once; try again in {} ms", retry_after.as_millis())]
pub struct Busy {
    /// When to come back; at most [`HORIZON`].
    pub retry_after: Duration,
}

/// The logins of the whole server. A burst is followed by one login every [`Pace::interval`]; whoever is refused is told
/// the next moment at which nobody else was told to come.
#[derive(Debug, Clone, Copy)]
pub struct Admission {
    /// When the allowance will be whole again.
    full_at: Instant,
    /// The last moment at which somebody was told to come back.
    last_slot: Instant,
}

impl Admission {
    /// A server that starts at `now`.
    #[must_use]
    pub const fn new(now: Instant) -> Self {
        Self { full_at: now, last_slot: now }
    }

    /// Whether a login that arrives at `now` is admitted at this pace.
    ///
    /// # Errors
    /// When it shall come back. Slots further away than [`HORIZON`] are not given: those clients are spread at
    /// random over the second half of it, and take their chance again.
    pub fn admit(&mut self, now: Instant, pace: Pace, rng: &mut impl Rng) -> Result<(), Busy> {
        let full_at = self.full_at.max(now);
        let used = full_at.saturating_duration_since(now);
        if used <= pace.interval.saturating_mul(pace.burst.saturating_sub(1)) {
            self.full_at = full_at + pace.interval;
            return Ok(());
        }
        let slot = self.last_slot.max(now) + pace.interval;
        let ahead = slot.saturating_duration_since(now);
        if ahead > HORIZON {
            return Err(Busy { retry_after: rng.random_range(HORIZON / 2..=HORIZON) });
        }
        self.last_slot = slot;
        Err(Busy { retry_after: ahead })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::SeedableRng;
    use rand::rngs::StdRng;
    use std::cmp::Reverse;
    use std::collections::BinaryHeap;

    const MILLI: Duration = Duration::from_millis(1);
    const INTERVAL: Duration = Pace::USUAL.interval;
    const BURST: u32 = Pace::USUAL.burst;

    #[test]
    fn a_burst_then_the_sustained_rate() {
        let (start, mut rng) = (Instant::now(), StdRng::seed_from_u64(1));
        let mut admission = Admission::new(start);
        let admitted = |admission: &mut Admission, at, rng: &mut _| {
            (0..1000).filter(|_| admission.admit(at, Pace::USUAL, rng).is_ok()).count()
        };
        assert_eq!(admitted(&mut admission, start, &mut rng), 25);
        assert_eq!(admitted(&mut admission, start + 9 * MILLI, &mut rng), 0);
        assert_eq!(admitted(&mut admission, start + 10 * MILLI, &mut rng), 1);
        assert_eq!(admitted(&mut admission, start + 260 * MILLI, &mut rng), 25);
        assert_eq!(admitted(&mut admission, start + Duration::from_secs(3600), &mut rng), 25);
    }

    #[test]
    fn each_refused_login_gets_a_slot_of_its_own() {
        let (start, mut rng) = (Instant::now(), StdRng::seed_from_u64(2));
        let mut admission = Admission::new(start);
        let slots: Vec<Duration> = (0..600)
            .filter_map(|_| admission.admit(start, Pace::USUAL, &mut rng).err())
            .map(|busy| busy.retry_after)
            .collect();
        assert_eq!(slots.len(), 575);
        assert_eq!(slots[0], INTERVAL);
        assert!(slots.windows(2).all(|pair| pair[1] - pair[0] == INTERVAL));
    }

    #[test]
    fn past_the_horizon_they_are_spread() {
        let (start, mut rng) = (Instant::now(), StdRng::seed_from_u64(3));
        let mut admission = Admission::new(start);
        let slots: Vec<Duration> = (0..20_000)
            .filter_map(|_| admission.admit(start, Pace::USUAL, &mut rng).err())
            .map(|busy| busy.retry_after)
            .collect();
        let spread = &slots[3000..];
        assert!(spread.iter().all(|slot| (HORIZON / 2..=HORIZON).contains(slot)));
        let late = spread.iter().filter(|slot| **slot > HORIZON * 3 / 4).count();
        assert!((spread.len() * 2 / 5..spread.len() * 3 / 5).contains(&late), "{late} of {}", spread.len());
    }

    /// Ten thousand clients come at once and do as they are told: all are in after little more than the rate
    /// demands, and never more than the rate allows.
    #[test]
    fn a_thundering_herd_is_in_when_the_rate_allows() {
        const HERD: u32 = 10_000;
        let (start, mut rng) = (Instant::now(), StdRng::seed_from_u64(4));
        let mut admission = Admission::new(start);
        let mut arrivals: BinaryHeap<_> = (0..HERD).map(|client| Reverse((start, client))).collect();
        let (mut admitted, mut last) = (0, start);
        while let Some(Reverse((now, client))) = arrivals.pop() {
            match admission.admit(now, Pace::USUAL, &mut rng) {
                Ok(()) => {
                    admitted += 1;
                    last = now;
                    let allowed = u128::from(BURST) + (now - start).as_millis() / INTERVAL.as_millis();
                    assert!(admitted <= allowed);
                }
                Err(Busy { retry_after }) => arrivals.push(Reverse((now + retry_after + MILLI, client))),
            }
        }
        assert_eq!(admitted, u128::from(HERD));
        assert!(last - start <= Duration::from_secs(99 + 30), "{:?}", last - start);
    }

    /// Those who move are let in as they come; what they have used up is used up afterwards too.
    #[test]
    fn a_server_that_takes_over_lets_in_who_is_sent() {
        let (start, mut rng) = (Instant::now(), StdRng::seed_from_u64(5));
        let mut admission = Admission::new(start);
        for number in 0..5_000 {
            let at = start + number * 2 * MILLI;
            assert_eq!(admission.admit(at, Pace::TAKING_OVER, &mut rng), Ok(()), "{number}");
        }
        let at_once = |admission: &mut Admission, at: Instant, rng: &mut _| {
            (0..1_000).filter(|_| admission.admit(at, Pace::TAKING_OVER, rng).is_ok()).count()
        };
        let after = start + Duration::from_secs(60);
        assert_eq!(at_once(&mut admission, after, &mut rng), 500);
        assert!(admission.admit(after, Pace::USUAL, &mut rng).is_err());
        let later = after + Duration::from_secs(1);
        assert_eq!(admission.admit(later, Pace::USUAL, &mut rng), Ok(()));
    }
}
