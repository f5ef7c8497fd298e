//! What an instance's own user lets a push ask for: the `[allow]` of its configuration. Nothing, unless it is written there.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

/// What a part of a configuration may make an instance do.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Consent {
    /// Where it may connect to.
    pub dial: Vec<Allowed>,
    /// Where it may listen.
    pub listen: Vec<Allowed>,
}

/// One place to dial or to listen at, as whoever dials or listens means it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Endpoint {
    /// A port of a host.
    Port {
        /// Compared as written, except that an address has one form.
        host: PlaceName,
        /// Never 0.
        port: u16,
    },
    /// A Unix socket, by its path as written.
    Unix(String),
}

/// Whose port it is. A name is another host than the address it has at the moment.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum PlaceName {
    /// An address, canonical: an IPv4-mapped one is IPv4.
    Ip(IpAddr),
    /// A name, in lower case.
    Name(String),
}

/// An entry of `[allow]`: a port or several of one host, or a Unix socket.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Allowed {
    /// `HOST:PORT` or `HOST:FIRST-LAST`.
    Ports {
        /// Whose.
        host: PlaceName,
        /// The first port.
        first: u16,
        /// The last port, itself included.
        last: u16,
    },
    /// `unix:/PATH`.
    Unix(String),
}

/// The text is no entry of `[allow]`. Whoever wrote it is at fault.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no place: write HOST:PORT, HOST:FIRST-LAST or unix:/PATH")]
pub struct AllowedError(String);

/// What a part asks for beyond the consent; in words, the lines that would give it.
#[derive(Debug, Clone, PartialEq, Eq, Default, thiserror::Error)]
pub struct Withheld {
    /// Not to be dialled, each once.
    pub dial: Vec<Endpoint>,
    /// Not to be listened at, each once.
    pub listen: Vec<Endpoint>,
}

impl Consent {
    /// Whether all of `dial` may be dialled and all of `listen` be listened at.
    ///
    /// # Errors
    /// [`Withheld`], with all that may not.
    pub fn check<'a>(
        &self,
        dial: impl IntoIterator<Item = &'a Endpoint>,
        listen: impl IntoIterator<Item = &'a Endpoint>,
    ) -> Result<(), Withheld> {
        let withheld = Withheld { dial: missing(&self.dial, dial), listen: missing(&self.listen, listen) };
        if withheld.dial.is_empty() && withheld.listen.is_empty() { Ok(()) } else { Err(withheld) }
    }
}

fn missing<'a>(allowed: &[Allowed], asked: impl IntoIterator<Item = &'a Endpoint>) -> Vec<Endpoint> {
    let mut missing = Vec::new();
    for endpoint in asked {
        if !allowed.iter().any(|entry| entry.covers(endpoint)) && !missing.contains(endpoint) {
            missing.push(endpoint.clone());
        }
    }
    missing
}

impl Allowed {
    /// Whether `endpoint` is meant by it.
    #[must_use]
    pub fn covers(&self, endpoint: &Endpoint) -> bool {
        match (self, endpoint) {
            (Self::Ports { host, first, last }, Endpoint::Port { host: asked, port }) => {
                host == asked && (first..=last).contains(&port)
            }
            (Self::Unix(path), Endpoint::Unix(asked)) => path == asked,
            _ => false,
        }
    }
}

impl PlaceName {
    /// The host called `text`: an address, also in brackets, or a name.
    #[must_use]
    pub fn of(text: &str) -> Self {
        let inside = text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(text);
        match inside.parse::<IpAddr>() {
            Ok(address) => Self::Ip(address.to_canonical()),
            Err(_) => Self::Name(text.to_ascii_lowercase()),
        }
    }
}

impl FromStr for Allowed {
    type Err = AllowedError;

    fn from_str(text: &str) -> Result<Self, AllowedError> {
        let wrong = || AllowedError(text.to_owned());
        if let Some(path) = text.strip_prefix("unix:") {
            let path = path.strip_prefix("//").unwrap_or(path);
            return if path.starts_with('/') { Ok(Self::Unix(path.to_owned())) } else { Err(wrong()) };
        }
        let (host, ports) = text.rsplit_once(':').ok_or_else(wrong)?;
        let port = |text: &str| {
            let digits = text.bytes().all(|byte| byte.is_ascii_digit());
            text.parse::<u16>().ok().filter(|port| digits && *port != 0).ok_or_else(wrong)
        };
        let (first, last) = match ports.split_once('-') {
            Some((first, last)) => (port(first)?, port(last)?),
            None => (port(ports)?, port(ports)?),
        };
        let known = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
        let host = match PlaceName::of(host) {
            // An IPv6 address without brackets could end in what looks like a port.
            PlaceName::Ip(IpAddr::V6(_)) if !host.starts_with('[') => return Err(wrong()),
            PlaceName::Name(name) if name.is_empty() || !name.bytes().all(known) => return Err(wrong()),
            host => host,
        };
        if first > last {
            return Err(wrong());
        }
        Ok(Self::Ports { host, first, last })
    }
}

impl fmt::Display for PlaceName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ip(IpAddr::V6(address)) => write!(f, "[{address}]"),
            Self::Ip(address) => write!(f, "{address}"),
            Self::Name(name) => f.write_str(name),
        }
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Port { host, port } => write!(f, "{host}:{port}"),
            Self::Unix(path) => write!(f, "unix:{path}"),
        }
    }
}

impl fmt::Display for Withheld {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("add to [allow]:")?;
        let mut separator = " ";
        for (key, places) in [("dial", &self.dial), ("listen", &self.listen)] {
            if places.is_empty() {
                continue;
            }
            let places: Vec<String> = places.iter().map(|place| format!("\"{place}\"")).collect();
            write!(f, "{separator}{key} = [{}]", places.join(", "))?;
            separator = "; ";
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn consent(dial: &[&str], listen: &[&str]) -> Consent {
        let read = |list: &[&str]| list.iter().map(|text| text.parse().unwrap()).collect();
        Consent { dial: read(dial), listen: read(listen) }
    }

    fn port(host: &str, port: u16) -> Endpoint {
        Endpoint::Port { host: PlaceName::of(host), port }
    }

    #[test]
    fn nothing_is_allowed_that_is_not_written() {
        let asked = [port("127.0.0.1", 3000), port("127.0.0.1", 3000), Endpoint::Unix("/run/x".to_owned())];
        let withheld = Consent::default().check(&asked, &[port("::1", 9000)]).unwrap_err();
        let line = r#"add to [allow]: dial = ["127.0.0.1:3000", "unix:/run/x"]; listen = ["[::1]:9000"]"#;
        assert_eq!(withheld.to_string(), line);
        assert_eq!(Consent::default().check([], []), Ok(()));
    }

    #[test]
    fn the_line_to_paste_is_what_was_missing_and_enough() {
        let some = consent(&["127.0.0.1:4000-4001"], &[]);
        let asked = [port("127.0.0.1", 4001), port("127.0.0.1", 3000)];
        let withheld = some.check(&asked, []).unwrap_err();
        assert_eq!(withheld.to_string(), r#"add to [allow]: dial = ["127.0.0.1:3000"]"#);
        let mut more = some;
        more.dial.extend(withheld.dial.iter().map(|place| place.to_string().parse().unwrap()));
        assert_eq!(more.check(&asked, []), Ok(()));
    }

    #[test]
    fn ranges_end_where_they_say() {
        let range = consent(&["127.0.0.1:4000-4001"], &[]);
        let allows = |endpoint| range.check(&[endpoint], []).is_ok();
        assert!(allows(port("127.0.0.1", 4000)) && allows(port("127.0.0.1", 4001)));
        assert!(!allows(port("127.0.0.1", 3999)) && !allows(port("127.0.0.1", 4002)));
        assert!(!allows(port("127.0.0.2", 4000)));
    }

    #[test]
    fn names_are_as_written_and_addresses_have_one_form() {
        let some =
            consent(&["LOCALHOST:1", "[::ffff:10.0.0.1]:2", "[0:0::1]:3", "db:4", "unix:/run/x.sock"], &[]);
        let allows = |endpoint| some.check(&[endpoint], []).is_ok();
        assert!(allows(port("localhost", 1)) && !allows(port("127.0.0.1", 1)));
        assert!(allows(port("10.0.0.1", 2)) && allows(port("::1", 3)));
        assert!(allows(port("DB", 4)) && !allows(port("db.lan", 4)));
        assert!(allows(Endpoint::Unix("/run/x.sock".to_owned())));
        assert!(!allows(Endpoint::Unix("/run/../run/x.sock".to_owned())));
    }

    #[test]
    fn what_may_be_dialled_may_not_be_listened_at() {
        let dial = consent(&["127.0.0.1:9000"], &[]);
        assert!(dial.check([], &[port("127.0.0.1", 9000)]).is_err());
    }

    #[test]
    fn what_is_no_place_is_refused() {
        for text in
            ["", "3000", "h:", ":1", "h:0", "h:65536", "h:2-1", "h:+1", "::1:80", "unix:x", "a b:1", "h:1-"]
        {
            assert!(text.parse::<Allowed>().is_err(), "{text}");
        }
    }
}
