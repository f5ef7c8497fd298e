//! One entry of `forward`, and `allow`.

use std::collections::HashSet;

use ops::config::{Problems, Section};
use policy::consent::{Allowed, Consent};
use policy::part::{IngressKind, PluginPart};

use super::plugin::named;
use crate::forward::{Forward, parse_listen, parse_service};
use crate::tunnel::parse_name;

const KINDS: [(&str, IngressKind); 2] = [("http", IngressKind::Http), ("tcp", IngressKind::Tcp)];

/// Reads a forward, which may name `plugins`; `names` are those of the ones before it. `None` only if there are problems.
pub(super) fn forward(
    mut section: Section<'_>,
    plugins: &[PluginPart],
    names: &mut HashSet<String>,
    problems: &mut Problems,
) -> Option<Forward> {
    let name = section.text("name", problems);
    let kind = section.word("kind", &KINDS, problems);
    let listen = section.text("listen", problems);
    let to = section.text("to", problems);
    let named = named(&mut section, plugins, problems);
    section.require("name", "\"NAME\"", problems);
    section.require("kind", "\"http\", or \"tcp\"", problems);
    section.require("listen", "\"127.0.0.1:9000\"", problems);
    section.require("to", "\"SERVICE\"", problems);
    section.finish(&[], problems);
    let name = name.and_then(|text| {
        let name = text.parse(parse_name, problems)?;
        if !names.insert(name.clone()) {
            problems.add(text.span.clone(), format_args!("there is another forward named {name:?}"));
        }
        Some(name)
    });
    let listen = listen.and_then(|text| text.parse(parse_listen, problems));
    let to = to.and_then(|text| text.parse(parse_service, problems));
    let (kind, plugins) = (kind?.value, named.iter().map(|name| name.value.clone()).collect());
    if let (IngressKind::Tcp, Some(first)) = (kind, named.first()) {
        problems.add(first.span.clone(), "`plugins` is for forwards of kind \"http\"");
    }
    Some(Forward { name: name?, kind, listen: listen?, to: to?, plugins })
}

/// What a push may ask for.
pub(super) fn allow(mut section: Section<'_>, problems: &mut Problems) -> Consent {
    let mut places = |key| {
        let texts = section.texts(key, problems);
        texts.iter().filter_map(|text| text.parse(str::parse::<Allowed>, problems)).collect()
    };
    let consent = Consent { dial: places("dial"), listen: places("listen") };
    section.finish(&[], problems);
    consent
}
