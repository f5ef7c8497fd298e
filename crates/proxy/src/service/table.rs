//! What the peer of a session may ask for.

use std::collections::HashMap;
use std::sync::Arc;

use http::HeaderValue;
use parking_lot::RwLock;
use protocol::service_name::ServiceName;

use super::{Address, HttpPool};
use crate::context::Context;
use crate::directory::RouteLabels;

/// A service and how it is reached.
#[derive(Debug)]
pub struct Service {
    /// What it is called in logs and metrics of this end.
    pub labels: RouteLabels,
    pub(crate) address: Address,
    pub(crate) reach: Reach,
}

/// How a service is reached.
#[derive(Debug)]
pub(crate) enum Reach {
    /// Requests, over pooled connections.
    Http { pool: HttpPool, set_host: Option<HeaderValue> },
    /// Raw bytes, one connection each.
    Tcp,
}

impl Service {
    /// A service for HTTP requests. `set_host` replaces the visitor's `Host`.
    #[must_use]
    pub fn http(
        labels: RouteLabels,
        address: Address,
        set_host: Option<HeaderValue>,
        context: &Context,
    ) -> Self {
        let pool = HttpPool::new(address.clone(), context.timeouts.dial, &context.spawner);
        Self { labels, address, reach: Reach::Http { pool, set_host } }
    }

    /// A service for raw bytes.
    #[must_use]
    pub const fn tcp(labels: RouteLabels, address: Address) -> Self {
        Self { labels, address, reach: Reach::Tcp }
    }

    /// Where it listens.
    #[must_use]
    pub const fn address(&self) -> &Address {
        &self.address
    }
}

/// The services that the peer of a session may ask for, by name. What is not in it is refused.
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
