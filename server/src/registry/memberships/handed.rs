//! A group's part as its members are handed it.

use std::sync::Arc;

use policy::part::{GroupPart, PluginPart, ServicePart, plugins_of};
use protocol::control::{PartId, WholePart};
use protocol::service_name::ServiceName;
use transport::digest::sha256;

/// What a group's part can not be handed over for. Whoever configured it is at fault.
#[derive(Debug, thiserror::Error)]
pub enum GroupError {
    /// Too much.
    #[error("the group {group:?} has {length} bytes of services and ingresses, and may have {max}")]
    TooLong {
        /// Which.
        group: String,
        /// How much it has.
        length: usize,
        /// How much it may have.
        max: usize,
    },
    /// It has no form as JSON; a defect of ours.
    #[error("the group {group:?} can not be written: {error}")]
    Json {
        /// Which.
        group: String,
        /// Why.
        #[source]
        error: serde_json::Error,
    },
}

/// A part, and its bytes on the wire. Two of them may have the same number if the first was given up; they are told apart
/// by where they are in memory.
#[derive(Debug)]
pub struct Handed {
    part: GroupPart,
    whole: WholePart,
    /// Its services by their names in it, and as substreams ask for them.
    services: Vec<(String, Arc<ServiceName>)>,
}

impl Handed {
    /// The part of `group`, of the configuration with the number `revision`.
    ///
    /// # Errors
    /// It can not be handed over.
    pub fn new(group: &str, part: GroupPart, revision: u64) -> Result<Self, GroupError> {
        let group = group.to_owned();
        let json = match serde_json::to_vec(&part) {
            Ok(json) => json,
            Err(error) => return Err(GroupError::Json { group, error }),
        };
        let (length, max) = (json.len(), protocol::limits::PART_MAX);
        if length > max {
            return Err(GroupError::TooLong { group, length, max });
        }
        let asked =
            |service: &String| ServiceName::Grouped { group: group.clone(), service: service.clone() };
        let names = part.services.iter().map(|service| &service.name);
        let services = names.map(|service| (service.clone(), Arc::new(asked(service)))).collect();
        let of = PartId { group, revision };
        let whole = WholePart { of, digest: sha256(&json), bytes: json.into() };
        Ok(Self { part, whole, services })
    }

    /// Which one it is, as far as its members know.
    #[must_use]
    pub const fn id(&self) -> &PartId {
        &self.whole.of
    }

    /// Its bytes.
    #[must_use]
    pub const fn whole(&self) -> &WholePart {
        &self.whole
    }

    /// Its services and ingresses.
    #[must_use]
    pub const fn part(&self) -> &GroupPart {
        &self.part
    }

    /// Its services by their names in it, and as substreams ask for them.
    pub(super) fn services(&self) -> &[(String, Arc<ServiceName>)] {
        &self.services
    }

    /// Whether it has a service called `service`.
    pub(super) fn has(&self, service: &str) -> bool {
        self.service(service).is_some()
    }

    /// Whether whoever serves `other` serves its service `service` just as this one says.
    pub(super) fn has_same(&self, other: &Self, service: &str) -> bool {
        let both = self.service(service).zip(other.service(service));
        both.is_some_and(|(one, other)| one == other) && self.plugs(service).eq(other.plugs(service))
    }

    fn service(&self, name: &str) -> Option<&ServicePart> {
        self.part.services.iter().find(|service| service.name == name)
    }

    fn plugs(&self, service: &str) -> impl Iterator<Item = Option<&PluginPart>> {
        let names = plugins_of(&self.part.services, service).into_iter();
        names.map(|name| self.part.plugins.iter().find(|plugin| plugin.name == name))
    }
}
