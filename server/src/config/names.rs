//! What is named in a file, and what refers to it.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Display;
use std::net::SocketAddr;

use ops::cli::did_you_mean;
use ops::config::{Placed, Problems};
use protocol::limits::NAME_MAX;
use protocol::service_name::{ServiceName, is_name};

/// Names, by what they are the names of, and references to them.
#[derive(Debug, Default)]
pub(super) struct Names {
    /// (kind, name).
    known: BTreeSet<(&'static str, String)>,
    /// The services of every group; those next to the server are of the group "".
    services: BTreeMap<String, BTreeSet<String>>,
    /// (group, service) of those for requests only, and why.
    for_requests: BTreeMap<(String, String), ForRequests>,
    targets: Vec<Placed<ServiceName>>,
    /// Of the targets, those for connections.
    connected: Vec<Placed<ServiceName>>,
    plugins: Vec<Placed<String>>,
    reached: Vec<Placed<String>>,
    listeners: Vec<(SocketAddr, String)>,
}

/// Why a service takes requests only.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ForRequests {
    /// A server of it has a scheme.
    Scheme,
    /// It has plugins, which a connection would go around.
    Plugins,
}

impl Names {
    /// The name of a new thing of this `kind`; another one of that name is a problem.
    pub(super) fn add(
        &mut self,
        kind: &'static str,
        name: &Placed<String>,
        problems: &mut Problems,
    ) -> Option<String> {
        let name_of = |text: &str| match is_name(text) {
            true => Ok(text.to_owned()),
            false => Err(format!("a name is 1 to {NAME_MAX} of letters, digits, '.', '_' and '-'")),
        };
        let text = name.parse(name_of, problems)?;
        self.once(kind, &text, name, problems);
        Some(text)
    }

    /// Notes `text`, which stands at `place`; the same one again is a problem.
    pub(super) fn once<T>(
        &mut self,
        kind: &'static str,
        text: &str,
        place: &Placed<T>,
        problems: &mut Problems,
    ) {
        if !self.known.insert((kind, text.to_owned())) {
            problems.add(place.span.clone(), format_args!("there is another {kind} named {text:?}"));
        }
    }

    /// A service of `group`, or next to the server for "".
    pub(super) fn add_service(
        &mut self,
        group: &str,
        name: &Placed<String>,
        problems: &mut Problems,
    ) -> Option<String> {
        let text = Self::default().add("service", name, problems)?;
        if !self.services.entry(group.to_owned()).or_default().insert(text.clone()) {
            let where_ = if group.is_empty() {
                "next to the server".to_owned()
            } else {
                format!("in the group {group:?}")
            };
            problems.add(name.span.clone(), format_args!("there is another service {text:?} {where_}"));
        }
        Some(text)
    }

    /// A service of `group` takes requests only.
    pub(super) fn takes_requests_only(&mut self, group: &str, service: &str, why: ForRequests) {
        self.for_requests.insert((group.to_owned(), service.to_owned()), why);
    }

    /// An address that is listened on.
    pub(super) fn add_listener<T>(
        &mut self,
        key: impl Display,
        address: SocketAddr,
        place: &Placed<T>,
        problems: &mut Problems,
    ) {
        let meets = |other: &SocketAddr| {
            let everywhere = address.ip().is_unspecified() || other.ip().is_unspecified();
            other.port() == address.port()
                && address.port() != 0
                && (everywhere || other.ip() == address.ip())
        };
        if let Some((_, other)) = self.listeners.iter().find(|(other, _)| meets(other)) {
            problems.add(place.span.clone(), format_args!("{address} is listened on already, by `{other}`"));
        }
        self.listeners.push((address, key.to_string()));
    }

    /// Whether `key` is what listens there.
    pub(super) fn is_listener(&self, key: &str, address: SocketAddr) -> bool {
        self.listeners.iter().any(|(other, by)| by == key && *other == address)
    }

    /// Reads a target, `GROUP/SERVICE` or `SERVICE`, that must exist.
    pub(super) fn target(&mut self, text: &Placed<String>, problems: &mut Problems) -> Option<ServiceName> {
        let name = text.parse(target, problems)?;
        self.targets.push(text.clone().map(|_| name.clone()));
        Some(name)
    }

    /// A target as [`Names::target`], which must take connections.
    pub(super) fn connected(
        &mut self,
        text: &Placed<String>,
        problems: &mut Problems,
    ) -> Option<ServiceName> {
        let name = self.target(text, problems)?;
        self.connected.push(text.clone().map(|_| name.clone()));
        Some(name)
    }

    /// A service next to the server that must exist.
    pub(super) fn reach(&mut self, text: &Placed<String>) -> String {
        self.reached.push(text.clone());
        text.value.clone()
    }

    /// A plugin that must exist.
    pub(super) fn plugin(&mut self, text: &Placed<String>) -> String {
        self.plugins.push(text.clone());
        text.value.clone()
    }

    /// Reports the references that lead nowhere.
    pub(super) fn check(&self, problems: &mut Problems) {
        for target in &self.targets {
            match &target.value {
                ServiceName::Grouped { group, service } => self.grouped(target, group, service, problems),
                ServiceName::Plain(service) => self.plain(target, service, problems),
                ServiceName::Own(_) => {}
            }
        }
        for target in &self.connected {
            let (group, service) = match &target.value {
                ServiceName::Grouped { group, service } => (group.clone(), service.clone()),
                ServiceName::Plain(service) => (String::new(), service.clone()),
                ServiceName::Own(_) => continue,
            };
            let Some(why) = self.for_requests.get(&(group, service)) else { continue };
            let (why, help) = match why {
                ForRequests::Scheme => (
                    "a server of it has a scheme",
                    "for connections write the address without http://, https:// or h2c://",
                ),
                ForRequests::Plugins => (
                    "it has plugins, which see no connections",
                    "for connections name another service, with the same servers and without plugins",
                ),
            };
            let what = format!("{:?} takes requests only: {why}", target.value.to_string());
            problems.add_with_help(target.span.clone(), what, help);
        }
        for service in &self.reached {
            self.plain(service, &service.value, problems);
        }
        for plugin in &self.plugins {
            self.named("plugin", plugin, problems);
        }
    }

    fn named(&self, kind: &'static str, name: &Placed<String>, problems: &mut Problems) {
        if self.known.contains(&(kind, name.value.clone())) {
            return;
        }
        let known = self.known.iter().filter(|(other, _)| *other == kind).map(|(_, name)| name.as_str());
        let hint = did_you_mean(&name.value, known);
        name.wrong(format_args!("there is no {kind} {:?}{hint}", name.value), problems);
    }

    fn grouped(&self, place: &Placed<ServiceName>, group: &str, service: &str, problems: &mut Problems) {
        let Some(services) = self.services.get(group) else {
            let known = self.services.keys().map(String::as_str).filter(|name| !name.is_empty());
            let hint = did_you_mean(group, known);
            let what = match self.known.contains(&("group", group.to_owned())) {
                true => format!("the group {group:?} has no services"),
                false => format!("there is no group {group:?}{hint}"),
            };
            return problems.add(place.span.clone(), what);
        };
        if !services.contains(service) {
            let hint = did_you_mean(service, services.iter().map(String::as_str));
            problems.add(
                place.span.clone(),
                format_args!("the group {group:?} has no service {service:?}{hint}"),
            );
        }
    }

    fn plain<T>(&self, place: &Placed<T>, service: &str, problems: &mut Problems) {
        let none = BTreeSet::new();
        let services = self.services.get("").unwrap_or(&none);
        if !services.contains(service) {
            let hint = did_you_mean(service, services.iter().map(String::as_str));
            let what = format_args!("there is no service {service:?} next to the server{hint}").to_string();
            problems.add_with_help(place.span.clone(), what, "a service of a group is written GROUP/SERVICE");
        }
    }
}

fn target(text: &str) -> Result<ServiceName, String> {
    match text.parse() {
        Ok(ServiceName::Own(_)) | Err(_) => Err(format!(
            "{text:?} is no target: write GROUP/SERVICE, or the name of a service next to the server"
        )),
        Ok(name) => Ok(name),
    }
}
