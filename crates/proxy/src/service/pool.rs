//! Pooled connections to one HTTP service.

use std::error::Error;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use http::Uri;
use hyper::rt::Executor;
use hyper_util::client::legacy::{self, Client};
use hyper_util::rt::{TokioIo, TokioTimer};
use ops::spawn::{Spawner, Worker};
use protocol::code::Code;
use tower_service::Service;

use super::connection::ServiceIo;
use super::{Address, DialError, dial};
use crate::exchange::RequestBody;

/// How long a connection waits for its next request.
const IDLE: Duration = Duration::from_secs(60);
/// Connections per worker that wait for a next request.
const IDLE_MAX: usize = 256;
/// What hyper reads ahead of a connection, in bytes.
const READ_AHEAD: usize = 64 * 1024;

/// One pool per worker, so that an exchange and its connection stay on one.
pub(crate) struct HttpPool {
    first: Client<Connector, RequestBody>,
    /// Those of the workers after the first.
    clients: Vec<Client<Connector, RequestBody>>,
}

impl HttpPool {
    pub(crate) fn new(address: Address, dial_limit: Duration, spawner: &Spawner) -> Self {
        let connector = Connector { address: Arc::new(address), limit: dial_limit };
        let client = || {
            Client::builder(Here(spawner.clone()))
                .pool_timer(TokioTimer::new())
                .pool_idle_timeout(IDLE)
                .pool_max_idle_per_host(IDLE_MAX)
                .retry_canceled_requests(true)
                .set_host(false)
                .http1_max_buf_size(READ_AHEAD)
                .build(connector.clone())
        };
        let clients = (1..spawner.workers()).map(|_| client()).collect();
        Self { first: client(), clients }
    }

    /// The pool of a worker.
    pub(crate) fn client(&self, worker: Worker) -> &Client<Connector, RequestBody> {
        worker.0.checked_sub(1).and_then(|index| self.clients.get(index)).unwrap_or(&self.first)
    }
}

impl fmt::Debug for HttpPool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HttpPool").finish_non_exhaustive()
    }
}

/// Why a request got no response head: what the opener is told.
pub(crate) fn request_failure(error: &legacy::Error) -> (Code, &'static str) {
    if !error.is_connect() {
        return (Code::SERVICE_CUT, "the service ended the connection without a valid response");
    }
    let mut cause = error.source();
    while let Some(error) = cause {
        if let Some(error) = error.downcast_ref::<DialError>() {
            return (error.code(), error.text());
        }
        cause = error.source();
    }
    (Code::SERVICE_REFUSED, "the service could not be connected to")
}

/// Runs what the pool has to do on the worker where it comes up.
#[derive(Clone)]
struct Here(Spawner);

impl<F> Executor<F> for Here
where
    F: Future<Output = ()> + Send + 'static,
{
    fn execute(&self, future: F) {
        self.0.spawn(self.0.here(), "service connection", future);
    }
}

/// Dials the one service of a pool, whatever the URI of a request says.
#[derive(Debug, Clone)]
pub(crate) struct Connector {
    address: Arc<Address>,
    limit: Duration,
}

impl Service<Uri> for Connector {
    type Response = TokioIo<ServiceIo>;
    type Error = DialError;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, DialError>> + Send>>;

    fn poll_ready(&mut self, _cx: &mut Context<'_>) -> Poll<Result<(), DialError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _uri: Uri) -> Self::Future {
        let Self { address, limit } = self.clone();
        Box::pin(async move { Ok(TokioIo::new(dial(&address, limit).await?.into())) })
    }
}
