//! The groups of the configuration: what their members are handed, who is a member, and what each said to it.

use std::collections::BTreeMap;
use std::sync::Arc;

use arc_swap::ArcSwap;
use ops::metrics::GroupMembers;
use policy::part::GroupPart;
use protocol::control::{PartAnswer, PartId, WholePart};
use protocol::service_name::ServiceName;
use protocol::text::Text;
use transport::digest::sha256;

use super::groups::Groups;
use super::instance::{Instance, InstanceKey, MemberState};
use super::names::Behind;

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

/// The groups, by name. They are what the configuration says; who is a member changes.
#[derive(Debug, Default)]
pub struct Memberships(BTreeMap<String, Group>);

/// One group.
#[derive(Debug)]
pub struct Group {
    part: GroupPart,
    handed: WholePart,
    /// Its services by their names in it, and as substreams ask for them.
    services: Vec<(String, Arc<ServiceName>)>,
    members: ArcSwap<Vec<Membership>>,
}

/// An instance that is granted the group.
#[derive(Debug, Clone)]
pub struct Membership {
    /// Which.
    pub instance: Arc<Instance>,
    /// What it said to the part.
    pub answer: Answer,
}

/// What a member said to the part of its group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// Nothing yet.
    Awaited,
    /// It serves it.
    Taken,
    /// It does not, and why; also if it never answered, or can not be handed a part.
    Refused(Text),
}

impl Membership {
    /// The word for it in `status` and metrics, and the reason if it is `behind`.
    #[must_use]
    pub fn state(&self) -> (&'static str, Option<&Text>) {
        match (&self.answer, self.instance.state()) {
            (_, MemberState::Absent) => (MemberState::Absent.as_str(), None),
            (Answer::Taken, state) => (state.as_str(), None),
            (Answer::Awaited, _) => ("behind", None),
            (Answer::Refused(reason), _) => ("behind", Some(reason)),
        }
    }
}

impl Memberships {
    /// These groups, of the configuration with the number `revision`.
    ///
    /// # Errors
    /// One that can not be handed over.
    pub fn new(parts: Vec<(String, GroupPart)>, revision: u64) -> Result<Self, GroupError> {
        let group = |(group, part)| Group::new(group, part, revision);
        parts.into_iter().map(group).collect::<Result<_, _>>().map(Self)
    }

    /// The groups among `granted` that there are.
    pub fn of<'a>(&'a self, granted: &'a [String]) -> impl Iterator<Item = &'a Group> {
        granted.iter().filter_map(|name| self.0.get(name))
    }

    /// All of them with their names, in order.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Group)> {
        self.0.iter().map(|(name, group)| (name.as_str(), group))
    }

    /// An instance that is granted `granted` begins. One that can not be handed parts is told apart.
    pub(super) fn join(&self, granted: &[String], instance: &Arc<Instance>, takes_parts: bool) {
        for group in self.of(granted) {
            group.edit(|members| {
                if !members.iter().any(|member| member.instance.key == instance.key) {
                    let answer = match takes_parts {
                        true => Answer::Awaited,
                        false => {
                            Answer::Refused("this version of the client can not be handed a part".into())
                        }
                    };
                    members.push(Membership { instance: instance.clone(), answer });
                }
            });
        }
    }

    /// An instance is gone, and serves nothing more.
    pub(super) fn leave(&self, key: &InstanceKey, served: &Groups) {
        for group in self.0.values() {
            let of = |member: &&Membership| member.instance.key == *key;
            if let Some(member) = group.memberships().iter().find(of) {
                group.withdraw(member, served);
            }
            group.edit(|members| members.retain(|member| member.instance.key != *key));
        }
    }

    /// An instance has answered, and serves what it took. Whether that changed anything.
    pub(super) fn answered(&self, key: &InstanceKey, answer: PartAnswer, served: &Groups) -> bool {
        let Some(group) = self.0.get(&answer.of.group).filter(|group| group.handed.of == answer.of) else {
            return false;
        };
        let changed = group.answer(key, |_| true, answer.refusal.map_or(Answer::Taken, Answer::Refused));
        if let Some(member) = group.memberships().iter().find(|member| changed && member.instance.key == *key)
        {
            match member.answer {
                Answer::Taken => group.serve(member, served),
                Answer::Awaited | Answer::Refused(_) => group.withdraw(member, served),
            }
        }
        changed
    }

    /// An instance has not answered in time for this part.
    pub(super) fn silent(&self, key: &InstanceKey, part: &PartId) -> bool {
        let Some(group) = self.0.get(&part.group) else { return false };
        let answer = Answer::Refused("no answer within 5 s".into());
        group.answer(key, |before| *before == Answer::Awaited, answer)
    }

    /// How many members there are of each group in each state.
    #[must_use]
    pub fn counts(&self) -> Vec<GroupMembers> {
        let mut counts = Vec::new();
        for (name, group) in self.iter() {
            for state in ["ready", "draining", "behind", "absent"] {
                let members = group.memberships();
                let count = members.iter().filter(|member| member.state().0 == state).count();
                counts.push(GroupMembers { group: name.to_owned(), state, count });
            }
        }
        counts
    }
}

impl Group {
    fn new(name: String, part: GroupPart, revision: u64) -> Result<(String, Self), GroupError> {
        let json = match serde_json::to_vec(&part) {
            Ok(json) => json,
            Err(error) => return Err(GroupError::Json { group: name, error }),
        };
        let (length, max) = (json.len(), protocol::limits::PART_MAX);
        if length > max {
            return Err(GroupError::TooLong { group: name, length, max });
        }
        let of = PartId { group: name.clone(), revision };
        let handed = WholePart { of, digest: sha256(&json), bytes: json.into() };
        let asked = |service: &String| ServiceName::Grouped { group: name.clone(), service: service.clone() };
        let names = part.services.iter().map(|service| &service.name);
        let services = names.map(|service| (service.clone(), Arc::new(asked(service)))).collect();
        let group = Self { part, handed, services, members: ArcSwap::default() };
        Ok((name, group))
    }

    /// What its members are handed.
    #[must_use]
    pub fn handed(&self) -> &WholePart {
        &self.handed
    }

    /// Its services and ingresses.
    #[must_use]
    pub fn part(&self) -> &GroupPart {
        &self.part
    }

    /// The instances that are granted it.
    #[must_use]
    pub fn memberships(&self) -> Arc<Vec<Membership>> {
        self.members.load_full()
    }

    fn serve(&self, member: &Membership, served: &Groups) {
        let group: Arc<str> = self.handed.of.group.as_str().into();
        for (name, service) in &self.services {
            let behind = Behind::new(member.instance.clone(), service.clone());
            served.join(&group, name, behind, [].into());
        }
    }

    fn withdraw(&self, member: &Membership, served: &Groups) {
        let group: Arc<str> = self.handed.of.group.as_str().into();
        for (name, service) in &self.services {
            let behind = Behind::new(member.instance.clone(), service.clone());
            served.leave(&group, name, &behind);
        }
    }

    fn answer(&self, key: &InstanceKey, when: impl Fn(&Answer) -> bool, answer: Answer) -> bool {
        self.edit(|members| {
            let member = members.iter_mut().find(|member| member.instance.key == *key);
            match member.filter(|member| when(&member.answer) && member.answer != answer) {
                Some(member) => {
                    member.answer = answer;
                    true
                }
                None => false,
            }
        })
    }

    /// To be called under the registry's lock, which makes it one after the other.
    fn edit<T>(&self, edit: impl FnOnce(&mut Vec<Membership>) -> T) -> T {
        let mut members = Vec::clone(&self.members.load());
        let result = edit(&mut members);
        self.members.store(Arc::new(members));
        result
    }
}
