//! What the peer of a session may ask for.

use std::collections::HashMap;
use std::sync::Arc;

use parking_lot::RwLock;
use protocol::code::Code;
use protocol::frame::FrameType;
use protocol::service_name::ServiceName;

use super::Service;

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
}

impl ServiceTable {
    /// An empty table.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a service, or replaces the one of that name; what is in progress at the old one goes on.
    pub fn insert(&self, name: ServiceName, service: Arc<Service>) {
        self.services.write().insert(name, service);
    }

    /// Takes a service out; what is in progress goes on.
    pub fn remove(&self, name: &ServiceName) {
        self.services.write().remove(name);
    }

    /// Takes all services out.
    pub fn clear(&self) {
        self.services.write().clear();
    }

    /// The service of that name.
    #[must_use]
    pub fn get(&self, name: &ServiceName) -> Option<Arc<Service>> {
        self.services.read().get(name).cloned()
    }
}
