//! The servers that the services of a process have: one that two configurations have in common is one server, with its
//! connections and with all that is known of its health.

use std::collections::HashMap;
use std::sync::{Arc, Weak};

use parking_lot::Mutex;
use policy::part::ServerPart;

use super::link::Link;
use super::server::Server;

/// Of which group and service, as in logs and metrics.
type Place = (Arc<str>, Arc<str>);

/// All of them, for as long as a service has them. A clone is the same ones.
#[derive(Debug, Clone, Default)]
pub struct KnownServers(Arc<Mutex<HashMap<Place, Vec<Known>>>>);

#[derive(Debug)]
struct Known {
    part: ServerPart,
    server: Weak<Server>,
}

impl KnownServers {
    /// The server that `part` describes; a new one, that `make` makes of its `link`, if no service has it.
    pub(super) fn get_or_make(
        &self,
        (group, service): (&Arc<str>, &Arc<str>),
        part: &ServerPart,
        link: Link,
        make: impl FnOnce(Link) -> Server,
    ) -> Arc<Server> {
        // Its share is that of the service, not of the server.
        let part = ServerPart { weight: 0, ..part.clone() };
        let place = (group.clone(), service.clone());
        let mut places = self.0.lock();
        let known = places.get(&place).into_iter().flatten().filter(|known| known.part == part);
        // What an address without a scheme stands for depends on who asks.
        let is_it = |server: &Arc<Server>| server.link.target == link.target;
        if let Some(server) = known.filter_map(|known| known.server.upgrade()).find(is_it) {
            return server;
        }
        let server = Arc::new(make(link));
        places.retain(|_, known| {
            known.retain(|known| known.server.strong_count() > 0);
            !known.is_empty()
        });
        places.entry(place).or_default().push(Known { part, server: Arc::downgrade(&server) });
        server
    }
}
