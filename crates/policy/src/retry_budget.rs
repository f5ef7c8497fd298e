//! How many retries a route may make, so that retries do not bring down what is left of a service.

use std::time::{Duration, Instant};

/// Requests that earn one retry: retries are a fifth of the requests.
pub const REQUESTS_PER_RETRY: u32 = 5;

/// Retries a second that are there without any request.
pub const MINIMUM_PER_SECOND: u32 = 3;

/// The most retries that can be saved up.
pub const SAVED_MAX: u32 = 100;

/// One retry, in the unit of the account: thousandths.
const RETRY: u32 = 1000;

/// The account of one route. It starts with [`MINIMUM_PER_SECOND`] retries.
#[derive(Debug, Clone, Copy)]
pub struct RetryBudget {
    /// Thousandths of a retry.
    saved: u32,
    /// Requests that were credited.
    requests: u64,
    /// Until when the minimum was credited.
    credited: Instant,
}

impl RetryBudget {
    /// A budget that begins at `now`.
    #[must_use]
    pub const fn new(now: Instant) -> Self {
        Self { saved: MINIMUM_PER_SECOND * RETRY, requests: 0, credited: now }
    }

    /// Takes one retry, if there is one; `requests` have come in so far (not counting retries).
    #[must_use]
    pub fn retry(&mut self, requests: u64, now: Instant) -> bool {
        let fresh = requests.saturating_sub(std::mem::replace(&mut self.requests, requests));
        let fresh = u32::try_from(fresh).unwrap_or(u32::MAX);
        self.save(fresh.saturating_mul(RETRY / REQUESTS_PER_RETRY));
        self.credit(now);
        match self.saved.checked_sub(RETRY) {
            Some(rest) => {
                self.saved = rest;
                true
            }
            None => false,
        }
    }

    fn credit(&mut self, now: Instant) {
        let elapsed = now.saturating_duration_since(self.credited);
        let millis = u32::try_from(elapsed.as_millis()).unwrap_or(u32::MAX);
        self.save(millis.saturating_mul(MINIMUM_PER_SECOND));
        // What is less than a millisecond is credited the next time.
        let rest = Duration::from_nanos(u64::from(elapsed.subsec_nanos() % 1_000_000));
        self.credited = now.checked_sub(rest).map_or(self.credited, |until| until.max(self.credited));
    }

    fn save(&mut self, thousandths: u32) {
        self.saved = self.saved.saturating_add(thousandths).min(SAVED_MAX.saturating_mul(RETRY));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn retries(budget: &mut RetryBudget, requests: u64, now: Instant) -> usize {
        std::iter::from_fn(|| budget.retry(requests, now).then_some(())).count()
    }

    #[test]
    fn a_fifth_of_the_requests_and_three_a_second() {
        let start = Instant::now();
        let mut budget = RetryBudget::new(start);
        assert_eq!(retries(&mut budget, 0, start), 3);
        assert_eq!(retries(&mut budget, 50, start), 10);
        assert_eq!(retries(&mut budget, 50, start + Duration::from_secs(2)), 6);
        assert_eq!(retries(&mut budget, 50, start + Duration::from_millis(2333)), 0);
        assert_eq!(retries(&mut budget, 50, start + Duration::from_millis(2334)), 1);
    }

    #[test]
    fn savings_are_bounded() {
        let start = Instant::now();
        let mut budget = RetryBudget::new(start);
        assert_eq!(retries(&mut budget, u64::MAX, start + Duration::from_secs(1 << 40)), 100);
    }
}
