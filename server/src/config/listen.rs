//! `[listen]`: where the server listens.

use std::net::SocketAddr;
use std::path::PathBuf;

use ops::config::{Placed, Problems, Section, Value};

use super::names::Names;
use crate::admin::Tokens;
use crate::admission::lists;
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
    /// For what asks as commands do, over TCP.
    pub admin: Option<AdminListener>,
}

/// The admin listener for TCP.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AdminListener {
    /// Where.
    pub address: SocketAddr,
    /// Who may ask.
    pub tokens: Tokens,
    /// By which names, besides those of this machine and its address.
    pub hosts: Vec<String>,
    /// Why nobody may ask: the file of the tokens can not be used.
    pub lacks: Option<String>,
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
    /// What clients are asked for besides their key, or instead of it.
    pub clients: Option<Clients>,
}

/// Certificates of clients.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Clients {
    /// The CA that makes them, a file.
    pub ca: PathBuf,
    /// Files with lists of those that it has revoked.
    pub crls: Vec<PathBuf>,
    /// What lets a client in.
    pub auth: Auth,
    /// Why the path of the CA leads nowhere: a variable in it is not set.
    pub lacks: Option<String>,
}

/// Files with lists of revoked certificates.
const CRLS_MAX: usize = 64;

/// What lets a client in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Auth {
    /// The key of its join string.
    #[default]
    Key,
    /// A certificate.
    Certificate,
    /// A certificate if it shows one, else the key of its join string.
    Either,
    /// Both, of the same principal.
    Both,
}

const AUTHS: &[(&str, Auth)] =
    &[("key", Auth::Key), ("mtls", Auth::Certificate), ("either", Auth::Either), ("both", Auth::Both)];

pub(super) fn listeners(mut section: Section<'_>, names: &mut Names, problems: &mut Problems) -> Listeners {
    let mut read = |key: &'static str, keys: Keys| {
        let value = section.value(key)?;
        listener(key, value, keys, names, problems)
    };
    let tunnel = read("tunnel", Keys::Tunnel);
    let http = read("http", Keys::Http);
    let https = read("https", Keys::Https);
    let ops = read("ops", Keys::Address);
    let admin = section.section("admin", problems).and_then(|it| admin(it, names, problems));
    section.finish(&[], problems);
    Listeners { tunnel, http, https, ops, admin }
}

fn admin(mut section: Section<'_>, names: &mut Names, problems: &mut Problems) -> Option<AdminListener> {
    let address = section.text("address", problems);
    let (tokens, lacks) = problems.part(|problems| {
        let file = section.path("token_file", problems)?;
        problems.check_lack(file.span, Tokens::read(&file.value))
    });
    let hosts = section.texts("hosts", problems);
    let remote = section.flag("remote", problems).is_some_and(|remote| remote.value);
    section.require("address", "\"127.0.0.1:7482\"", problems);
    section.require("token_file", "\"admin.tokens\"", problems);
    section.finish(&[], problems);
    let tokens = tokens.or_else(|| lacks.is_some().then(Tokens::default));
    let text = address?;
    let address = text.parse(address_of, problems)?;
    names.add_listener("listen.admin", address, &text, problems);
    if !address.ip().is_loopback() && !remote {
        problems.add_with_help(
            text.span,
            format_args!("{address} can be reached from other machines, and what is said there is not encrypted"),
            "listen on 127.0.0.1 and let a proxy with TLS lead there; or add remote = true in a network you trust",
        );
        return None;
    }
    Some(AdminListener {
        address,
        tokens: tokens?,
        hosts: hosts.into_iter().map(|host| host.value).collect(),
        lacks,
    })
}

fn address_of(text: &str) -> Result<SocketAddr, String> {
    text.parse().map_err(|_| {
        format!("{text:?} is no address to listen on: write ADDRESS:PORT, for example 127.0.0.1:7482")
    })
}

/// Which keys a table may have.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Keys {
    Tunnel,
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
        return Some(Listener { address, redirect: false, proxy_protocol: false, clients: None });
    }
    let mut section = value.section(problems)?;
    let text = section.text("address", problems);
    let redirect = match keys {
        Keys::Http => section.word("redirect", &[("https", true)], problems),
        Keys::Tunnel | Keys::Address | Keys::Https => None,
    };
    let proxy_protocol = match keys {
        Keys::Http | Keys::Https => section.flag("proxy_protocol", problems),
        Keys::Tunnel | Keys::Address => None,
    };
    let clients = match keys {
        Keys::Tunnel => clients(&mut section, problems),
        Keys::Address | Keys::Http | Keys::Https => None,
    };
    section.require("address", "\"[::]:8080\"", problems);
    section.finish(&[], problems);
    let on = |flag: Option<Placed<bool>>| flag.is_some_and(|flag| flag.value);
    let address = address(name, &text?, names, problems)?;
    Some(Listener { address, redirect: on(redirect), proxy_protocol: on(proxy_protocol), clients })
}

fn clients(section: &mut Section<'_>, problems: &mut Problems) -> Option<Clients> {
    let ((ca, crls), lacks) = problems.part(|problems| {
        let ca = section.path("client_ca", problems);
        let lists = section.value("client_crl");
        (ca, lists.map(|lists| crls(&lists, problems)).unwrap_or_default())
    });
    let auth = section.word("auth", AUTHS, problems);
    match (ca, auth) {
        (Some(ca), Some(auth)) if auth.value != Auth::Key => {
            let clients = Clients { ca: ca.value, crls, auth: auth.value, lacks };
            // A start with it would fail, or do without it: `check` says so before.
            drop(problems.part(|problems| problems.check_lack(ca.span, lists(&clients))));
            Some(clients)
        }
        (Some(ca), Some(_)) => {
            problems.add(ca.span, "`client_ca` is for `auth` = \"mtls\", \"either\" or \"both\"");
            None
        }
        (Some(_), None) => {
            section.require("auth", "\"both\"", problems);
            None
        }
        (None, Some(auth)) if auth.value != Auth::Key => {
            section.require("client_ca", "\"client-ca.pem\"", problems);
            None
        }
        (None, _) if section.has("client_crl") => {
            section.require("client_ca", "\"client-ca.pem\"", problems);
            None
        }
        (None, _) => None,
    }
}

fn crls(value: &Value<'_>, problems: &mut Problems) -> Vec<PathBuf> {
    let files = value.list("a list of files", problems);
    if files.len() > CRLS_MAX {
        problems.add(value.span(), format_args!("at most {CRLS_MAX} files: one may hold several lists"));
    }
    files.iter().take(CRLS_MAX).filter_map(|file| file.path(problems)).map(|file| file.value).collect()
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
