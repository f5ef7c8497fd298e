//! Connections of HTTP/2 to one server, each of which carries many requests at once.

use std::fmt;
use std::future::{Future, poll_fn};
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Weak};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use bytes::Bytes;
use h2::client::{Builder, SendRequest};
use ops::spawn::{Spawner, Worker};
use parking_lot::Mutex;
use tokio::sync::Semaphore;
use tokio::time::{sleep, timeout};

use super::DialError;
use super::connection::ServiceIo;
use super::link::{Connected, Link};
use crate::http2::{Heard, Heartbeat, Listened};

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
/// Bytes of one request that wait for the service.
const SEND_BUFFER: usize = 64 * 1024;
/// A service that says nothing for so long while it has requests is asked whether it is there, and may take as long to say
/// so.
const PING: Duration = Duration::from_secs(20);
/// Stands for the number of requests that a service takes until it has said so; above what it can say.
const UNTOLD: usize = usize::MAX - 1;

type Connection = h2::client::Connection<Listened<ServiceIo>, Bytes>;

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
#[derive(Clone)]
struct Shared {
    sender: SendRequest<Bytes>,
    state: Arc<State>,
}

#[derive(Debug, Default)]
struct State {
    /// Requests that it carries.
    carried: AtomicUsize,
    /// Whether it was used since it was last looked at.
    used: AtomicBool,
    /// The last request on it that was decided was not looked at.
    refuses: AtomicBool,
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
        timeout(self.link.limit(), connecting).await.unwrap_or(Err(DialError::Timeout))
    }

    async fn connect(&self, visitor: Option<SocketAddr>, set: &Weak<Set>) -> Result<Leased, DialError> {
        let Connected { io, http2 } = self.link.http(visitor, false).await?;
        if !http2 {
            return Ok(Leased::Http1(io));
        }
        let heard = Heard::now();
        let opened = timeout(self.link.limit(), open(Listened::new(io, heard.clone()))).await;
        let (sender, connection) = opened.unwrap_or(Err(DialError::Timeout))?;
        let shared = Shared { sender, state: Arc::default() };
        let lease = Lease::new(shared.clone());
        if let Some(set) = set.upgrade() {
            set.connections.lock().push(shared.clone());
        }
        let driving = drive(connection, heard, shared.state, set.clone());
        self.spawner.spawn(self.spawner.here(), "service connection", driving);
        Ok(Leased::Http2(lease))
    }
}

impl Set {
    /// A place on the connection that carries the least, rather one that has not refused; none if another one may be opened
    /// instead.
    fn place(&self) -> Option<Lease> {
        let mut connections = self.connections.lock();
        connections.retain_mut(Shared::is_open);
        let (shared, has_room) = connections
            .iter()
            .map(|shared| (shared, (!shared.refuses(), shared.room())))
            .max_by_key(|(_, fit)| *fit)
            .map(|(shared, (takes, room))| (shared.clone(), takes && room > 0))?;
        let full = connections.len() >= CONNECTIONS_MAX;
        (has_room || full).then(|| Lease::new(shared))
    }

    fn remove(&self, state: &State) {
        self.connections.lock().retain(|shared| !std::ptr::eq(&*shared.state, state));
    }
}

impl Shared {
    /// Whether it takes more requests: it does not once the service has said farewell.
    fn is_open(&mut self) -> bool {
        !matches!(self.sender.poll_ready(&mut Context::from_waker(Waker::noop())), Poll::Ready(Err(_)))
    }

    /// Whether the service has not looked at what was asked last.
    fn refuses(&self) -> bool {
        self.state.refuses.load(Ordering::Relaxed)
    }

    /// How many more requests the service takes at once.
    fn room(&self) -> usize {
        let limit = self.sender.current_max_send_streams();
        limit.saturating_sub(self.state.carried.load(Ordering::Relaxed))
    }
}

impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shared").field("state", &self.state).finish_non_exhaustive()
    }
}

impl Lease {
    fn new(shared: Shared) -> Self {
        shared.state.carried.fetch_add(1, Ordering::Relaxed);
        shared.state.used.store(true, Ordering::Relaxed);
        Self { shared }
    }

    /// What sends the request.
    pub(super) fn sender(&self) -> SendRequest<Bytes> {
        self.shared.sender.clone()
    }

    /// Whether the service offers extended CONNECT (RFC 8441 section 3).
    pub(super) fn is_extended(&self) -> bool {
        self.shared.sender.is_extended_connect_protocol_enabled()
    }

    /// Whether the service has looked at the request. Of a connection that refused one, only that request goes elsewhere; the
    /// next ones prefer another connection until this one has answered again.
    pub(super) fn was_taken(&self, taken: bool) {
        self.shared.state.refuses.store(!taken, Ordering::Relaxed);
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        self.shared.state.carried.fetch_sub(1, Ordering::Relaxed);
    }
}

/// A connection whose service has said how much it takes. One that speaks something else is found out here, before any
/// request was sent.
async fn open(io: Listened<ServiceIo>) -> Result<(SendRequest<Bytes>, Connection), DialError> {
    let greeted = Builder::new()
        .initial_max_send_streams(UNTOLD)
        .initial_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .max_header_list_size(HEADERS_MAX)
        .max_send_buffer_size(SEND_BUFFER)
        .enable_push(false)
        .handshake(io)
        .await;
    let (sender, mut connection): (_, Connection) = greeted.map_err(|_| DialError::NotHttp2)?;
    poll_fn(|cx| {
        if Pin::new(&mut connection).poll(cx).is_ready() {
            return Poll::Ready(Err(DialError::NotHttp2));
        }
        // Whatever the service says wakes this.
        if sender.current_max_send_streams() == UNTOLD { Poll::Pending } else { Poll::Ready(Ok(())) }
    })
    .await?;
    Ok((sender, connection))
}

/// Drives a connection until it ends. One that has carried nothing for a while is let go of.
async fn drive(mut connection: Connection, heard: Heard, state: Arc<State>, set: Weak<Set>) {
    let pings = connection.ping_pong();
    let lost = async {
        match pings {
            Some(pings) => {
                let carries = || state.carried.load(Ordering::Relaxed) > 0;
                Heartbeat::new(pings, heard).lost(PING, carries).await;
            }
            None => std::future::pending().await,
        }
    };
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
        // How it ends is seen by the streams on it.
        _ = connection => {}
        () = lost => {}
        () = idle => {}
    }
    if let Some(set) = set.upgrade() {
        set.remove(&state);
    }
}
