//! The mark on a connection that must not end well.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// Shared between a connection, which looks at it when it closes, and the exchange on it: a poisoned connection is reset,
/// so that what was cut never looks complete.
#[derive(Debug, Clone, Default)]
pub(crate) struct Poison(Arc<AtomicBool>);

impl Poison {
    /// The coming close of the connection is a reset.
    pub(crate) fn apply(&self) {
        self.0.store(true, Ordering::Release);
    }

    /// Whether it is poisoned.
    pub(crate) fn is_applied(&self) -> bool {
        self.0.load(Ordering::Acquire)
    }
}
