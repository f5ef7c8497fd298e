//! The metrics of INTERFACE ("Ops listener"), by typed handles.
//!
//! Nothing on the hot path looks up labels: whoever holds a route holds its [`RouteMetrics`],
//! whoever runs an ingress holds its [`IngressMetrics`]. Gauges move by guards only.

mod bounded;
mod gauge_guard;
mod ingress;
mod labels;
mod plugin;
mod registered;
mod route;
mod scraped;
mod service;
mod watched;

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use prometheus_client::encoding::text;
use prometheus_client::registry::Registry;

pub use gauge_guard::GaugeGuard;
pub use ingress::IngressMetrics;
pub use labels::{
    Direction, GuardReason, PluginFailure, ReloadOutcome, ReplacedReason, RetryOutcome, ServerState,
};
pub use plugin::PluginMetrics;
pub use route::{Failure, RouteMetrics};
pub use scraped::GroupMembers;
pub use service::ServiceMetrics;
pub use watched::WatchedCounts;

use bounded::Bounded;
use labels::{Error, Ingress, Plugin, Route, Service};
use registered::Registered;
use route::Series;
use scraped::Scraped;
use watched::Watched;

use crate::error_kind::ErrorKind;
use crate::spawn::Spawner;

/// The media type of [`Metrics::encode`]'s text.
pub const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// Distinct (route, group, service), and distinct ingresses, services and plugins, counted apart; the rest is `other`.
const LABEL_SETS: usize = 2_048;
const OTHER: &str = "other";

/// All metrics of one process. A clone is the same metrics.
#[derive(Clone)]
pub struct Metrics {
    inner: Arc<Inner>,
}

struct Inner {
    registry: Registry,
    registered: Registered,
    scraped: Scraped,
    routes: Bounded<Route, Series>,
    ingresses: Bounded<Ingress, IngressMetrics>,
    services: Bounded<Service, ServiceMetrics>,
    plugins: Bounded<Plugin, PluginMetrics>,
}

impl Metrics {
    /// Metrics that start at zero. `version` is the program's, for `build_info`.
    pub fn new(version: &'static str) -> Self {
        let mut registry = Registry::with_prefix("tunnel");
        let registered = Registered::new(&mut registry, version);
        let scraped = Scraped::default();
        registry.register_collector(Box::new(scraped.clone()));
        let (routes, ingresses) = (Bounded::new(LABEL_SETS), Bounded::new(LABEL_SETS));
        let (services, plugins) = (Bounded::new(LABEL_SETS), Bounded::new(LABEL_SETS));
        Self {
            inner: Arc::new(Inner { registry, registered, scraped, routes, ingresses, services, plugins }),
        }
    }

    /// The handle for one (route, group, service). Names only, never a raw host or path; an empty
    /// text means that there is none. Beyond 2,048 distinct ones that count something all share `other`.
    pub fn route(&self, route: &str, group: &str, service: &str) -> RouteMetrics {
        RouteMetrics::new(route_labels(route, group, service), self.clone())
    }

    fn series(&self, labels: &Route) -> Series {
        let other = || route_labels(OTHER, OTHER, OTHER);
        self.inner.routes.get(labels, other, |labels| self.inner.registered.series(labels))
    }

    fn errors_of(&self, labels: &Error) -> u64 {
        self.inner.registered.errors.get(labels).map_or(0, |count| count.get())
    }

    /// The handle for what reached no route.
    pub fn unrouted(&self) -> RouteMetrics {
        self.route("", "", "")
    }

    /// The handle for one ingress, by its name in the configuration. Beyond 2,048 distinct ones
    /// all share `other`.
    pub fn ingress(&self, name: &str) -> IngressMetrics {
        let registered = &self.inner.registered;
        let other = || Ingress { ingress: OTHER.into() };
        self.inner
            .ingresses
            .get(&Ingress { ingress: name.into() }, other, |labels| registered.ingress(labels))
    }

    /// The handle for the servers of one service of a group. Beyond 2,048 distinct ones all share `other`.
    pub fn service(&self, group: &str, service: &str) -> ServiceMetrics {
        let set = |group: &str, service: &str| Service { group: group.into(), service: service.into() };
        let registered = &self.inner.registered;
        let other = || set(OTHER, OTHER);
        self.inner.services.get(&set(group, service), other, |labels| registered.service(labels))
    }

    /// The handle for one plugin, by its name in the configuration. Beyond 2,048 distinct ones all
    /// share `other`.
    pub fn plugin(&self, name: &str) -> PluginMetrics {
        let registered = &self.inner.registered;
        let other = || Plugin { plugin: OTHER.into() };
        self.inner.plugins.get(&Plugin { plugin: name.into() }, other, |labels| registered.plugin(labels))
    }

    /// Counts one session until the guard is dropped.
    pub fn session(&self) -> GaugeGuard {
        GaugeGuard::new(&self.inner.registered.sessions)
    }

    /// Counts one open substream until the guard is dropped.
    pub fn substream(&self) -> GaugeGuard {
        GaugeGuard::new(&self.inner.registered.substreams_open)
    }

    /// Adds `count` bytes of bodies and connections, as visitors and services see them.
    pub fn bytes(&self, direction: Direction, count: u64) {
        let registered = &self.inner.registered;
        match direction {
            Direction::In => registered.bytes_in.inc_by(count),
            Direction::Out => registered.bytes_out.inc_by(count),
        };
    }

    /// Counts a session that gave way to a newer one.
    pub fn session_replaced(&self, reason: ReplacedReason) {
        self.inner.registered.session_replaced.get_or_create(&reason).inc();
    }

    /// Notes the round-trip time of a heartbeat.
    pub fn session_rtt(&self, rtt: Duration) {
        self.inner.registered.session_rtt.observe(rtt.as_secs_f64());
    }

    /// Counts a retry, made or not.
    pub fn retry(&self, outcome: RetryOutcome) {
        self.inner.registered.retries.get_or_create(&outcome).inc();
    }

    /// Counts a login that failed for its credential or proof.
    pub fn auth_failure(&self) {
        self.inner.registered.auth_failures.inc();
    }

    /// Counts a connection or session closed by a guard.
    pub fn guard_closed(&self, reason: GuardReason) {
        self.inner.registered.guard_closed.get_or_create(&reason).inc();
    }

    /// Counts a file that had changed and was read again.
    pub fn reload(&self, outcome: ReloadOutcome) {
        self.inner.registered.reloads.get_or_create(&outcome).inc();
    }

    /// The number of the configuration that is in force from now on.
    pub fn config_revision(&self, number: u64) {
        self.inner.registered.config_revision.set(i64::try_from(number).unwrap_or(i64::MAX));
    }

    /// Whether the configuration file says what can not be used.
    pub fn config_pending(&self, is_pending: bool) {
        self.inner.registered.config_pending.set(is_pending.into());
    }

    /// Counts a request that was answered, for the judgement of a new configuration.
    pub fn judge(&self, failure: Option<ErrorKind>) {
        self.inner.registered.watched.request(failure);
    }

    /// What a new configuration is judged by.
    #[must_use]
    pub fn watched(&self) -> WatchedCounts {
        self.inner.registered.watched.counts()
    }

    /// Counts a failed accept.
    pub fn accept_error(&self) {
        self.inner.registered.accept_errors.inc();
    }

    /// Reports the tasks of `spawner` from now on.
    pub fn watch_tasks(&self, spawner: &Spawner) {
        self.inner.scraped.tasks_of(spawner);
    }

    /// Reports what `count` returns, which never goes down, as the lost log lines.
    pub fn watch_dropped_logs(&self, count: impl Fn() -> u64 + Send + Sync + 'static) {
        self.inner.scraped.dropped_logs(count);
    }

    /// Reports what `held` returns as the bytes that all sessions hold.
    pub fn watch_buffered_bytes(&self, held: impl Fn() -> u64 + Send + Sync + 'static) {
        self.inner.scraped.buffered_bytes(held);
    }

    /// Reports what `count` returns, a line for every group and state.
    pub fn watch_group_members(&self, count: impl Fn() -> Vec<GroupMembers> + Send + Sync + 'static) {
        self.inner.scraped.group_members(count);
    }

    /// Reports what `count` returns as the number of things that the operator has taken out of service.
    pub fn watch_disabled(&self, count: impl Fn() -> u64 + Send + Sync + 'static) {
        self.inner.scraped.disabled(count);
    }

    /// Reports the time left until `at`, when the first of the certificates in use expires.
    pub fn certificate_expires(&self, at: SystemTime) {
        self.inner.scraped.certificate_expiry(at);
    }

    /// All metrics as OpenMetrics text, of the type [`CONTENT_TYPE`].
    ///
    /// # Errors
    /// Only if a metric cannot be written as text, which is a fault of ours.
    pub fn encode(&self) -> Result<String, fmt::Error> {
        let mut out = String::new();
        text::encode(&mut out, &self.inner.registry)?;
        Ok(out)
    }
}

fn route_labels(route: &str, group: &str, service: &str) -> Route {
    Route { route: route.into(), group: group.into(), service: service.into() }
}

impl fmt::Debug for Metrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Metrics").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
