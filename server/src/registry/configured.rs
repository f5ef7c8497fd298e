//! The names of the configuration: the operator's, whoever asks for them.

use std::collections::HashSet;

use parking_lot::RwLock;
use policy::host::Host;
use policy::host_pattern::HostPattern;

use super::name::Name;
use crate::config::Document;

/// What the configuration says of names.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Configured {
    /// Hosts of rules and of `tls`.
    pub hosts: HashSet<Host>,
    /// Ports of configured listeners.
    pub ports: HashSet<u16>,
}

impl Configured {
    /// What `document` says; `ports` are those of its listeners.
    #[must_use]
    pub fn of(document: &Document, ports: HashSet<u16>) -> Self {
        let ruled = document.rules.iter().filter_map(|rule| rule.matcher.host.as_ref());
        let passed = document.tls.iter().map(|tls| &tls.host);
        let hosts = ruled.chain(passed).filter_map(|pattern| match pattern {
            HostPattern::Exact(host) => Some(host.clone()),
            // What a wildcard covers may be claimed one by one, as far as it is granted.
            HostPattern::Wildcard(_) => None,
        });
        Self { hosts: hosts.collect(), ports }
    }

    /// Whether `name` is among them.
    #[must_use]
    pub fn names(&self, name: &Name) -> bool {
        match name {
            Name::Http(host) => self.hosts.contains(host),
            Name::Tcp(port) => self.ports.contains(port),
        }
    }

    /// All of them.
    pub(super) fn each(&self) -> impl Iterator<Item = Name> {
        let hosts = self.hosts.iter().cloned().map(Name::Http);
        hosts.chain(self.ports.iter().copied().map(Name::Tcp))
    }
}

/// The names that are the operator's now, and those that a configuration wants which is being proven. Changed under the
/// registry's lock.
#[derive(Debug, Default)]
pub(super) struct OperatorNames(RwLock<Both>);

#[derive(Debug, Default)]
struct Both {
    now: Configured,
    wanted: Configured,
}

impl OperatorNames {
    /// Whether nobody else may have `name`.
    pub(super) fn names(&self, name: &Name) -> bool {
        let both = self.0.read();
        both.now.names(name) || both.wanted.names(name)
    }

    pub(super) fn want(&self, wanted: Configured) {
        self.0.write().wanted = wanted;
    }

    pub(super) fn want_ports(&self, ports: impl IntoIterator<Item = u16>) {
        self.0.write().wanted.ports.extend(ports);
    }

    /// What was wanted is it now. Says what that is.
    pub(super) fn use_wanted(&self) -> Configured {
        let mut both = self.0.write();
        both.now = std::mem::take(&mut both.wanted);
        both.now.clone()
    }
}
