//! What the configuration says of names.

use std::collections::HashSet;
use std::sync::Arc;

use policy::host::Host;
use policy::host_pattern::HostPattern;

use super::name::Name;
use crate::config::Document;
use crate::nearby::Nearby;

/// What the configuration says of names.
#[derive(Debug)]
pub struct Configured {
    /// Hosts of rules and of `tls`: the operator's, whoever asks for them.
    pub hosts: HashSet<Host>,
    /// Ports of configured listeners: the operator's too.
    pub ports: HashSet<u16>,
    /// The services next to the server.
    pub nearby: Arc<Nearby>,
}

impl Configured {
    /// What `document` says; `nearby` are its services next to the server, and `ports` those of its listeners.
    #[must_use]
    pub fn of(document: &Document, nearby: Nearby, ports: HashSet<u16>) -> Self {
        let ruled = document.rules.iter().filter_map(|rule| rule.matcher.host.as_ref());
        let passed = document.tls.iter().map(|tls| &tls.host);
        let hosts = ruled.chain(passed).filter_map(|pattern| match pattern {
            HostPattern::Exact(host) => Some(host.clone()),
            // What a wildcard covers may be claimed one by one, as far as it is granted.
            HostPattern::Wildcard(_) => None,
        });
        Self { hosts: hosts.collect(), ports, nearby: Arc::new(nearby) }
    }

    /// Whether `name` is the operator's.
    pub(super) fn names(&self, name: &Name) -> bool {
        match name {
            Name::Http(host) => self.hosts.contains(host),
            Name::Tcp(port) => self.ports.contains(port),
        }
    }
}
