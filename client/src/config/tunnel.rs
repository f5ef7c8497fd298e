//! One entry of `tunnel`.

use std::collections::HashSet;

use super::plugin::named;
use crate::tunnel::{Tunnel, TunnelKind, parse_allow, parse_group, parse_host, parse_name, parse_set_host};
use ops::config::{Placed, Problems, Section};
use policy::part::PluginPart;
use protocol::limits::ALLOW_MAX;
use proxy::service::ServiceTarget;

/// What the tunnels before have, and no other one can.
#[derive(Debug, Default)]
pub(super) struct Taken {
    names: HashSet<String>,
    hosts: HashSet<String>,
    ports: HashSet<u16>,
}

/// Reads a tunnel, which may name `plugins` and have nothing that is `taken`. `None` only if there are problems.
pub(super) fn tunnel(
    mut section: Section<'_>,
    plugins: &[PluginPart],
    taken: &mut Taken,
    problems: &mut Problems,
) -> Option<Tunnel> {
    let name = section.text("name", problems);
    let kind = section.text("kind", problems);
    let host = section.text("host", problems);
    let port = section.number("port", 1..=u16::MAX, problems);
    let to = section.text("to", problems);
    let set_host = section.text("set_host", problems);
    let group = section.text("group", problems);
    let allow = section.texts("allow", problems);
    let named = named(&mut section, plugins, problems);
    section.require("name", "\"NAME\"", problems);
    section.require("kind", "\"http\", or \"tcp\"", problems);
    section.require("to", "\"127.0.0.1:3000\"", problems);
    section.finish(&[], problems);

    let name = name.and_then(|text| {
        let name = text.parse(parse_name, problems)?;
        if !taken.names.insert(name.clone()) {
            problems.add(text.span.clone(), format_args!("there is another tunnel named {name:?}"));
        }
        Some(name)
    });
    let group = group.and_then(|text| text.parse(parse_group, problems));
    if let Some(extra) = allow.get(ALLOW_MAX) {
        problems.add(extra.span.clone(), format_args!("more than {ALLOW_MAX} ranges"));
    }
    let allow = allow.iter().filter_map(|text| text.parse(parse_allow, problems)).collect();
    let kind = kind?;
    let (kind, to) = match kind.value.as_str() {
        "http" => {
            only_for("tcp", "port", port, problems);
            let host = host.and_then(|text| {
                let host = text.parse(parse_host, problems)?;
                if !taken.hosts.insert(host.clone()) {
                    problems.add(text.span.clone(), format_args!("another tunnel has the host {host:?}"));
                }
                Some(host)
            });
            let set_host = set_host.and_then(|text| text.parse(parse_set_host, problems));
            (TunnelKind::Http { host, set_host }, to?.parse(ServiceTarget::parse_http, problems))
        }
        "tcp" => {
            only_for("http", "host", host, problems);
            only_for("http", "set_host", set_host, problems);
            only_for("http", "plugins", named.first().cloned(), problems);
            if let Some(port) = &port
                && !taken.ports.insert(port.value)
            {
                problems.add(port.span.clone(), format_args!("another tunnel has the port {}", port.value));
            }
            let port = port.map(|port| port.value);
            (TunnelKind::Tcp { port }, to?.parse(ServiceTarget::parse_tcp, problems))
        }
        other => {
            problems.add(
                kind.span.clone(),
                format_args!("{other:?} is no kind of tunnel: write \"http\" or \"tcp\""),
            );
            return None;
        }
    };
    let plugins = named.into_iter().map(|name| name.value).collect();
    Some(Tunnel { name: name?, kind, group, allow, to: to?, plugins })
}

fn only_for<T>(kind: &str, key: &str, value: Option<Placed<T>>, problems: &mut Problems) {
    if let Some(value) = value {
        problems.add(value.span, format_args!("`{key}` is for tunnels of kind {kind:?}"));
    }
}
