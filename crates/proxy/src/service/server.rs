//! One server of a service.

use std::future::poll_fn;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::time::Instant;

use http::{Request, Response};
use ops::metrics::{GaugeGuard, ServerState, ServiceMetrics};
use ops::spawn::Spawner;
use parking_lot::Mutex;
use policy::part::HealthCheck;
use policy::server_choice::Candidate;
use policy::server_health::{ServerHealth, Standing};
use transport::relay::LocalStream;

use super::http1::{Http1, Http1Request};
use super::http2_request::into_http2;
use super::link::Link;
use super::multiplexed::{Lease, Leased, Multiplexed};
use super::pool::HttpPool;
use super::stream::{ServiceStream, ask};
use super::table::{Changes, tick};
use super::unanswered::{Progress, Unanswered};
use super::{DialError, Speech};
use crate::exchange::{Interims, RequestBody};
use crate::incoming::IncomingBody;

/// Servers that there have been in the process.
static SERVERS: AtomicU64 = AtomicU64::new(0);

/// One server of a service: how it is reached, what it carries, how fit it is. It outlives the service where the next
/// configuration has it too.
#[derive(Debug)]
pub(crate) struct Server {
    /// Tells it from every other one.
    pub(super) id: u64,
    pub(super) link: Arc<Link>,
    spawner: Spawner,
    pool: HttpPool,
    /// For those that may speak HTTP/2.
    multiplexed: Option<Multiplexed>,
    /// It agreed on HTTP/1.1 when it could have had HTTP/2.
    is_http1: AtomicBool,
    pub(super) carried: AtomicU32,
    record: Mutex<Record>,
    /// Whether the last connection to it failed.
    pub(super) failing: AtomicBool,
    /// The operator has taken it out of service.
    disabled: AtomicBool,
}

#[derive(Debug)]
struct Record {
    health: ServerHealth,
    /// What the metrics say of it.
    shown: ServerState,
    gauge: GaugeGuard,
    /// Ticks when that changes, for the table that its service is in.
    changes: Option<Changes>,
}

/// A request or a connection that a server carries, until it is dropped.
#[derive(Debug)]
pub(crate) struct Carried<'a>(pub(crate) &'a Server);

/// What carries the rest of an exchange whose response has begun.
pub(crate) enum Carrier<'a> {
    /// A connection of HTTP/1.1, which is to be driven.
    Http1(Http1Request<'a>),
    /// The rest of the request on its stream of HTTP/2, and the place on the connection, which is held to the end.
    Http2(ServiceStream, Lease),
}

impl Drop for Carried<'_> {
    fn drop(&mut self) {
        self.0.carried.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Server {
    pub(super) fn new(link: Link, spawner: &Spawner, metrics: &ServiceMetrics) -> Self {
        let link = Arc::new(link);
        // A server that is told who the visitor is has a connection for each; HTTP/1.1 is the shorter way to one.
        let may_multiplex = match link.target.speech {
            Speech::Plain | Speech::Http => false,
            Speech::Https => link.send_proxy.is_none(),
            Speech::H2c => true,
        };
        let shown = ServerState::Healthy;
        Self {
            id: SERVERS.fetch_add(1, Ordering::Relaxed),
            spawner: spawner.clone(),
            pool: HttpPool::new(&link, spawner),
            multiplexed: may_multiplex.then(|| Multiplexed::new(&link, spawner)),
            is_http1: AtomicBool::new(false),
            carried: AtomicU32::new(0),
            record: Mutex::new(Record {
                health: ServerHealth::default(),
                shown,
                gauge: metrics.server(shown),
                changes: None,
            }),
            failing: AtomicBool::new(false),
            disabled: AtomicBool::new(false),
            link,
        }
    }

    /// `changes` ticks from now on when it is not as it was.
    pub(super) fn told_to(&self, changes: &Changes) {
        self.record.lock().changes = Some(changes.clone());
    }

    /// Counts a request or a connection.
    pub(super) fn carry(&self) -> Carried<'_> {
        self.carried.fetch_add(1, Ordering::Relaxed);
        Carried(self)
    }

    pub(super) fn candidate(&self, weight: u32, now: Instant, metrics: &ServiceMetrics) -> Candidate {
        let load = self.carried.load(Ordering::Relaxed);
        Candidate { standing: self.standing(now, metrics), weight, load }
    }

    /// The service that has it now does not probe it.
    pub(super) fn unprobed(&self, metrics: &ServiceMetrics) {
        let mut record = self.record.lock();
        record.health.unprobed();
        record.look(Instant::now(), self.is_disabled(), metrics);
    }

    /// Whether the operator has taken it out of service.
    pub(super) fn is_disabled(&self) -> bool {
        self.disabled.load(Ordering::Relaxed)
    }

    /// It is out of service from now on, or in it again. What it carries goes on.
    pub(super) fn disable(&self, disabled: bool, metrics: &ServiceMetrics) {
        self.disabled.store(disabled, Ordering::Relaxed);
        self.record.lock().look(Instant::now(), disabled, metrics);
    }

    /// How fit it is at `now`; `metrics` hear of it.
    pub(super) fn standing(&self, now: Instant, metrics: &ServiceMetrics) -> Standing {
        self.record.lock().look(now, self.is_disabled(), metrics)
    }

    pub(super) fn probed(&self, good: bool, check: &HealthCheck, metrics: &ServiceMetrics) -> Standing {
        let mut record = self.record.lock();
        record.health.probed(good, check);
        record.look(Instant::now(), self.is_disabled(), metrics)
    }

    /// Counts a connection that failed. If that puts it off: until when.
    pub(super) fn connect_failed(&self, others: bool, metrics: &ServiceMetrics) -> Option<Instant> {
        self.failing.store(true, Ordering::Relaxed);
        // What it spoke may have changed with it.
        self.is_http1.store(false, Ordering::Relaxed);
        let (mut record, now) = (self.record.lock(), Instant::now());
        let until = record.health.connect_failed(now, others);
        record.look(now, self.is_disabled(), metrics);
        until
    }

    /// A connection to it came about.
    pub(super) fn connected(&self, metrics: &ServiceMetrics) {
        if self.failing.load(Ordering::Relaxed) {
            self.failing.store(false, Ordering::Relaxed);
            let mut record = self.record.lock();
            record.health.connected();
            record.look(Instant::now(), self.is_disabled(), metrics);
        }
    }

    /// A connection for raw bytes.
    pub(super) async fn raw(&self, visitor: Option<SocketAddr>) -> Result<LocalStream, DialError> {
        self.link.raw(visitor).await
    }

    /// Whether HTTP/1.1 is what it speaks.
    pub(crate) fn is_http1(&self) -> bool {
        self.multiplexed.is_none() || self.is_http1.load(Ordering::Relaxed)
    }

    /// Sends a request with HTTP/1.1.
    pub(crate) fn send_http1(
        &self,
        visitor: Option<SocketAddr>,
        request: Request<RequestBody>,
    ) -> Http1Request<'_> {
        self.pool.send(visitor, request)
    }

    /// Sends a request with whatever HTTP both know. What comes with the response carries the rest of it. Interim responses
    /// of HTTP/2 go to `interims`.
    pub(crate) async fn send(
        &self,
        visitor: Option<SocketAddr>,
        mut request: Request<RequestBody>,
        interims: Interims,
    ) -> Result<(Response<IncomingBody>, Carrier<'_>), Unanswered> {
        let Some(multiplexed) = &self.multiplexed else {
            return answered(self.send_http1(visitor, request)).await;
        };
        let leased = multiplexed.lease(self.spawner.here(), visitor).await?;
        interims.connected();
        let lease = match leased {
            Leased::Http1(io) => {
                self.is_http1.store(true, Ordering::Relaxed);
                return answered(Http1Request::on(&self.pool, Http1::new(io).await?, request)).await;
            }
            Leased::Http2(lease) => lease,
        };
        if request.headers().contains_key(http::header::UPGRADE) && !lease.is_extended() {
            drop(lease);
            return answered(self.send_http1(visitor, request)).await;
        }
        let https = self.link.tls.is_some();
        let upgrade = into_http2(&mut request, https).ok_or(Unanswered::unfit())?;
        match ask(&mut lease.sender(), request, &interims).await {
            Ok((mut response, stream)) => {
                lease.was_taken(true);
                if let Some(upgrade) = upgrade {
                    upgrade.answered(&mut response);
                }
                Ok((response, Carrier::Http2(stream, lease)))
            }
            Err(unanswered) => {
                if unanswered.progress == Progress::NotProcessed {
                    lease.was_taken(false);
                }
                Err(unanswered)
            }
        }
    }
}

async fn answered(
    mut request: Http1Request<'_>,
) -> Result<(Response<IncomingBody>, Carrier<'_>), Unanswered> {
    let response = poll_fn(|cx| request.poll(cx)).await?;
    Ok((response.map(IncomingBody::Http1), Carrier::Http1(request)))
}

impl Record {
    /// How fit it is; what the operator says of it is shown before that.
    fn look(&mut self, now: Instant, disabled: bool, metrics: &ServiceMetrics) -> Standing {
        let standing = self.health.standing(now);
        let state = if disabled { ServerState::Disabled } else { state_of(standing) };
        if state != self.shown {
            self.shown = state;
            self.gauge = metrics.server(state);
            if let Some(changes) = &self.changes {
                tick(changes);
            }
        }
        standing
    }
}

const fn state_of(standing: Standing) -> ServerState {
    match standing {
        Standing::Healthy => ServerState::Healthy,
        Standing::Ejected => ServerState::Ejected,
        Standing::Sick => ServerState::Sick,
    }
}
