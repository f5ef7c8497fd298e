//! The metrics of one plugin.

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;

use super::PluginFailure;
use super::labels::{Plugin, PluginError};

/// The metrics of one plugin, to be kept by whoever calls it. A clone is the same metrics.
#[derive(Debug, Clone)]
pub struct PluginMetrics {
    labels: Plugin,
    failures: Family<PluginError, Counter>,
}

impl PluginMetrics {
    pub(super) const fn new(labels: Plugin, failures: Family<PluginError, Counter>) -> Self {
        Self { labels, failures }
    }

    /// Counts a call that failed.
    pub fn failure(&self, reason: PluginFailure) {
        self.failures.get_or_create(&PluginError { plugin: self.labels.clone(), reason }).inc();
    }

    /// How many calls have failed for `reason` so far.
    pub fn failures(&self, reason: PluginFailure) -> u64 {
        let labels = PluginError { plugin: self.labels.clone(), reason };
        self.failures.get(&labels).map_or(0, |count| count.get())
    }
}
