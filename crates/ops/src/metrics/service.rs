//! The metrics of one service.

use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;

use super::labels::{Server, Service};
use super::{GaugeGuard, ServerState};

/// The metrics of the servers of one service. A clone is the same metrics.
#[derive(Debug, Clone)]
pub struct ServiceMetrics {
    labels: Service,
    servers: Family<Server, Gauge>,
}

impl ServiceMetrics {
    pub(super) fn new(labels: Service, servers: Family<Server, Gauge>) -> Self {
        Self { labels, servers }
    }

    /// Counts one server in `state` until the guard is dropped.
    pub fn server(&self, state: ServerState) -> GaugeGuard {
        let labels = Server { service: self.labels.clone(), state };
        GaugeGuard::new(&self.servers.get_or_create_owned(&labels))
    }
}
