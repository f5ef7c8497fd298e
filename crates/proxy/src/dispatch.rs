//! From what a visitor asked for to the members that may serve it, waiting a moment for one to come back.

use std::sync::Arc;
use std::time::Duration;

use ops::error_kind::ErrorKind;
use ops::metrics::{Metrics, RetryOutcome};
use parking_lot::Mutex;
use policy::host::Host;
use policy::retry::{Knowledge, Verdict, verdict};
use policy::retry_budget::RetryBudget;
use tokio::sync::Semaphore;
use tokio::time::{Instant, timeout_at};
use transport::session::OpenError;

use crate::directory::{Directory, Lookup, Route, RouteLabels};

/// Visitors that may wait for a member at once; the others are told at once.
const WAITERS: usize = 1_000;
/// Members that one request may reach.
const TRIES: u8 = 2;

/// What a visitor asked for.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Ask<'a> {
    Http(&'a Host),
    Tcp(u16),
}

/// Finds members, for all ingresses of a process.
pub struct Dispatch {
    directory: Arc<dyn Directory>,
    waiters: Semaphore,
    wait: Duration,
    budget: Mutex<RetryBudget>,
    metrics: Metrics,
}

impl std::fmt::Debug for Dispatch {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Dispatch").finish_non_exhaustive()
    }
}

impl Dispatch {
    /// Asks `directory`; a visitor waits at most `wait` for a member.
    #[must_use]
    pub fn new(directory: Arc<dyn Directory>, wait: Duration, metrics: Metrics) -> Self {
        let budget = Mutex::new(RetryBudget::new(std::time::Instant::now()));
        Self { directory, waiters: Semaphore::new(WAITERS), wait, budget, metrics }
    }

    /// A request or a connection begins.
    pub(crate) fn begin(&self) -> Tries<'_> {
        self.budget.lock().request();
        let now = Instant::now();
        Tries { dispatch: self, left: TRIES, made: 0, wait_until: now.checked_add(self.wait).unwrap_or(now) }
    }

    pub(crate) fn lookup(&self, ask: Ask<'_>) -> Lookup {
        match ask {
            Ask::Http(host) => self.directory.http(host),
            Ask::Tcp(port) => self.directory.tcp(port),
        }
    }

    /// A route with at least one live member.
    fn live(&self, ask: Ask<'_>) -> Result<Route, Option<RouteLabels>> {
        match self.lookup(ask) {
            Lookup::Found(mut route) => {
                route.targets.retain(|target| !target.session.is_closed());
                if route.targets.is_empty() { Err(Some(route.labels)) } else { Ok(route) }
            }
            Lookup::Reserved(labels) => Err(Some(labels)),
            Lookup::Unknown => Err(None),
        }
    }
}

/// The attempts to serve one request or connection.
pub(crate) struct Tries<'a> {
    dispatch: &'a Dispatch,
    left: u8,
    made: u8,
    wait_until: Instant,
}

/// Nobody serves what was asked for.
#[derive(Debug)]
pub(crate) struct Nobody {
    pub(crate) kind: ErrorKind,
    /// Whose it would be.
    pub(crate) labels: Option<RouteLabels>,
}

impl Tries<'_> {
    /// The members that serve `ask`, of which at least one was alive a moment ago. Waits for one if the name is known.
    pub(crate) async fn route(&self, ask: Ask<'_>) -> Result<Route, Nobody> {
        match self.dispatch.live(ask) {
            Ok(route) => Ok(route),
            Err(None) => Err(Nobody { kind: ErrorKind::NoRoute, labels: None }),
            Err(Some(labels)) => self.wait(ask, labels).await,
        }
    }

    async fn wait(&self, ask: Ask<'_>, mut labels: RouteLabels) -> Result<Route, Nobody> {
        let nobody = |labels| Nobody { kind: ErrorKind::NoMember, labels: Some(labels) };
        let Ok(_place) = self.dispatch.waiters.try_acquire() else { return Err(nobody(labels)) };
        let mut changed = self.dispatch.directory.changed();
        loop {
            changed.mark_unchanged();
            match self.dispatch.live(ask) {
                Ok(route) => return Ok(route),
                Err(None) => return Err(Nobody { kind: ErrorKind::NoRoute, labels: None }),
                Err(Some(current)) => labels = current,
            }
            match timeout_at(self.wait_until, changed.changed()).await {
                Ok(Ok(())) => {}
                // Too late, or the directory is gone.
                _ => return Err(nobody(labels)),
            }
        }
    }

    /// Whether another member may be tried, after one attempt of which this much is known.
    pub(crate) fn another(&mut self, known: Knowledge, idempotent: bool, replayable: bool) -> bool {
        let metrics = &self.dispatch.metrics;
        if self.made > 0 {
            metrics.retry(RetryOutcome::Failed);
        }
        if verdict(known, idempotent, replayable) == Verdict::Stop {
            metrics.retry(RetryOutcome::Unsafe);
            return false;
        }
        // A member that nothing was sent to costs nothing.
        if known != Knowledge::NotConnected {
            self.left = self.left.saturating_sub(1);
            if self.left == 0 || !self.dispatch.budget.lock().retry(std::time::Instant::now()) {
                metrics.retry(RetryOutcome::OverBudget);
                return false;
            }
        }
        self.made = self.made.saturating_add(1);
        true
    }

    /// An attempt was answered.
    pub(crate) fn answered(&self) {
        if self.made > 0 {
            self.dispatch.metrics.retry(RetryOutcome::Succeeded);
        }
    }
}

/// What a visitor is told if no member could be opened a substream at.
pub(crate) const fn kind_of_open(error: OpenError) -> ErrorKind {
    match error {
        OpenError::Full => ErrorKind::OverLimit,
        OpenError::Lost => ErrorKind::NoMember,
    }
}
