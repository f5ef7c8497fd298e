//! When something was last seen: noted by many, without a lock, and shared by the copies of its owner.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use serde::{Deserialize, Serialize};

/// Seconds since 1970, or never.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(from = "Option<u64>", into = "Option<u64>")]
pub struct Seen(Arc<AtomicU64>);

impl Seen {
    /// The last moment noted.
    #[must_use]
    pub fn at(&self) -> Option<u64> {
        Some(self.0.load(Ordering::Relaxed)).filter(|at| *at != 0)
    }

    /// Notes a moment, unless a later one is known.
    pub fn note(&self, at: u64) {
        self.0.fetch_max(at, Ordering::Relaxed);
    }
}

impl From<Option<u64>> for Seen {
    fn from(at: Option<u64>) -> Self {
        Self(Arc::new(AtomicU64::new(at.unwrap_or(0))))
    }
}

impl From<Seen> for Option<u64> {
    fn from(seen: Seen) -> Self {
        seen.at()
    }
}
