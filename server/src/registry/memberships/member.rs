//! A member of a group: what it said to the group's parts, and what it serves.

use std::collections::BTreeMap;
use std::sync::Arc;

use protocol::service_name::ServiceName;
use protocol::text::Text;

use super::handed::Handed;
use crate::registry::groups::Groups;
use crate::registry::health::Reported;
use crate::registry::instance::{Instance, MemberState, SICK};
use crate::registry::names::Behind;

/// What a member said to a part of its group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// Nothing yet.
    Awaited,
    /// It serves it.
    Taken,
    /// It does not, and why; also if it did not answer in time, or can not be handed a part.
    Refused(Text),
}

/// Why a member that said nothing is behind.
pub(super) const SILENT: &str = "no answer within 5 s";

impl Answer {
    /// Why it does not serve it; none if it does.
    #[must_use]
    pub fn refusal(&self) -> Option<Text> {
        match self {
            Self::Taken => None,
            Self::Awaited => Some(SILENT.into()),
            Self::Refused(reason) => Some(reason.clone()),
        }
    }
}

/// An instance that is granted a group.
#[derive(Debug, Clone)]
pub struct Membership {
    /// Which.
    pub instance: Arc<Instance>,
    /// What it said to the part in use.
    pub(super) used: Answer,
    /// What it said to the one that is prepared.
    pub(super) next: Answer,
    /// The last that it took, of those that were in use.
    pub(super) good: Option<Arc<Handed>>,
    /// The services that it is asked for.
    listed: Arc<BTreeMap<String, Arc<ServiceName>>>,
}

impl Membership {
    pub(super) fn new(instance: Arc<Instance>) -> Self {
        let first = Self::unasked(&instance);
        Self { instance, used: first.clone(), next: first, good: None, listed: Arc::default() }
    }

    /// What it has said to a part that it was not handed yet.
    pub(super) fn unasked(instance: &Instance) -> Answer {
        match instance.takes_parts {
            true => Answer::Awaited,
            false => Answer::Refused("it takes no parts: an ad-hoc tunnel, or an old version".into()),
        }
    }

    /// What it said to the part in use.
    #[must_use]
    pub const fn answer(&self) -> &Answer {
        &self.used
    }

    /// What it said to the one that is prepared.
    #[must_use]
    pub const fn next(&self) -> &Answer {
        &self.next
    }

    /// The word for it as a member of `group` in `status` and metrics, and the reason if it is `behind`.
    #[must_use]
    pub fn state(&self, group: &str) -> (&'static str, Option<&Text>) {
        match (&self.used, self.instance.state()) {
            (_, MemberState::Absent) => (MemberState::Absent.as_str(), None),
            (Answer::Taken, _) if self.instance.stands_by(group) => (MemberState::Disabled.as_str(), None),
            (Answer::Taken, MemberState::Ready) if self.is_sick() => (SICK, None),
            (Answer::Taken, state) => (state.as_str(), None),
            (Answer::Awaited, _) => ("behind", None),
            (Answer::Refused(reason), _) => ("behind", Some(reason)),
        }
    }

    /// What it has said of the servers of the services that it is asked for.
    pub(in crate::registry) fn reported(&self) -> impl Iterator<Item = (&Arc<ServiceName>, Arc<Reported>)> {
        self.listed.values().filter_map(|service| Some((service, self.instance.reports.find(service)?)))
    }

    /// Whether one of the services that it is asked for has no healthy server there.
    fn is_sick(&self) -> bool {
        self.reported().any(|(_, reported)| reported.is_sick())
    }

    /// The services that it is asked for.
    pub(super) fn listed(&self) -> &BTreeMap<String, Arc<ServiceName>> {
        &self.listed
    }

    /// It is asked for exactly what is in `wanted` from now on.
    pub(super) fn list(
        &mut self,
        group: &Arc<str>,
        wanted: BTreeMap<String, Arc<ServiceName>>,
        served: &Groups,
    ) {
        let behind = |service: &Arc<ServiceName>| Behind::new(self.instance.clone(), service.clone());
        for (name, service) in wanted.iter().filter(|(name, _)| !self.listed.contains_key(*name)) {
            served.join(group, name, behind(service), [].into());
        }
        for (name, service) in self.listed.iter().filter(|(name, _)| !wanted.contains_key(*name)) {
            served.leave(group, name, &behind(service));
        }
        self.listed = Arc::new(wanted);
    }
}
