//! Connections of HTTP/1.1 to one server that wait for their next request.

use std::fmt;
use std::future::poll_fn;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::{Arc, Weak};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::{Request, Response};
use http_body::Body as _;
use hyper::body::Incoming;
use ops::spawn::Spawner;
use parking_lot::Mutex;
use tokio::time::sleep;

use super::http1::{Http1, Http1Request};
use super::link::Link;
use super::trust::ServerTls;
use super::unanswered::Unanswered;
use super::{ServiceTarget, Speech, TrustError};
use crate::exchange::RequestBody;
use transport::deadline::Deadline;

/// How long a connection waits for its next request.
const IDLE: Duration = Duration::from_secs(60);
/// Connections per worker that wait for a next request.
const IDLE_MAX: usize = 256;
/// How often it is looked for connections that the server has closed, or that have waited long enough.
const LOOK: Duration = Duration::from_secs(1);

/// One pool per worker, so that an exchange and its connection stay on one.
pub(crate) struct HttpPool {
    link: Arc<Link>,
    spawner: Spawner,
    first: Arc<Idle>,
    /// Those of the workers after the first.
    others: Vec<Arc<Idle>>,
}

/// What waits on one worker.
#[derive(Default)]
struct Idle(Mutex<Waiting>);

#[derive(Default)]
struct Waiting {
    /// The connections, with since when.
    connections: Vec<(Instant, Http1)>,
    /// A task looks after them.
    watched: bool,
}

impl HttpPool {
    pub(super) fn new(link: &Arc<Link>, spawner: &Spawner) -> Self {
        let others = (1..spawner.workers()).map(|_| Arc::default()).collect();
        Self { link: link.clone(), spawner: spawner.clone(), first: Arc::default(), others }
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
        let link = Link { target, tls, send_proxy: None, waits: context.waits.clone() };
        Ok(Self::new(&Arc::new(link), &context.spawner))
    }

    /// Sends `request`, with its path as its target, on behalf of `visitor`.
    pub(super) fn send(
        &self,
        visitor: Option<SocketAddr>,
        request: Request<RequestBody>,
    ) -> Http1Request<'_> {
        Http1Request::send(self, visitor, request)
    }

    /// Asks a question of our own, with the path as its target. The body of the answer is none if it is longer than `max`
    /// bytes, or cut.
    ///
    /// # Errors
    /// There was no answer.
    pub(crate) async fn ask(
        &self,
        request: Request<RequestBody>,
        max: usize,
    ) -> Result<Response<Option<Bytes>>, Unanswered> {
        let mut asked = self.send(None, request);
        let response = poll_fn(|cx| asked.poll(cx)).await?;
        let (head, mut body) = response.into_parts();
        let mut whole = Vec::new();
        let read = poll_fn(|cx| poll_whole(&mut body, &mut asked, &mut whole, max, cx)).await;
        if read.is_some() {
            drop(body);
            asked.finish(Deadline::default());
        }
        Ok(Response::from_parts(head, read.map(|()| whole.into())))
    }

    /// A connection that waits on this worker, and is open.
    pub(super) fn take(&self) -> Option<Http1> {
        let mut waiting = self.here().0.lock();
        loop {
            let (since, mut http1) = waiting.connections.pop()?;
            if since.elapsed() < IDLE && http1.is_ready() {
                return Some(http1);
            }
        }
    }

    /// A new connection.
    pub(super) async fn dial(&self, visitor: Option<SocketAddr>) -> Result<Http1, Unanswered> {
        Http1::new(self.link.http(visitor, true).await?.io).await
    }

    /// Keeps a connection for another request.
    pub(super) fn give(&self, http1: Http1) {
        if self.link.send_proxy.is_some() {
            // Who the visitor is was said once for the whole connection.
            return;
        }
        let idle = self.here();
        let mut waiting = idle.0.lock();
        if waiting.connections.len() >= IDLE_MAX {
            return;
        }
        waiting.connections.push((Instant::now(), http1));
        if !std::mem::replace(&mut waiting.watched, true) {
            self.spawner.spawn(self.spawner.here(), "idle connections", watch(Arc::downgrade(idle)));
        }
    }

    fn here(&self) -> &Arc<Idle> {
        let worker = self.spawner.here();
        worker.0.checked_sub(1).and_then(|index| self.others.get(index)).unwrap_or(&self.first)
    }
}

/// Closes those that have waited long enough, and those that their server has closed, until none waits.
async fn watch(idle: Weak<Idle>) {
    loop {
        sleep(LOOK).await;
        let Some(idle) = idle.upgrade() else { return };
        let mut waiting = idle.0.lock();
        waiting.connections.retain_mut(|(since, http1)| since.elapsed() < IDLE && http1.is_ready());
        if waiting.connections.is_empty() {
            waiting.watched = false;
            return;
        }
    }
}

/// Reads `body` into `whole`. Ready with none if it is longer than `max`, or cut.
fn poll_whole(
    body: &mut Incoming,
    asked: &mut Http1Request<'_>,
    whole: &mut Vec<u8>,
    max: usize,
    cx: &mut Context<'_>,
) -> Poll<Option<()>> {
    let mut driven = false;
    loop {
        match Pin::new(&mut *body).poll_frame(cx) {
            Poll::Pending if driven => return Poll::Pending,
            Poll::Pending => {
                asked.drive(cx);
                driven = true;
            }
            Poll::Ready(None) => return Poll::Ready(Some(())),
            Poll::Ready(Some(Err(_))) => return Poll::Ready(None),
            Poll::Ready(Some(Ok(frame))) => {
                driven = false;
                let Ok(data) = frame.into_data() else { continue };
                if whole.len().saturating_add(data.len()) > max {
                    return Poll::Ready(None);
                }
                whole.extend_from_slice(&data);
            }
        }
    }
}

impl fmt::Debug for HttpPool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HttpPool").finish_non_exhaustive()
    }
}
