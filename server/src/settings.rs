//! What the flags ask for, checked: every mistake is named at once, and nothing is guessed.

mod advertise;
mod listen;
mod public_url;

pub use advertise::{AdvertiseError, advertise, implied};
pub use listen::{Listen, ListenError};
pub use public_url::{PublicUrl, PublicUrlError};

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::PathBuf;

use ops::log::LogFormat;
use policy::host::Host;
use protocol::join::HostPort;

use crate::config::{Document, Listener};

/// Port of the listener for clients.
const TUNNEL_PORT: u16 = 7443;
/// Port of the listener for visitors.
const HTTP_PORT: u16 = 8080;
/// Port of the listener for operators.
const OPS_PORT: u16 = 7480;
/// The domain of the quick start: everything stays on this machine.
pub(crate) const LOCALHOST: &str = "localhost";

/// The flags of `run`, as they were typed.
#[derive(Debug, Clone, Default)]
pub struct Flags {
    /// `--config`
    pub config: Option<PathBuf>,
    /// `--state`
    pub state: Option<PathBuf>,
    /// `--tunnel`
    pub tunnel: Option<String>,
    /// `--http`
    pub http: Option<String>,
    /// `--https`
    pub https: Option<String>,
    /// `--ops`
    pub ops: Option<String>,
    /// `--domain`
    pub domain: Option<String>,
    /// `--public-url`
    pub public_url: Option<String>,
    /// `--advertise`
    pub advertise: Option<String>,
    /// `--log`
    pub log: Option<String>,
}

/// What `run` does.
#[derive(Debug, Clone)]
pub struct Settings {
    /// `--state`, else the order of INTERFACE decides.
    pub state: Option<PathBuf>,
    /// For clients.
    pub tunnel: Listen,
    /// For visitors.
    pub http: Listen,
    /// For visitors over TLS, and for clients by ALPN.
    pub https: Option<Listen>,
    /// For operators.
    pub ops: Listen,
    /// Names without a dot are under it.
    pub domain: Host,
    /// What visitors type; none: `https` or else `http`, the host and the port of the listener.
    pub public_url: Option<PublicUrl>,
    /// What goes into join strings; none: what the tunnel listener implies.
    pub advertise: Option<HostPort>,
    /// How logs look.
    pub log: LogFormat,
    /// As they were typed: they win over every configuration.
    pub flags: Flags,
    /// The configuration file, if there is one.
    pub config: Option<PathBuf>,
    /// What it says; where it says the same as the above, that wins.
    pub document: Document,
}

/// Everything that is wrong with the flags, or with them and the file together, a line each.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{}", .0.join("\n"))]
pub struct SettingsError(pub Vec<String>);

impl Settings {
    /// The settings that `flags` ask for, and where they say nothing the file's `document`.
    ///
    /// # Errors
    /// All mistakes, each with the flag it is in.
    pub fn new(flags: Flags, document: Document) -> Result<Self, SettingsError> {
        let mut mistakes = Mistakes::default();
        let typed = flags.clone();
        let given = flags.domain.as_deref().or(document.domain.as_ref().map(Host::as_str));
        let domain = mistakes.take("--domain", Host::parse(given.unwrap_or(LOCALHOST)));
        let local = domain.as_ref().is_none_or(is_localhost);
        let of_file = &document.listen;
        let tunnel = either(&flags.tunnel, &of_file.tunnel);
        let tunnel = mistakes.take("--tunnel", listen(tunnel, &everywhere(), TUNNEL_PORT));
        let visitors = if local { loopback() } else { everywhere() };
        let http = mistakes.take("--http", listen(either(&flags.http, &of_file.http), &visitors, HTTP_PORT));
        let https = either(&flags.https, &of_file.https).map(|text| Listen::parse(text, &visitors));
        let https = mistakes.take("--https", https.transpose());
        let ops = either(&flags.ops, &of_file.ops);
        let ops = mistakes.take("--ops", listen(ops, &[Ipv4Addr::LOCALHOST.into()], OPS_PORT));
        let public_url =
            mistakes.take("--public-url", flags.public_url.as_deref().map(PublicUrl::parse).transpose());
        let public_url = public_url.map(|url| url.or_else(|| document.public_url.clone()));
        let advertised = mistakes.take("--advertise", flags.advertise.as_deref().map(advertise).transpose());
        let advertised = advertised.map(|address| address.or_else(|| document.advertise.first().cloned()));
        if matches!(https, Some(Some(_))) && document.certificates.is_empty() {
            mistakes.0.push(
                "--https: visitors need a certificate: add a [[certificate]] to the configuration".to_owned(),
            );
        }
        let redirects = of_file.http.as_ref().is_some_and(|http| http.redirect);
        let reachable = matches!(https, Some(Some(_)))
            || public_url.as_ref().and_then(Option::as_ref).is_some_and(PublicUrl::is_https);
        if redirects && !reachable {
            mistakes.0.push("listen.http.redirect: there is no https to go to: add listen.https, or a public_url with https".to_owned());
        }
        if matches!(https, Some(None))
            && let Some(lost) = document.tls.iter().find(|tls| tls.listen.is_none())
        {
            mistakes.0.push(format!(
                "tls.listen: nobody could ask for {}: add listen = \"ADDRESS:PORT\" to it, or listen.https",
                lost.host
            ));
        }
        let log = mistakes.take("--log", flags.log.as_deref().map_or(Ok(LogFormat::Auto), str::parse));
        if !mistakes.0.is_empty() {
            return Err(SettingsError(mistakes.0));
        }
        match (domain, tunnel, http, https, ops, public_url, advertised, log) {
            (
                Some(domain),
                Some(tunnel),
                Some(http),
                Some(https),
                Some(ops),
                Some(public_url),
                Some(advertise),
                Some(log),
            ) => Ok(Self {
                state: flags.state,
                tunnel,
                http,
                https,
                ops,
                domain,
                public_url,
                advertise,
                log,
                flags: typed,
                config: flags.config,
                document,
            }),
            _ => Err(SettingsError(mistakes.0)),
        }
    }

    /// Whether this is the quick start, which nobody outside of this machine can reach by name.
    #[must_use]
    pub fn is_local(&self) -> bool {
        is_localhost(&self.domain)
    }
}

/// Collects what is wrong.
#[derive(Default)]
struct Mistakes(Vec<String>);

impl Mistakes {
    fn take<T, E: std::fmt::Display>(&mut self, flag: &str, result: Result<T, E>) -> Option<T> {
        result.map_err(|error| self.0.push(format!("{flag}: {error}"))).ok()
    }
}

/// The flag, or else what the file says.
fn either<'t>(flag: &'t Option<String>, file: &'t Option<Listener>) -> Option<&'t str> {
    flag.as_deref().or(file.as_ref().map(|listener| listener.address.as_str()))
}

fn listen(text: Option<&str>, addresses: &[IpAddr], port: u16) -> Result<Listen, ListenError> {
    match text {
        Some(text) => Listen::parse(text, addresses),
        None => Ok(Listen::standard(addresses, port)),
    }
}

fn is_localhost(domain: &Host) -> bool {
    domain.as_str() == LOCALHOST
}

fn everywhere() -> Vec<IpAddr> {
    vec![Ipv6Addr::UNSPECIFIED.into()]
}

fn loopback() -> Vec<IpAddr> {
    vec![Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_defaults_are_those_of_the_interface() {
        let settings = Settings::new(Flags::default(), Document::default()).unwrap();
        assert_eq!(settings.domain.as_str(), "localhost");
        assert_eq!((settings.tunnel.addresses(), settings.tunnel.port()), (&everywhere()[..], 7443));
        assert_eq!((settings.http.addresses(), settings.http.port()), (&loopback()[..], 8080));
        assert_eq!((settings.ops.addresses(), settings.ops.port()), (&loopback()[..1], 7480));
        let flags = Flags { domain: Some("t.example.com".to_owned()), ..Flags::default() };
        let settings = Settings::new(flags, Document::default()).unwrap();
        assert_eq!((settings.http.addresses(), settings.http.port()), (&everywhere()[..], 8080));
    }

    #[test]
    fn all_mistakes_are_named_at_once() {
        let bad = || Some("no such thing".to_owned());
        let flags = Flags {
            config: None,
            state: None,
            tunnel: bad(),
            http: bad(),
            https: bad(),
            ops: bad(),
            domain: bad(),
            public_url: bad(),
            advertise: bad(),
            log: bad(),
        };
        let SettingsError(mistakes) = Settings::new(flags, Document::default()).unwrap_err();
        let flags: Vec<_> = mistakes.iter().filter_map(|line| line.split(':').next()).collect();
        assert_eq!(
            flags,
            ["--domain", "--tunnel", "--http", "--https", "--ops", "--public-url", "--advertise", "--log"]
        );
    }
}
