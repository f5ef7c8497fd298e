//! How well a member serves what it is asked for, as those find who ask it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use ops::error_kind::ErrorKind;
use parking_lot::Mutex;
use policy::retry::Knowledge;
use policy::server_health::{ServerHealth, Standing};

/// What became of the last requests and connections that were opened at a member. A clone tells of the same.
#[derive(Debug, Clone, Default)]
pub struct Fitness(Arc<Record>);

#[derive(Debug, Default)]
struct Record {
    health: Mutex<ServerHealth>,
    /// Whether there is anything in it.
    failing: AtomicBool,
}

impl Fitness {
    /// Whether it is worth asking at `now`. One whose service failed three times in a row is put off for a while.
    #[must_use]
    pub fn is_fit(&self, now: Instant) -> bool {
        !self.0.failing.load(Ordering::Relaxed) || self.0.health.lock().standing(now) == Standing::Healthy
    }

    /// Its service was reached.
    pub fn reached(&self) {
        if self.0.failing.load(Ordering::Relaxed) {
            // Under the lock, so that the mark never says less than the record.
            let mut health = self.0.health.lock();
            health.connected();
            self.0.failing.store(false, Ordering::Relaxed);
        }
    }

    /// An attempt of which `known` is known failed with `kind` at `now`. `others`: there are members besides.
    pub fn failed(&self, kind: ErrorKind, known: Knowledge, others: bool, now: Instant) {
        // A service that can not be connected to, not one that takes its time for an answer.
        let unreachable = kind == ErrorKind::ServiceTimeout && known == Knowledge::FailedBeforeAnyByte;
        if unreachable
            || matches!(kind, ErrorKind::ServiceRefused | ErrorKind::ServiceTls | ErrorKind::OpenTimeout)
        {
            let mut health = self.0.health.lock();
            health.connect_failed(now, others);
            self.0.failing.store(true, Ordering::Relaxed);
        }
    }
}

#[cfg(test)]
mod tests {
    use policy::server_health::{EJECT_AFTER, EJECT_FIRST};

    use super::*;

    #[test]
    fn a_member_whose_service_is_down_is_put_off_for_a_while() {
        let (fitness, now) = (Fitness::default(), Instant::now());
        let known = Knowledge::NoAnswerByte;
        let fails = |kind, others| (0..EJECT_AFTER).for_each(|_| fitness.failed(kind, known, others, now));
        fails(ErrorKind::ServiceTimeout, true);
        assert!(fitness.is_fit(now), "it may have been the request");
        fails(ErrorKind::ServiceRefused, false);
        assert!(fitness.is_fit(now), "the last one is never put off");
        fitness.reached();
        fitness.failed(ErrorKind::ServiceRefused, known, true, now);
        assert!(fitness.is_fit(now));
        fails(ErrorKind::ServiceRefused, true);
        assert!(!fitness.is_fit(now));
        assert!(fitness.is_fit(now + EJECT_FIRST));
        fitness.clone().reached();
        assert!(fitness.is_fit(now));
        let unreachable = Knowledge::FailedBeforeAnyByte;
        (0..EJECT_AFTER).for_each(|_| fitness.failed(ErrorKind::ServiceTimeout, unreachable, true, now));
        assert!(!fitness.is_fit(now), "it did not accept connections in time");
    }
}
