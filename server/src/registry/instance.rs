//! One running process of a client: the member behind names, with its sessions.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use arc_swap::ArcSwap;
use policy::balance::{self, Candidate, hash};
use policy::disabled::{Installation, Standby};
use policy::ownership::Member;
use policy::principal::Principal;
use protocol::id::{ClientId, Generation, InstanceId};

use super::health::Reports;
use super::slots::Slots;
use super::usage::Usage;
use crate::session::Live;

/// What names an instance: its own id is chosen by the client, so it means nothing without whose it is.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct InstanceKey {
    /// Who logged in.
    pub principal: Principal,
    /// The installation.
    pub client: ClientId,
    /// The process.
    pub instance: InstanceId,
}

/// An instance, as long as it has a session.
#[derive(Debug)]
pub struct Instance {
    /// What it is found by.
    pub key: InstanceKey,
    /// Of its first session: tells which of two instances is the newer.
    pub generation: Generation,
    /// What it calls itself.
    pub name: Arc<str>,
    /// Whether it can be handed parts of the configuration.
    pub takes_parts: bool,
    /// Its sessions.
    pub slots: Slots,
    /// What it carries together with the others of its principal.
    pub usage: Arc<Usage>,
    /// How far the operator has taken it out of service.
    standby: ArcSwap<Standby>,
    /// It has been answered what it has asked for.
    pub(super) settled: AtomicBool,
    /// The process from which this one takes over was told so.
    pub(super) told: AtomicBool,
    /// What it says of the servers of its services.
    pub reports: Reports,
    /// What consistent hashing tells it apart by: the installation, so that a restart moves nobody.
    identity: u64,
}

/// The word in `status` for a member that is ready, and whose service has no healthy server.
pub(super) const SICK: &str = "sick";

/// How an instance is, as operators see it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MemberState {
    /// It takes work.
    Ready,
    /// It finishes its work.
    Draining,
    /// The operator has taken it out of service.
    Disabled,
    /// It has no session that lives.
    Absent,
}

impl MemberState {
    /// The word in `status`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Ready => "ready",
            Self::Draining => "draining",
            Self::Disabled => "disabled",
            Self::Absent => "absent",
        }
    }
}

impl Instance {
    pub(super) fn new(live: &Live, usage: Arc<Usage>) -> Self {
        Self {
            key: InstanceKey::of(live),
            generation: live.generation,
            name: live.login.name.as_str().into(),
            takes_parts: live.login.takes_parts,
            slots: Slots::default(),
            usage,
            standby: ArcSwap::default(),
            settled: AtomicBool::new(false),
            told: AtomicBool::new(false),
            reports: Reports::default(),
            identity: identity(live),
        }
    }

    /// As the owner of names.
    #[must_use]
    pub fn member(&self) -> Member {
        let InstanceKey { principal, client, instance } = self.key.clone();
        Member { principal, client, instance, generation: self.generation }
    }

    /// How it is.
    #[must_use]
    pub fn state(&self) -> MemberState {
        let sessions = self.slots.all();
        match () {
            () if sessions.iter().all(|live| live.is_over()) => MemberState::Absent,
            () if self.standby.load().is_total() => MemberState::Disabled,
            () if sessions.iter().any(|live| live.takes_work()) => MemberState::Ready,
            () => MemberState::Draining,
        }
    }

    /// Whether the operator has taken it out of service as a member of `group`.
    #[must_use]
    pub fn stands_by(&self, group: &str) -> bool {
        self.standby.load().covers(group)
    }

    /// It is out of service so far, from now on.
    pub(super) fn stand_by(&self, standby: Standby) {
        self.standby.store(Arc::new(standby));
    }

    /// The installation that it is a process of.
    #[must_use]
    pub fn installation(&self) -> Installation {
        Installation { principal: self.key.principal.clone(), client: self.key.client }
    }

    /// As one of several that may get a request. Its weight is the number of its sessions: a client that may carry more
    /// opens more of them.
    #[must_use]
    pub fn candidate(&self) -> Candidate {
        let state = match self.state() {
            MemberState::Ready => balance::MemberState::Ready,
            MemberState::Draining | MemberState::Absent => balance::MemberState::Draining,
            MemberState::Disabled => balance::MemberState::Disabled,
        };
        let sessions = self.slots.all();
        let working = sessions.iter().filter(|live| live.takes_work()).count();
        let (weight, load) = (u32::try_from(working).unwrap_or(u32::MAX), self.load());
        Candidate { state, weight, load, identity: self.identity }
    }

    /// Requests and connections on its sessions.
    #[must_use]
    pub fn load(&self) -> usize {
        self.slots.all().iter().map(|live| live.load()).fold(0, usize::saturating_add)
    }

    /// The round-trip time of its fastest session.
    #[must_use]
    pub fn rtt(&self) -> Option<Duration> {
        self.slots.all().iter().filter_map(|live| live.rtt()).min()
    }
}

impl InstanceKey {
    /// That of a session.
    #[must_use]
    pub fn of(live: &Live) -> Self {
        let login = &live.login;
        Self { principal: login.principal.clone(), client: login.client, instance: login.instance }
    }

    /// Whether both are of one installation.
    #[must_use]
    pub fn is_same_client(&self, other: &Self) -> bool {
        self.principal == other.principal && self.client == other.client
    }
}

fn identity(live: &Live) -> u64 {
    let login = &live.login;
    hash(&[&login.client.0[..], login.principal.to_string().as_bytes()].concat())
}
