//! `[[tls]]`: connections whose TLS ends at the service, told apart by SNI.

use std::time::Duration;

use ipnet::IpNet;
use ops::config::{Problems, Section, Span};
use policy::host::Host;
use policy::host_pattern::HostPattern;
use protocol::service_name::ServiceName;

use super::document::networks;
use super::names::Names;
use super::principal::pattern;
use super::tcp::{idle_timeout, listen};
use crate::settings::Listen;

/// A host that is passed through.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Passthrough {
    /// The name that visitors ask for.
    pub host: HostPattern,
    /// Where they connect; none: at `listen.https`.
    pub listen: Option<Listen>,
    /// The service.
    pub to: ServiceName,
    /// Which visitors may come; empty: all.
    pub allow: Vec<IpNet>,
    /// A connection without a byte for so long is closed; none: never.
    pub idle_timeout: Option<Duration>,
    /// Where it stands in the file.
    pub span: Span,
}

pub(super) fn passthroughs(
    sections: Vec<Section<'_>>,
    domain: &Host,
    names: &mut Names,
    problems: &mut Problems,
) -> Vec<Passthrough> {
    sections.into_iter().filter_map(|section| passthrough(section, domain, names, problems)).collect()
}

fn passthrough(
    mut section: Section<'_>,
    domain: &Host,
    names: &mut Names,
    problems: &mut Problems,
) -> Option<Passthrough> {
    let host = section.text("host", problems);
    let address = section.text("listen", problems);
    let to = section.text("to", problems);
    let allow = networks(&mut section, "allow", problems);
    let idle_timeout = idle_timeout(&mut section, problems);
    section.require("host", "\"db.example.com\"", problems);
    section.require("to", "\"GROUP/SERVICE\"", problems);
    let span = section.span.clone();
    section.finish(&[], problems);
    let to = to.and_then(|to| names.target(&to, problems));
    let listen = address.and_then(|text| listen(&text, "tls", names, problems));
    let place = host?;
    let host = pattern(&place, domain, problems)?;
    names.once("tls", &host.to_string(), &place, problems);
    Some(Passthrough { host, listen, to: to?, allow, idle_timeout, span })
}
