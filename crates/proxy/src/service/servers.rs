//! The servers of a service: which of them gets the next request, and how fit they are.

use std::net::SocketAddr;
use std::sync::{Arc, Once};
use std::time::Instant;

use ops::metrics::ServiceMetrics;
use ops::spawn::Spawner;
use parking_lot::Mutex;
use policy::part::{HealthCheck, ServerBalance};
use policy::server_choice::ServerChoice;
use policy::server_health::Standing;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;
use transport::relay::LocalStream;

use super::server::{Carried, Server};
use super::table::Changes;
use super::{DialError, ServerStanding};

/// Servers that are tried for one request or connection.
pub(crate) const TRIES_MAX: usize = 3;

/// The servers of one service; never none.
#[derive(Debug)]
pub(crate) struct Servers {
    first: Share,
    others: Vec<Share>,
    choice: Mutex<ServerChoice>,
    metrics: ServiceMetrics,
    spawner: Spawner,
    /// Cancelled when the service is gone.
    gone: CancellationToken,
    /// Not before the first request: the service before, which may have probed them, is in use until then.
    unprobed: Option<Once>,
}

/// A server with its share of what the service gets.
#[derive(Debug)]
pub(super) struct Share {
    pub(super) server: Arc<Server>,
    pub(super) weight: u32,
}

/// The servers that were tried for one request.
#[derive(Debug, Default)]
pub(crate) struct Tried(Vec<u64>);

impl Tried {
    /// How many there were.
    pub(crate) const fn count(&self) -> usize {
        self.0.len()
    }

    /// Another one.
    pub(crate) fn push(&mut self, server: &Server) {
        self.0.push(server.id);
    }
}

impl Servers {
    pub(super) fn new(
        first: Share,
        others: Vec<Share>,
        balance: ServerBalance,
        metrics: ServiceMetrics,
        spawner: &Spawner,
        gone: CancellationToken,
        probed: bool,
    ) -> Self {
        let choice = Mutex::new(ServerChoice::new(balance, others.len().saturating_add(1)));
        let unprobed = (!probed).then(Once::new);
        Self { first, others, choice, metrics, spawner: spawner.clone(), gone, unprobed }
    }

    /// Whether there is only one.
    pub(crate) const fn is_single(&self) -> bool {
        self.others.is_empty()
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Server> {
        self.shares().map(|share| &*share.server)
    }

    fn shares(&self) -> impl Iterator<Item = &Share> {
        std::iter::once(&self.first).chain(&self.others)
    }

    /// How each of them is.
    pub(super) fn standings(&self) -> Vec<ServerStanding> {
        self.iter().map(|server| server.shown(&self.metrics)).collect()
    }

    /// How fit each of them is, by its address; nothing if nobody finds out: of a single one that is not probed there is
    /// nothing to say.
    pub(super) fn judged(&self) -> Vec<(String, Standing)> {
        if self.is_single() && self.unprobed.is_some() {
            return Vec::new();
        }
        let now = Instant::now();
        let judged = |server: &Server| (server.link.target.to_string(), server.standing(now, &self.metrics));
        self.iter().map(judged).collect()
    }

    /// `changes` ticks from now on when one of them is not as it was.
    pub(super) fn told_to(&self, changes: &Changes) {
        self.iter().for_each(|server| server.told_to(changes));
    }

    pub(super) fn get(&self, index: usize) -> Option<&Server> {
        self.share(index).map(|share| &*share.server)
    }

    fn share(&self, index: usize) -> Option<&Share> {
        match index.checked_sub(1) {
            None => Some(&self.first),
            Some(index) => self.others.get(index),
        }
    }

    /// Takes those out of service whose address `is_disabled`, and the others into it.
    pub(super) fn disable(&self, is_disabled: impl Fn(&str) -> bool) {
        self.iter()
            .for_each(|server| server.disable(is_disabled(&server.link.target.to_string()), &self.metrics));
    }

    /// Whether all of them are out of service.
    pub(super) fn are_disabled(&self) -> bool {
        self.iter().all(Server::is_disabled)
    }

    /// The server that gets what `visitor` asks for; none if all have been `tried`, but for those out of service. Whoever asks
    /// has looked whether all are, so that one of them is asked only in that very moment.
    pub(crate) fn choose(&self, visitor: Option<SocketAddr>, tried: &Tried) -> Option<Carried<'_>> {
        if let Some(once) = &self.unprobed {
            once.call_once(|| self.iter().for_each(|server| server.unprobed(&self.metrics)));
        }
        if self.is_single() {
            return tried.0.is_empty().then(|| self.first.server.carry());
        }
        let now = Instant::now();
        let serves = !self.are_disabled();
        let candidate = |index| {
            let Share { server, weight } = self.share(index)?;
            let is_out = tried.0.contains(&server.id) || (serves && server.is_disabled());
            (!is_out).then(|| server.candidate(*weight, now, &self.metrics))
        };
        let chosen = self.choice.lock().choose(visitor.map(|visitor| visitor.ip()), candidate)?;
        self.get(chosen).map(Server::carry)
    }

    /// Counts another request at `server`, whatever is known of it.
    pub(crate) fn carry<'a>(&self, server: &'a Server) -> Carried<'a> {
        server.carry()
    }

    /// `server` was connected to.
    pub(crate) fn connected(&self, server: &Server) {
        server.connected(&self.metrics);
    }

    /// `server` could not be connected to.
    pub(crate) fn connect_failed(self: &Arc<Self>, server: &Server) {
        let now = Instant::now();
        let healthy = |other: &Server| {
            let is_fit = other.standing(now, &self.metrics) == Standing::Healthy;
            other.id != server.id && !other.is_disabled() && is_fit
        };
        let others = self.iter().any(healthy);
        if let Some(until) = server.connect_failed(others, &self.metrics) {
            // Nobody may ask for it then, and the metrics still have to say that it is back.
            let (servers, id, gone) = (self.clone(), server.id, self.gone.clone());
            self.spawner.spawn(self.spawner.here(), "ejection", async move {
                let over = sleep(until.saturating_duration_since(now));
                if gone.run_until_cancelled(over).await.is_some()
                    && let Some(server) = servers.iter().find(|server| server.id == id)
                {
                    server.standing(Instant::now(), &servers.metrics);
                }
            });
        }
    }

    /// Counts a probe of `server`.
    pub(super) fn probed(&self, server: &Server, good: bool, check: &HealthCheck) {
        self.metrics.probed(good);
        let standing = server.probed(good, check, &self.metrics);
        tracing::debug!(server = %server.link.target, good, ?standing, "probe");
    }

    /// A connection for raw bytes on behalf of `visitor`, to the first of the servers that accepts one. What comes with it
    /// counts it.
    pub(crate) async fn raw(
        self: &Arc<Self>,
        visitor: Option<SocketAddr>,
    ) -> Result<(LocalStream, Carried<'_>), DialError> {
        let mut tried = Tried::default();
        let mut failure = DialError::Timeout;
        while tried.count() < TRIES_MAX
            && let Some(carried) = self.choose(visitor, &tried)
        {
            let server = carried.0;
            match server.raw(visitor).await {
                Ok(stream) => {
                    self.connected(server);
                    return Ok((stream, carried));
                }
                Err(error) => failure = error,
            }
            self.connect_failed(server);
            tried.push(server);
        }
        Err(failure)
    }
}
