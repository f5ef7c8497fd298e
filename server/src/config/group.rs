//! `[[group]]`: who shares a load, and what is handed to its members.

use std::net::SocketAddr;

use ops::config::{Problems, Section};
use policy::balance::{Balance, HashKey};
use policy::host::Host;
use policy::part::{GroupPart, IngressKind, IngressPart};

use super::names::Names;
use super::rule::reaching;
use super::service::services;

/// A group of the configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Group {
    /// Its name; whoever is granted it is a member.
    pub name: String,
    /// How its members share its load.
    pub balance: Balance,
    /// The share of its members, in percent, that must take a new part.
    pub min_ack: u8,
    /// What its members are handed.
    pub part: GroupPart,
}

/// Of its members, unless it says otherwise.
const HALF: u8 = 50;

/// How `balance` is written.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Word {
    RoundRobin,
    Weighted,
    LeastConnections,
    Hash,
}

const BALANCES: [(&str, Word); 4] = [
    ("round-robin", Word::RoundRobin),
    ("weighted", Word::Weighted),
    ("least-connections", Word::LeastConnections),
    ("hash", Word::Hash),
];
const INGRESSES: [(&str, IngressKind); 2] = [("http", IngressKind::Http), ("tcp", IngressKind::Tcp)];

pub(super) fn groups(
    sections: Vec<Section<'_>>,
    domain: &Host,
    names: &mut Names,
    problems: &mut Problems,
) -> Vec<Group> {
    sections.into_iter().filter_map(|section| group(section, domain, names, problems)).collect()
}

fn group(
    mut section: Section<'_>,
    domain: &Host,
    names: &mut Names,
    problems: &mut Problems,
) -> Option<Group> {
    let name = section.text("name", problems);
    let balance = balance(&mut section, problems);
    let min_ack = section.number("min_ack", 0..=100_u8, problems).map_or(HALF, |share| share.value);
    let service = section.sections("service", problems);
    let ingress = section.sections("ingress", problems);
    section.require("name", "\"NAME\"", problems);
    section.finish(&[], problems);
    let name = name.and_then(|name| names.add("group", &name, problems));
    // What is in a group without a name is looked at all the same.
    let services = services(service, name.as_deref().unwrap_or("?"), names, problems);
    let read = |it| self::ingress(it, domain, names, problems);
    let ingresses = ingress.into_iter().filter_map(read).collect();
    // Its plugins are read with the others.
    let part = GroupPart { services, ingresses, plugins: Vec::new() };
    Some(Group { name: name?, balance, min_ack, part })
}

fn balance(section: &mut Section<'_>, problems: &mut Problems) -> Balance {
    let word = section.word("balance", &BALANCES, problems);
    let hash = section.text("hash", problems);
    if let (Some(key), false) = (&hash, word.as_ref().is_some_and(|word| word.value == Word::Hash)) {
        problems.add(key.span.clone(), "`hash` is for balance = \"hash\"");
    }
    let key = hash.and_then(|text| text.parse(str::parse::<HashKey>, problems));
    match word.map(|word| word.value) {
        None | Some(Word::RoundRobin) => Balance::RoundRobin,
        Some(Word::Weighted) => Balance::Weighted,
        Some(Word::LeastConnections) => Balance::LeastConnections,
        Some(Word::Hash) => Balance::Hash(key.unwrap_or(HashKey::ClientIp)),
    }
}

fn ingress(
    mut section: Section<'_>,
    domain: &Host,
    names: &mut Names,
    problems: &mut Problems,
) -> Option<IngressPart> {
    let listen = section.text("listen", problems);
    let kind = section.word("kind", &INGRESSES, problems);
    let to = section.text("to", problems);
    let plugins = section.texts("plugins", problems);
    let rules = section.sections("rule", problems);
    let (plugged, ruled) =
        (plugins.first().map(|it| it.span.clone()), rules.first().map(|it| it.span.clone()));
    section.require("listen", "\"127.0.0.1:9000\"", problems);
    section.require("kind", "\"http\", or \"tcp\"", problems);
    section.require("to", "\"SERVICE\"", problems);
    section.finish(&[], problems);
    let to = to.map(|to| names.reach(&to));
    let plugins = plugins.iter().map(|text| names.plugin(text)).collect();
    let rules = reaching(rules, domain, names, problems);
    if kind.as_ref().is_some_and(|kind| kind.value == IngressKind::Tcp) {
        for (key, span) in [("plugins", plugged), ("rule", ruled)] {
            if let Some(span) = span {
                problems.add(span, format_args!("`{key}` is for an ingress of kind = \"http\""));
            }
        }
    }
    let address = |text: &str| match text.parse::<SocketAddr>() {
        Ok(address) if address.port() != 0 => Ok(address),
        _ => Err(format!(
            "{text:?} is no address to listen on: write ADDRESS:PORT, for example 127.0.0.1:9000"
        )),
    };
    let listen = listen?.parse(address, problems)?;
    Some(IngressPart { listen: listen.to_string(), kind: kind?.value, to: to?, plugins, rules })
}
