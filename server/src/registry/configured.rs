//! What the configuration says of names and groups.

use std::collections::HashSet;
use std::sync::Arc;

use policy::host::Host;
use policy::host_pattern::HostPattern;

use super::memberships::{GroupError, Memberships};
use crate::config::Document;
use crate::nearby::Nearby;

/// The number of the configuration: it is read once, at the start.
const REVISION: u64 = 1;

/// What the configuration says of names and groups.
#[derive(Debug)]
pub struct Configured {
    /// The groups, with what their members are handed.
    pub memberships: Memberships,
    /// Hosts of rules: the operator's, whoever asks for them.
    pub hosts: HashSet<Host>,
    /// The services next to the server.
    pub nearby: Arc<Nearby>,
}

impl Configured {
    /// What `document` says; `nearby` are its services next to the server.
    ///
    /// # Errors
    /// A group that can not be handed over.
    pub fn of(document: &Document, nearby: Nearby) -> Result<Self, GroupError> {
        let parts = document.groups.iter().map(|group| (group.name.clone(), group.part.clone()));
        let hosts = document.rules.iter().filter_map(|rule| match &rule.matcher.host {
            Some(HostPattern::Exact(host)) => Some(host.clone()),
            // What a wildcard covers may be claimed one by one, as far as it is granted.
            _ => None,
        });
        let memberships = Memberships::new(parts.collect(), REVISION)?;
        Ok(Self { memberships, hosts: hosts.collect(), nearby: Arc::new(nearby) })
    }
}
