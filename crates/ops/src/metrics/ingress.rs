//! The metrics of one ingress.

use prometheus_client::metrics::gauge::Gauge;

use super::GaugeGuard;

/// The metrics of one ingress, to be kept by whoever runs it. A clone is the same metrics.
#[derive(Debug, Clone)]
pub struct IngressMetrics {
    active: Gauge,
}

impl IngressMetrics {
    pub(super) fn new(active: Gauge) -> Self {
        Self { active }
    }

    /// Counts one visitor's connection until the guard is dropped.
    pub fn connection(&self) -> GaugeGuard {
        GaugeGuard::new(&self.active)
    }
}
