//! Who holds a public name (a host or a port): the state of one name and everything that may happen to it.
//!
//! A name is held by members that are all in one group: one principal's, unless the group is a named one, which everybody
//! who is granted it shares. The newer instance of the same principal takes a name over, and for everybody else it is in
//! use, also for a while after the last member was lost.

use std::time::Instant;

use protocol::id::{ClientId, Generation, InstanceId};

use crate::group::GroupKey;
use crate::principal::Principal;

pub use protocol::limits::RESERVATION;

/// One instance that stands behind a name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Member {
    /// Who logged in.
    pub principal: Principal,
    /// The installation it is a process of.
    pub client: ClientId,
    /// The process.
    pub instance: InstanceId,
    /// Tells which of two instances is the newer: the generation of the session with which it first logged in.
    pub generation: Generation,
}

/// Somebody wants a name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Claim {
    /// In which group; that the principal may be in it was checked before.
    pub group: GroupKey,
    /// With which instance.
    pub member: Member,
}

/// The state of one name.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Holding {
    /// Nobody's.
    #[default]
    Free,
    /// Held by at least one member.
    Live {
        /// The group of all members.
        group: GroupKey,
        /// Never empty, no instance twice, in the order in which they came.
        members: Vec<Member>,
    },
    /// Its last member was lost; nobody else gets it before `until`.
    Reserved {
        /// Whose it was last.
        principal: Principal,
        /// When it becomes free.
        until: Instant,
    },
}

/// What becomes of a claim.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Decision {
    /// Nobody else holds the name: the claimant has it.
    Take,
    /// The instance has the name already, in this group. Within one instance names are unique, so that this is the
    /// same registration again or a mistake of the client.
    Keep,
    /// The claimant becomes one more member of the group that has the name.
    Join,
    /// The claimant has the name now, and these older members of the same principal have lost it.
    TakeOver {
        /// Who is to be told that the name was withdrawn; not empty.
        old: Vec<Member>,
    },
    /// A newer instance of the same principal has the name; nothing changes. On the wire this is `NAME_IN_USE`.
    Stale,
    /// Another principal has the name, or had it until a moment ago; nothing changes. Whose it is, is not for the
    /// claimant.
    InUse,
}

/// How a member leaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Leaving {
    /// It gave the name up, or had it taken away by the operator: without members the name is free at once.
    Unregistered,
    /// Its last session was lost: without members the name stays reserved for [`RESERVATION`].
    Lost,
}

/// What leaving did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Left {
    /// Nothing: the instance was no member (any more).
    NotMember,
    /// Others still stand behind the name.
    OthersRemain,
    /// It was the last member.
    Last,
}

impl Holding {
    /// A reservation that outlived a restart of the server, which happened at `now`.
    #[must_use]
    pub fn reserved(principal: Principal, now: Instant) -> Self {
        Self::Reserved { principal, until: now + RESERVATION }
    }

    /// Whether the name is nobody's, so that the entry can be dropped.
    #[must_use]
    pub const fn is_free(&self) -> bool {
        matches!(self, Self::Free)
    }

    /// Whose the name is, of a shared one whose it has been longest; at the end of a reservation call [`Self::expire`]
    /// first.
    #[must_use]
    pub fn principal(&self) -> Option<&Principal> {
        match self {
            Self::Free => None,
            Self::Live { members, .. } => members.first().map(|member| &member.principal),
            Self::Reserved { principal, .. } => Some(principal),
        }
    }

    /// The instances behind the name; none unless it is live.
    #[must_use]
    pub fn members(&self) -> &[Member] {
        match self {
            Self::Live { members, .. } => members,
            Self::Free | Self::Reserved { .. } => &[],
        }
    }

    /// What [`Self::claim`] would do, without doing it.
    #[must_use]
    pub fn decide(&self, claim: &Claim, now: Instant) -> Decision {
        let (group, members) = match self {
            Self::Free => return Decision::Take,
            Self::Reserved { until, .. } if *until <= now => return Decision::Take,
            Self::Reserved { principal, .. } if *principal != claim.member.principal => {
                return Decision::InUse;
            }
            Self::Reserved { .. } => return Decision::Take,
            Self::Live { group, members } => (group, members),
        };
        let shared = is_shared(group, claim);
        if !shared && members.iter().any(|member| member.principal != claim.member.principal) {
            return Decision::InUse;
        }
        let mine = members.iter().any(|member| member.instance == claim.member.instance);
        let old: Vec<Member> =
            members.iter().filter(|member| !coexist(member, group, claim)).cloned().collect();
        match old.iter().any(|member| member.generation > claim.member.generation) {
            true => Decision::Stale,
            false if !old.is_empty() => Decision::TakeOver { old },
            false if *group != claim.group => Decision::Take,
            false if mine => Decision::Keep,
            false => Decision::Join,
        }
    }

    /// Somebody wants the name at `now`.
    pub fn claim(&mut self, claim: &Claim, now: Instant) -> Decision {
        let decision = self.decide(claim, now);
        match (&decision, &mut *self) {
            (Decision::Keep | Decision::Stale | Decision::InUse, _) => {}
            (Decision::Join, Self::Live { members, .. }) => members.push(claim.member.clone()),
            (Decision::TakeOver { .. }, Self::Live { group, members, .. }) if *group == claim.group => {
                members.retain(|member| coexist(member, &claim.group, claim));
                if !members.iter().any(|member| member.instance == claim.member.instance) {
                    members.push(claim.member.clone());
                }
            }
            (Decision::Take | Decision::Join | Decision::TakeOver { .. }, _) => {
                *self = Self::Live { group: claim.group.clone(), members: vec![claim.member.clone()] };
            }
        }
        decision
    }

    /// An instance leaves at `now`: compare and delete. Whoever is no member changes nothing.
    pub fn leave(&mut self, instance: InstanceId, how: Leaving, now: Instant) -> Left {
        let Self::Live { members, .. } = self else {
            return Left::NotMember;
        };
        let Some(at) = members.iter().position(|member| member.instance == instance) else {
            return Left::NotMember;
        };
        let member = members.remove(at);
        if !members.is_empty() {
            return Left::OthersRemain;
        }
        *self = match how {
            Leaving::Unregistered => Self::Free,
            Leaving::Lost => Self::reserved(member.principal, now),
        };
        Left::Last
    }

    /// Takes the name from `principal`, whether it is live or reserved; others who share it keep it. Says who left.
    pub fn revoke(&mut self, principal: &Principal) -> Vec<Member> {
        match self {
            Self::Live { members, .. } => {
                let (left, stay) =
                    std::mem::take(members).into_iter().partition(|member| member.principal == *principal);
                *members = stay;
                if members.is_empty() {
                    *self = Self::Free;
                }
                left
            }
            Self::Reserved { principal: reserved, .. } if reserved == principal => {
                *self = Self::Free;
                Vec::new()
            }
            Self::Free | Self::Reserved { .. } => Vec::new(),
        }
    }

    /// Frees the name if its reservation is over at `now`. Says whether it was.
    pub fn expire(&mut self, now: Instant) -> bool {
        let over = matches!(self, Self::Reserved { until, .. } if *until <= now);
        if over {
            *self = Self::Free;
        }
        over
    }
}

/// Whether the claim is for a share of what the group has.
fn is_shared(group: &GroupKey, claim: &Claim) -> bool {
    matches!(group, GroupKey::Named(_)) && *group == claim.group
}

/// Whether a member stays when the claim succeeds: it is the claimant itself, or another client in the same named group.
/// (Another instance of the same client has lost its sessions by now.)
fn coexist(member: &Member, group: &GroupKey, claim: &Claim) -> bool {
    let same_client = member.client == claim.member.client && member.principal == claim.member.principal;
    member.instance == claim.member.instance || (is_shared(group, claim) && !same_client)
}

#[cfg(test)]
mod tests;
