//! Whether a new revision fails the visitors that the one before served (DESIGN 6, "Watch window").

use std::collections::VecDeque;
use std::fmt;
use std::time::Duration;

/// Requests before anything is said.
const REQUESTS_MIN: u64 = 20;
/// How many times the share of the span before it has to be.
const TIMES: u128 = 5;
/// Samples of the span before.
const SAMPLES_MAX: usize = 64;

/// What was counted since the start of the process.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    /// Requests that were answered, whatever with.
    pub requests: u64,
    /// Those that we answered ourselves because something of ours failed.
    pub failed: u64,
    /// Probes of servers.
    pub probes: u64,
    /// Those that failed.
    pub failed_probes: u64,
}

/// Why a revision is to be undone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Failing {
    /// Requests failed.
    Requests {
        /// How many.
        failed: u64,
        /// Of how many.
        of: u64,
    },
    /// Probes failed.
    Probes {
        /// How many.
        failed: u64,
        /// Of how many.
        of: u64,
    },
}

impl fmt::Display for Failing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Requests { failed, of } => write!(f, "{failed} of {of} requests failed"),
            Self::Probes { failed, of } => write!(f, "{failed} of {of} probes of servers failed"),
        }
    }
}

/// What was counted in the span that has just passed, and the revision that is looked at. Times are spans since any fixed
/// moment.
#[derive(Debug, Clone, Default)]
pub struct Window {
    pub(super) samples: VecDeque<(Duration, Counts)>,
    pub(super) open: Option<Open>,
}

#[derive(Debug, Clone, Copy)]
pub(super) struct Open {
    until: Duration,
    start: Counts,
    /// What was counted in the span before.
    pub(super) before: Counts,
}

impl Window {
    /// Notes what is counted by `now`, of which as much is remembered as `span` is long. To be called again and again.
    pub fn sample(&mut self, now: Duration, counts: Counts, span: Duration) {
        // The newest of those that are too old is the one that the span begins with.
        while self.samples.get(1).is_some_and(|(at, _)| now.saturating_sub(*at) >= span) {
            self.samples.pop_front();
        }
        let apart = span / u32::try_from(SAMPLES_MAX / 2).unwrap_or(u32::MAX);
        let due = self.samples.back().is_none_or(|(last, _)| now.saturating_sub(*last) >= apart);
        if due {
            if self.samples.len() >= SAMPLES_MAX {
                self.samples.pop_front();
            }
            self.samples.push_back((now, counts));
        }
    }

    /// A revision is in force from `now` on, and looked at for `span`.
    pub fn begin(&mut self, now: Duration, counts: Counts, span: Duration) {
        let first = self.samples.iter().rev().find(|(at, _)| now.saturating_sub(*at) >= span);
        let first = first.or(self.samples.front()).map_or(counts, |(_, counts)| *counts);
        let until = now.saturating_add(span);
        self.open = Some(Open { until, start: counts, before: counts.since(first) });
    }

    /// Nothing is looked at any more.
    pub fn close(&mut self) {
        self.open = None;
    }

    /// Whether a revision is looked at.
    #[must_use]
    pub const fn is_open(&self) -> bool {
        self.open.is_some()
    }

    /// What is to be said of the revision by `now`; once its time is over nothing is any more.
    pub fn look(&mut self, now: Duration, counts: Counts) -> Option<Failing> {
        let open = self.open?;
        let (after, before) = (counts.since(open.start), open.before);
        if now >= open.until {
            self.close();
        }
        if after.requests < REQUESTS_MIN {
            return None;
        }
        if is_worse((after.failed, after.requests), (before.failed, before.requests)) {
            return Some(Failing::Requests { failed: after.failed, of: after.requests });
        }
        let (failed, of) = (after.failed_probes, after.probes);
        is_worse((failed, of), (before.failed_probes, before.probes))
            .then_some(Failing::Probes { failed, of })
    }
}

impl Counts {
    fn since(self, start: Self) -> Self {
        Self {
            requests: self.requests.saturating_sub(start.requests),
            failed: self.failed.saturating_sub(start.failed),
            probes: self.probes.saturating_sub(start.probes),
            failed_probes: self.failed_probes.saturating_sub(start.failed_probes),
        }
    }
}

/// Whether (failed, of) is at least a half, and five times the share before; of nothing the share is nothing.
fn is_worse(after: (u64, u64), before: (u64, u64)) -> bool {
    let ((failed, of), (failed_before, of_before)) = (after, before);
    let product = |a: u64, b: u64| u128::from(a).saturating_mul(b.into());
    let half = of > 0 && product(failed, 2) >= u128::from(of);
    let times = product(failed, of_before) >= product(failed_before, of).saturating_mul(TIMES);
    half && (of_before == 0 || times)
}
