//! One entry of `tunnel`.

use std::collections::HashSet;
use std::fmt::Display;

use protocol::limits::ALLOW_MAX;
use proxy::service::Address;
use toml::Spanned;

use super::problem::Problems;
use super::section::Section;
use crate::tunnel::{Tunnel, TunnelKind, parse_allow, parse_group, parse_host, parse_name, parse_set_host};

/// Reads a tunnel; `names` are those of the ones before it. `None` only if there are problems.
pub(super) fn tunnel<E: Fn(&str) -> Option<String> + Copy>(
    mut section: Section<'_, E>,
    names: &mut HashSet<String>,
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
    section.require("name", "\"NAME\"", problems);
    section.require("kind", "\"http\", or \"tcp\"", problems);
    section.require("to", "\"127.0.0.1:3000\"", problems);
    section.finish(&[], problems);

    let name = name.and_then(|text| {
        let name = parse(&text, parse_name, problems)?;
        if !names.insert(name.clone()) {
            problems.add(text.span(), format_args!("there is another tunnel named {name:?}"));
        }
        Some(name)
    });
    let group = group.and_then(|text| parse(&text, parse_group, problems));
    if let Some(extra) = allow.get(ALLOW_MAX) {
        problems.add(extra.span(), format_args!("more than {ALLOW_MAX} ranges"));
    }
    let allow = allow.iter().filter_map(|text| parse(text, parse_allow, problems)).collect();
    let kind = kind?;
    let (kind, to) = match kind.get_ref().as_str() {
        "http" => {
            only_for("tcp", "port", port, problems);
            let host = host.and_then(|text| parse(&text, parse_host, problems));
            let set_host = set_host.and_then(|text| parse(&text, parse_set_host, problems));
            (TunnelKind::Http { host, set_host }, parse(&to?, Address::parse_http, problems))
        }
        "tcp" => {
            only_for("http", "host", host, problems);
            only_for("http", "set_host", set_host, problems);
            let port = port.map(Spanned::into_inner);
            (TunnelKind::Tcp { port }, parse(&to?, Address::parse_tcp, problems))
        }
        other => {
            problems
                .add(kind.span(), format_args!("{other:?} is no kind of tunnel: write \"http\" or \"tcp\""));
            return None;
        }
    };
    Some(Tunnel { name: name?, kind, group, allow, to: to? })
}

fn parse<T, E: Display>(
    text: &Spanned<String>,
    parse: impl Fn(&str) -> Result<T, E>,
    problems: &mut Problems,
) -> Option<T> {
    problems.check(text.span(), parse(text.get_ref()))
}

fn only_for<T>(kind: &str, key: &str, value: Option<Spanned<T>>, problems: &mut Problems) {
    if let Some(value) = value {
        problems.add(value.span(), format_args!("`{key}` is for tunnels of kind {kind:?}"));
    }
}
