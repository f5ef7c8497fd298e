//! `principal`: who may use what. Its credentials are made by `tunneld invite NAME`.

use ops::config::{Placed, Problems, Section};
use policy::grant::{Grants, Quotas};
use policy::group::GroupKey;
use policy::host::Host;
use policy::host_pattern::HostPattern;
use policy::port::PortRange;
use policy::principal::Principal;

use super::names::Names;
use crate::identity::is_default;

/// A principal and its grants.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Granting {
    /// Who.
    pub name: Principal,
    /// What it may use.
    pub grants: Grants,
}

pub(super) fn principals(
    sections: Vec<Section<'_>>,
    domain: &Host,
    names: &mut Names,
    problems: &mut Problems,
) -> Vec<Granting> {
    sections.into_iter().filter_map(|section| principal(section, domain, names, problems)).collect()
}

fn principal(
    mut section: Section<'_>,
    domain: &Host,
    names: &mut Names,
    problems: &mut Problems,
) -> Option<Granting> {
    let name = section.text("name", problems);
    let hosts = section.texts("hosts", problems);
    let ports = section.texts("ports", problems);
    let groups = section.texts("groups", problems);
    let reach = section.texts("reach", problems);
    let quotas = section.section("quotas", problems).map_or_else(Quotas::default, |it| quotas(it, problems));
    section.require("name", "\"NAME\"", problems);
    section.finish(&[], problems);
    let grants = Grants {
        hosts: hosts.iter().filter_map(|host| pattern(host, domain, problems)).collect(),
        any_host_under: None,
        ports: ports.iter().filter_map(|port| port.parse(PortRange::parse, problems)).collect(),
        // A group needs no section: it may be one of tunnels alone.
        groups: groups.iter().filter_map(|group| group_name(group, problems)).collect(),
        reach: reach.iter().map(|service| names.reach(service)).collect(),
        quotas,
    };
    let place = name?;
    let name = place.parse(named, problems)?;
    names.once("principal", name.as_str(), &place, problems);
    Some(Granting { name, grants })
}

fn named(text: &str) -> Result<Principal, String> {
    let name = Principal::parse(text).map_err(|error| error.to_string())?;
    match is_default(&name) {
        true => Err(format!("{text:?} is the quick start's own, which goes when a principal is configured")),
        false => Ok(name),
    }
}

/// A host, or a pattern of hosts; without a dot it is under `domain`.
pub(super) fn pattern(text: &Placed<String>, domain: &Host, problems: &mut Problems) -> Option<HostPattern> {
    let parse = |text: &str| match text {
        "" | "*" => HostPattern::parse(text),
        _ if text.contains('.') => HostPattern::parse(text),
        _ => HostPattern::parse(&format!("{text}.{domain}")),
    };
    text.parse(|text| parse(text).map_err(|error| format!("{text:?}: {error}")), problems)
}

fn group_name(text: &Placed<String>, problems: &mut Problems) -> Option<String> {
    text.parse(|text| GroupKey::named(text).map(|_| text.to_owned()), problems)
}

fn quotas(mut section: Section<'_>, problems: &mut Problems) -> Quotas {
    let standard = Quotas::default();
    let names = section.number("names", 0..=u32::MAX, problems).map_or(standard.names, |it| it.value);
    let sessions =
        section.number("sessions", 0..=u32::MAX, problems).map_or(standard.sessions, |it| it.value);
    let requests = section.number("requests", 1..=u32::MAX, problems).map(|it| it.value);
    section.finish(&[], problems);
    Quotas { names, sessions, requests }
}
