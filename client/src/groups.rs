//! The parts of the configuration that the server has handed to this instance: made ready, in use, or refused.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::net::SocketAddr;
use std::sync::Arc;

use parking_lot::Mutex;
use policy::consent::{Consent, Endpoint, PlaceName, Withheld};
use policy::part::{GroupPart, IngressKind, IngressPart};
use protocol::control::{PartId, WholePart};
use protocol::service_name::{ServiceName, is_name};
use protocol::text::Text;
use proxy::context::Context;
use proxy::plugin::{Kinds, Plugins, PluginsError};
use proxy::routes::Routes;
use proxy::service::{Address, HostName, Offer, Service, ServiceTable, dialled, labels_of};
use tokio::sync::watch;
use transport::digest::sha256;

use crate::ingress::{Door, Leads, Open, let_in};
use crate::sessions::Sessions;

/// Services of one part, listeners, and plugins.
const SERVICES_MAX: usize = 1_024;
const INGRESSES_MAX: usize = 64;
const PLUGINS_MAX: usize = 1_024;

/// What this instance serves of its groups.
#[derive(Debug)]
pub struct Groups {
    kinds: Kinds,
    services: Arc<ServiceTable>,
    sessions: Arc<Sessions>,
    context: Context,
    state: Mutex<State>,
    changes: watch::Sender<()>,
}

#[derive(Debug, Default)]
struct State {
    consent: Consent,
    held: Vec<Held>,
    /// What the server said last that it is to hold.
    items: Vec<PartId>,
    /// What was refused last of each group, and why.
    refused: BTreeMap<String, Refused>,
    /// What of the table is ours.
    listed: HashSet<ServiceName>,
    /// The listeners of the parts in use.
    open: HashMap<SocketAddr, Open>,
}

/// A part that is ready.
#[derive(Debug)]
struct Held {
    whole: WholePart,
    asks: Asks,
    services: Vec<(ServiceName, Arc<Service>)>,
    entrances: Vec<Entrance>,
    /// It is in use; otherwise it is kept ready.
    used: bool,
}

#[derive(Debug)]
struct Refused {
    whole: WholePart,
    reason: Text,
}

/// What a part asks its user for.
#[derive(Debug)]
struct Asks {
    dial: Vec<Endpoint>,
    listen: Vec<Endpoint>,
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
        let state = Mutex::new(State { consent, ..State::default() });
        Self { kinds, services, sessions, context, state, changes: watch::Sender::new(()) }
    }

    /// Its user allows this from now on, and nothing else: what is in use and not allowed is given up, what was refused is
    /// looked at again. Returns what there is to tell.
    pub fn allow(&self, consent: Consent) -> Vec<String> {
        let mut told = Vec::new();
        let mut state = self.state.lock();
        state.consent = consent;
        let (good, bad): (Vec<_>, Vec<_>) = std::mem::take(&mut state.held)
            .into_iter()
            .partition(|held| held.asks.check(&state.consent).is_ok());
        state.held = good;
        // Dropped before others are made: they may want to listen where these do.
        let bad: Vec<_> = bad.into_iter().map(|held| (held.asks.check(&state.consent), held.whole)).collect();
        for (group, Refused { whole, reason }) in std::mem::take(&mut state.refused) {
            match self.make(&state, &whole) {
                Ok(held) => state.held.push(held),
                Err(again) => {
                    let again = Text::from(again);
                    if again != reason {
                        told.push(not_served(&whole.of, &again));
                    }
                    state.refused.insert(group, Refused { whole, reason: again });
                }
            }
        }
        for (withheld, whole) in bad {
            let reason = Text::from(withheld.err().map(|it| it.to_string()).unwrap_or_default());
            told.push(not_served(&whole.of, &reason));
            // A newer one that is refused as well is what counts.
            state.refused.entry(whole.of.group.clone()).or_insert(Refused { whole, reason });
        }
        let items = state.items.clone();
        told.extend(self.stand_in(&mut state, &items));
        drop(state);
        self.changes.send_replace(());
        told
    }

    /// Changes when what was answered to a part may not hold any more.
    #[must_use]
    pub fn changes(&self) -> watch::Receiver<()> {
        self.changes.subscribe()
    }

    /// What has become of every part that is known: none, or why it is refused.
    #[must_use]
    pub fn answers(&self) -> BTreeMap<PartId, Option<Text>> {
        let state = self.state.lock();
        let held = state.held.iter().map(|held| (held.whole.of.clone(), None));
        let refused = state.refused.values().map(|it| (it.whole.of.clone(), Some(it.reason.clone())));
        held.chain(refused).collect()
    }

    /// Makes a part ready: checks it against the consent, makes its services, binds its listeners. What was there stays.
    pub fn prepare(&self, whole: &WholePart) -> Prepared {
        let mut state = self.state.lock();
        if state.held.iter().any(|held| held.of() == &whole.of && held.whole.digest == whole.digest) {
            return Prepared { refusal: None, news: false };
        }
        let group = &whole.of.group;
        match self.make(&state, whole) {
            Ok(held) => {
                // Of the one that it replaces, what is in progress goes on.
                state.held.retain(|other| other.of() != held.of());
                state.held.push(held);
                let news = state.refused.remove(group).is_some();
                self.list(&mut state);
                Prepared { refusal: None, news }
            }
            Err(reason) => {
                let reason = Text::from(reason);
                let refused = Refused { whole: whole.clone(), reason: reason.clone() };
                let before = state.refused.insert(group.clone(), refused);
                Prepared { news: before.is_none_or(|before| before.reason != reason), refusal: Some(reason) }
            }
        }
    }

    /// Takes what is listed first of each group into use, and retires what is not listed. Returns listeners that could not
    /// be used after all.
    pub fn stand(&self, items: &[PartId]) -> Vec<String> {
        let mut state = self.state.lock();
        state.items = items.to_vec();
        self.stand_in(&mut state, items)
    }

    fn stand_in(&self, state: &mut State, items: &[PartId]) -> Vec<String> {
        let mut used: HashMap<&str, &PartId> = HashMap::new();
        for item in items {
            if state.held.iter().any(|held| held.of() == item) {
                used.entry(&item.group).or_insert(item);
            }
        }
        state.held.retain(|held| {
            // Of a group whose new part was refused, the old one stays in use.
            let superseded = used.contains_key(held.of().group.as_str());
            let named = items.iter().any(|item| item.group == held.of().group);
            items.contains(held.of()) || (named && !superseded && held.used)
        });
        state.refused.retain(|group, _| items.iter().any(|item| item.group == *group));
        let is_used = |held: &Held| {
            let used = used.get(held.of().group.as_str());
            used.map_or(held.used, |used| *used == held.of())
        };
        for held in &mut state.held {
            held.used = is_used(held);
        }
        let problems = self.open(state);
        self.list(state);
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
        for held in state.held.iter().filter(|held| held.used) {
            let of = groups.entry(&held.of().group).or_insert_with(|| empty(&held.of().group));
            of.revision = Some(held.of().revision);
            of.services =
                held.services.iter().map(|(_, service)| service.labels.service.to_string()).collect();
            of.listens = held.entrances.iter().map(|entrance| entrance.door.address).collect();
        }
        for (group, refused) in &state.refused {
            let of = groups.entry(group).or_insert_with(|| empty(group));
            of.refused = Some((refused.whole.of.revision, refused.reason.clone()));
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
        let (asks, listens) = asks(&part, &plugins)?;
        asks.check(&state.consent).map_err(|withheld| withheld.to_string())?;
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
        Ok(Held { whole: whole.clone(), asks, services, entrances, used: false })
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

    /// The listeners of the parts in use let visitors in, and no others. One that is open already leads elsewhere at once,
    /// also those who have kept their connections.
    fn open(&self, state: &mut State) -> Vec<String> {
        let mut problems = Vec::new();
        let mut before = std::mem::take(&mut state.open);
        for Entrance { kind, door, leads } in
            state.held.iter().filter(|held| held.used).flat_map(|held| &held.entrances)
        {
            let open = match before.remove(&door.address).filter(|open| open.kind() == *kind) {
                Some(open) => {
                    open.lead(leads.clone());
                    Ok(open)
                }
                None => let_in(door, *kind, leads.clone(), &self.sessions, &self.context),
            };
            match open {
                Ok(open) => drop(state.open.insert(door.address, open)),
                Err(error) => problems.push(format!("cannot listen on {}: {error}", door.address)),
            }
        }
        problems
    }

    /// Brings the table up to date: of each name the service of the part in use, or else of one that is ready.
    fn list(&self, state: &mut State) {
        let (used, ready): (Vec<_>, Vec<_>) = state.held.iter().partition(|held| held.used);
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

impl Held {
    const fn of(&self) -> &PartId {
        &self.whole.of
    }
}

impl Asks {
    fn check(&self, consent: &Consent) -> Result<(), Withheld> {
        consent.check(&self.dial, &self.listen)
    }
}

/// What the user is told of a part that is refused.
pub(crate) fn not_served(PartId { group, revision }: &PartId, reason: &Text) -> String {
    format!("the part of group {group} (revision {revision}) is not served: {reason}")
}

/// What a part asks its user for, and where its ingresses listen.
fn asks(part: &GroupPart, plugins: &Plugins) -> Result<(Asks, Vec<SocketAddr>), String> {
    let mut dial: Vec<_> = plugins.dials().map(|address| dials(&address)).collect();
    for service in &part.services {
        let addresses = dialled(service).map_err(|error| error.to_string())?;
        dial.extend(addresses.iter().map(dials));
    }
    let listens = part.ingresses.iter().map(|ingress| {
        let wrong = || format!("{:?} is no address to listen at", ingress.listen);
        ingress.listen.parse::<SocketAddr>().ok().filter(|it| it.port() != 0).ok_or_else(wrong)
    });
    let listens = listens.collect::<Result<Vec<_>, _>>()?;
    let listen = listens
        .iter()
        .map(|at| Endpoint::Port { host: PlaceName::Ip(at.ip().to_canonical()), port: at.port() })
        .collect();
    Ok((Asks { dial, listen }, listens))
}

/// The socket for this address: the one that another part of the group has, or a new one.
fn door(state: &State, group: &str, address: SocketAddr) -> Result<Door, String> {
    let holder = state.held.iter().find_map(|held| {
        let entrance = held.entrances.iter().find(|entrance| entrance.door.address == address)?;
        Some((&held.of().group, &entrance.door))
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
