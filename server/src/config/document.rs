//! The whole file.

use std::path::Path;

use ipnet::IpNet;
use ops::config::{self, ConfigError, Lack, Problems, Section, Value};
use policy::host::Host;
use policy::part::{GroupPart, PluginPart, ServicePart, plugins_of};
use policy::rule::Rule;
use protocol::join::HostPort;
use protocol::service_name::ServiceName;
use proxy::concurrency::Limits;

use super::certificate::{CertificateFiles, certificates};
use super::group::{Group, groups};
use super::limits::limits;
use super::listen::{Listeners, listeners};
use super::names::Names;
use super::passthrough::{Passthrough, passthroughs};
use proxy::plugin::Kinds;

use super::plugin::plugins;
use super::principal::{Granting, principals};
use super::rule::rules;
use super::service::services;
use super::tcp::{TcpEntrance, entrances};
use super::timeouts::{Timeouts, timeouts};
use crate::settings::{LOCALHOST, PublicUrl, advertise};

/// A configuration. Paths are complete, names under the domain too.
#[derive(Debug, Clone, Default)]
pub struct Document {
    /// `domain`.
    pub domain: Option<Host>,
    /// `public_url`.
    pub public_url: Option<PublicUrl>,
    /// `advertise`; the first goes into join strings, and the server's certificate is for all of them.
    pub advertise: Vec<HostPort>,
    /// `trusted_proxies`.
    pub trusted_proxies: Vec<IpNet>,
    /// `timeouts`.
    pub timeouts: Timeouts,
    /// `limits`.
    pub limits: Limits,
    /// `listen`.
    pub listen: Listeners,
    /// `principal`.
    pub principals: Vec<Granting>,
    /// `certificate`.
    pub certificates: Vec<CertificateFiles>,
    /// `service`: those next to the server.
    pub services: Vec<ServicePart>,
    /// `rule`, in the order of the file.
    pub rules: Vec<Rule>,
    /// `plugin`.
    pub plugins: Vec<PluginPart>,
    /// `tcp`.
    pub tcp: Vec<TcpEntrance>,
    /// `tls`.
    pub tls: Vec<Passthrough>,
    /// `group`.
    pub groups: Vec<Group>,
    /// What becomes of parts that lack a file or a variable.
    pub lack: Lack,
}

impl Document {
    /// The plugins of a service, in order.
    pub(crate) fn plugins_of(&self, service: &ServiceName) -> Vec<String> {
        match service {
            ServiceName::Grouped { group, service } => {
                let group = self.groups.iter().find(|known| known.name == *group);
                group.map_or_else(Vec::new, |group| plugins_of(&group.part.services, service))
            }
            ServiceName::Plain(service) => plugins_of(&self.services, service),
            ServiceName::Own(_) => Vec::new(),
        }
    }
}

/// Reads and checks the file at `path`; `env` looks up the variables of `${…}`, and `domain` is the one of the command line,
/// which wins over that of the file. Plugins are of `kinds`. Blocks for as long as the disk does.
///
/// # Errors
/// It cannot be read, or anything in it is wrong: then all of it is in the report.
pub fn load(
    path: &Path,
    domain: Option<&Host>,
    kinds: &Kinds,
    env: &dyn Fn(&str) -> Option<String>,
) -> Result<Document, ConfigError> {
    config::load(path, env, |top, problems| document(top, domain, kinds, problems))
}

/// The same for a text that was read already: relative paths in it start at the folder of `path`. `lack` says what becomes of
/// its parts that lack a file or a variable.
///
/// # Errors
/// Anything in it is wrong: all of it is in the report.
pub fn interpret(
    path: &Path,
    text: &str,
    domain: Option<&Host>,
    kinds: &Kinds,
    env: &dyn Fn(&str) -> Option<String>,
    lack: Lack,
) -> Result<Document, ConfigError> {
    config::interpret(path, text, env, false, |top, problems| {
        problems.on_lack(lack);
        Some(Document { lack, ..document(top, domain, kinds, problems)? })
    })
}

/// What the keys of the file say.
pub(crate) fn document(
    mut top: Section<'_>,
    given: Option<&Host>,
    kinds: &Kinds,
    problems: &mut Problems,
) -> Option<Document> {
    let domain = top.text("domain", problems).and_then(|text| text.parse(Host::parse, problems));
    let public_url = top.text("public_url", problems).and_then(|text| text.parse(PublicUrl::parse, problems));
    let advertise = top.value("advertise").map_or_else(Vec::new, |value| advertised(value, problems));
    let trusted_proxies = networks(&mut top, "trusted_proxies", problems);
    let timeouts =
        top.section("timeouts", problems).map_or_else(Timeouts::default, |it| timeouts(it, problems));
    let limits = top.section("limits", problems).map_or_else(Limits::default, |it| limits(it, problems));
    let (listen, mut names) = (top.section("listen", problems), Names::default());
    let listen = listen.map_or_else(Listeners::default, |it| listeners(it, &mut names, problems));
    let under = given.or(domain.as_ref()).cloned().or_else(|| Host::parse(LOCALHOST).ok())?;
    let certificates = certificates(top.sections("certificate", problems), problems);
    let principals = principals(top.sections("principal", problems), &under, &mut names, problems);
    let services = services(top.sections("service", problems), "", &mut names, problems);
    let mut groups = groups(top.sections("group", problems), &under, &mut names, problems);
    let plugins = plugins(top.sections("plugin", problems), kinds, &mut names, problems);
    for Group { part, .. } in &mut groups {
        part.plugins = handed(part, &plugins, problems);
    }
    let rules = rules(top.sections("rule", problems), &under, &mut names, problems);
    let tcp = entrances(top.sections("tcp", problems), &mut names, problems);
    let tls = passthroughs(top.sections("tls", problems), &under, &mut names, problems);
    top.finish(&[], problems);
    names.check(problems);
    Some(Document {
        domain,
        public_url,
        advertise,
        trusted_proxies,
        timeouts,
        limits,
        listen,
        principals,
        certificates,
        services,
        rules,
        plugins,
        tcp,
        tls,
        groups,
        lack: Lack::default(),
    })
}

/// What a group's members are handed of the plugins: those that its part names. One that lacks something is not for others to
/// make anything of.
fn handed(part: &GroupPart, plugins: &[PluginPart], problems: &mut Problems) -> Vec<PluginPart> {
    let is_named = |plugin: &&PluginPart| part.named_plugins().any(|name| name == plugin.name);
    let named: Vec<_> = plugins.iter().filter(is_named).cloned().collect();
    for PluginPart { name, lacks, .. } in &named {
        if let Some(lacks) = lacks {
            problems.add(0..0, format_args!("plugin {name}, which members of a group are handed: {lacks}"));
        }
    }
    named
}

/// One address or a list of them.
fn advertised(value: Value<'_>, problems: &mut Problems) -> Vec<HostPort> {
    let texts = match value.is_list() {
        true => value.list("a list of strings", problems).iter().filter_map(|it| it.text(problems)).collect(),
        false => value.text(problems).map_or_else(Vec::new, |text| vec![text]),
    };
    texts.iter().filter_map(|text| text.parse(advertise, problems)).collect()
}

/// A list of address ranges.
pub(super) fn networks(section: &mut Section<'_>, key: &'static str, problems: &mut Problems) -> Vec<IpNet> {
    section.texts(key, problems).iter().filter_map(|text| text.parse(network, problems)).collect()
}

fn network(text: &str) -> Result<IpNet, String> {
    let one = || text.parse().map(|address: std::net::IpAddr| IpNet::from(address.to_canonical()));
    text.parse::<IpNet>().or_else(|_| one()).map_err(|_| {
        format!("{text:?} is not an address range: write 203.0.113.0/24, 2001:db8::/32 or one address")
    })
}
