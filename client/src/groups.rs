//! The parts of the configuration that the server has handed to this instance: made ready, in use, or refused.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::net::SocketAddr;
use std::sync::Arc;

use parking_lot::Mutex;
use policy::consent::{Consent, Endpoint, PlaceName};
use policy::part::{GroupPart, IngressKind, IngressPart};
use protocol::control::{PartId, WholePart};
use protocol::service_name::{ServiceName, is_name};
use protocol::text::Text;
use proxy::context::Context;
use proxy::plugin::{Kinds, Plugins, PluginsError};
use proxy::routes::Routes;
use proxy::service::{Address, HostName, Offer, Service, ServiceTable, dialled, labels_of};
use tokio_util::sync::DropGuard;
use transport::digest::sha256;

use crate::ingress::{Door, Leads, let_in};
use crate::sessions::Sessions;

/// Services of one part, listeners, and plugins.
const SERVICES_MAX: usize = 1_024;
const INGRESSES_MAX: usize = 64;
const PLUGINS_MAX: usize = 1_024;

/// What this instance serves of its groups.
#[derive(Debug)]
pub struct Groups {
    consent: Consent,
    kinds: Kinds,
    services: Arc<ServiceTable>,
    sessions: Arc<Sessions>,
    context: Context,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    held: Vec<Held>,
    /// What was refused last of each group, and why.
    refused: BTreeMap<String, Refused>,
    /// What of the table is ours.
    listed: HashSet<ServiceName>,
}

/// A part that is ready.
#[derive(Debug)]
struct Held {
    of: PartId,
    digest: [u8; 32],
    services: Vec<(ServiceName, Arc<Service>)>,
    entrances: Vec<Entrance>,
    /// Its listeners let visitors in, once it is in use.
    open: Option<Vec<DropGuard>>,
}

#[derive(Debug)]
struct Refused {
    revision: u64,
    reason: Text,
}

/// A listener that is ready.
#[derive(Debug)]
struct Entrance {
    kind: IngressKind,
    door: Door,
    leads: Leads,
}

/// What became of a part.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Prepared {
    /// Why it is not served; none: it is ready.
    pub refusal: Option<Text>,
    /// Whether that is another outcome than the last time.
    pub news: bool,
}

/// A group, for status.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GroupState {
    /// Its name.
    pub group: String,
    /// The part in use.
    pub revision: Option<u64>,
    /// The services in use, by their names in the group.
    pub services: Vec<String>,
    /// Listeners in use.
    pub listens: Vec<SocketAddr>,
    /// The part that was refused last, and why.
    pub refused: Option<(u64, Text)>,
}

impl Groups {
    /// Nothing was handed over yet. What is asked for and not in `consent` is refused.
    #[must_use]
    pub fn new(
        consent: Consent,
        kinds: Kinds,
        services: Arc<ServiceTable>,
        sessions: Arc<Sessions>,
        context: Context,
    ) -> Self {
        Self { consent, kinds, services, sessions, context, state: Mutex::default() }
    }

    /// Makes a part ready: checks it against the consent, makes its services, binds its listeners. What was there stays.
    pub fn prepare(&self, whole: &WholePart) -> Prepared {
        let mut state = self.state.lock();
        if state.held.iter().any(|held| held.of == whole.of && held.digest == whole.digest) {
            return Prepared { refusal: None, news: false };
        }
        let group = &whole.of.group;
        match self.make(&state, whole) {
            Ok(held) => {
                // Of the one that it replaces, what is in progress goes on.
                state.held.retain(|other| other.of != held.of);
                state.held.push(held);
                let news = state.refused.remove(group).is_some();
                self.list(&mut state);
                Prepared { refusal: None, news }
            }
            Err(reason) => {
                let reason = Text::from(reason);
                let refused = Refused { revision: whole.of.revision, reason: reason.clone() };
                let before = state.refused.insert(group.clone(), refused);
                Prepared { news: before.is_none_or(|before| before.reason != reason), refusal: Some(reason) }
            }
        }
    }

    /// Takes what is listed first of each group into use, and retires what is not listed. Returns listeners that could not
    /// be used after all.
    pub fn stand(&self, items: &[PartId]) -> Vec<String> {
        let mut state = self.state.lock();
        let mut used: HashMap<&str, &PartId> = HashMap::new();
        for item in items {
            if state.held.iter().any(|held| held.of == *item) {
                used.entry(&item.group).or_insert(item);
            }
        }
        state.held.retain(|held| {
            // Of a group whose new part was refused, the old one stays in use.
            let superseded = used.contains_key(held.of.group.as_str());
            let named = items.iter().any(|item| item.group == held.of.group);
            items.contains(&held.of) || (named && !superseded && held.open.is_some())
        });
        state.refused.retain(|group, _| items.iter().any(|item| item.group == *group));
        let is_used = |held: &Held| {
            let used = used.get(held.of.group.as_str());
            used.map_or(held.open.is_some(), |used| **used == held.of)
        };
        for held in state.held.iter_mut().filter(|held| !is_used(held)) {
            held.open = None;
        }
        let mut problems = Vec::new();
        for held in state.held.iter_mut().filter(|held| is_used(held)) {
            if held.open.is_none() {
                held.open = Some(self.let_all_in(held, &mut problems));
            }
        }
        self.list(&mut state);
        problems
    }

    /// Every group of which something was handed over, by name.
    #[must_use]
    pub fn states(&self) -> Vec<GroupState> {
        let state = self.state.lock();
        let mut groups: BTreeMap<&str, GroupState> = BTreeMap::new();
        let empty = |group: &str| GroupState {
            group: group.to_owned(),
            revision: None,
            services: Vec::new(),
            listens: Vec::new(),
            refused: None,
        };
        for held in state.held.iter().filter(|held| held.open.is_some()) {
            let of = groups.entry(&held.of.group).or_insert_with(|| empty(&held.of.group));
            of.revision = Some(held.of.revision);
            of.services =
                held.services.iter().map(|(_, service)| service.labels.service.to_string()).collect();
            of.listens = held.entrances.iter().map(|entrance| entrance.door.address).collect();
        }
        for (group, refused) in &state.refused {
            let of = groups.entry(group).or_insert_with(|| empty(group));
            of.refused = Some((refused.revision, refused.reason.clone()));
        }
        groups.into_values().collect()
    }

    fn make(&self, state: &State, whole: &WholePart) -> Result<Held, String> {
        if sha256(&whole.bytes) != whole.digest {
            return Err("the part is not what its digest says".to_owned());
        }
        let part: GroupPart = serde_json::from_slice(&whole.bytes)
            .map_err(|error| format!("this version can not read it: {error}"))?;
        let (services, ingresses) = (part.services.len(), part.ingresses.len());
        if services > SERVICES_MAX || ingresses > INGRESSES_MAX || part.plugins.len() > PLUGINS_MAX {
            return Err(format!(
                "more than {SERVICES_MAX} services, {INGRESSES_MAX} ingresses or {PLUGINS_MAX} plugins"
            ));
        }
        let plugins = Plugins::of(&part.plugins, &self.kinds).map_err(|error| whose(&part, &error))?;
        let listens = self.consented(&part, &plugins)?;
        let group = &whole.of.group;
        let mut services = Vec::new();
        for service in &part.services {
            if !is_name(&service.name) {
                return Err(format!("{:?} is not the name of a service", service.name));
            }
            let name = ServiceName::Grouped { group: group.clone(), service: service.name.clone() };
            let labels = labels_of(group, &service.name, &self.context);
            let made = Service::new(service, Offer::Configured, labels, None, &self.context);
            let chain = plugins.chain(&service.plugins);
            let chain = chain.map_err(|error| format!("service {:?}: {error}", service.name))?;
            let made = made.map_err(|error| error.to_string())?;
            services.push((name, Arc::new(made.plugged(chain))));
        }
        let mut entrances: Vec<Entrance> = Vec::new();
        for (ingress, address) in part.ingresses.into_iter().zip(listens) {
            if !is_name(&ingress.to) {
                return Err(format!("{:?} is not the name of a service next to the server", ingress.to));
            }
            if entrances.iter().any(|entrance| entrance.door.address == address) {
                return Err(format!("two ingresses listen on {address}"));
            }
            let kind = ingress.kind;
            let leads = self.leads(group, ingress, &plugins);
            let leads = leads.map_err(|error| format!("the ingress {address}: {error}"))?;
            entrances.push(Entrance { kind, door: door(state, group, address)?, leads });
        }
        plugins.start(&self.context);
        Ok(Held { of: whole.of.clone(), digest: whole.digest, services, entrances, open: None })
    }

    /// Where the visitors of an ingress go.
    fn leads(&self, group: &str, ingress: IngressPart, plugins: &Plugins) -> Result<Leads, String> {
        let chain = plugins.chain(&ingress.plugins).map_err(|error| error.to_string())?;
        if ingress.kind == IngressKind::Tcp && !(chain.is_empty() && ingress.rules.is_empty()) {
            return Err("rules and plugins are for HTTP".to_owned());
        }
        let rest = labels_of(group, &ingress.to, &self.context);
        let rules = Routes::new(ingress.rules, group, plugins, &self.context.metrics).map_err(|errors| {
            let lines: Vec<_> = errors.iter().map(ToString::to_string).collect();
            lines.join("; ")
        })?;
        Ok(Leads { rules: Arc::new(rules), rest, plugins: chain })
    }

    /// Where the ingresses listen, if nothing that the part asks for is beyond the consent.
    fn consented(&self, part: &GroupPart, plugins: &Plugins) -> Result<Vec<SocketAddr>, String> {
        let mut dial: Vec<_> = plugins.dials().map(|address| dials(&address)).collect();
        for service in &part.services {
            let addresses = dialled(service).map_err(|error| error.to_string())?;
            dial.extend(addresses.iter().map(dials));
        }
        let listens: Result<Vec<SocketAddr>, String> = part
            .ingresses
            .iter()
            .map(|ingress| {
                let wrong = || format!("{:?} is no address to listen at", ingress.listen);
                ingress.listen.parse::<SocketAddr>().ok().filter(|it| it.port() != 0).ok_or_else(wrong)
            })
            .collect();
        let listens = listens?;
        let listen: Vec<_> = listens
            .iter()
            .map(|address| Endpoint::Port {
                host: PlaceName::Ip(address.ip().to_canonical()),
                port: address.port(),
            })
            .collect();
        self.consent.check(&dial, &listen).map_err(|withheld| withheld.to_string())?;
        Ok(listens)
    }

    fn let_all_in(&self, held: &Held, problems: &mut Vec<String>) -> Vec<DropGuard> {
        let open = held.entrances.iter().filter_map(|Entrance { kind, door, leads }| {
            match let_in(door, *kind, leads.clone(), &self.sessions, &self.context) {
                Ok(open) => Some(open),
                Err(error) => {
                    problems.push(format!("cannot listen on {}: {error}", door.address));
                    None
                }
            }
        });
        open.collect()
    }

    /// Brings the table up to date: of each name the service of the part in use, or else of one that is ready.
    fn list(&self, state: &mut State) {
        let (used, ready): (Vec<_>, Vec<_>) = state.held.iter().partition(|held| held.open.is_some());
        let mut wanted: HashMap<&ServiceName, &Arc<Service>> = HashMap::new();
        for (name, service) in used.into_iter().chain(ready).flat_map(|held| &held.services) {
            wanted.entry(name).or_insert(service);
        }
        let listed: HashSet<ServiceName> = wanted.keys().map(|name| (*name).clone()).collect();
        for gone in state.listed.difference(&listed) {
            self.services.remove(gone);
        }
        for (name, service) in wanted {
            self.services.insert(name.clone(), service.clone());
        }
        state.listed = listed;
    }
}

/// The socket for this address: the one that another part of the group has, or a new one.
fn door(state: &State, group: &str, address: SocketAddr) -> Result<Door, String> {
    let holder = state.held.iter().find_map(|held| {
        let entrance = held.entrances.iter().find(|entrance| entrance.door.address == address)?;
        Some((&held.of.group, &entrance.door))
    });
    match holder {
        Some((holder, door)) if holder == group => Ok(door.clone()),
        Some((holder, _)) => Err(format!("{address} is listened on for the group {holder:?}")),
        None => Door::open(address).map_err(|error| error.to_string()),
    }
}

/// What is wrong with the plugins of a part, and what it keeps from being served.
fn whose(part: &GroupPart, error: &PluginsError) -> String {
    let PluginsError::NotBuilt { name, .. } = error else { return error.to_string() };
    let service = part.services.iter().find(|service| service.plugins.contains(name));
    match service {
        Some(service) => format!("service {:?}: {error}", service.name),
        None => error.to_string(),
    }
}

/// The place as the consent knows it.
fn dials(address: &Address) -> Endpoint {
    let port = |host, port: &u16| Endpoint::Port { host, port: *port };
    match address {
        Address::Tcp { host: HostName::Ip(address), port: at } => {
            port(PlaceName::Ip(address.to_canonical()), at)
        }
        Address::Tcp { host: HostName::Localhost, port: at } => port(PlaceName::of("localhost"), at),
        Address::Tcp { host: HostName::Name(name), port: at } => port(PlaceName::of(name), at),
        Address::Unix(path) => Endpoint::Unix(path.display().to_string()),
    }
}

#[cfg(test)]
mod tests;
