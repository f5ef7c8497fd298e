//! How often a client may open substreams at the server (`spec/09-limits.md`).

use std::time::{Duration, Instant};

/// Opens a second, and at once after a pause.
const PER_SECOND: u32 = 2_000;

/// Counts the opens of one session.
#[derive(Debug, Clone, Copy)]
pub struct OpenRate {
    /// When a whole second of opens would be there again.
    paid_until: Instant,
}

impl OpenRate {
    /// Nothing was opened before `now`.
    #[must_use]
    pub const fn new(now: Instant) -> Self {
        Self { paid_until: now }
    }

    /// One more; whether it is within the rate. One that is not costs nothing.
    pub fn admit(&mut self, now: Instant) -> bool {
        let price = Duration::from_secs(1) / PER_SECOND;
        let paid = self.paid_until.max(now).checked_add(price);
        let limit = now.checked_add(Duration::from_secs(1));
        match (paid, limit) {
            (Some(paid), Some(limit)) if paid <= limit => {
                self.paid_until = paid;
                true
            }
            _ => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_thousand_pass_at_once_and_then_two_a_millisecond() {
        let start = Instant::now();
        let mut rate = OpenRate::new(start);
        let mut passed = |now| (0..3_000).filter(|_| rate.admit(now)).count();
        assert_eq!(passed(start), 2_000);
        assert_eq!(passed(start + Duration::from_millis(1)), 2);
        assert_eq!(passed(start + Duration::from_secs(3_600)), 2_000);
    }
}
