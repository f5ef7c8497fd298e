//! The metrics of one route: what the hot path holds.

use std::collections::VecDeque;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, SystemTime};

use parking_lot::{Mutex, RwLock};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::histogram::Histogram;

use super::Metrics;
use super::labels::{Code, Error, Request, Route};
use crate::error_kind::ErrorKind;

/// Status codes counted apart per route. A service chooses its codes: 900 of them times every
/// route would let it fill memory.
const CODES_PER_ROUTE: usize = 32;

/// The failures that are remembered one by one.
const REMEMBERED: usize = 8;

/// One failure, so that it is found in the logs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Failure {
    /// What failed.
    pub kind: ErrorKind,
    /// When that was known.
    pub at: SystemTime,
    /// The trace id of the request or connection.
    pub trace: [u8; 16],
}

/// The metrics of one (route, group, service), to be kept by whoever holds the route. A clone is
/// the same metrics. There are none before something is counted: ten thousand names that nobody visits
/// cost no memory, no time of whoever scrapes, and no place among those that are counted apart.
#[derive(Debug, Clone)]
pub struct RouteMetrics {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    labels: Route,
    metrics: Metrics,
    series: OnceLock<Series>,
}

impl RouteMetrics {
    pub(super) fn new(labels: Route, metrics: Metrics) -> Self {
        Self { inner: Arc::new(Inner { labels, metrics, series: OnceLock::new() }) }
    }

    /// Counts a request that was answered with `status`, `took` after its head was read.
    pub fn request(&self, status: u16, took: Duration) {
        self.series().request(status, took);
    }

    /// Counts a failure of ours or of the service's, and remembers it for a while.
    pub fn error(&self, failure: Failure) {
        self.series().error(failure);
    }

    /// The last failures, the oldest first.
    pub fn failures(&self) -> Vec<Failure> {
        // Looking must not begin to count; what was counted by another handle is here too.
        let counted = || ErrorKind::ALL.iter().any(|kind| self.errors(*kind) > 0);
        match self.inner.series.get() {
            Some(series) => series.failures(),
            None if counted() => self.series().failures(),
            None => Vec::new(),
        }
    }

    /// How many failures of `kind` this route and its group have had so far.
    pub fn errors(&self, kind: ErrorKind) -> u64 {
        let labels = self.inner.series.get().map_or(&self.inner.labels, Series::labels);
        let labels = Error { kind, route: Arc::clone(&labels.route), group: Arc::clone(&labels.group) };
        self.inner.metrics.errors_of(&labels)
    }

    fn series(&self) -> &Series {
        let Inner { labels, metrics, series } = &*self.inner;
        series.get_or_init(|| metrics.series(labels))
    }
}

/// What is counted of one (route, group, service). A clone is the same.
#[derive(Debug, Clone)]
pub(super) struct Series {
    inner: Arc<Counted>,
}

#[derive(Debug)]
struct Counted {
    labels: Route,
    duration: Histogram,
    requests: Family<Request, Counter>,
    errors: Family<Error, Counter>,
    /// The counters of `requests` that this route has used. Few, so a scan is the fastest map.
    codes: RwLock<Vec<(Code, Counter)>>,
    /// The last failures, the newest behind.
    failures: Mutex<VecDeque<Failure>>,
}

impl Series {
    pub(super) fn new(
        labels: Route,
        duration: Histogram,
        requests: Family<Request, Counter>,
        errors: Family<Error, Counter>,
    ) -> Self {
        let (codes, failures) = (RwLock::new(Vec::new()), Mutex::new(VecDeque::new()));
        Self { inner: Arc::new(Counted { labels, duration, requests, errors, codes, failures }) }
    }

    fn labels(&self) -> &Route {
        &self.inner.labels
    }

    fn request(&self, status: u16, took: Duration) {
        self.inner.duration.observe(took.as_secs_f64());
        self.count(Code::Status(status));
    }

    fn error(&self, failure: Failure) {
        let kind = failure.kind;
        let mut failures = self.inner.failures.lock();
        if failures.len() >= REMEMBERED {
            failures.pop_front();
        }
        failures.push_back(failure);
        drop(failures);
        let Route { route, group, .. } = &self.inner.labels;
        let labels = Error { kind, route: Arc::clone(route), group: Arc::clone(group) };
        self.inner.errors.get_or_create(&labels).inc();
    }

    fn failures(&self) -> Vec<Failure> {
        self.inner.failures.lock().iter().copied().collect()
    }

    fn count(&self, code: Code) {
        if let Some((_, counter)) = self.inner.codes.read().iter().find(|(known, _)| *known == code) {
            counter.inc();
            return;
        }
        let mut codes = self.inner.codes.write();
        let code = if codes.len() < CODES_PER_ROUTE { code } else { Code::Other };
        if let Some((_, counter)) = codes.iter().find(|(known, _)| *known == code) {
            counter.inc();
            return;
        }
        let labels = Request { route: self.inner.labels.clone(), code };
        let counter = self.inner.requests.get_or_create_owned(&labels);
        counter.inc();
        codes.push((code, counter));
    }
}
