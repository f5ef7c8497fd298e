//! Whether a server of a service is fit for a request: probes counted by rise and fall, and failed connections, which put
//! it off for a while (DESIGN 5). Kept apart from what the operator says of it.

use std::time::{Duration, Instant};

use crate::part::HealthCheck;

/// Failed connections in a row after which a server is put off.
pub const EJECT_AFTER: u32 = 3;
/// How long for the first time. It doubles up to [`EJECT_MAX`] while connections go on to fail.
pub const EJECT_FIRST: Duration = Duration::from_secs(5);
/// The longest that a server is put off at once.
pub const EJECT_MAX: Duration = Duration::from_secs(60);

/// How fit a server is; the fittest come first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Standing {
    /// As far as anybody knows it works.
    Healthy,
    /// It could not be connected to, and is put off for a while.
    Ejected,
    /// Its probes fail.
    Sick,
}

/// What is known of one server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ServerHealth {
    /// Probes in a row that say the opposite of `sick`.
    against: u32,
    sick: bool,
    /// Connections that failed in a row.
    failures: u32,
    ejected_until: Option<Instant>,
    /// How long it is put off the next time.
    next_span: Duration,
}

impl Default for ServerHealth {
    fn default() -> Self {
        Self { against: 0, sick: false, failures: 0, ejected_until: None, next_span: EJECT_FIRST }
    }
}

impl ServerHealth {
    /// Counts a probe that ended `good` or not.
    pub const fn probed(&mut self, good: bool, check: &HealthCheck) {
        if good != self.sick {
            self.against = 0;
            return;
        }
        self.against = self.against.saturating_add(1);
        let enough = if self.sick { check.rise } else { check.fall };
        if self.against >= enough {
            self.sick = !self.sick;
            self.against = 0;
        }
    }

    /// It is not probed any more: what probes said is forgotten.
    pub const fn unprobed(&mut self) {
        self.sick = false;
        self.against = 0;
    }

    /// Counts a connection that came about: what failed before is forgiven.
    pub const fn connected(&mut self) {
        self.failures = 0;
        self.ejected_until = None;
        self.next_span = EJECT_FIRST;
    }

    /// Whether [`Self::connected`] would change anything.
    #[must_use]
    pub const fn has_failed(&self) -> bool {
        self.failures > 0
    }

    /// Counts a connection that failed at `now`. `others` says whether another server is healthy: the last one is never
    /// put off. If this puts it off: until when.
    pub fn connect_failed(&mut self, now: Instant, others: bool) -> Option<Instant> {
        self.failures = self.failures.saturating_add(1);
        let put_off = self.ejected_until.is_some_and(|until| now < until);
        if self.failures < EJECT_AFTER || put_off || !others {
            return None;
        }
        self.ejected_until = now.checked_add(self.next_span);
        self.next_span = self.next_span.saturating_mul(2).min(EJECT_MAX);
        self.ejected_until
    }

    /// How fit it is at `now`.
    #[must_use]
    pub fn standing(&self, now: Instant) -> Standing {
        if self.sick {
            Standing::Sick
        } else if self.ejected_until.is_some_and(|until| now < until) {
            Standing::Ejected
        } else {
            Standing::Healthy
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::part::HealthKind;

    const CHECK: HealthCheck =
        HealthCheck { kind: HealthKind::Tcp, path: None, interval_ms: 1, timeout_ms: 1, rise: 2, fall: 3 };

    #[test]
    fn probes_rise_and_fall() {
        let (mut health, now) = (ServerHealth::default(), Instant::now());
        for (probe, standing) in [
            (false, Standing::Healthy),
            (false, Standing::Healthy),
            (true, Standing::Healthy),
            (false, Standing::Healthy),
            (false, Standing::Healthy),
            (false, Standing::Sick),
            (true, Standing::Sick),
            (false, Standing::Sick),
            (true, Standing::Sick),
            (true, Standing::Healthy),
        ] {
            health.probed(probe, &CHECK);
            assert_eq!(health.standing(now), standing);
        }
        (0..3).for_each(|_| health.probed(false, &CHECK));
        assert_eq!(health.standing(now), Standing::Sick);
        health.unprobed();
        assert_eq!(health.standing(now), Standing::Healthy);
    }

    #[test]
    fn failed_connections_put_it_off_for_longer_and_longer() {
        let (mut health, mut now) = (ServerHealth::default(), Instant::now());
        for _ in 1..EJECT_AFTER {
            health.connect_failed(now, true);
            assert_eq!(health.standing(now), Standing::Healthy);
        }
        for seconds in [5, 10, 20, 40, 60, 60] {
            health.connect_failed(now, true);
            // One that was asked all the same does not make it longer.
            health.connect_failed(now, true);
            let span = Duration::from_secs(seconds);
            assert_eq!(health.standing(now + span - Duration::from_millis(1)), Standing::Ejected);
            now += span;
            assert_eq!(health.standing(now), Standing::Healthy);
        }
        health.connected();
        assert!(!health.has_failed());
        for _ in 0..EJECT_AFTER {
            health.connect_failed(now, true);
        }
        assert_eq!(health.standing(now + EJECT_FIRST), Standing::Healthy);
    }

    #[test]
    fn the_last_one_is_never_put_off() {
        let (mut health, now) = (ServerHealth::default(), Instant::now());
        for _ in 0..10 {
            health.connect_failed(now, false);
        }
        assert_eq!(health.standing(now), Standing::Healthy);
    }
}
