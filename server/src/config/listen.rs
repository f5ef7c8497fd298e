//! `[listen]`: where the server listens.

use ops::config::{Placed, Problems, Section, Value};

use super::names::Names;
use crate::settings::Listen;

/// The listeners of the file.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Listeners {
    /// For clients.
    pub tunnel: Option<Listener>,
    /// For visitors.
    pub http: Option<Listener>,
    /// For visitors over TLS, and for clients by ALPN.
    pub https: Option<Listener>,
    /// For operators.
    pub ops: Option<Listener>,
}

/// One listener.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listener {
    /// `IP:PORT`, or only a `PORT`, as it stands there.
    pub address: String,
    /// Its requests are sent to https.
    pub redirect: bool,
    /// Trusted peers say in front who the visitor is.
    pub proxy_protocol: bool,
}

pub(super) fn listeners(mut section: Section<'_>, names: &mut Names, problems: &mut Problems) -> Listeners {
    let mut read = |key: &'static str, keys: Keys| {
        let value = section.value(key)?;
        listener(key, value, keys, names, problems)
    };
    let tunnel = read("tunnel", Keys::Address);
    let http = read("http", Keys::Http);
    let https = read("https", Keys::Https);
    let ops = read("ops", Keys::Address);
    section.finish(&[], problems);
    Listeners { tunnel, http, https, ops }
}

/// Which keys a table may have.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Keys {
    Address,
    Http,
    Https,
}

fn listener(
    name: &'static str,
    value: Value<'_>,
    keys: Keys,
    names: &mut Names,
    problems: &mut Problems,
) -> Option<Listener> {
    if !value.is_table() {
        if !value.is_text() {
            value.wrong_type("an address or a table", problems);
            return None;
        }
        let address = address(name, &value.text(problems)?, names, problems)?;
        return Some(Listener { address, redirect: false, proxy_protocol: false });
    }
    let mut section = value.section(problems)?;
    let text = section.text("address", problems);
    let redirect = match keys {
        Keys::Http => section.word("redirect", &[("https", true)], problems),
        Keys::Address | Keys::Https => None,
    };
    let proxy_protocol = match keys {
        Keys::Http | Keys::Https => section.flag("proxy_protocol", problems),
        Keys::Address => None,
    };
    section.require("address", "\"[::]:8080\"", problems);
    section.finish(&[], problems);
    let on = |flag: Option<Placed<bool>>| flag.is_some_and(|flag| flag.value);
    let address = address(name, &text?, names, problems)?;
    Some(Listener { address, redirect: on(redirect), proxy_protocol: on(proxy_protocol) })
}

fn address(
    name: &'static str,
    text: &Placed<String>,
    names: &mut Names,
    problems: &mut Problems,
) -> Option<String> {
    let listen = text.parse(|text| Listen::parse(text, &[]), problems)?;
    for ip in listen.addresses() {
        names.add_listener(format_args!("listen.{name}"), (*ip, listen.port()).into(), text, problems);
    }
    Some(text.value.clone())
}
