//! Where a service listens and what it speaks there: TARGET of the command line, `to` and `address` of the configuration.

use std::fmt;
use std::str::FromStr;

use super::{Address, AddressError};

/// Where a service listens, and what it speaks.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct ServiceTarget {
    /// What it speaks.
    pub speech: Speech,
    /// Where it listens.
    pub address: Address,
}

/// What a service speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Speech {
    /// HTTP/1.1, or raw bytes: no scheme was written.
    Plain,
    /// HTTP/1.1: `http://`.
    Http,
    /// TLS, and in it the HTTP that both know: `https://`.
    Https,
    /// HTTP/2 from the first byte: `h2c://`.
    H2c,
}

impl Speech {
    /// The scheme with its default port.
    const fn scheme(self) -> Option<(&'static str, u16)> {
        match self {
            Self::Plain => None,
            Self::Http => Some(("http", 80)),
            Self::Https => Some(("https", 443)),
            Self::H2c => Some(("h2c", 80)),
        }
    }
}

impl ServiceTarget {
    /// Reads the target of a service for HTTP: `3000`, `host:3000`, `http://host[:port]`, `https://…`, `h2c://…` or
    /// `unix:/path`.
    ///
    /// # Errors
    /// What is wrong with `text`.
    pub fn parse_http(text: &str) -> Result<Self, AddressError> {
        let Some((scheme, rest)) = text.split_once("://").filter(|(scheme, _)| *scheme != "unix") else {
            return Self::parse_tcp(text);
        };
        let known = [Speech::Http, Speech::Https, Speech::H2c].into_iter().find_map(|speech| {
            let (name, port) = speech.scheme()?;
            scheme.eq_ignore_ascii_case(name).then_some((speech, port))
        });
        let Some((speech, port)) = known else {
            return Err(AddressError::UnknownScheme { scheme: scheme.to_owned() });
        };
        Ok(Self { speech, address: Address::of_authority(rest, Some(port))? })
    }

    /// Reads the target of a service for raw bytes: `22`, `host:22` or `unix:/path`.
    ///
    /// # Errors
    /// What is wrong with `text`.
    pub fn parse_tcp(text: &str) -> Result<Self, AddressError> {
        Ok(Self { speech: Speech::Plain, address: Address::parse_tcp(text)? })
    }
}

impl FromStr for ServiceTarget {
    type Err = AddressError;

    /// As [`ServiceTarget::parse_http`].
    fn from_str(text: &str) -> Result<Self, AddressError> {
        Self::parse_http(text)
    }
}

impl fmt::Display for ServiceTarget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some((scheme, _)) = self.speech.scheme() {
            write!(f, "{scheme}://")?;
        }
        self.address.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn targets_in_all_their_forms() {
        for (text, canonical) in [
            ("3000", "localhost:3000"),
            ("localhost:3000", "localhost:3000"),
            ("127.0.0.1:80", "127.0.0.1:80"),
            ("[::1]:3000", "[::1]:3000"),
            ("http://app_1.lan", "http://app_1.lan:80"),
            ("HTTP://127.0.0.1:8080/", "http://127.0.0.1:8080"),
            ("http://[::1]", "http://[::1]:80"),
            ("https://app.lan", "https://app.lan:443"),
            ("HTTPS://[::1]:8443/", "https://[::1]:8443"),
            ("h2c://localhost:50051", "h2c://localhost:50051"),
            ("unix:/run/app.sock", "unix:/run/app.sock"),
            ("unix:///run/app.sock", "unix:/run/app.sock"),
        ] {
            let target: ServiceTarget = text.parse().unwrap();
            assert_eq!(target.to_string(), canonical);
            assert_eq!(canonical.parse::<ServiceTarget>().unwrap(), target, "{canonical}");
            let raw = ServiceTarget::parse_tcp(canonical);
            assert_eq!(raw.ok(), (target.speech == Speech::Plain).then_some(target), "{canonical}");
        }
    }

    #[test]
    fn what_is_no_target_says_what_to_write() {
        type E = AddressError;
        let own = str::to_owned;
        for (text, error) in [
            ("", E::Empty),
            ("ftp://a", E::UnknownScheme { scheme: own("ftp") }),
            ("localhost", E::NoPort(own("localhost"))),
            ("a:0", E::BadPort(own("0"))),
            ("a:+1", E::BadPort(own("+1"))),
            ("70000", E::BadPort(own("70000"))),
            ("a:", E::BadPort(own(""))),
            ("::1:3000", E::BadHost(own("::1:3000"))),
            (":80", E::BadHost(own(":80"))),
            ("a b:80", E::BadHost(own("a b:80"))),
            ("http://a/path", E::Path(own("/path"))),
            ("https://a/path", E::Path(own("/path"))),
            ("https://u:p@a", E::UserInfo),
            ("h2c://", E::BadHost(own(""))),
            ("unix:app.sock", E::RelativePath(own("app.sock"))),
        ] {
            assert_eq!(ServiceTarget::parse_http(text), Err(error), "{text}");
        }
        assert_eq!(ServiceTarget::parse_tcp("http://a:80"), Err(E::HttpForTcp { scheme: own("http") }));
        assert_eq!(ServiceTarget::parse_tcp("H2C://a:80"), Err(E::HttpForTcp { scheme: own("h2c") }));
    }
}
