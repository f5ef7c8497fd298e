//! The metrics that are in the registry, with their names and buckets.

use std::sync::Arc;

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::metrics::info::Info;
use prometheus_client::registry::{Registry, Unit};

use super::labels::{Error, Ingress, Plugin, PluginError, Request, Route, Server, Service};
use super::route::Series;
use super::{
    Direction, GuardReason, IngressMetrics, PluginMetrics, ReloadOutcome, ReplacedReason, RetryOutcome,
    ServiceMetrics, Watched,
};

/// Upper bounds in seconds: from a cache hit nearby to the default `timeouts.request`.
const DURATION_BUCKETS: [f64; 15] =
    [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0];
/// Upper bounds in seconds: from one machine to a session that is about to be declared dead.
const RTT_BUCKETS: [f64; 10] = [0.0005, 0.002, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0];

#[derive(Debug)]
pub(super) struct Registered {
    requests: Family<Request, Counter>,
    request_duration: Family<Route, Histogram>,
    pub(super) errors: Family<Error, Counter>,
    active_connections: Family<Ingress, Gauge>,
    service_servers: Family<Server, Gauge>,
    plugin_failures: Family<PluginError, Counter>,
    pub(super) sessions: Gauge,
    pub(super) substreams_open: Gauge,
    pub(super) bytes_in: Counter,
    pub(super) bytes_out: Counter,
    pub(super) session_replaced: Family<ReplacedReason, Counter>,
    pub(super) session_rtt: Histogram,
    pub(super) retries: Family<RetryOutcome, Counter>,
    pub(super) auth_failures: Counter,
    pub(super) guard_closed: Family<GuardReason, Counter>,
    pub(super) accept_errors: Counter,
    pub(super) reloads: Family<ReloadOutcome, Counter>,
    pub(super) config_revision: Gauge,
    pub(super) config_pending: Gauge,
    pub(super) watched: Arc<Watched>,
}

impl Registered {
    /// Registers all of them. The registry adds the prefix, the unit and a counter's `_total`.
    pub(super) fn new(registry: &mut Registry, version: &'static str) -> Self {
        let bytes = Family::<Direction, Counter>::default();
        let all = Self {
            requests: Family::default(),
            request_duration: Family::new_with_constructor(|| Histogram::new(DURATION_BUCKETS)),
            errors: Family::default(),
            active_connections: Family::default(),
            service_servers: Family::default(),
            plugin_failures: Family::default(),
            sessions: Gauge::default(),
            substreams_open: Gauge::default(),
            bytes_in: bytes.get_or_create_owned(&Direction::In),
            bytes_out: bytes.get_or_create_owned(&Direction::Out),
            session_replaced: Family::default(),
            session_rtt: Histogram::new(RTT_BUCKETS),
            retries: Family::default(),
            auth_failures: Counter::default(),
            guard_closed: Family::default(),
            accept_errors: Counter::default(),
            reloads: Family::default(),
            config_revision: Gauge::default(),
            config_pending: Gauge::default(),
            watched: Arc::default(),
        };
        registry.register("requests", "Requests answered", all.requests.clone());
        registry.register_with_unit(
            "request_duration",
            "From the head of a request to the head of its answer",
            Unit::Seconds,
            all.request_duration.clone(),
        );
        registry.register("errors", "Requests and connections that failed", all.errors.clone());
        registry.register("active_connections", "Open visitor connections", all.active_connections.clone());
        registry.register("service_servers", "Servers of services, by state", all.service_servers.clone());
        registry.register("plugin_failures", "Calls of plugins that failed", all.plugin_failures.clone());
        registry.register("reload", "Files that had changed and were read again", all.reloads.clone());
        registry.register(
            "config_revision",
            "Number of the configuration in force",
            all.config_revision.clone(),
        );
        registry.register(
            "config_pending",
            "1 while the configuration file says what can not be used",
            all.config_pending.clone(),
        );
        registry.register("sessions", "Live sessions", all.sessions.clone());
        registry.register("substreams_open", "Open substreams", all.substreams_open.clone());
        registry.register("bytes", "Bytes carried for visitors, in: towards the service", bytes);
        registry.register(
            "session_replaced",
            "Sessions that gave way to a newer one, or died without a word",
            all.session_replaced.clone(),
        );
        registry.register_with_unit(
            "session_rtt",
            "Round-trip times of heartbeats",
            Unit::Seconds,
            all.session_rtt.clone(),
        );
        registry.register("retries", "Retries by how they ended", all.retries.clone());
        registry.register("auth_failures", "Logins refused for their credential", all.auth_failures.clone());
        registry.register(
            "guard_closed",
            "Connections and sessions closed by a guard",
            all.guard_closed.clone(),
        );
        registry.register("accept_errors", "Failed accepts", all.accept_errors.clone());
        registry.register("build", "The program", Info::new(vec![("version", version)]));
        all
    }

    pub(super) fn series(&self, labels: &Route) -> Series {
        let duration = self.request_duration.get_or_create_owned(labels);
        Series::new(labels.clone(), duration, self.requests.clone(), self.errors.clone())
    }

    pub(super) fn plugin(&self, labels: &Plugin) -> PluginMetrics {
        PluginMetrics::new(labels.clone(), self.plugin_failures.clone())
    }

    pub(super) fn ingress(&self, labels: &Ingress) -> IngressMetrics {
        IngressMetrics::new(self.active_connections.get_or_create_owned(labels))
    }

    pub(super) fn service(&self, labels: &Service) -> ServiceMetrics {
        ServiceMetrics::new(labels.clone(), self.service_servers.clone(), self.watched.clone())
    }
}
