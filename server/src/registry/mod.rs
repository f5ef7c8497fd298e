//! Sessions and names: who is there, and who holds what.
//!
//! What changes goes through one lock, held for short and never across a wait; what visitors read takes no part in it.
//! Everything that removes compares first: a session that is no longer the one that is known removes nothing.

mod configured;
mod directory;
mod disabling;
mod expiry;
mod groups;
mod instance;
mod memberships;
mod moving;
mod name;
mod names;
mod operator;
mod ports;
mod push;
mod register;
mod relays;
mod reservations;
mod routes_view;
mod routing;
mod slots;
mod ungranted;
mod usage;
mod view;

#[cfg(test)]
mod tests;

pub use configured::Configured;
pub use disabling::DisableError;
pub use groups::{Groups, Served};
pub use instance::{Instance, InstanceKey, MemberState};
pub use memberships::{Answer, Group, GroupError, Handed, Membership, Memberships, ToHand};
pub use name::Name;
pub use names::{Entry, Names};
pub use operator::{NameHeld, NamesWanted};
pub use ports::{NoRoom, OpenError, Ports, Serve};
pub use push::{PreparedParts, Refusal, TooFew, TooFewAcks, Unprepared, WantedPart, WantedParts};
pub use relays::{Relay, Relays};
pub use reservations::NamesError;
pub use routing::Routing;
pub use usage::Usage;

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use arc_swap::{ArcSwap, Guard};
use ops::metrics::{Metrics, ReplacedReason};
use parking_lot::Mutex;
use policy::disabled::Installation;
use policy::host::Host;
use policy::ownership::Leaving;
use policy::principal::Principal;
use protocol::control::CloseReason;
use protocol::id::{Generation, SessionId};
use proxy::directory::RouteLabels;

use crate::identity::{StateKey, Store, Which};
use crate::nearby::Nearby;
use crate::session::{DrainCause, Live, Login};
use crate::settings::PublicUrl;
use configured::OperatorNames;
use disabling::Disabling;
use expiry::tell_of_end;
use push::Awaited;
use register::Held;

/// How long a session whose client drains may finish its work.
pub const DRAIN: Duration = Duration::from_secs(30);
/// The same for one whose client has put another one in its place because it has served its time: what it carries may take
/// as long as sessions last.
pub const ROTATED: Duration = Duration::from_secs(24 * 3600);
/// How often what has run out is looked for.
pub const SWEEP: Duration = Duration::from_secs(1);

/// What names look like here.
#[derive(Debug)]
pub struct Naming {
    /// Names without a dot are under it.
    pub domain: Host,
    /// What visitors type.
    pub public_url: PublicUrl,
    /// What random names are made of.
    pub key: StateKey,
}

/// Who is there, and who holds what.
#[derive(Debug)]
pub struct Registry {
    naming: ArcSwap<Naming>,
    configured: OperatorNames,
    nearby: Arc<Nearby>,
    identity: Arc<Store>,
    metrics: Metrics,
    ports: Ports,
    names: Names,
    memberships: Memberships,
    groups: Groups,
    routing: ArcSwap<Routing>,
    disabling: Disabling,
    state: Mutex<State>,
    /// Held while the names are written down, so that the last to write has seen the most.
    saving: Mutex<()>,
    /// Held while other parts are prepared, until they are used or given up.
    preparing: Arc<tokio::sync::Mutex<()>>,
}

/// What the lock protects.
#[derive(Debug)]
struct State {
    /// The sessions that are let in and not replaced, cut or over.
    sessions: BTreeMap<SessionId, Arc<Live>>,
    /// The instances that have one of them.
    instances: HashMap<InstanceKey, Held>,
    /// Of every principal that has an instance.
    usages: HashMap<Principal, Arc<Usage>>,
    /// Whose the logins are that were let in and have no session yet.
    admitted: BTreeMap<SessionId, Principal>,
    last_session: u64,
    last_generation: u64,
    /// Whose answer is awaited to parts that are prepared.
    awaited: Option<Awaited>,
}

/// A login that was let in; it counts as a session until it has one or is dropped.
#[derive(Debug)]
pub struct Admitted {
    registry: Arc<Registry>,
    /// The number of its session.
    pub id: SessionId,
    /// Newer is greater.
    pub generation: Generation,
}

impl Drop for Admitted {
    fn drop(&mut self) {
        self.registry.state.lock().admitted.remove(&self.id);
    }
}

/// A principal has as many sessions as it may have.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{principal} has {max} sessions, which is all it may have")]
pub struct OverQuota {
    principal: Principal,
    max: u32,
}

impl Registry {
    /// Nobody and nothing. Generations begin at `now`, in microseconds, so that they grow across restarts.
    #[must_use]
    pub fn new(
        naming: Naming,
        nearby: Arc<Nearby>,
        identity: Arc<Store>,
        metrics: Metrics,
        ports: Ports,
        now: SystemTime,
    ) -> Self {
        let since = now.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        let state = State {
            sessions: BTreeMap::new(),
            instances: HashMap::new(),
            usages: HashMap::new(),
            admitted: BTreeMap::new(),
            last_session: 0,
            last_generation: u64::try_from(since.as_micros()).unwrap_or(0),
            awaited: None,
        };
        Self {
            naming: ArcSwap::from_pointee(naming),
            configured: OperatorNames::default(),
            nearby,
            identity,
            metrics,
            ports,
            names: Names::default(),
            memberships: Memberships::default(),
            groups: Groups::default(),
            routing: ArcSwap::default(),
            disabling: Disabling::default(),
            state: Mutex::new(state),
            saving: Mutex::new(()),
            preparing: Arc::default(),
        }
    }

    /// The names.
    #[must_use]
    pub fn names(&self) -> &Names {
        &self.names
    }

    /// Who serves what in which group.
    #[must_use]
    pub fn groups(&self) -> &Groups {
        &self.groups
    }

    /// The rules by which requests are routed.
    #[must_use]
    pub fn routing(&self) -> Guard<Arc<Routing>> {
        self.routing.load()
    }

    /// Routes requests in this way from now on.
    pub fn route_by(&self, routing: Routing) {
        self.routing.store(Arc::new(routing));
        self.names.tick();
    }

    /// How names look here.
    #[must_use]
    pub fn naming(&self) -> Guard<Arc<Naming>> {
        self.naming.load()
    }

    /// From now on names look so. Those that are there stay as they are.
    pub fn name_by(&self, naming: Naming) {
        self.naming.store(Arc::new(naming));
    }

    /// The public ports.
    #[must_use]
    pub fn ports(&self) -> &Ports {
        &self.ports
    }

    /// The groups of the configuration.
    #[must_use]
    pub fn memberships(&self) -> &Memberships {
        &self.memberships
    }

    /// The services next to the server.
    #[must_use]
    pub fn nearby(&self) -> &Arc<Nearby> {
        &self.nearby
    }

    /// Whether `principal` may reach the service called `service` next to the server: it is granted to it, or an ingress of
    /// one of its groups leads there.
    #[must_use]
    pub fn may_reach(&self, principal: &Principal, service: &str) -> bool {
        let Some(grants) = self.identity.book().grants(principal, &self.naming().domain) else {
            return false;
        };
        grants.allows_reach(service) || self.memberships.lead_to(&grants.groups, service)
    }

    /// The numbers of a session that is about to begin.
    ///
    /// # Errors
    /// [`OverQuota`].
    pub fn admit(self: &Arc<Self>, login: &Login) -> Result<Admitted, OverQuota> {
        let max = self
            .identity
            .book()
            .grants(&login.principal, &self.naming().domain)
            .map_or(0, |grants| grants.quotas.sessions);
        let mut state = self.state.lock();
        // Sessions that this one takes the place of do not stand in its way; one that drains already stays.
        let stays = |live: &&Arc<Live>| {
            let other = &live.login;
            let same_slot = other.slot == login.slot && !live.is_draining();
            other.principal == login.principal
                && !live.is_over()
                && (other.client != login.client || (other.instance == login.instance && !same_slot))
        };
        let others = state.sessions.values().filter(stays).count();
        // Each may become a session beside this one, whatever it says that it replaces.
        let under_way = state.admitted.values().filter(|other| **other == login.principal).count();
        let others = others.saturating_add(under_way);
        if u32::try_from(others).unwrap_or(u32::MAX) >= max {
            return Err(OverQuota { principal: login.principal.clone(), max });
        }
        state.last_session = state.last_session.saturating_add(1);
        state.last_generation = state.last_generation.saturating_add(1);
        let (id, generation) = (SessionId(state.last_session), Generation(state.last_generation));
        state.admitted.insert(id, login.principal.clone());
        Ok(Admitted { registry: self.clone(), id, generation })
    }

    /// A session begins. Sessions that it takes the place of are told so; if it is itself the older one, it is.
    pub fn attach(&self, live: &Arc<Live>, now: Instant) {
        let mut state = self.state.lock();
        state.admitted.remove(&live.id);
        if !self.identity.book().admits(&live.login.means) {
            // Revoked while this login was under way.
            live.cut(CloseReason::REVOKED, "the operator has revoked this credential");
            return;
        }
        let key = InstanceKey::of(live);
        let others: Vec<InstanceKey> = state
            .instances
            .keys()
            .filter(|other| other.is_same_client(&key) && **other != key)
            .cloned()
            .collect();
        let newer = |held: &Held| held.instance.slots.newest() > Some(live.generation);
        if others.iter().filter_map(|other| state.instances.get(other)).any(newer) {
            live.cut(CloseReason::SUPERSEDED, "another process of this client has logged in");
            return;
        }
        for other in &others {
            self.supersede(&mut state, other, now);
        }
        let instance = self.instance_of(&mut state, live, key);
        instance.stand_by(self.disabled().of(&instance.installation()));
        let before = instance.slots.in_slot(live.login.slot);
        if before.iter().any(|old| old.generation > live.generation) {
            live.cut(CloseReason::REPLACED, "a newer session has this slot");
            return;
        }
        self.memberships.grant(&self.groups_of(live), &instance, &self.groups);
        // The new one first: the instance is never without a session.
        instance.slots.add(live.clone());
        for old in before {
            self.replace(&mut state, &instance, &old, live);
        }
        state.sessions.insert(live.id, live.clone());
        tell_of_end(live, SystemTime::now());
        drop(state);
        self.names.tick();
    }

    /// A session is over. Its names stay reserved if it was the last of its instance.
    pub fn detach(&self, live: &Live, now: Instant) {
        let mut state = self.state.lock();
        self.remove(&mut state, live, Leaving::Lost, now);
        drop(state);
        self.names.tick();
    }

    /// Ends the sessions of `principal` that `which` of its credentials began, and frees their names at once. Says how
    /// many sessions that were.
    pub fn revoke(&self, principal: &Principal, which: &Which, now: Instant) -> usize {
        let mut state = self.state.lock();
        let is_meant = |login: &Login| login.principal == *principal && login.means.has(which);
        let meant = state.select(is_meant);
        for live in &meant {
            live.cut(CloseReason::REVOKED, "the operator has revoked this credential");
            self.remove(&mut state, live, Leaving::Unregistered, now);
        }
        if *which == Which::All {
            self.names.revoke(principal);
        }
        drop(state);
        self.names.tick();
        meant.len()
    }

    /// Ends the sessions of an installation, which may dial again. Says how many that were.
    pub fn kick(&self, installation: &Installation, reason: CloseReason, why: &str) -> usize {
        let of =
            |login: &Login| login.principal == installation.principal && login.client == installation.client;
        let meant = self.state.lock().select(of);
        // Their tasks take them out, as of any session that ends.
        meant.iter().for_each(|live| live.cut(reason, why));
        meant.len()
    }

    /// Ends what has run out: credentials, reservations, and ports that nobody needs. To be called every [`SWEEP`].
    pub fn sweep(&self, now: Instant, clock: SystemTime) {
        let mut state = self.state.lock();
        self.end_expired(&mut state, now, clock);
        self.retire_parts(&state, now);
        self.names.expire(now);
        self.ports.keep(|port| self.names.look(&Name::Tcp(port), |_| ()).is_some());
    }

    /// Every session, by number.
    #[must_use]
    pub fn sessions(&self) -> Vec<Arc<Live>> {
        self.state.lock().sessions.values().cloned().collect()
    }

    /// How many clients have a session.
    #[must_use]
    pub fn clients(&self) -> usize {
        // Of one client at most one instance is let in.
        self.state.lock().instances.len()
    }

    /// How many sessions `principal` has.
    #[must_use]
    pub fn count_sessions(&self, principal: &Principal) -> usize {
        self.state.lock().sessions.values().filter(|live| live.login.principal == *principal).count()
    }

    /// Puts a name aside for its principal, as after a restart; what the configuration names by now is the operator's.
    fn reserve(&self, name: &Name, principal: Principal, labels: RouteLabels, now: Instant) {
        if self.configured.names(name) {
            tracing::warn!(%name, %principal, "a name is not reserved any more: the configuration has it");
            return;
        }
        let _state = self.state.lock();
        self.names.restore(name, principal, labels, now);
        if let Name::Tcp(port) = name
            && let Err(error) = self.ports.open(*port)
        {
            tracing::warn!(port, %error, "a reserved port can not be bound");
        }
    }

    /// How a tunnel is called in logs and metrics.
    fn labels(&self, tunnel: &str, group: &str) -> RouteLabels {
        let metrics = self.metrics.route(tunnel, group, tunnel);
        RouteLabels { route: tunnel.into(), group: group.into(), service: tunnel.into(), metrics }
    }

    /// The older instance of a client whose newer one has logged in.
    fn supersede(&self, state: &mut State, key: &InstanceKey, now: Instant) {
        let Some(held) = state.instances.remove(key) else { return };
        self.memberships.leave(key, &self.groups);
        for old in held.instance.slots.all().iter() {
            state.end(old.id);
            old.cut(CloseReason::SUPERSEDED, "another process of this client has logged in");
            self.metrics.session_replaced(ReplacedReason::Superseded);
        }
        self.give_back(state, &held, Leaving::Lost, now);
    }

    /// The older session of a slot.
    fn replace(&self, state: &mut State, instance: &Instance, old: &Live, new: &Live) {
        if old.is_draining() && !old.is_over() {
            return;
        }
        if new.login.replaces == Some(old.id) {
            old.drain(ROTATED, DrainCause::Replaced);
            self.metrics.session_replaced(ReplacedReason::Replaces);
            return;
        }
        instance.slots.remove(old.id);
        state.end(old.id);
        old.cut(CloseReason::REPLACED, "this slot has logged in anew");
        self.metrics.session_replaced(ReplacedReason::Reconnected);
    }

    fn remove(&self, state: &mut State, live: &Live, how: Leaving, now: Instant) {
        let key = InstanceKey::of(live);
        if !state.end(live.id) {
            return;
        }
        let Some(held) = state.instances.get(&key) else { return };
        held.instance.slots.remove(live.id);
        if held.instance.slots.is_empty()
            && let Some(held) = state.instances.remove(&key)
        {
            self.memberships.leave(&key, &self.groups);
            self.give_back(state, &held, how, now);
        }
    }

    fn give_back(&self, state: &mut State, held: &Held, how: Leaving, now: Instant) {
        if held.instance.usage.leave(&held.instance) {
            state.usages.remove(&held.instance.key.principal);
        }
        let member = held.instance.member();
        for registered in held.registered() {
            self.names.leave(&registered.name, &member, how, now);
            self.leave_group(&held.instance, registered);
        }
    }
}

impl State {
    /// A session is known no more; whether it was.
    fn end(&mut self, id: SessionId) -> bool {
        self.settle(id, None);
        self.sessions.remove(&id).is_some()
    }

    /// No answer is awaited any more from this session, to the part of one group or to all.
    fn settle(&mut self, id: SessionId, group: Option<&str>) {
        if let Some(awaited) = &mut self.awaited {
            awaited.settle(id, group);
        }
    }

    fn select(&self, which: impl Fn(&Login) -> bool) -> Vec<Arc<Live>> {
        self.sessions.values().filter(|live| which(&live.login)).cloned().collect()
    }
}
