//! The groups of the configuration: what their members are handed, who is a member, and what each said to it.
//!
//! Read by everybody without a lock; only the registry changes it, under its own lock.

mod group;
mod handed;
mod member;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Instant;

use arc_swap::ArcSwap;
use ops::metrics::GroupMembers;
use policy::principal::Principal;
use protocol::control::PartId;

use super::groups::Groups;
use super::instance::{Instance, InstanceKey, SICK};
pub use group::Group;
pub use handed::{GroupError, Handed};
pub use member::{Answer, Membership};

type ByName = BTreeMap<String, Arc<Group>>;

/// The groups, by name.
#[derive(Debug, Default)]
pub struct Memberships(ArcSwap<ByName>);

/// What an instance is to be handed.
#[derive(Debug, Default)]
pub struct ToHand {
    /// The parts that it is to hold.
    pub parts: Vec<Arc<Handed>>,
    /// The same as numbers, of each group the one in use first, and those behind them that may go once they are idle. None:
    /// not to be said yet, because it is not decided whether a new group will be used.
    pub list: Option<Vec<PartId>>,
}

impl Memberships {
    /// All of them, by name, as they are now.
    #[must_use]
    pub fn all(&self) -> Arc<BTreeMap<String, Arc<Group>>> {
        self.0.load_full()
    }

    /// The groups that have a part in use, in order.
    #[must_use]
    pub fn in_use(&self) -> Vec<Arc<Group>> {
        self.0.load().values().filter(|group| group.used.is_some()).cloned().collect()
    }

    /// Whether an ingress of one of the groups `granted` leads to `service` next to the server.
    #[must_use]
    pub fn lead_to(&self, granted: &[String], service: &str) -> bool {
        let groups = self.0.load();
        granted.iter().filter_map(|name| groups.get(name)).any(|group| group.leads_to(service))
    }

    /// What an instance is to be handed, of at most `max` parts.
    #[must_use]
    pub fn to_hand(&self, key: &InstanceKey, max: usize) -> ToHand {
        let groups = self.0.load();
        let its: Vec<&Arc<Group>> = groups.values().filter(|group| group.has(key)).take(max).collect();
        let parts = its.iter().flat_map(|group| group.to_hold(key)).collect();
        let lists: Option<Vec<Vec<PartId>>> = its.iter().map(|group| group.to_list(key)).collect();
        let list = lists.map(|lists| {
            // Those in use first: what is behind them is given up before they are.
            let (used, behind): (Vec<_>, Vec<_>) = lists
                .into_iter()
                .flat_map(|list| list.into_iter().enumerate())
                .partition(|(place, _)| *place == 0);
            used.into_iter().chain(behind).map(|(_, id)| id).take(max).collect()
        });
        ToHand { parts, list }
    }

    /// Whether members are asked for just this part. One that was given up is another, also under the same number.
    pub(super) fn is_asked_for(&self, handed: &Arc<Handed>) -> bool {
        let groups = self.0.load();
        let next = groups.get(&handed.id().group).and_then(|group| group.next.as_ref());
        next.is_some_and(|next| Arc::ptr_eq(next, handed))
    }

    /// Whether the instance is a member of the group `name`, and a part of that has a service called `service`.
    pub(super) fn has(&self, name: &str, service: &str, key: &InstanceKey) -> bool {
        self.0.load().get(name).is_some_and(|group| group.has(key) && group.has_service(service))
    }

    /// How many members there are of each group in each state.
    #[must_use]
    pub fn counts(&self) -> Vec<GroupMembers> {
        let mut counts = Vec::new();
        for group in self.in_use() {
            for state in ["ready", SICK, "draining", "disabled", "behind", "absent"] {
                let members = group.memberships().iter();
                let count = members.filter(|member| member.state(&group.name).0 == state).count();
                counts.push(GroupMembers { group: group.name.to_string(), state, count });
            }
        }
        counts
    }

    /// The members of an instance's groups are exactly those that it is `granted`. Whether that changed anything.
    pub(super) fn grant(&self, granted: &[String], instance: &Arc<Instance>, served: &Groups) -> bool {
        let mut changed = false;
        self.edit(|groups| {
            for (name, group) in groups.iter_mut() {
                let (is, may) = (group.has(&instance.key), granted.contains(name));
                // One that is only prepared has the members that it will have.
                if is == may || (group.used.is_none() && group.next.is_some()) {
                    continue;
                }
                changed = true;
                let group = Arc::make_mut(group);
                match may {
                    true => group.join(instance),
                    false => group.leave(&instance.key, served),
                }
            }
        });
        changed
    }

    /// An instance is gone, and serves nothing more.
    pub(super) fn leave(&self, key: &InstanceKey, served: &Groups) {
        self.edit(|groups| {
            for group in groups.values_mut().filter(|group| group.has(key)) {
                Arc::make_mut(group).leave(key, served);
            }
        });
    }

    /// An instance has answered, and serves what it took. Whether that changed anything.
    pub(super) fn answered(
        &self,
        key: &InstanceKey,
        handed: &Arc<Handed>,
        answer: Answer,
        served: &Groups,
    ) -> bool {
        self.edit_one(&handed.id().group, |group| group.answer(key, handed, answer, served))
    }

    /// An instance has not answered in time for this part.
    pub(super) fn silent(&self, key: &InstanceKey, handed: &Arc<Handed>, served: &Groups) -> bool {
        self.edit_one(&handed.id().group, |group| group.silent(key, handed, served))
    }

    /// Members of `group` are asked for this part from now on, but for those of principals that are `leaving`. A group that
    /// there was not gets the members `new`.
    pub(super) fn prepare(
        &self,
        group: &str,
        next: &Arc<Handed>,
        new: &[Arc<Instance>],
        leaving: BTreeSet<Principal>,
    ) {
        self.edit(|groups| {
            let group = groups.entry(group.to_owned()).or_insert_with(|| Arc::new(Group::new(group)));
            let group = Arc::make_mut(group);
            if group.used.is_none() {
                new.iter().for_each(|instance| group.join(instance));
            }
            group.prepare(next.clone(), leaving);
        });
    }

    /// What was prepared is given up.
    pub(super) fn undo(&self) {
        self.edit(|groups| {
            for group in groups.values_mut().filter(|group| group.next.is_some()) {
                Arc::make_mut(group).next = None;
            }
            forget_unused(groups);
        });
    }

    /// What was prepared is used, and groups that are not in `all`, which says what share of each must take a part, are
    /// gone. The parts before are kept until `until`.
    pub(super) fn switch(&self, all: &BTreeMap<String, u8>, until: Instant, served: &Groups) {
        self.edit(|groups| {
            for (name, group) in groups.iter_mut() {
                let group = Arc::make_mut(group);
                match all.get(name) {
                    Some(min_ack) => {
                        group.min_ack = *min_ack;
                        group.switch(until, served);
                    }
                    None if group.used.is_some() => group.end(until, served),
                    None => {}
                }
            }
        });
    }

    /// Parts that were kept for long enough by `now` are kept no longer. Whether there were any.
    pub(super) fn retire(&self, now: Instant, served: &Groups) -> bool {
        let is_over = |group: &Group| group.old.as_ref().is_some_and(|(_, until)| *until <= now);
        let some = self.0.load().values().any(|group| is_over(group));
        if some {
            self.edit(|groups| {
                for group in groups.values_mut().filter(|group| is_over(group)) {
                    Arc::make_mut(group).retire(served);
                }
                forget_unused(groups);
            });
        }
        some
    }

    fn edit_one(&self, name: &str, edit: impl FnOnce(&mut Group) -> bool) -> bool {
        let mut changed = false;
        self.edit(|groups| changed = groups.get_mut(name).is_some_and(|group| edit(Arc::make_mut(group))));
        changed
    }

    /// To be called under the registry's lock, which makes it one after the other.
    fn edit(&self, edit: impl FnOnce(&mut ByName)) {
        let mut groups = ByName::clone(&self.0.load());
        edit(&mut groups);
        self.0.store(Arc::new(groups));
    }
}

fn forget_unused(groups: &mut ByName) {
    groups.retain(|_, group| group.used.is_some() || group.old.is_some());
}
