//! `[[tls]]`: connections whose TLS ends at the service, told apart by SNI.

use ops::config::{Placed, Problems, Section};
use policy::host::Host;
use policy::host_pattern::HostPattern;

use super::names::Names;
use super::principal::pattern;
use super::tcp::{RelayListen, Relayed, listen, relayed};

/// A host that is passed through.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Passthrough {
    /// The name that visitors ask for.
    pub host: HostPattern,
    /// Where they connect; none: at `listen.https`.
    pub listen: Option<RelayListen>,
    /// Where they get.
    pub to: Relayed,
}

pub(super) fn passthroughs(
    sections: Vec<Section<'_>>,
    domain: &Host,
    names: &mut Names,
    problems: &mut Problems,
) -> Vec<Passthrough> {
    let mut known = Vec::new();
    let read = |section| passthrough(section, domain, &mut known, names, problems);
    sections.into_iter().filter_map(read).collect()
}

fn passthrough(
    mut section: Section<'_>,
    domain: &Host,
    known: &mut Vec<RelayListen>,
    names: &mut Names,
    problems: &mut Problems,
) -> Option<Passthrough> {
    let host = section.text("host", problems);
    let place = section.value("listen");
    let written = place.is_some();
    let place = place.and_then(|value| listen(value, problems));
    let to = relayed(&mut section, names, problems);
    section.require("host", "\"db.example.com\"", problems);
    section.require("to", "\"GROUP/SERVICE\"", problems);
    section.finish(&[], problems);
    let listen = place.as_ref().and_then(|place| at(place, known, names, problems));
    let text = host?;
    let host = pattern(&text, domain, problems)?;
    if written && place.is_none() {
        return None;
    }
    // The same host may lead elsewhere at another listener.
    let named = match listen {
        Some(listen) => format!("{host} at {}", listen.address),
        None => host.to_string(),
    };
    names.once("tls", &named, &text, problems);
    Some(Passthrough { host, listen, to: to? })
}

/// The listener at `place`, which several hosts may share; none: it is `listen.https`.
fn at(
    place: &Placed<RelayListen>,
    known: &mut Vec<RelayListen>,
    names: &mut Names,
    problems: &mut Problems,
) -> Option<RelayListen> {
    let listen = place.value;
    match known.iter().find(|other| other.address == listen.address) {
        Some(other) if *other != listen => {
            problems.add(
                place.span.clone(),
                format_args!("another host at {} has another `proxy_protocol`", listen.address),
            );
        }
        Some(_) => {}
        None if names.is_listener("listen.https", listen.address) => return None,
        None => {
            names.add_listener("tls", listen.address, place, problems);
            known.push(listen);
        }
    }
    Some(listen)
}
