//! What everybody may see at any time, whatever the authority is doing.

use std::sync::Arc;

use arc_swap::{ArcSwap, ArcSwapOption};
use ops::metrics::Metrics;
use policy::revision::History;

/// What is known of the configuration.
#[derive(Debug)]
pub(crate) struct Board {
    history: ArcSwap<History>,
    /// Why the file is not in force.
    pending: ArcSwapOption<String>,
    metrics: Metrics,
}

impl Board {
    pub(super) fn new(history: History, pending: Option<String>, metrics: Metrics) -> Arc<Self> {
        let board = Self { history: ArcSwap::default(), pending: ArcSwapOption::empty(), metrics };
        board.publish(history);
        board.pend(pending);
        Arc::new(board)
    }

    /// All revisions.
    pub(crate) fn history(&self) -> Arc<History> {
        self.history.load_full()
    }

    /// The number in force; 0 without a configuration.
    pub(crate) fn number(&self) -> u64 {
        self.history.load().number()
    }

    /// Why the file is not in force, if it is not.
    pub(crate) fn pending(&self) -> Option<Arc<String>> {
        self.pending.load_full()
    }

    pub(super) fn publish(&self, history: History) {
        self.metrics.config_revision(history.number());
        self.history.store(Arc::new(history));
    }

    pub(super) fn pend(&self, reason: Option<String>) {
        self.metrics.config_pending(reason.is_some());
        self.pending.store(reason.map(Arc::new));
    }
}
