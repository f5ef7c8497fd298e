//! What every part of the data plane of one process shares.

use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use ops::drain::{Drain, Work};
use ops::metrics::Metrics;
use ops::spawn::Spawner;

use crate::access::RequestSink;
use crate::service::KnownServers;

/// Waits on visitors, members and services.
#[derive(Debug, Clone, Copy)]
pub struct Timeouts {
    /// What a new visitor says first, until it is known which HTTP it speaks.
    pub detect: Duration,
    /// A visitor's request head, from its first byte (of the first request: from the accept) to its last.
    pub head: Duration,
    /// A visitor's connection without a request.
    pub keep_alive: Duration,
    /// A visitor that neither sends the body it announced nor reads what it asked for.
    pub stalled: Duration,
    /// From the end of a request to the response head, where no rule says otherwise. Kept by the ingress.
    pub request: Duration,
    /// The same at the end of the service, which does not know what the ingress waits for: the longest that any may.
    pub answer: Duration,
    /// A response body without a byte. Long, because event streams are silent for long.
    pub silence: Duration,
    /// From opening a substream to its first answer; at the other end, to its complete head.
    pub open: Duration,
    /// Resolving and connecting to a service.
    pub dial: Duration,
    /// A name without a member: how long a visitor waits for one.
    pub member: Duration,
    /// After an upgrade, without a byte either way.
    pub upgraded: Duration,
    /// After an upgrade, without a byte once one way has ended.
    pub half_closed: Duration,
    /// A TCP connection without a byte once one way has ended.
    pub half_closed_tcp: Duration,
    /// Bytes that nobody wants are read and dropped for so long, so that a close does not destroy what went before.
    pub linger: Duration,
}

impl Default for Timeouts {
    fn default() -> Self {
        let seconds = Duration::from_secs;
        Self {
            detect: seconds(5),
            head: seconds(10),
            keep_alive: seconds(60),
            stalled: seconds(60),
            request: seconds(60),
            answer: seconds(24 * 3600),
            silence: seconds(3600),
            open: protocol::limits::OPEN_TIMEOUT,
            dial: seconds(5),
            member: seconds(2),
            upgraded: seconds(3600),
            half_closed: seconds(30),
            half_closed_tcp: seconds(300),
            linger: seconds(5),
        }
    }
}

/// The waits as they are now: another configuration has others. A clone is the same ones.
#[derive(Debug, Clone, Default)]
pub struct Waits(Arc<ArcSwap<Timeouts>>);

impl Waits {
    /// Those of now.
    #[must_use]
    pub fn now(&self) -> Timeouts {
        **self.0.load()
    }

    /// From now on these. What waits already goes on as it began.
    pub fn replace(&self, timeouts: Timeouts) {
        self.0.store(Arc::new(timeouts));
    }
}

impl From<Timeouts> for Waits {
    fn from(timeouts: Timeouts) -> Self {
        Self(Arc::new(ArcSwap::from_pointee(timeouts)))
    }
}

/// What every part of the data plane shares. A clone is the same context.
#[derive(Clone)]
pub struct Context {
    /// Where tasks start.
    pub spawner: Spawner,
    /// The metrics of the process.
    pub metrics: Metrics,
    /// Hears of every request and connection.
    pub sink: Arc<dyn RequestSink>,
    /// When it starts, listeners close and a visitor's connection ends after its request.
    pub drain: Drain,
    /// Whether a drain waits for TCP connections and upgraded ones, as it does for requests.
    pub drain_connections: bool,
    /// The waits.
    pub waits: Waits,
    /// The servers of services.
    pub servers: KnownServers,
}

impl Context {
    /// The waits as they are now.
    #[must_use]
    pub fn timeouts(&self) -> Timeouts {
        self.waits.now()
    }

    /// Counts a connection that a drain may wait for.
    pub(crate) fn connection_work(&self) -> Option<Work> {
        self.drain_connections.then(|| self.drain.work())
    }
}

impl std::fmt::Debug for Context {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Context").field("waits", &self.waits).finish_non_exhaustive()
    }
}
