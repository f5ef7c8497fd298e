//! `[[tcp]]`: a public port that leads to a service.

use std::net::SocketAddr;
use std::time::Duration;

use ipnet::IpNet;
use ops::config::{Placed, Problems, Section, Value};
use protocol::service_name::ServiceName;

use super::document::networks;
use super::names::Names;

/// The longest idle time; 0 is none.
const IDLE_MAX: Duration = Duration::from_secs(7 * 24 * 3600);

/// A configured ingress for TCP.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TcpEntrance {
    /// Where visitors connect.
    pub listen: RelayListen,
    /// Where they get.
    pub to: Relayed,
}

/// What becomes of the connections of an ingress.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Relayed {
    /// The service.
    pub to: ServiceName,
    /// Which visitors may come; empty: all.
    pub allow: Vec<IpNet>,
    /// A connection without a byte for so long is closed; none: never.
    pub idle_timeout: Option<Duration>,
}

/// Where such connections come in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RelayListen {
    /// With port 0 for a free one.
    pub address: SocketAddr,
    /// Trusted peers say in front who the visitor is.
    pub proxy_protocol: bool,
}

pub(super) fn entrances(
    sections: Vec<Section<'_>>,
    names: &mut Names,
    problems: &mut Problems,
) -> Vec<TcpEntrance> {
    sections.into_iter().filter_map(|section| entrance(section, names, problems)).collect()
}

fn entrance(mut section: Section<'_>, names: &mut Names, problems: &mut Problems) -> Option<TcpEntrance> {
    let listen = section.value("listen").and_then(|value| listen(value, problems));
    let to = relayed(&mut section, names, problems);
    section.require("listen", "\"[::]:5432\"", problems);
    section.require("to", "\"GROUP/SERVICE\"", problems);
    section.finish(&[], problems);
    let listen = listen?;
    names.add_listener("tcp", listen.value.address, &listen, problems);
    Some(TcpEntrance { listen: listen.value, to: to? })
}

/// `to`, `allow` and `idle_timeout`; of which 0 and nothing are none.
pub(super) fn relayed(
    section: &mut Section<'_>,
    names: &mut Names,
    problems: &mut Problems,
) -> Option<Relayed> {
    let to = section.text("to", problems);
    let allow = networks(section, "allow", problems);
    let idle = section.duration("idle_timeout", Duration::ZERO..=IDLE_MAX, problems);
    let idle_timeout = idle.map(|idle| idle.value).filter(|idle| !idle.is_zero());
    Some(Relayed { to: names.connected(&to?, problems)?, allow, idle_timeout })
}

/// `"ADDRESS:PORT"`, or a table with it.
pub(super) fn listen(value: Value<'_>, problems: &mut Problems) -> Option<Placed<RelayListen>> {
    if !value.is_table() {
        if !value.is_text() {
            value.wrong_type("an address or a table", problems);
            return None;
        }
        return listener(&value.text(problems)?, false, problems);
    }
    let mut section = value.section(problems)?;
    let address = section.text("address", problems);
    let proxy_protocol = section.flag("proxy_protocol", problems).is_some_and(|flag| flag.value);
    section.require("address", "\"[::]:5432\"", problems);
    section.finish(&[], problems);
    listener(&address?, proxy_protocol, problems)
}

fn listener(
    text: &Placed<String>,
    proxy_protocol: bool,
    problems: &mut Problems,
) -> Option<Placed<RelayListen>> {
    let address = |text: &str| {
        text.parse().map_err(|_| {
            format!("{text:?} is no address to listen on: write ADDRESS:PORT, for example [::]:5432")
        })
    };
    let address = text.parse(address, problems)?;
    Some(text.clone().map(|_| RelayListen { address, proxy_protocol }))
}
