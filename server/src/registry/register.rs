//! Registrations: an instance asks for names and ports, and gives them back.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Instant;

use ipnet::IpNet;
use ops::metrics::GuardReason;
use policy::grant::{Grants, HostRight, NotGranted};
use policy::group::GroupKey;
use policy::host::Host;
use policy::ownership::{Claim, Decision, Leaving, Member};
use policy::port_pick::port_pick;
use policy::subdomain::subdomain;
use protocol::control::{
    Notice, NoticeCode, NoticeLevel, Outcome, RegisterCode, Registration, RegistrationAnswer,
    RegistrationKind,
};
use protocol::service_name::{ServiceName, is_name};

use super::instance::{Instance, InstanceKey};
use super::name::Name;
use super::names::{Behind, Bid};
use super::ports::OpenError;
use super::{Registry, State};
use crate::session::Live;

/// Ports that are tried for a tunnel that asks for none in particular.
const PICKS: usize = 1024;

/// An instance with what it has registered.
#[derive(Debug)]
pub(super) struct Held {
    pub(super) instance: Arc<Instance>,
    registrations: BTreeMap<u32, Registered>,
}

#[derive(Debug)]
pub(super) struct Registered {
    asked: Registration,
    pub(super) name: Name,
    pub(super) group: GroupKey,
    service: Arc<ServiceName>,
}

impl Held {
    pub(super) fn new(instance: Instance) -> Self {
        Self { instance: Arc::new(instance), registrations: BTreeMap::new() }
    }

    pub(super) fn registered(&self) -> impl Iterator<Item = &Registered> {
        self.registrations.values()
    }

    /// It has `name` no more.
    pub(super) fn give_up(&mut self, name: &Name) -> Option<(u32, Registered)> {
        let id = self.id_of(name)?;
        Some((id, self.registrations.remove(&id)?))
    }

    /// Whether there is a registration with this number.
    pub(super) fn has(&self, id: u32) -> bool {
        self.registrations.contains_key(&id)
    }

    fn id_of(&self, name: &Name) -> Option<u32> {
        self.registrations.iter().find(|(_, registered)| registered.name == *name).map(|(id, _)| *id)
    }
}

impl Registered {
    /// Whether `other` differs at most in whom it lets in.
    fn asks_for_the_same(&self, other: &Registration) -> bool {
        Registration { allow: other.allow.clone(), ..self.asked.clone() } == *other
    }

    /// The name of the tunnel.
    pub(super) fn tunnel(&self) -> &str {
        &self.asked.name
    }

    /// Whether this one serves the service of a group that `other` served by the same number. A port serves none.
    fn serves_the_same(&self, other: &Self) -> bool {
        let is_member = matches!(self.name, Name::Http(_));
        is_member
            && self.group == other.group
            && self.tunnel() == other.tunnel()
            && self.service == other.service
    }
}

/// Why a registration is refused; the client shows it to a person.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Refused(RegisterCode, String);

impl Refused {
    fn not_granted(text: impl Into<String>) -> Self {
        Self(RegisterCode::NOT_GRANTED, text.into())
    }

    fn bad_name(text: impl Into<String>) -> Self {
        Self(RegisterCode::BAD_NAME, text.into())
    }

    fn in_use(name: &Name) -> Self {
        let text = match name {
            Name::Http(host) => format!("{host} is in use"),
            Name::Tcp(port) => format!("port {port} is in use by another tunnel"),
        };
        Self(RegisterCode::NAME_IN_USE, text)
    }
}

impl From<NotGranted> for Refused {
    fn from(error: NotGranted) -> Self {
        Self::not_granted(error.to_string())
    }
}

/// A registration whose words make sense.
struct Wanted {
    id: u32,
    tunnel: String,
    group: GroupKey,
    allow: Arc<[IpNet]>,
}

impl Registry {
    /// Answers the registrations of a session, each for itself. The same one again gets the same answer. A name that one of
    /// the instance's own has moves to the one that asks for it, and visitors find it throughout.
    pub fn register(&self, live: &Live, items: Vec<Registration>, now: Instant) -> Vec<RegistrationAnswer> {
        let mut state = self.state.lock();
        let grants = self.identity.book().grants(&live.login.principal, &self.naming().domain);
        let grants = grants.unwrap_or_default();
        let mut left = Vec::new();
        let answers = items
            .into_iter()
            .map(|item| {
                let id = item.id;
                let outcome = match self.register_one(&mut state, live, &grants, item, &mut left, now) {
                    Ok(name) => Outcome::Granted { public: name.public(), url: self.url(&name) },
                    Err(Refused(code, text)) => {
                        if code == RegisterCode::OVER_QUOTA {
                            self.metrics.guard_closed(GuardReason::OverQuota);
                        }
                        tracing::info!(session = %live.id, registration = id, %code, text, "registration refused");
                        Outcome::Refused { code, text: text.into() }
                    }
                };
                RegistrationAnswer { id, outcome }
            })
            .collect();
        if let Some(held) = state.instances.get(&InstanceKey::of(live)) {
            left.iter().for_each(|registered| self.let_go(held, registered, now));
        }
        answers
    }

    /// Frees registrations of the session's instance at once; unknown ones are no matter.
    pub fn unregister(&self, live: &Live, ids: &[u32], now: Instant) {
        let mut state = self.state.lock();
        if !state.sessions.contains_key(&live.id) {
            return;
        }
        if let Some(held) = state.instances.get_mut(&InstanceKey::of(live)) {
            for id in ids {
                if let Some(registered) = held.registrations.remove(id) {
                    self.let_go(held, &registered, now);
                }
            }
        }
    }

    /// What visitors type for a name.
    #[must_use]
    pub fn url(&self, name: &Name) -> String {
        match name {
            Name::Http(host) => self.naming().public_url.of(host),
            Name::Tcp(port) => format!("tcp://{}:{port}", self.naming().domain),
        }
    }

    /// What the number stood for before, or the name belonged to, is `left`: it stays in place until the whole message is
    /// answered, since another one of it may take the name.
    fn register_one(
        &self,
        state: &mut State,
        live: &Live,
        grants: &Grants,
        asked: Registration,
        left: &mut Vec<Registered>,
        now: Instant,
    ) -> Result<Name, Refused> {
        let over = || Refused(RegisterCode::INTERNAL, "the session is over".to_owned());
        if !state.sessions.contains_key(&live.id) {
            return Err(over());
        }
        let held = state.instances.get_mut(&InstanceKey::of(live)).ok_or_else(over)?;
        // Only whom it lets in may be another: visitors must not find its name free meanwhile.
        let mut kept = None;
        match held.registrations.get(&asked.id) {
            Some(known) if known.asked == asked => return Ok(known.name.clone()),
            Some(known) if known.asks_for_the_same(&asked) => kept = Some(known.name.clone()),
            Some(_) => left.extend(held.registrations.remove(&asked.id)),
            None => {}
        }
        let wanted = Wanted::new(live, grants, &asked)?;
        let claim = Claim { group: wanted.group.clone(), member: held.instance.member() };
        let spare = self.spare(held, left);
        let name = match (kept, &asked.kind) {
            (Some(name), _) => name,
            (None, RegistrationKind::Http { host }) => {
                let name = Name::Http(self.host(live, grants, host.as_deref(), &wanted.tunnel)?);
                if self.configured.names(&name) {
                    return Err(Refused::in_use(&name));
                }
                self.within_quota(live, grants, Some(&name), &spare)?;
                name
            }
            (None, RegistrationKind::Tcp { port: Some(port) }) => {
                self.port(live, grants, *port, &claim, &spare, now)?
            }
            (None, RegistrationKind::Tcp { port: None }) => {
                self.pick(live, grants, &wanted.tunnel, &claim, &spare, now)?
            }
        };
        let service = Arc::new(ServiceName::Own(wanted.id));
        let behind = Behind::new(held.instance.clone(), service.clone());
        let bid = Bid {
            behind: behind.clone(),
            labels: self.labels(&wanted.tunnel, &wanted.group.to_string()),
            allow: wanted.allow.clone(),
            claim,
        };
        match self.names.claim(&name, bid, now) {
            Decision::Take | Decision::Keep | Decision::Join => {}
            Decision::TakeOver { old } => self.withdraw(state, live, &name, &old),
            Decision::Stale | Decision::InUse => return Err(Refused::in_use(&name)),
        }
        if let Some(held) = state.instances.get_mut(&InstanceKey::of(live)) {
            let other = held.id_of(&name).filter(|other| *other != wanted.id);
            left.extend(other.and_then(|other| held.registrations.remove(&other)));
            if let (GroupKey::Named(group), Name::Http(_)) = (&wanted.group, &name) {
                self.groups.join(group, &wanted.tunnel, behind, wanted.allow);
                self.names.tick();
            }
            let registered = Registered { asked, name: name.clone(), group: wanted.group, service };
            held.registrations.insert(wanted.id, registered);
        }
        Ok(name)
    }

    fn host(&self, live: &Live, grants: &Grants, asked: Option<&str>, tunnel: &str) -> Result<Host, Refused> {
        let naming = self.naming();
        let domain = &naming.domain;
        let random = subdomain(&naming.key.for_host(&live.login.principal, live.login.client, tunnel));
        let random = Host::under(&random, domain).map_err(|error| Refused::bad_name(error.to_string()))?;
        let asked = asked
            .map(|host| Host::complete(host, domain))
            .transpose()
            .map_err(|error| Refused::bad_name(error.to_string()))?;
        HostRight::new(grants, domain).host_for(asked.as_ref(), random).map_err(|error| {
            let granted = granted_hosts(grants, domain);
            match error {
                NotGranted::Host(_) => Refused::not_granted(format!("{error}; granted: {granted}")),
                other => other.into(),
            }
        })
    }

    /// The port that was asked for, bound if the claim will succeed.
    fn port(
        &self,
        live: &Live,
        grants: &Grants,
        port: u16,
        claim: &Claim,
        spare: &BTreeSet<Name>,
        now: Instant,
    ) -> Result<Name, Refused> {
        if !grants.allows_port(port) {
            let granted = granted_ports(grants);
            return Err(Refused::not_granted(format!("port {port} is not granted; granted: {granted}")));
        }
        let name = Name::Tcp(port);
        if self.configured.names(&name) {
            return Err(Refused::in_use(&name));
        }
        self.within_quota(live, grants, Some(&name), spare)?;
        match self.names.decide(&name, claim, now) {
            Decision::Stale | Decision::InUse => return Err(Refused::in_use(&name)),
            Decision::Take | Decision::Keep | Decision::Join | Decision::TakeOver { .. } => {}
        }
        self.ports.open(port).map_err(|error| unavailable(port, &error))?;
        Ok(name)
    }

    /// The first port of this tunnel's own order that nobody has.
    fn pick(
        &self,
        live: &Live,
        grants: &Grants,
        tunnel: &str,
        claim: &Claim,
        spare: &BTreeSet<Name>,
        now: Instant,
    ) -> Result<Name, Refused> {
        let hash = self.naming().key.for_port(&live.login.principal, live.login.client, tunnel);
        let mut ports = port_pick(&grants.ports, &hash).take(PICKS).peekable();
        if ports.peek().is_none() {
            return Err(Refused::not_granted(
                "no port is granted that could be picked; ask for one with --port",
            ));
        }
        self.within_quota(live, grants, None, spare)?;
        for port in ports {
            let name = Name::Tcp(port);
            let is_free = match self.names.decide(&name, claim, now) {
                Decision::Take => true,
                // Others may be in it with a member that gives it back.
                Decision::InUse | Decision::Stale => false,
                Decision::Keep | Decision::Join | Decision::TakeOver { .. } => spare.contains(&name),
            };
            if self.configured.names(&name) || !is_free {
                continue;
            }
            match self.ports.open(port) {
                Ok(()) => return Ok(name),
                Err(OpenError::Bind(_)) => {}
                // No other port would do better.
                Err(error @ OpenError::NoRoom(_)) => return Err(unavailable(port, &error)),
            }
        }
        let text = "none of the granted ports is free".to_owned();
        Err(Refused(RegisterCode::PORT_UNAVAILABLE, text))
    }

    /// The names that only `held` has of its principal, and gives back in a moment: none of its registrations has them any more.
    fn spare(&self, held: &Held, left: &[Registered]) -> BTreeSet<Name> {
        let member = held.instance.member();
        let is_spare = |name: &&Name| held.id_of(name).is_none() && self.names.is_only_by(name, &member);
        left.iter().map(|registered| &registered.name).filter(is_spare).cloned().collect()
    }

    /// Whether the principal may have `name`, or any further one. What it holds already, with whatever client, is none
    /// more, and what is `spare` is none.
    fn within_quota(
        &self,
        live: &Live,
        grants: &Grants,
        name: Option<&Name>,
        spare: &BTreeSet<Name>,
    ) -> Result<(), Refused> {
        let (principal, quota) = (&live.login.principal, grants.quotas.names);
        let given_back = u32::try_from(spare.len()).unwrap_or(u32::MAX);
        let is_held = |name: &Name| self.names.holds(name, principal) && !spare.contains(name);
        if self.names.count(principal).saturating_sub(given_back) < quota || name.is_some_and(is_held) {
            return Ok(());
        }
        let text = format!("{principal} holds {quota} names, which is all it may have");
        Err(Refused(RegisterCode::OVER_QUOTA, text))
    }

    /// Gives back what a registration of `held` had that is there no more, unless another one of it has it now.
    fn let_go(&self, held: &Held, registered: &Registered, now: Instant) {
        if held.id_of(&registered.name).is_none() {
            self.names.leave(&registered.name, &held.instance.member(), Leaving::Unregistered, now);
        }
        if !held.registered().any(|other| other.serves_the_same(registered)) {
            self.leave_group(&held.instance, registered);
        }
    }

    /// An instance serves its group with what it had registered no more.
    pub(super) fn leave_group(&self, instance: &Arc<Instance>, registered: &Registered) {
        if let GroupKey::Named(group) = &registered.group {
            let behind = Behind::new(instance.clone(), registered.service.clone());
            self.groups.leave(group, &registered.asked.name, &behind);
        }
    }

    /// Tells older members of the same principal that a newer one has taken a name over.
    fn withdraw(&self, state: &mut State, live: &Live, name: &Name, old: &[Member]) {
        for member in old {
            let key = InstanceKey {
                principal: member.principal.clone(),
                client: member.client,
                instance: member.instance,
            };
            let Some(held) = state.instances.get_mut(&key) else { continue };
            let Some(id) = held.id_of(name) else { continue };
            if let Some(registered) = held.registrations.remove(&id) {
                self.leave_group(&held.instance, &registered);
            }
            let text =
                format!("{} was taken over by a newer client of {}", name.public(), live.login.principal);
            for session in held.instance.slots.all().iter() {
                session.notify(Notice {
                    level: NoticeLevel::Warning,
                    code: NoticeCode::NAME_WITHDRAWN,
                    registration: Some(id),
                    text: text.as_str().into(),
                });
            }
        }
    }
}

impl Wanted {
    fn new(live: &Live, grants: &Grants, asked: &Registration) -> Result<Self, Refused> {
        if !is_name(&asked.name) {
            let text = "a tunnel's name is 1 to 64 letters, digits, '.', '_' or '-'";
            return Err(Refused::bad_name(text));
        }
        let group = match &asked.group {
            None => GroupKey::Own(live.login.client),
            Some(name) if !grants.allows_group(name) => {
                let granted = listed(&grants.groups);
                let text = format!("group {name:?} is not granted; granted: {granted}");
                return Err(Refused::not_granted(text));
            }
            Some(name) => GroupKey::named(name).map_err(|error| Refused::bad_name(error.to_string()))?,
        };
        let allow: Result<Arc<[IpNet]>, Refused> = asked.allow.iter().map(|text| network(text)).collect();
        Ok(Self { id: asked.id, tunnel: asked.name.clone(), group, allow: allow? })
    }
}

fn unavailable(port: u16, error: &OpenError) -> Refused {
    Refused(RegisterCode::PORT_UNAVAILABLE, format!("port {port} can not be listened on: {error}"))
}

/// `192.0.2.0/24`, or one address.
fn network(text: &str) -> Result<IpNet, Refused> {
    let network = text.parse::<IpNet>().ok().or_else(|| text.parse::<IpAddr>().ok().map(IpNet::from));
    network.ok_or_else(|| {
        Refused::bad_name(format!("--allow {text:?}: write an address or a range like 192.0.2.0/24"))
    })
}

fn granted_hosts(grants: &Grants, domain: &Host) -> String {
    let all = grants.any_host_under.is_some().then(|| format!("every name under {domain}"));
    let hosts: Vec<String> = all.into_iter().chain(grants.hosts.iter().map(ToString::to_string)).collect();
    listed(&hosts)
}

fn granted_ports(grants: &Grants) -> String {
    listed(&grants.ports.iter().map(ToString::to_string).collect::<Vec<_>>())
}

fn listed(granted: &[String]) -> String {
    if granted.is_empty() { "none".to_owned() } else { granted.join(", ") }
}
