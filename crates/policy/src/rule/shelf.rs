//! The rules of one host pattern and path prefix, by what they ask for beyond the path.

use std::collections::HashMap;
use std::hash::Hash;
use std::net::IpAddr;

use ipnet::IpNet;

use super::{Asked, Matcher, Rule, ValueMatcher};

/// Places of rules in the file, the most specific first.
type Places = Vec<usize>;

/// Each rule is kept by the rarest of the things that it asks for, so that few are tried for a request that has it.
#[derive(Debug, Default)]
pub(super) struct Shelf {
    /// By the gRPC service.
    services: HashMap<Box<str>, Places>,
    /// By a field, in lower case.
    fields: HashMap<Box<str>, ByField>,
    /// By each of their methods.
    methods: HashMap<Box<str>, Places>,
    /// By each of their networks.
    clients: Clients,
    /// Those that ask for nothing of this.
    others: Places,
    /// Not yet kept anywhere.
    fresh: Places,
}

/// Rules by what they ask of one field.
#[derive(Debug, Default)]
struct ByField {
    values: HashMap<Box<[u8]>, Places>,
    beginnings: HashMap<Box<[u8]>, Places>,
    /// How long they are, each length once.
    lengths: Vec<usize>,
    present: Places,
}

/// Rules by the network of the visitor.
#[derive(Debug, Default)]
struct Clients {
    networks: HashMap<IpNet, Places>,
    /// Of which lengths there are prefixes, of IPv4 and of IPv6.
    lengths: (Vec<u8>, Vec<u8>),
}

/// What a rule may be kept by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Key<'r> {
    Service(&'r str),
    Value(&'r str, &'r [u8]),
    Beginning(&'r str, &'r [u8]),
    Present(&'r str),
    Method(&'r str),
    Client(IpNet),
}

impl Shelf {
    /// Adds the rule at `place`; those that are added later are less specific.
    pub(super) fn add(&mut self, place: usize) {
        self.fresh.push(place);
    }

    /// All of them are there.
    pub(super) fn finish(&mut self, rules: &[Rule]) {
        let fresh = std::mem::take(&mut self.fresh);
        let matchers = fresh.into_iter().filter_map(|place| Some((place, &rules.get(place)?.matcher)));
        let matchers: Vec<_> = matchers.map(|(place, matcher)| (place, ways(matcher))).collect();
        let mut counts: HashMap<Key<'_>, usize> = HashMap::new();
        for key in matchers.iter().flat_map(|(_, ways)| ways.iter().flatten()) {
            let count = counts.entry(*key).or_default();
            *count = count.saturating_add(1);
        }
        let common = |way: &Vec<Key<'_>>| {
            way.iter().filter_map(|key| counts.get(key)).fold(0usize, |sum, count| sum.saturating_add(*count))
        };
        for (place, ways) in &matchers {
            match ways.iter().min_by_key(|way| common(way)) {
                Some(way) => way.iter().for_each(|key| self.keep(*key, *place)),
                None => self.others.push(*place),
            }
        }
        for field in self.fields.values_mut() {
            field.lengths = distinct(field.beginnings.keys().map(|beginning| beginning.len()));
        }
        let networks = &self.clients.networks;
        let lengths = |v4| distinct(networks.keys().filter(|net| is_v4(net) == v4).map(IpNet::prefix_len));
        self.clients.lengths = (lengths(true), lengths(false));
    }

    fn keep(&mut self, key: Key<'_>, place: usize) {
        let places = match key {
            Key::Service(service) => self.services.entry(service.into()).or_default(),
            Key::Value(name, value) => self.field(name).values.entry(value.into()).or_default(),
            Key::Beginning(name, value) => self.field(name).beginnings.entry(value.into()).or_default(),
            Key::Present(name) => &mut self.field(name).present,
            Key::Method(method) => self.methods.entry(method.into()).or_default(),
            Key::Client(network) => self.clients.networks.entry(network).or_default(),
        };
        places.push(place);
    }

    fn field(&mut self, name: &str) -> &mut ByField {
        self.fields.entry(name.into()).or_default()
    }

    /// Lists of places, in one of which every rule is that could be for `asked`.
    pub(super) fn each<'s>(&'s self, asked: &Asked<'_>, consider: &mut dyn FnMut(&'s [usize])) {
        consider(&self.others);
        if !self.services.is_empty()
            && let Some(places) = asked.grpc_call().and_then(|(service, _)| self.services.get(service))
        {
            consider(places);
        }
        if let Some(places) = self.methods.get(asked.method) {
            consider(places);
        }
        self.clients.each(asked.client.to_canonical(), consider);
        if !self.fields.is_empty() {
            asked.fields.each(&mut |name, value| {
                if let Some(field) = self.fields.get(name) {
                    field.each(value, consider);
                }
            });
        }
    }
}

impl ByField {
    fn each<'s>(&'s self, value: &[u8], consider: &mut dyn FnMut(&'s [usize])) {
        consider(&self.present);
        if let Some(places) = self.values.get(value) {
            consider(places);
        }
        let beginnings = self.lengths.iter().filter_map(|length| value.get(..*length));
        for places in beginnings.filter_map(|beginning| self.beginnings.get(beginning)) {
            consider(places);
        }
    }
}

impl Clients {
    fn each<'s>(&'s self, client: IpAddr, consider: &mut dyn FnMut(&'s [usize])) {
        let lengths = if client.is_ipv4() { &self.lengths.0 } else { &self.lengths.1 };
        let networks = lengths.iter().filter_map(|length| IpNet::new(client, *length).ok());
        for places in networks.filter_map(|network| self.networks.get(&network.trunc())) {
            consider(places);
        }
    }
}

/// Everything that a rule could be kept by; of each, a request that it is for has one at least.
fn ways(matcher: &Matcher) -> Vec<Vec<Key<'_>>> {
    let service = matcher.grpc.as_ref().and_then(|grpc| grpc.service.as_deref()).map(Key::Service);
    let fields = matcher.headers.iter().map(|header| match &header.value {
        ValueMatcher::Exact(value) => Key::Value(&header.name, value.as_bytes()),
        ValueMatcher::Prefix(beginning) => Key::Beginning(&header.name, beginning.as_bytes()),
        ValueMatcher::Present => Key::Present(&header.name),
    });
    let mut ways: Vec<Vec<Key<'_>>> = service.into_iter().chain(fields).map(|key| vec![key]).collect();
    let mut methods: Vec<_> = matcher.methods.iter().map(|method| Key::Method(method)).collect();
    methods.dedup();
    let clients = distinct(matcher.clients.iter().map(IpNet::trunc)).into_iter().map(Key::Client).collect();
    ways.extend([methods, clients].into_iter().filter(|way| !way.is_empty()));
    ways
}

fn distinct<T: Eq + Hash + Copy>(all: impl Iterator<Item = T>) -> Vec<T> {
    let mut seen = std::collections::HashSet::new();
    all.filter(|one| seen.insert(*one)).collect()
}

const fn is_v4(network: &IpNet) -> bool {
    matches!(network, IpNet::V4(_))
}
