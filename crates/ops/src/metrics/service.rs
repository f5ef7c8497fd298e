//! The metrics of one service.

use std::sync::Arc;

use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;

use super::labels::{Server, Service};
use super::{GaugeGuard, ServerState, Watched};

/// The metrics of the servers of one service. A clone is the same metrics.
#[derive(Debug, Clone)]
pub struct ServiceMetrics {
    labels: Service,
    servers: Family<Server, Gauge>,
    watched: Arc<Watched>,
}

impl ServiceMetrics {
    pub(super) fn new(labels: Service, servers: Family<Server, Gauge>, watched: Arc<Watched>) -> Self {
        Self { labels, servers, watched }
    }

    /// Counts a probe of one of the servers, and whether it was `good`.
    pub fn probed(&self, good: bool) {
        self.watched.probed(good);
    }

    /// Counts one server in `state` until the guard is dropped.
    pub fn server(&self, state: ServerState) -> GaugeGuard {
        let labels = Server { service: self.labels.clone(), state };
        GaugeGuard::new(&self.servers.get_or_create_owned(&labels))
    }
}
