//! From what a visitor asked for to the members that may serve it, waiting a moment for one to come back.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;

use arc_swap::ArcSwap;
use ops::error_kind::ErrorKind;
use ops::metrics::{Metrics, RetryOutcome};
use parking_lot::Mutex;
use policy::host::Host;
use policy::retry::{Knowledge, Verdict, pause, verdict};
use policy::retry_budget::RetryBudget;
use policy::rule::Asked;
use tokio::sync::Semaphore;
use tokio::time::{Instant, timeout_at};
use transport::session::OpenError;

use crate::concurrency::{Concurrency, Limits};
use crate::context::Waits;
use crate::directory::{Connecting, Directory, Lookup, Route, RouteLabels};
use crate::plugin::Chain;
use crate::rule_answer::RuleAnswer;

/// Further members that a request may reach at no cost, while none of them looked at it.
const FREE: u8 = 2;
/// Visitors that may wait for a member of one route at once, and of all; the others are told at once.
const WAITERS: usize = 1_000;
const WAITERS_OF_ALL: usize = 10_000;
/// Routes whose waiters and retries are remembered.
const ROUTES: usize = 4_096;
/// Further members that one request may reach, where no rule says how many.
const RETRIES: u8 = 1;

/// What a visitor asked for.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Ask<'a> {
    Http(&'a Asked<'a>),
    Connection(&'a Connecting<'a>),
}

/// Finds members, for all ingresses of a process.
pub struct Dispatch {
    directory: Arc<dyn Directory>,
    waiters: Semaphore,
    waits: Waits,
    /// Those on which something has gone wrong.
    routes: Mutex<HashMap<RouteKey, Arc<Strained>>>,
    concurrency: ArcSwap<Concurrency>,
    metrics: Metrics,
}

/// The name of a route, its group, and the service that it leads to.
type RouteKey = (Arc<str>, Arc<str>, Arc<str>);

/// What one route may do while not all is well with it.
#[derive(Debug)]
struct Strained {
    /// Places for visitors that wait for a member.
    waiters: Semaphore,
    budget: Mutex<RetryBudget>,
}

impl std::fmt::Debug for Dispatch {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Dispatch").finish_non_exhaustive()
    }
}

impl Dispatch {
    /// Asks `directory`; how long a visitor waits for a member is in `waits`. The limits are the usual ones.
    #[must_use]
    pub fn new(directory: Arc<dyn Directory>, waits: Waits, metrics: Metrics) -> Self {
        let concurrency = ArcSwap::from_pointee(Concurrency::new(Limits::default()));
        let waiters = Semaphore::new(WAITERS_OF_ALL);
        Self { directory, waiters, waits, routes: Mutex::default(), concurrency, metrics }
    }

    /// From now on there are these limits. What is worked on goes on, and counts.
    pub fn limit_to(&self, limits: Limits) {
        self.concurrency.rcu(|concurrency| concurrency.limited_to(limits));
    }

    /// The places of requests, as they are now.
    pub(crate) fn concurrency(&self) -> Arc<Concurrency> {
        self.concurrency.load_full()
    }

    /// A request or a connection begins.
    pub(crate) fn begin(&self) -> Tries<'_> {
        let now = Instant::now();
        let wait_until = now.checked_add(self.waits.now().member).unwrap_or(now);
        Tries { dispatch: self, left: RETRIES, made: 0, last: None, alike: 0, wait_until }
    }

    /// Whether TLS for `host` ends at a service, see [`Directory::passes`].
    pub(crate) fn passes(&self, listener: SocketAddr, host: &Host) -> bool {
        self.directory.passes(listener, host)
    }

    /// Of which so much may be waited for and tried again as for every other.
    fn strained(&self, labels: &RouteLabels) -> Arc<Strained> {
        let mut routes = self.routes.lock();
        if routes.len() >= ROUTES {
            // Those that nobody is at begin anew.
            routes.retain(|_, strained| Arc::strong_count(strained) > 1);
        }
        let key = (labels.route.clone(), labels.group.clone(), labels.service.clone());
        let new = || {
            let budget = Mutex::new(RetryBudget::new(std::time::Instant::now()));
            Arc::new(Strained { waiters: Semaphore::new(WAITERS), budget })
        };
        routes.entry(key).or_insert_with(new).clone()
    }

    fn lookup(&self, ask: Ask<'_>) -> Lookup {
        match ask {
            Ask::Http(asked) => self.directory.http(asked),
            Ask::Connection(asked) => self.directory.connection(asked),
        }
    }

    /// A route with at least one live member.
    pub(crate) fn live(&self, ask: Ask<'_>) -> Result<Route, Unrouted> {
        match self.lookup(ask) {
            Lookup::Found(mut route) => {
                route.targets.retain(|target| !target.session.is_closed());
                if route.targets.is_empty() {
                    Err(Unrouted::NoMember(route.labels, route.plugins))
                } else {
                    Ok(route)
                }
            }
            Lookup::Reserved(labels, plugins) => Err(Unrouted::NoMember(labels, plugins)),
            Lookup::Answer(labels, answer, plugins) => Err(Unrouted::Answer(labels, answer, plugins)),
            Lookup::Unknown => Err(Unrouted::NoRoute),
        }
    }
}

/// The attempts to serve one request or connection.
pub(crate) struct Tries<'a> {
    dispatch: &'a Dispatch,
    /// Further members that may be reached.
    left: u8,
    made: u8,
    last: Option<ErrorKind>,
    /// How many in a row failed as the last one did.
    alike: u32,
    wait_until: Instant,
}

/// Why there is no member to ask.
#[derive(Debug)]
pub(crate) enum Unrouted {
    /// Nobody has what was asked for.
    NoRoute,
    /// It is somebody's, and nobody is there; what its requests go through.
    NoMember(RouteLabels, Chain),
    /// Nobody needs to be asked.
    Answer(RouteLabels, Arc<RuleAnswer>, Chain),
}

impl Tries<'_> {
    /// The members that serve `ask`, of which at least one was alive a moment ago. Waits for none.
    pub(crate) fn look(&self, ask: Ask<'_>) -> Result<Route, Unrouted> {
        self.dispatch.live(ask)
    }

    /// As [`look`](Self::look), but waits for a member if the name is known.
    pub(crate) async fn route(&self, ask: Ask<'_>) -> Result<Route, Unrouted> {
        match self.look(ask) {
            Err(Unrouted::NoMember(labels, plugins)) => self.wait(ask, labels, plugins).await,
            other => other,
        }
    }

    /// Waits for a member of what is called by `labels`.
    pub(crate) async fn wait(
        &self,
        ask: Ask<'_>,
        mut labels: RouteLabels,
        mut plugins: Chain,
    ) -> Result<Route, Unrouted> {
        let strained = self.dispatch.strained(&labels);
        let (Ok(_place), Ok(_of_route)) =
            (self.dispatch.waiters.try_acquire(), strained.waiters.try_acquire())
        else {
            return Err(Unrouted::NoMember(labels, plugins));
        };
        let mut changed = self.dispatch.directory.changed();
        loop {
            changed.mark_unchanged();
            match self.dispatch.live(ask) {
                Err(Unrouted::NoMember(now, through)) => (labels, plugins) = (now, through),
                other => return other,
            }
            match timeout_at(self.wait_until, changed.changed()).await {
                Ok(Ok(())) => {}
                // Too late, or the directory is gone.
                _ => return Err(Unrouted::NoMember(labels, plugins)),
            }
        }
    }

    /// How many further members a rule lets its requests reach.
    pub(crate) const fn allow(&mut self, retries: u8) {
        self.left = retries;
    }

    /// Whether another member of the route may be tried, after one attempt of which this much is known.
    pub(crate) fn another(
        &mut self,
        labels: &RouteLabels,
        known: Knowledge,
        idempotent: bool,
        replayable: bool,
    ) -> bool {
        let metrics = &self.dispatch.metrics;
        if self.made > 0 {
            metrics.retry(RetryOutcome::Failed);
        }
        if verdict(known, idempotent, replayable) == Verdict::Stop {
            metrics.retry(RetryOutcome::Unsafe);
            return false;
        }
        // A member that nothing was sent to costs nothing, and a few that have not looked at the request are no storm.
        let free = match known {
            Knowledge::NotConnected => true,
            Knowledge::RefusedBeforeAnyByte | Knowledge::FailedBeforeAnyByte => self.made < FREE,
            Knowledge::SessionLost | Knowledge::NoAnswerByte | Knowledge::Answered => false,
        };
        if !free {
            let Some(left) = self.left.checked_sub(1) else {
                metrics.retry(RetryOutcome::OverBudget);
                return false;
            };
            let (strained, requests) = (self.dispatch.strained(labels), labels.metrics.routed_so_far());
            if !strained.budget.lock().retry(requests, std::time::Instant::now()) {
                metrics.retry(RetryOutcome::OverBudget);
                return false;
            }
            self.left = left;
        }
        self.made = self.made.saturating_add(1);
        true
    }

    /// Gives members that fail alike, with `kind`, some time before the next one is tried.
    pub(crate) async fn pause(&mut self, kind: ErrorKind, known: Knowledge) {
        if known == Knowledge::NotConnected {
            return;
        }
        self.alike = if self.last == Some(kind) { self.alike.saturating_add(1) } else { 1 };
        self.last = Some(kind);
        let pause = pause(self.alike, &mut rand::rng());
        if !pause.is_zero() {
            tokio::time::sleep(pause).await;
        }
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

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::sync::watch;

    use super::*;
    use crate::context::Timeouts;

    /// Knows one name, and nobody who serves it.
    struct Reserved(RouteLabels, watch::Sender<u64>);

    impl Directory for Reserved {
        fn http(&self, _: &Asked<'_>) -> Lookup {
            Lookup::Unknown
        }

        fn connection(&self, _: &Connecting<'_>) -> Lookup {
            Lookup::Reserved(self.0.clone(), Chain::default())
        }

        fn passes(&self, _: SocketAddr, _: &Host) -> bool {
            false
        }

        fn changed(&self) -> watch::Receiver<u64> {
            self.1.subscribe()
        }
    }

    fn labels(route: &str, metrics: &Metrics) -> RouteLabels {
        let metrics = metrics.route(route, "web", "app");
        RouteLabels { route: route.into(), group: "web".into(), service: "app".into(), metrics }
    }

    fn dispatch(of: &RouteLabels, metrics: &Metrics) -> Dispatch {
        let directory = Arc::new(Reserved(of.clone(), watch::Sender::new(0)));
        Dispatch::new(directory, Timeouts::default().into(), metrics.clone())
    }

    #[test]
    fn a_route_that_fails_uses_up_no_retries_of_another() {
        let metrics = Metrics::new("0");
        let (down, up) = (labels("down", &metrics), labels("up", &metrics));
        let dispatch = dispatch(&down, &metrics);
        let mut tries = dispatch.begin();
        tries.allow(u8::MAX);
        let mut count = |of| {
            std::iter::from_fn(|| tries.another(of, Knowledge::SessionLost, true, true).then_some(())).count()
        };
        assert!((3..6).contains(&count(&down)));
        (0..50).for_each(|_| down.metrics.routed());
        assert!((10..13).contains(&count(&down)), "a fifth of the requests");
        assert!((3..6).contains(&count(&up)));
    }

    #[tokio::test(start_paused = true)]
    async fn visitors_who_wait_for_one_route_keep_nobody_from_waiting_for_another() {
        let metrics = Metrics::new("0");
        let (down, other) = (labels("down", &metrics), labels("other", &metrics));
        let dispatch = dispatch(&down, &metrics);
        let strained = dispatch.strained(&down);
        let _all = strained.waiters.try_acquire_many(u32::try_from(WAITERS).unwrap()).unwrap();
        let (to, client) = (crate::directory::Public::Port(1), [127, 0, 0, 1].into());
        let asked = Connecting { to: &to, client };
        let tries = dispatch.begin();
        let began = Instant::now();
        tries.wait(Ask::Connection(&asked), down, Chain::default()).await.unwrap_err();
        assert!(began.elapsed().is_zero());
        tries.wait(Ask::Connection(&asked), other, Chain::default()).await.unwrap_err();
        assert_eq!(began.elapsed(), Duration::from_secs(2));
    }
}
