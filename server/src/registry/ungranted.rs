//! Grants change with the configuration: what is not granted any more ends.

use std::time::Instant;

use policy::grant::{Grants, HostRight};
use policy::group::GroupKey;
use policy::host::Host;
use policy::ownership::Leaving;
use policy::subdomain::subdomain;
use protocol::control::CloseReason;

use super::instance::InstanceKey;
use super::name::Name;
use super::register::Registered;
use super::{Naming, Registry};

impl Registry {
    /// The book of principals or the configuration has changed: sessions of those who are not known any more end, names
    /// that are not granted any more are withdrawn, and other quotas hold. Says how many sessions and names those were.
    pub fn end_ungranted(&self, now: Instant) -> (usize, usize) {
        let mut state = self.state.lock();
        let (book, naming) = (self.identity.book(), self.naming());
        let gone = state.select(|login| !book.admits(&login.means));
        for live in &gone {
            live.cut(
                CloseReason::REVOKED,
                "the configuration of the server does not know this client any more",
            );
            self.remove(&mut state, live, Leaving::Unregistered, now);
        }
        let mut lost = Vec::new();
        for (key, held) in &mut state.instances {
            let grants = book.grants(&key.principal, &naming.domain).unwrap_or_default();
            held.instance.usage.limit(grants.quotas.requests);
            let is_lost = |registered: &&Registered| !is_granted(&grants, &naming, key, registered);
            let names: Vec<_> = held.registered().filter(is_lost).map(|lost| lost.name.clone()).collect();
            for name in names {
                let why = format!("{} is not granted to this client any more", name.public());
                self.lose(held, &name, &why);
                self.names.leave(&name, &held.instance.member(), Leaving::Unregistered, now);
                lost.push(name);
            }
        }
        for (principal, usage) in &state.usages {
            self.limit_to_grants(principal, usage);
        }
        drop(state);
        self.names.tick();
        (gone.len(), lost.len())
    }
}

fn is_granted(grants: &Grants, naming: &Naming, of: &InstanceKey, registered: &Registered) -> bool {
    let in_group = match &registered.group {
        GroupKey::Named(group) => grants.allows_group(group),
        GroupKey::Own(_) => true,
    };
    in_group
        && match &registered.name {
            Name::Http(host) => grants.allows_host(host) || is_random(grants, naming, of, registered, host),
            Name::Tcp(port) => grants.allows_port(*port),
        }
}

/// Whether it is the random subdomain of the tunnel, and the principal still has that.
fn is_random(
    grants: &Grants,
    naming: &Naming,
    of: &InstanceKey,
    registered: &Registered,
    host: &Host,
) -> bool {
    let hash = naming.key.for_host(&of.principal, of.client, registered.tunnel());
    let Ok(random) = Host::under(&subdomain(&hash), &naming.domain) else { return false };
    let right = HostRight::new(grants, &naming.domain);
    random == *host && right.host_for(None, random).is_ok_and(|given| given == *host)
}
