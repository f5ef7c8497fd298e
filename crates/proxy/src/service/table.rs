//! What the peer of a session may ask for.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use parking_lot::{Mutex, RwLock};
use policy::server_health::Standing;
use protocol::code::Code;
use protocol::frame::FrameType;
use protocol::service_name::ServiceName;
use tokio::sync::watch;

use super::Service;

/// Ticks after every change of what a table says of its services.
pub(super) type Changes = watch::Sender<u64>;

/// Something has changed.
pub(super) fn tick(changes: &Changes) {
    changes.send_modify(|count| *count = count.wrapping_add(1));
}

/// What the peer of a session may ask for.
pub trait Offered: Send + Sync + 'static {
    /// Another substream was opened; nothing of it has been read, and nothing is held for it yet.
    ///
    /// # Errors
    /// Why it is refused.
    fn admit(&self) -> Result<(), Code> {
        Ok(())
    }

    /// The service of that name, for one substream.
    ///
    /// # Errors
    /// Why the substream is refused.
    fn find(&self, name: &ServiceName) -> Result<Arc<Service>, Code>;

    /// The peer began a substream with a frame of this type instead of a head. The substream is refused.
    fn without_head(&self, _first: FrameType) {}
}

impl Offered for ServiceTable {
    fn find(&self, name: &ServiceName) -> Result<Arc<Service>, Code> {
        self.get(name).ok_or(Code::UNKNOWN_SERVICE)
    }
}

/// The services that the peer of a session may ask for, by name. What is not in it is refused. It may change at any time.
#[derive(Debug, Default)]
pub struct ServiceTable {
    services: RwLock<HashMap<ServiceName, Arc<Service>>>,
    changes: Changes,
    looks: Mutex<Looks>,
}

/// What is remembered of those who looked at all standings.
#[derive(Debug, Default)]
struct Looks {
    count: u64,
    /// Of what something was known: whoever was told has to be told when nothing is any more.
    known: BTreeSet<ServiceName>,
}

/// Names that are remembered; more come about only by very many changes of a configuration.
const KNOWN_MAX: usize = 16_384;

/// How fit the servers of the services in a table are, at one moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Judged {
    /// Greater than that of every earlier look at the same table; never 0.
    pub number: u64,
    /// The servers of each service of which somebody finds out, by their addresses; none of one that was in an earlier look
    /// and of which nobody does any more.
    pub services: BTreeMap<ServiceName, Vec<(String, Standing)>>,
}

impl ServiceTable {
    /// An empty table.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a service, or replaces the one of that name; what is in progress at the old one goes on.
    pub fn insert(&self, name: ServiceName, service: Arc<Service>) {
        service.servers().told_to(&self.changes);
        self.services.write().insert(name, service);
        tick(&self.changes);
    }

    /// Takes a service out; what is in progress goes on.
    pub fn remove(&self, name: &ServiceName) {
        self.services.write().remove(name);
        tick(&self.changes);
    }

    /// Takes all services out.
    pub fn clear(&self) {
        self.services.write().clear();
        tick(&self.changes);
    }

    /// The service of that name.
    #[must_use]
    pub fn get(&self, name: &ServiceName) -> Option<Arc<Service>> {
        self.services.read().get(name).cloned()
    }

    /// Ticks after every change of [`Self::judged`].
    #[must_use]
    pub fn changes(&self) -> watch::Receiver<u64> {
        self.changes.subscribe()
    }

    /// How fit the servers of all its services are.
    #[must_use]
    pub fn judged(&self) -> Judged {
        // Held while they are looked at: the number says which of two looks saw more.
        let mut looks = self.looks.lock();
        looks.count = looks.count.saturating_add(1);
        let mut services: BTreeMap<_, _> =
            looks.known.iter().map(|name| (name.clone(), Vec::new())).collect();
        for (name, service) in self.services.read().iter() {
            let standings = service.judged();
            if !standings.is_empty() {
                services.insert(name.clone(), standings);
            }
        }
        looks.known.extend(services.keys().cloned());
        if looks.known.len() > KNOWN_MAX {
            looks.known.clear();
        }
        Judged { number: looks.count, services }
    }
}
