//! Sessions and names: who is there, and who holds what.
//!
//! What changes goes through one lock, held for short and never across a wait; what visitors read takes no part in it.
//! Everything that removes compares first: a session that is no longer the one that is known removes nothing.

mod admitted;
mod configured;
mod directory;
mod disabling;
mod expiry;
mod groups;
mod health;
mod instance;
mod leaving;
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

pub use admitted::{Admitted, OverQuota};
pub use configured::Configured;
pub use disabling::DisableError;
pub use groups::{Groups, Served};
pub use health::{Reported, Reports, Turned};
pub use instance::{Instance, InstanceKey, MemberState};
pub use memberships::{Answer, Group, GroupError, Handed, Membership, Memberships, ToHand};
pub use name::Name;
pub use names::{Entry, Names};
pub use operator::{NameHeld, NamesWanted};
pub use ports::{NoRoom, OpenError, Ports, Serve};
pub use push::{PreparedParts, Refusal, TooFew, TooFewAcks, Unprepared, WantedPart, WantedParts};
pub use relays::{Relay, Relays};
pub use routing::Routing;
pub use usage::Usage;

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use arc_swap::{ArcSwap, Guard};
use ops::metrics::Metrics;
use parking_lot::Mutex;
use policy::disabled::Installation;
use policy::host::Host;
use policy::ownership::Leaving;
use policy::principal::Principal;
use protocol::control::{CloseReason, Health};
use protocol::id::SessionId;
use protocol::service_name::ServiceName;
use proxy::directory::RouteLabels;

use crate::identity::{StateKey, Store, Which};
use crate::nearby::Nearby;
use crate::session::{Live, Login};
use crate::settings::PublicUrl;
use configured::OperatorNames;
use disabling::Disabling;
use expiry::tell_of_end;
use push::Awaited;
use register::Held;

/// How long a session whose client drains may finish its work.
pub const DRAIN: Duration = Duration::from_secs(30);
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

    /// An instance says on this session how the servers of its services are. It can only speak of its own.
    pub fn health_reported(&self, live: &Live, mut health: Health) {
        let key = InstanceKey::of(live);
        let state = self.state.lock();
        if !state.sessions.contains_key(&live.id) {
            return;
        }
        let Some(held) = state.instances.get(&key) else { return };
        let own = |service: &ServiceName| match service {
            ServiceName::Own(id) => held.has(*id),
            ServiceName::Grouped { group, service } => self.memberships.has(group, service, &key),
            ServiceName::Plain(_) => false,
        };
        let instance = held.instance.clone();
        health.services.retain(|health| own(&health.service));
        drop(state);
        for Turned { service, sick } in instance.reports.hear(health, &self.metrics) {
            let client = &live.login.name;
            if sick {
                tracing::warn!(session = %live.id, client, %service, "no server of a member's service is healthy: it goes last");
            } else {
                tracing::info!(session = %live.id, client, %service, "a member's service has a healthy server again");
            }
        }
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

    /// Ends the sessions of `principal` that `which` of its credentials began, and frees their names at once. A certificate
    /// that is revoked is good for nobody: its sessions end whoever's they are. Says how many sessions that were.
    pub fn revoke(&self, principal: &Principal, which: &Which, now: Instant) -> usize {
        let mut state = self.state.lock();
        let anybodys = matches!(which, Which::Certificate(_));
        let is_meant = |login: &Login| (anybodys || login.principal == *principal) && login.means.has(which);
        let ended = self.end(&mut state, is_meant, "the operator has revoked this credential", now);
        if *which == Which::All {
            self.names.revoke(principal);
        }
        drop(state);
        self.names.tick();
        ended
    }

    /// Ends the sessions whose credential somebody else than the operator has revoked, and frees their names at once. Says how
    /// many that were.
    pub fn dismiss(&self, is_meant: impl Fn(&Login) -> bool, why: &str, now: Instant) -> usize {
        let ended = self.end(&mut self.state.lock(), is_meant, why, now);
        self.names.tick();
        ended
    }

    fn end(&self, state: &mut State, is_meant: impl Fn(&Login) -> bool, why: &str, now: Instant) -> usize {
        let meant = state.select(is_meant);
        for live in &meant {
            live.cut(CloseReason::REVOKED, why);
            self.remove(state, live, Leaving::Unregistered, now);
        }
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
