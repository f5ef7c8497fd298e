//! Connections of HTTP/2 to one server, each of which carries many requests at once.

use std::future::{Future, poll_fn};
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Weak};
use std::task::Poll;
use std::time::Duration;

use hyper::client::conn::http2;
use hyper_util::rt::{TokioIo, TokioTimer};
use ops::spawn::{Spawner, Worker};
use parking_lot::Mutex;
use tokio::sync::Semaphore;
use tokio::time::{interval, sleep, timeout};

use super::DialError;
use super::connection::ServiceIo;
use super::executor::Here;
use super::link::{Connected, Link};
use crate::exchange::RequestBody;

/// Connections per worker. Another one is opened when those that are there carry as much as the service takes.
const CONNECTIONS_MAX: usize = 4;
/// A connection that carried nothing for this long is closed.
const IDLE: Duration = Duration::from_secs(60);
/// The windows for what a service sends, in bytes: of a stream, and of a connection. A tunnel sends on as fast as its own
/// windows allow.
const STREAM_WINDOW: u32 = 256 * 1024;
const CONNECTION_WINDOW: u32 = 1024 * 1024;
/// The largest header of a response, in bytes.
const HEADERS_MAX: u32 = 64 * 1024;
/// A service that does not answer pings for this long is gone.
const PING: Duration = Duration::from_secs(20);
/// What hyper says of a service that has not said how much it takes.
const UNTOLD: usize = 99;
/// How often it is looked whether it has: nothing wakes whoever waits for that.
const LOOK: Duration = Duration::from_millis(2);

type Connection = http2::Connection<TokioIo<ServiceIo>, RequestBody, Here>;

/// The connections of HTTP/2 to one server: a set for each worker.
#[derive(Debug)]
pub(super) struct Multiplexed {
    link: Arc<Link>,
    spawner: Spawner,
    first: Arc<Set>,
    /// Those of the workers after the first.
    others: Vec<Arc<Set>>,
}

#[derive(Debug)]
struct Set {
    connections: Mutex<Vec<Shared>>,
    /// Whoever holds it connects; the others wait for the outcome.
    dialling: Semaphore,
}

/// One connection.
#[derive(Debug, Clone)]
struct Shared {
    sender: http2::SendRequest<RequestBody>,
    state: Arc<State>,
}

#[derive(Debug, Default)]
struct State {
    /// Requests that it carries.
    carried: AtomicUsize,
    /// Requests that the service takes at once.
    limit: AtomicUsize,
    /// Whether the service offers extended CONNECT (RFC 8441 section 3).
    extended: AtomicBool,
    /// Whether it was used since it was last looked at.
    used: AtomicBool,
}

/// What a server turned out to speak.
pub(super) enum Leased {
    /// A place on a connection of HTTP/2.
    Http2(Lease),
    /// A new connection of HTTP/1.1.
    Http1(ServiceIo),
}

/// A place for one request on a connection, until it is dropped.
#[derive(Debug)]
pub(crate) struct Lease {
    shared: Shared,
    set: Weak<Set>,
}

impl Multiplexed {
    pub(super) fn new(link: &Arc<Link>, spawner: &Spawner) -> Self {
        let set = || Arc::new(Set { connections: Mutex::default(), dialling: Semaphore::new(1) });
        let others = (1..spawner.workers()).map(|_| set()).collect();
        Self { link: link.clone(), spawner: spawner.clone(), first: set(), others }
    }

    /// A place for a request on behalf of `visitor`, to be asked for on this worker.
    pub(super) async fn lease(
        &self,
        worker: Worker,
        visitor: Option<SocketAddr>,
    ) -> Result<Leased, DialError> {
        let set = worker.0.checked_sub(1).and_then(|index| self.others.get(index)).unwrap_or(&self.first);
        if self.link.send_proxy.is_some() {
            // Who the visitor is was said once for the whole connection.
            return self.connect(visitor, &Weak::new()).await;
        }
        if let Some(lease) = set.place() {
            return Ok(Leased::Http2(lease));
        }
        let connecting = async {
            // Nobody closes it.
            let _permit = set.dialling.acquire().await.map_err(|_| DialError::Timeout)?;
            match set.place() {
                Some(lease) => Ok(Leased::Http2(lease)),
                None => self.connect(None, &Arc::downgrade(set)).await,
            }
        };
        timeout(self.link.limit, connecting).await.unwrap_or(Err(DialError::Timeout))
    }

    async fn connect(&self, visitor: Option<SocketAddr>, set: &Weak<Set>) -> Result<Leased, DialError> {
        let Connected { io, http2 } = self.link.http(visitor, false).await?;
        if !http2 {
            return Ok(Leased::Http1(io));
        }
        let (sender, connection) =
            timeout(self.link.limit, open(io, &self.spawner)).await.unwrap_or(Err(DialError::Timeout))?;
        let shared = Shared { sender, state: Arc::default() };
        shared.state.learn(&connection);
        let lease = Lease::new(shared.clone(), set.clone());
        if let Some(set) = set.upgrade() {
            set.connections.lock().push(shared.clone());
        }
        let driving = drive(connection, shared.state, set.clone());
        self.spawner.spawn(self.spawner.here(), "service connection", driving);
        Ok(Leased::Http2(lease))
    }
}

impl Set {
    /// A place on the connection that carries the least; none if another one may be opened instead.
    fn place(self: &Arc<Self>) -> Option<Lease> {
        let mut connections = self.connections.lock();
        connections.retain(|shared| !shared.sender.is_closed());
        let (shared, has_room) = connections
            .iter()
            .map(|shared| (shared, shared.state.room()))
            .max_by_key(|(_, room)| *room)
            .map(|(shared, room)| (shared.clone(), room > 0))?;
        let full = connections.len() >= CONNECTIONS_MAX;
        (has_room || full).then(|| Lease::new(shared, Arc::downgrade(self)))
    }

    fn remove(&self, state: &State) {
        self.connections.lock().retain(|shared| !std::ptr::eq(&*shared.state, state));
    }
}

impl State {
    fn learn(&self, connection: &Connection) {
        self.limit.store(connection.current_max_send_streams(), Ordering::Relaxed);
        self.extended.store(connection.is_extended_connect_protocol_enabled(), Ordering::Relaxed);
    }

    fn room(&self) -> usize {
        self.limit.load(Ordering::Relaxed).saturating_sub(self.carried.load(Ordering::Relaxed))
    }
}

impl Lease {
    fn new(shared: Shared, set: Weak<Set>) -> Self {
        shared.state.carried.fetch_add(1, Ordering::Relaxed);
        shared.state.used.store(true, Ordering::Relaxed);
        Self { shared, set }
    }

    /// What sends the request.
    pub(super) fn sender(&self) -> http2::SendRequest<RequestBody> {
        self.shared.sender.clone()
    }

    /// Whether the service offers extended CONNECT.
    pub(super) fn is_extended(&self) -> bool {
        self.shared.state.extended.load(Ordering::Relaxed)
    }

    /// The connection takes no more requests; those that it carries go on.
    pub(super) fn retire(&self) {
        if let Some(set) = self.set.upgrade() {
            set.remove(&self.shared.state);
        }
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        self.shared.state.carried.fetch_sub(1, Ordering::Relaxed);
    }
}

/// A connection whose service has said how much it takes. One that speaks something else is found out here, before any
/// request was sent.
async fn open(
    io: ServiceIo,
    spawner: &Spawner,
) -> Result<(http2::SendRequest<RequestBody>, Connection), DialError> {
    let (sender, mut connection) = http2::Builder::new(Here(spawner.clone()))
        .timer(TokioTimer::new())
        .initial_max_send_streams(UNTOLD)
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .max_header_list_size(HEADERS_MAX)
        .keep_alive_interval(PING)
        .keep_alive_timeout(PING)
        .handshake(TokioIo::new(io))
        .await
        .map_err(|_| DialError::NotHttp2)?;
    let mut look = interval(LOOK);
    poll_fn(|cx| {
        if Pin::new(&mut connection).poll(cx).is_ready() {
            return Poll::Ready(Err(DialError::NotHttp2));
        }
        loop {
            if connection.current_max_send_streams() != UNTOLD {
                return Poll::Ready(Ok(()));
            }
            if look.poll_tick(cx).is_pending() {
                return Poll::Pending;
            }
        }
    })
    .await?;
    Ok((sender, connection))
}

/// Drives a connection until it ends. One that has carried nothing for a while is let go of.
async fn drive(mut connection: Connection, state: Arc<State>, set: Weak<Set>) {
    let ended = poll_fn(|cx| {
        let polled = Pin::new(&mut connection).poll(cx).map(drop);
        state.learn(&connection);
        polled
    });
    let idle = async {
        loop {
            sleep(IDLE).await;
            let used = state.used.swap(false, Ordering::Relaxed) || state.carried.load(Ordering::Relaxed) > 0;
            if let Some(set) = set.upgrade().filter(|_| !used) {
                // Its last sender goes with it, and then it ends.
                set.remove(&state);
            }
        }
    };
    tokio::select! {
        () = ended => {}
        () = idle => {}
    }
    if let Some(set) = set.upgrade() {
        set.remove(&state);
    }
}
