//! Pooled connections of HTTP/1.1 to one server.

use std::fmt;
use std::future::Future;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use http::Uri;
use hyper_util::client::legacy::Client;
use hyper_util::rt::{TokioIo, TokioTimer};
use ops::spawn::{Spawner, Worker};
use parking_lot::Mutex;
use tower_service::Service;

use super::connection::ServiceIo;
use super::executor::Here;
use super::link::Link;
use super::trust::ServerTls;
use super::{DialError, ServiceTarget, Speech, TrustError};
use crate::exchange::RequestBody;

/// How long a connection waits for its next request.
const IDLE: Duration = Duration::from_secs(60);
/// Connections per worker that wait for a next request.
const IDLE_MAX: usize = 256;
/// What hyper reads ahead of a connection, in bytes.
const READ_AHEAD: usize = 64 * 1024;
/// Connections that were made for the pool and not yet taken by it.
const PARKED_MAX: usize = 16;
/// How long such a connection is as good as new.
const PARKED_FOR: Duration = Duration::from_secs(1);

/// The pooled connections of one worker.
pub(crate) type HttpClient = Client<Connector, RequestBody>;

/// One pool per worker, so that an exchange and its connection stay on one.
pub(crate) struct HttpPool {
    first: Pooled,
    /// Those of the workers after the first.
    others: Vec<Pooled>,
}

struct Pooled {
    client: HttpClient,
    parked: Parked,
}

/// Connections that are there already, with when they came about.
type Parked = Arc<Mutex<Vec<(Instant, ServiceIo)>>>;

impl HttpPool {
    pub(super) fn new(link: &Arc<Link>, spawner: &Spawner) -> Self {
        // Who the visitor is was said once for the whole connection.
        let idle_max = if link.send_proxy.is_some() { 0 } else { IDLE_MAX };
        let pooled = || {
            let parked = Parked::default();
            let client = Client::builder(Here(spawner.clone()))
                .pool_timer(TokioTimer::new())
                .pool_idle_timeout(IDLE)
                .pool_max_idle_per_host(idle_max)
                .retry_canceled_requests(true)
                .set_host(false)
                .http1_max_buf_size(READ_AHEAD)
                .build(Connector { link: link.clone(), parked: parked.clone() });
            Pooled { client, parked }
        };
        let others = (1..spawner.workers()).map(|_| pooled()).collect();
        Self { first: pooled(), others }
    }

    /// Connections for requests of our own to `target`.
    ///
    /// # Errors
    /// TLS can not be set up: the system has no roots.
    pub(crate) fn to(target: ServiceTarget, context: &crate::context::Context) -> Result<Self, TrustError> {
        let tls = match target.speech {
            Speech::Https => Some(ServerTls::new(&target.address, None)?),
            Speech::Plain | Speech::Http | Speech::H2c => None,
        };
        let link = Link { target, tls, send_proxy: None, limit: context.timeouts.dial };
        Ok(Self::new(&Arc::new(link), &context.spawner))
    }

    /// The pool of a worker.
    pub(crate) fn client(&self, worker: Worker) -> &HttpClient {
        &self.of(worker).client
    }

    /// Leaves a connection there, made on this worker, for the next request that needs a new one.
    pub(super) fn park(&self, worker: Worker, io: ServiceIo) {
        let mut parked = self.of(worker).parked.lock();
        if parked.len() < PARKED_MAX {
            parked.push((Instant::now(), io));
        }
    }

    fn of(&self, worker: Worker) -> &Pooled {
        worker.0.checked_sub(1).and_then(|index| self.others.get(index)).unwrap_or(&self.first)
    }
}

impl fmt::Debug for HttpPool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HttpPool").finish_non_exhaustive()
    }
}

/// Connects to the one server of a pool. The authority of a request's URI says nothing but who the visitor is, if the
/// server wants to know.
#[derive(Clone)]
pub(crate) struct Connector {
    link: Arc<Link>,
    parked: Parked,
}

impl Service<Uri> for Connector {
    type Response = TokioIo<ServiceIo>;
    type Error = DialError;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, DialError>> + Send>>;

    fn poll_ready(&mut self, _cx: &mut Context<'_>) -> Poll<Result<(), DialError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, uri: Uri) -> Self::Future {
        let Self { link, parked } = self.clone();
        let visitor: Option<SocketAddr> =
            uri.authority().filter(|_| link.send_proxy.is_some()).and_then(|text| text.as_str().parse().ok());
        Box::pin(async move {
            let ready = {
                let mut parked = parked.lock();
                parked.retain(|(since, _)| since.elapsed() < PARKED_FOR);
                parked.pop()
            };
            let io = match ready {
                Some((_, io)) => io,
                None => link.http(visitor, true).await?.io,
            };
            Ok(TokioIo::new(io))
        })
    }
}
