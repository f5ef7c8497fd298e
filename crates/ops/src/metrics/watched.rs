//! What a new configuration is judged by: counts of the whole process, which nobody scrapes.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::error_kind::ErrorKind;

/// Requests and probes, and those that failed.
#[derive(Debug, Default)]
pub(super) struct Watched {
    requests: AtomicU64,
    failed: AtomicU64,
    probes: AtomicU64,
    failed_probes: AtomicU64,
}

/// What was counted so far.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct WatchedCounts {
    /// Requests answered.
    pub requests: u64,
    /// Those that failed for a reason that a configuration can have.
    pub failed: u64,
    /// Probes of servers.
    pub probes: u64,
    /// Those that failed.
    pub failed_probes: u64,
}

impl Watched {
    pub(super) fn request(&self, failure: Option<ErrorKind>) {
        self.requests.fetch_add(1, Ordering::Relaxed);
        if failure.is_some_and(is_ours) {
            self.failed.fetch_add(1, Ordering::Relaxed);
        }
    }

    pub(super) fn probed(&self, good: bool) {
        self.probes.fetch_add(1, Ordering::Relaxed);
        if !good {
            self.failed_probes.fetch_add(1, Ordering::Relaxed);
        }
    }

    pub(super) fn counts(&self) -> WatchedCounts {
        let of = |count: &AtomicU64| count.load(Ordering::Relaxed);
        WatchedCounts {
            requests: of(&self.requests),
            failed: of(&self.failed),
            probes: of(&self.probes),
            failed_probes: of(&self.failed_probes),
        }
    }
}

/// Whether a failure can speak against a configuration. What visitors bring about as they please can not: else whoever asks for
/// names that are not there, or is kept out on purpose, would undo what keeps him out.
const fn is_ours(kind: ErrorKind) -> bool {
    match kind {
        ErrorKind::ServiceRefused
        | ErrorKind::ServiceTimeout
        | ErrorKind::ServiceCut
        | ErrorKind::ServiceTls
        | ErrorKind::NoMember
        | ErrorKind::SessionLost
        | ErrorKind::OpenTimeout
        | ErrorKind::NotAllowed
        | ErrorKind::Internal => true,
        ErrorKind::NoRoute
        | ErrorKind::OverLimit
        | ErrorKind::BadRequest
        | ErrorKind::Denied
        | ErrorKind::Draining => false,
    }
}
