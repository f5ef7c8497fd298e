//! How the servers of a service are, for those who ask by hand.

use std::sync::atomic::Ordering;
use std::time::Instant;

use ops::metrics::ServiceMetrics;
use policy::server_health::Standing;

use super::server::Server;

/// How one server is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServerStanding {
    /// Where it listens, and what it speaks.
    pub address: String,
    /// `healthy`; `failing` if the last connection to it failed and nobody can take its place; `ejected` if it is put off for
    /// a while for that; `sick` if its probes fail; `disabled` whatever of that, if the operator has taken it out of service.
    pub state: &'static str,
    /// Requests and connections on it.
    pub carries: u32,
}

impl Server {
    pub(super) fn shown(&self, metrics: &ServiceMetrics) -> ServerStanding {
        ServerStanding {
            address: self.link.target.to_string(),
            state: match self.standing(Instant::now(), metrics) {
                _ if self.is_disabled() => "disabled",
                Standing::Healthy if self.failing.load(Ordering::Relaxed) => "failing",
                Standing::Healthy => "healthy",
                Standing::Ejected => "ejected",
                Standing::Sick => "sick",
            },
            carries: self.carried.load(Ordering::Relaxed),
        }
    }
}
