//! One group: the parts that its members hold, and its members.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Instant;

use policy::principal::Principal;
use protocol::control::PartId;
use protocol::service_name::ServiceName;

use super::handed::Handed;
use super::member::{Answer, Membership, SILENT};
use crate::registry::groups::Groups;
use crate::registry::instance::{Instance, InstanceKey};

/// One group. A value: it is replaced as a whole.
#[derive(Debug, Clone)]
pub struct Group {
    pub(super) name: Arc<str>,
    /// The share of its members, in percent, that must take a part for it to be used.
    pub(super) min_ack: u8,
    /// The part in use; none if the group is only prepared, or is gone.
    pub(super) used: Option<Arc<Handed>>,
    /// The part that its members are asked to make ready.
    pub(super) next: Option<Arc<Handed>>,
    /// Whose instances are members no more once that is used: they are not asked.
    leaving: BTreeSet<Principal>,
    /// The part before, and how long it is kept for substreams that are on their way.
    pub(super) old: Option<(Arc<Handed>, Instant)>,
    pub(super) members: Vec<Membership>,
}

impl Group {
    /// A group that nobody uses yet.
    pub(super) fn new(name: &str) -> Self {
        let (used, next, old) = (None, None, None);
        let leaving = BTreeSet::new();
        Self { name: name.into(), min_ack: 0, used, next, leaving, old, members: Vec::new() }
    }

    /// Its name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The part in use.
    #[must_use]
    pub fn used(&self) -> Option<&Arc<Handed>> {
        self.used.as_ref()
    }

    /// The instances that are granted it.
    #[must_use]
    pub fn memberships(&self) -> &[Membership] {
        &self.members
    }

    /// Whether an ingress of it leads to `service` next to the server. One of the part before counts while it may be in use.
    #[must_use]
    pub fn leads_to(&self, service: &str) -> bool {
        let old = self.old.as_ref().map(|(old, _)| old);
        let mut ingresses = self.used.iter().chain(old).flat_map(|handed| &handed.part().ingresses);
        ingresses.any(|ingress| ingress.leads_to(service))
    }

    /// Whether `key` is a member.
    pub(super) fn has(&self, key: &InstanceKey) -> bool {
        self.members.iter().any(|member| member.instance.key == *key)
    }

    /// Whether a part that its members may hold has a service called `service`.
    pub(super) fn has_service(&self, service: &str) -> bool {
        let old = self.old.as_ref().map(|(old, _)| old);
        self.used.iter().chain(&self.next).chain(old).any(|handed| handed.has(service))
    }

    /// Whether `key` is to be a member no more once the part that is prepared is used.
    pub(in crate::registry) fn is_leaving(&self, key: &InstanceKey) -> bool {
        self.leaving.contains(&key.principal)
    }

    /// The part that the member `key` is asked to make ready.
    fn next_for(&self, key: &InstanceKey) -> Option<&Arc<Handed>> {
        self.next.as_ref().filter(|_| !self.is_leaving(key))
    }

    /// What the member `key` is to hold, the newest last.
    pub(super) fn to_hold(&self, key: &InstanceKey) -> Vec<Arc<Handed>> {
        self.used.iter().chain(self.next_for(key)).cloned().collect()
    }

    /// The same as numbers, the one in use first; none while it is not decided whether there will be one.
    pub(super) fn to_list(&self, key: &InstanceKey) -> Option<Vec<PartId>> {
        let next = self.next_for(key);
        if self.used.is_none() && next.is_some() {
            return None;
        }
        let old = self.old.as_ref().map(|(old, _)| old);
        Some(self.used.iter().chain(next).chain(old).map(|handed| handed.id().clone()).collect())
    }

    pub(super) fn join(&mut self, instance: &Arc<Instance>) {
        if !self.has(&instance.key) {
            self.members.push(Membership::new(instance.clone()));
        }
    }

    pub(super) fn leave(&mut self, key: &InstanceKey, served: &Groups) {
        for member in self.members.iter_mut().filter(|member| member.instance.key == *key) {
            member.list(&self.name, BTreeMap::new(), served);
        }
        self.members.retain(|member| member.instance.key != *key);
    }

    /// A member has said something to one of its parts. Whether that changed anything.
    pub(super) fn answer(
        &mut self,
        key: &InstanceKey,
        handed: &Arc<Handed>,
        answer: Answer,
        served: &Groups,
    ) -> bool {
        let Some(place) = self.members.iter().position(|member| member.instance.key == *key) else {
            return false;
        };
        let mut members = std::mem::take(&mut self.members);
        let changed = members.get_mut(place).is_some_and(|member| self.told(member, handed, answer, served));
        self.members = members;
        changed
    }

    fn told(&self, member: &mut Membership, handed: &Arc<Handed>, answer: Answer, served: &Groups) -> bool {
        if is(&self.next, handed) {
            return std::mem::replace(&mut member.next, answer.clone()) != answer;
        }
        if !is(&self.used, handed) || member.used == answer {
            return false;
        }
        member.used = answer;
        match member.used {
            Answer::Taken => member.good = Some(handed.clone()),
            // It had taken it, and may not serve it any more.
            _ => drop(member.good.take_if(|good| Arc::ptr_eq(good, handed))),
        }
        self.list_one(member, served);
        true
    }

    /// A member has not answered in time.
    pub(super) fn silent(&mut self, key: &InstanceKey, handed: &Arc<Handed>, served: &Groups) -> bool {
        let member = self.members.iter().find(|member| member.instance.key == *key);
        let waits = member.is_some_and(|member| match is(&self.next, handed) {
            true => member.next == Answer::Awaited,
            false => is(&self.used, handed) && member.used == Answer::Awaited,
        });
        waits && self.answer(key, handed, Answer::Refused(SILENT.into()), served)
    }

    /// Members are asked for this part from now on, but for those who are `leaving`.
    pub(super) fn prepare(&mut self, next: Arc<Handed>, leaving: BTreeSet<Principal>) {
        self.next = Some(next);
        self.leaving = leaving;
        for member in &mut self.members {
            member.next = Membership::unasked(&member.instance);
        }
    }

    /// The part that was prepared is used; the one before is kept until `until`.
    pub(super) fn switch(&mut self, until: Instant, served: &Groups) {
        let Some(next) = self.next.take() else { return };
        self.old = self.used.take().map(|used| (used, until));
        for member in &mut self.members {
            member.used = std::mem::replace(&mut member.next, Answer::Awaited);
            if member.used == Answer::Taken {
                member.good = Some(next.clone());
            }
        }
        self.used = Some(next);
        self.list(served);
    }

    /// It has no part any more; the last one is kept until `until`.
    pub(super) fn end(&mut self, until: Instant, served: &Groups) {
        self.next = None;
        if let Some(used) = self.used.take() {
            self.old = Some((used, until));
        }
        self.list(served);
    }

    /// The part before is kept no longer.
    pub(super) fn retire(&mut self, served: &Groups) {
        self.old = None;
        self.list(served);
    }

    /// Asks every member for what it serves.
    fn list(&mut self, served: &Groups) {
        let mut members = std::mem::take(&mut self.members);
        members.iter_mut().for_each(|member| self.list_one(member, served));
        self.members = members;
    }

    /// Asks a member for what it serves. One that has not taken the part in use is asked for what that has in common with the
    /// last that it took: it has refused the rest. What a new part lacks is asked for until the old one is retired: a
    /// request may have chosen it a moment ago.
    fn list_one(&self, member: &mut Membership, served: &Groups) {
        let mut wanted: BTreeMap<String, Arc<ServiceName>> = BTreeMap::new();
        if let (Some(used), Some(good)) = (&self.used, &member.good) {
            let stands = |name: &str| Arc::ptr_eq(used, good) || used.has_same(good, name);
            wanted.extend(good.services().iter().filter(|(name, _)| stands(name)).cloned());
        }
        if self.old.is_some() {
            let lacks = |name: &str| !self.used.as_ref().is_some_and(|used| used.has(name));
            let still = member.listed().iter().filter(|(name, _)| lacks(name));
            wanted.extend(still.map(|(name, service)| (name.clone(), service.clone())));
        }
        member.list(&self.name, wanted, served);
    }
}

fn is(part: &Option<Arc<Handed>>, handed: &Arc<Handed>) -> bool {
    part.as_ref().is_some_and(|part| Arc::ptr_eq(part, handed))
}
