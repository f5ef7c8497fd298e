//! Who holds which name. Visitors read it without waiting for anybody; only the registry changes it, under its own lock,
//! so that what decides and what changes see the same.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use dashmap::DashMap;
use dashmap::mapref::entry::Entry as Slot;
use ipnet::IpNet;
use parking_lot::Mutex;
use policy::balance::{Candidate, MemberState};
use policy::ownership::{Claim, Decision, Holding, Leaving, Left, Member};
use policy::principal::Principal;
use protocol::service_name::ServiceName;
use proxy::directory::RouteLabels;
use proxy::fitness::Fitness;
use tokio::sync::{Notify, watch};

use super::health::Reported;
use super::instance::Instance;
use super::name::Name;

/// One name: whose it is, and who stands behind it.
#[derive(Debug)]
pub struct Entry {
    /// Whose it is.
    pub holding: Holding,
    /// As many as the holding has members, with what visitors of it need.
    pub behind: Vec<Behind>,
    /// How it is called in logs and metrics.
    pub labels: RouteLabels,
    /// Which visitors may come; empty: all.
    pub allow: Arc<[IpNet]>,
    turn: AtomicUsize,
}

/// One member behind a name.
#[derive(Debug, Clone)]
pub struct Behind {
    /// The member.
    pub instance: Arc<Instance>,
    /// What it is asked for.
    pub service: Arc<ServiceName>,
    /// How well it serves it.
    pub fitness: Fitness,
    /// What it says itself of the servers.
    pub reported: Arc<Reported>,
}

impl Behind {
    /// A member that nothing is known of yet.
    #[must_use]
    pub fn new(instance: Arc<Instance>, service: Arc<ServiceName>) -> Self {
        let reported = instance.reports.of(&service);
        Self { instance, service, fitness: Fitness::default(), reported }
    }

    /// As one of several members of `group` that may get a request.
    pub(super) fn candidate(&self, group: &str) -> Candidate {
        let mut candidate = self.instance.candidate();
        if self.instance.stands_by(group) {
            candidate.state = MemberState::Disabled;
        }
        let is_fit = || {
            !self.reported.is_sick()
                && self.fitness.is_fit(Instant::now())
                && !self.instance.usage.is_used_up()
        };
        if candidate.state == MemberState::Ready && !is_fit() {
            // It goes last: others may do better.
            candidate.state = MemberState::Sick;
        }
        candidate
    }

    /// Whether both are the same member, asked for the same.
    pub(super) fn is_same(&self, other: &Self) -> bool {
        self.instance.key == other.instance.key && self.service == other.service
    }
}

/// What a claimant brings.
#[derive(Debug)]
pub(super) struct Bid {
    /// Who claims.
    pub(super) claim: Claim,
    /// With what.
    pub(super) behind: Behind,
    /// How it wants to be called.
    pub(super) labels: RouteLabels,
    /// Whom it lets in. The newest member's list holds for all.
    pub(super) allow: Arc<[IpNet]>,
}

/// All names.
#[derive(Debug, Default)]
pub struct Names {
    entries: DashMap<Name, Entry>,
    /// How many names each principal holds live.
    live: Mutex<HashMap<Principal, u32>>,
    changed: watch::Sender<u64>,
    /// Wakes who writes them down.
    pub(super) unsaved: Notify,
}

impl Entry {
    fn new(holding: Holding, labels: RouteLabels) -> Self {
        Self { holding, behind: Vec::new(), labels, allow: Arc::new([]), turn: AtomicUsize::new(0) }
    }

    /// The index at which the next round-robin starts.
    pub fn next_turn(&self) -> usize {
        self.turn.fetch_add(1, Ordering::Relaxed)
    }

    /// Who holds it, while it is live.
    fn holders(&self) -> BTreeSet<Principal> {
        self.holding.members().iter().map(|member| member.principal.clone()).collect()
    }

    /// Drops those behind that the holding does not name any more.
    fn align(&mut self) {
        let members = self.holding.members();
        self.behind.retain(|behind| members.contains(&behind.instance.member()));
    }
}

impl Names {
    /// Has them written down, though nothing may have changed.
    pub fn write_down(&self) {
        self.unsaved.notify_one();
    }

    /// Looks at a name.
    pub fn look<T>(&self, name: &Name, at: impl FnOnce(&Entry) -> T) -> Option<T> {
        self.entries.get(name).map(|entry| at(&entry))
    }

    /// Looks at all names, in no order.
    pub fn each(&self, mut at: impl FnMut(&Name, &Entry)) {
        self.entries.iter().for_each(|entry| at(entry.key(), entry.value()));
    }

    /// Ticks after every change.
    #[must_use]
    pub fn changes(&self) -> watch::Receiver<u64> {
        self.changed.subscribe()
    }

    /// Something that visitors may wait for has happened.
    pub fn tick(&self) {
        self.changed.send_modify(|count| *count = count.wrapping_add(1));
    }

    /// How many names `principal` holds live.
    #[must_use]
    pub fn count(&self, principal: &Principal) -> u32 {
        self.live.lock().get(principal).copied().unwrap_or(0)
    }

    /// Whether `name` is live and `principal` is among those who hold it.
    #[must_use]
    pub fn holds(&self, name: &Name, principal: &Principal) -> bool {
        let is_mine = |entry: &Entry| entry.holding.members().iter().any(|it| it.principal == *principal);
        self.look(name, is_mine).unwrap_or(false)
    }

    /// Whether `member` is the only one of its principal behind `name`.
    pub(super) fn is_only_by(&self, name: &Name, member: &Member) -> bool {
        let is_only = |entry: &Entry| {
            let mut mine = entry.holding.members().iter().filter(|it| it.principal == member.principal);
            mine.next() == Some(member) && mine.next().is_none()
        };
        self.look(name, is_only).unwrap_or(false)
    }

    /// What [`Names::claim`] would do.
    #[must_use]
    pub fn decide(&self, name: &Name, claim: &Claim, now: Instant) -> Decision {
        self.look(name, |entry| entry.holding.decide(claim, now)).unwrap_or(Decision::Take)
    }

    /// Somebody wants `name`.
    pub(super) fn claim(&self, name: &Name, bid: Bid, now: Instant) -> Decision {
        let Bid { claim, behind, labels, allow } = bid;
        let decision = self.decide(name, &claim, now);
        if matches!(decision, Decision::InUse | Decision::Stale) {
            return decision;
        }
        let new = Entry::new(Holding::Free, labels.clone());
        self.edit(name, Some(new), |entry| {
            let decision = entry.holding.claim(&claim, now);
            entry.align();
            if !entry.holding.members().contains(&claim.member) {
                // An instance id of somebody else in the group: ids are the clients' own choice.
                return Decision::InUse;
            }
            entry.behind.retain(|other| other.instance.key != behind.instance.key);
            entry.behind.push(behind);
            entry.labels = labels;
            entry.allow = allow;
            decision
        })
        .unwrap_or(decision)
    }

    /// A member leaves; whoever is none changes nothing.
    pub(super) fn leave(&self, name: &Name, member: &Member, how: Leaving, now: Instant) -> Left {
        if self.look(name, |entry| entry.holding.members().contains(member)) != Some(true) {
            return Left::NotMember;
        }
        self.edit(name, None, |entry| {
            let left = entry.holding.leave(member.instance, how, now);
            entry.align();
            left
        })
        .unwrap_or(Left::NotMember)
    }

    /// A name that was live or reserved before a restart.
    pub(super) fn restore(&self, name: &Name, principal: Principal, labels: RouteLabels, now: Instant) {
        let new = Entry::new(Holding::reserved(principal, now), labels);
        self.edit(name, Some(new), |_| ());
    }

    /// Takes all names of `principal` from it.
    pub(super) fn revoke(&self, principal: &Principal) {
        for name in self.select(|entry| entry.holding.principal() == Some(principal)) {
            self.edit(&name, None, |entry| {
                entry.holding.revoke(principal);
                entry.align();
            });
        }
    }

    /// Takes a name from whoever has it.
    pub(super) fn free(&self, name: &Name) {
        self.edit(name, None, |entry| {
            entry.holding = Holding::Free;
            entry.align();
        });
    }

    /// Frees the names whose reservation is over.
    pub(super) fn expire(&self, now: Instant) {
        let over = |entry: &Entry| matches!(entry.holding, Holding::Reserved { until, .. } if until <= now);
        for name in self.select(over) {
            self.edit(&name, None, |entry| entry.holding.expire(now));
        }
    }

    fn select(&self, which: impl Fn(&Entry) -> bool) -> Vec<Name> {
        self.entries.iter().filter(|entry| which(entry)).map(|entry| entry.key().clone()).collect()
    }

    /// Changes one entry, `new` if there is none; it goes when it is free. None if there is neither.
    fn edit<T>(&self, name: &Name, new: Option<Entry>, edit: impl FnOnce(&mut Entry) -> T) -> Option<T> {
        let mut slot = match (self.entries.entry(name.clone()), new) {
            (Slot::Occupied(slot), _) => slot,
            (Slot::Vacant(slot), Some(entry)) => slot.insert_entry(entry),
            (Slot::Vacant(_), None) => return None,
        };
        let before = slot.get().holders();
        let result = edit(slot.get_mut());
        let after = slot.get().holders();
        if slot.get().holding.is_free() {
            slot.remove();
        } else {
            drop(slot);
        }
        self.recount(before, after);
        self.unsaved.notify_one();
        self.tick();
        Some(result)
    }

    fn recount(&self, before: BTreeSet<Principal>, after: BTreeSet<Principal>) {
        if before == after {
            return;
        }
        let mut live = self.live.lock();
        for lost in before.difference(&after) {
            if let Some(count) = live.get_mut(lost) {
                *count = count.saturating_sub(1);
            }
        }
        live.retain(|_, count| *count > 0);
        for won in after.difference(&before) {
            let count = live.entry(won.clone()).or_default();
            *count = count.saturating_add(1);
        }
    }
}
