//! Host names in the one form in which they are stored and compared.

use std::borrow::Borrow;
use std::fmt;
use std::net::Ipv6Addr;
use std::str::FromStr;
use std::sync::Arc;

pub use protocol::limits::HOST_MAX;

/// Longest label of a host name, in bytes (RFC 1035 section 2.3.4).
pub const LABEL_MAX: usize = 63;

/// Why a text is not a host name that a registration could have. Whoever sent the text is at fault.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum HostError {
    /// There is no name.
    #[error("the host name is empty")]
    Empty,
    /// More than [`HOST_MAX`] bytes.
    #[error("the host name has {length} bytes, at most {HOST_MAX} are allowed")]
    TooLong {
        /// Length of the name, in bytes.
        length: usize,
    },
    /// Two dots follow each other, or the name begins with one.
    #[error("the host name has an empty label (two dots in a row, or a dot at its start)")]
    EmptyLabel,
    /// A label of more than [`LABEL_MAX`] bytes.
    #[error("a label of the host name has {length} bytes, at most {LABEL_MAX} are allowed")]
    LabelTooLong {
        /// Length of the label, in bytes.
        length: usize,
    },
    /// A label begins or ends with a hyphen.
    #[error("a label of a host name cannot begin or end with '-'")]
    Hyphen,
    /// A character outside of ASCII.
    #[error("host names are written in ASCII: write the A-label form (xn--…) instead")]
    NotAscii,
    /// An ASCII character that no host name has.
    #[error("{character:?} is not allowed in a host name (letters, digits, '-' and '.')")]
    BadCharacter {
        /// The first such character.
        character: char,
    },
    /// An IP address, or something that readers take for one: it can never be registered.
    #[error("an IP address is not a host name")]
    IpLiteral,
    /// What follows the `:` of an authority is no port.
    #[error("the port of the authority is not a number up to 65535")]
    BadPort,
}

/// A canonical host name: lower-case ASCII letters, digits and hyphens, in labels of 1 to 63 bytes, at most 253
/// bytes in all, no trailing dot, no port, and never an IP address. Cloning is cheap.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Host(Arc<str>);

impl Host {
    /// The host that `text` names; upper case is lowered and one trailing dot is dropped.
    ///
    /// # Errors
    /// What is wrong with `text`.
    pub fn parse(text: &str) -> Result<Self, HostError> {
        let text = text.strip_suffix('.').unwrap_or(text);
        if text.is_empty() {
            return Err(HostError::Empty);
        }
        if text.len() > HOST_MAX {
            return Err(HostError::TooLong { length: text.len() });
        }
        if is_ipv6(text) {
            return Err(HostError::IpLiteral);
        }
        text.split('.').try_for_each(check_label)?;
        if text.rsplit('.').next().is_some_and(reads_as_number) {
            return Err(HostError::IpLiteral);
        }
        // Most are lower case already: one allocation less for every request.
        Ok(Self(match text.bytes().any(|b| b.is_ascii_uppercase()) {
            true => text.to_ascii_lowercase().into(),
            false => text.into(),
        }))
    }

    /// The host of a `Host` field or `:authority` (RFC 9110 section 7.2): a host with or without a port.
    ///
    /// # Errors
    /// What is wrong with it: also user information, a path, a list, white space. IP addresses are
    /// [`HostError::IpLiteral`].
    pub fn from_authority(text: &str) -> Result<Self, HostError> {
        if let Some(rest) = text.strip_prefix('[') {
            let (inner, port) = rest.split_once(']').ok_or(HostError::BadCharacter { character: '[' })?;
            match port.strip_prefix(':') {
                Some(digits) => check_port(digits)?,
                None if port.is_empty() => {}
                None => return Err(HostError::BadPort),
            }
            return Err(match inner.parse::<Ipv6Addr>() {
                Ok(_) => HostError::IpLiteral,
                Err(_) => HostError::BadCharacter { character: '[' },
            });
        }
        let (host, port) = text.split_once(':').unwrap_or((text, ""));
        let host = Self::parse(host)?;
        check_port(port)?;
        Ok(host)
    }

    /// `label.domain`; `label` may have dots of its own.
    ///
    /// # Errors
    /// What is wrong with the result.
    pub fn under(label: &str, domain: &Self) -> Result<Self, HostError> {
        if label.is_empty() {
            return Err(HostError::EmptyLabel);
        }
        Self::parse(&format!("{label}.{domain}"))
    }

    /// The host of a tunnel: without a dot `name` is meant under `domain`, with one it is complete.
    ///
    /// # Errors
    /// What is wrong with the name.
    pub fn complete(name: &str, domain: &Self) -> Result<Self, HostError> {
        match name {
            "" => Err(HostError::Empty),
            _ if name.contains('.') => Self::parse(name),
            _ => Self::under(name, domain),
        }
    }

    /// What stands before `.domain`, if this host is below `domain`.
    #[must_use]
    pub fn name_in(&self, domain: &Self) -> Option<&str> {
        self.0.strip_suffix(domain.as_str())?.strip_suffix('.').filter(|name| !name.is_empty())
    }

    /// The leftmost label.
    #[must_use]
    pub fn first_label(&self) -> &str {
        self.0.split_once('.').map_or(&*self.0, |(first, _)| first)
    }

    /// What follows the leftmost label and its dot; none if there is only one label.
    #[must_use]
    pub fn parent(&self) -> Option<&str> {
        self.0.split_once('.').map(|(_, parent)| parent)
    }

    /// The canonical text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Host {
    type Err = HostError;

    fn from_str(text: &str) -> Result<Self, HostError> {
        Self::parse(text)
    }
}

impl fmt::Display for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&*self.0, f)
    }
}

/// Maps keyed by `Host` can be asked with a `&str`.
impl Borrow<str> for Host {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl AsRef<str> for Host {
    fn as_ref(&self) -> &str {
        &self.0
    }
}

fn check_label(label: &str) -> Result<(), HostError> {
    if let Some(character) = label.chars().find(|c| !(c.is_ascii_alphanumeric() || *c == '-')) {
        return Err(match character.is_ascii() {
            true => HostError::BadCharacter { character },
            false => HostError::NotAscii,
        });
    }
    match label.len() {
        0 => Err(HostError::EmptyLabel),
        length if length > LABEL_MAX => Err(HostError::LabelTooLong { length }),
        _ if label.starts_with('-') || label.ends_with('-') => Err(HostError::Hyphen),
        _ => Ok(()),
    }
}

fn check_port(digits: &str) -> Result<(), HostError> {
    // RFC 3986 section 3.2.3 allows an empty port; `u16::from_str` would allow a sign.
    let number =
        digits.bytes().all(|b| b.is_ascii_digit()) && (digits.is_empty() || digits.parse::<u16>().is_ok());
    if number { Ok(()) } else { Err(HostError::BadPort) }
}

fn is_ipv6(text: &str) -> bool {
    let bare = text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(text);
    bare.contains(':') && bare.parse::<Ipv6Addr>().is_ok()
}

/// Whether browsers read a host with this last label as an IPv4 address (`127.1`, `0x7f.0x1`).
fn reads_as_number(label: &str) -> bool {
    let hex = label.strip_prefix("0x").or_else(|| label.strip_prefix("0X"));
    label.bytes().all(|b| b.is_ascii_digit())
        || hex.is_some_and(|hex| hex.bytes().all(|b| b.is_ascii_hexdigit()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn host(text: &str) -> Host {
        Host::parse(text).unwrap()
    }

    #[test]
    fn case_and_a_trailing_dot_make_no_difference() {
        assert_eq!(host("App.T.Example.COM."), host("app.t.example.com"));
        assert_eq!(host("LOCALHOST").as_str(), "localhost");
        assert_eq!(host("xn--bcher-kva.example").as_str(), "xn--bcher-kva.example");
    }

    #[test]
    fn what_is_no_host_says_why() {
        let long = "a".repeat(64);
        let cases = [
            ("", HostError::Empty),
            (".", HostError::Empty),
            ("a..b", HostError::EmptyLabel),
            (".a", HostError::EmptyLabel),
            ("a.b..", HostError::EmptyLabel),
            (&*long, HostError::LabelTooLong { length: 64 }),
            ("-a.b", HostError::Hyphen),
            ("a-.b", HostError::Hyphen),
            ("a_b.c", HostError::BadCharacter { character: '_' }),
            ("*.c", HostError::BadCharacter { character: '*' }),
            ("a b", HostError::BadCharacter { character: ' ' }),
            ("a:80", HostError::BadCharacter { character: ':' }),
            ("bücher.example", HostError::NotAscii),
            ("127.0.0.1", HostError::IpLiteral),
            ("127.1", HostError::IpLiteral),
            ("a.0x7f", HostError::IpLiteral),
            ("::1", HostError::IpLiteral),
            ("[::1]", HostError::IpLiteral),
        ];
        for (text, error) in cases {
            assert_eq!(Host::parse(text), Err(error), "{text:?}");
        }
        assert!(HostError::NotAscii.to_string().contains("A-label"));
    }

    #[test]
    fn at_most_253_bytes() {
        let label = "a".repeat(49);
        let full = [&*label; 5].join(".") + ".abc";
        assert_eq!(full.len(), 253);
        assert!(Host::parse(&full).is_ok());
        assert!(Host::parse(&format!("{full}.")).is_ok());
        assert_eq!(Host::parse(&format!("{full}d")), Err(HostError::TooLong { length: 254 }));
    }

    #[test]
    fn an_authority_may_have_a_port_and_nothing_else() {
        for text in ["a.b", "A.b:80", "a.b.:80", "a.b:", "a.b:65535"] {
            assert_eq!(Host::from_authority(text), Ok(host("a.b")), "{text:?}");
        }
        let cases = [
            ("a.b:65536", HostError::BadPort),
            ("a.b:+80", HostError::BadPort),
            ("a.b:80:80", HostError::BadPort),
            ("a.b:x", HostError::BadPort),
            ("[::1]", HostError::IpLiteral),
            ("[::1]:80", HostError::IpLiteral),
            ("[::1]80", HostError::BadPort),
            ("[::1", HostError::BadCharacter { character: '[' }),
            ("[x]", HostError::BadCharacter { character: '[' }),
            ("127.0.0.1:8080", HostError::IpLiteral),
            (":80", HostError::Empty),
            ("", HostError::Empty),
            ("user@a.b", HostError::BadCharacter { character: '@' }),
            ("user:pass@a.b", HostError::BadPort),
            ("a.b/x", HostError::BadCharacter { character: '/' }),
            ("a.b,c.d", HostError::BadCharacter { character: ',' }),
            ("a.b, c.d:80", HostError::BadCharacter { character: ',' }),
            (" a.b", HostError::BadCharacter { character: ' ' }),
            ("a.b\t:80", HostError::BadCharacter { character: '\t' }),
        ];
        for (text, error) in cases {
            assert_eq!(Host::from_authority(text), Err(error), "{text:?}");
        }
    }

    #[test]
    fn names_are_under_the_domain_unless_they_have_a_dot() {
        let domain = host("t.example.com");
        assert_eq!(Host::complete("Wiki", &domain), Ok(host("wiki.t.example.com")));
        assert_eq!(Host::complete("wiki.other.org", &domain), Ok(host("wiki.other.org")));
        assert_eq!(Host::complete("", &domain), Err(HostError::Empty));
        assert_eq!(Host::under("", &domain), Err(HostError::EmptyLabel));
        assert_eq!(Host::under("a.b", &domain), Ok(host("a.b.t.example.com")));
        assert_eq!(Host::complete("7", &domain), Ok(host("7.t.example.com")));
    }

    #[test]
    fn the_name_in_a_domain_ends_at_a_dot() {
        let domain = host("t.example.com");
        assert_eq!(host("a.t.example.com").name_in(&domain), Some("a"));
        assert_eq!(host("b.a.t.example.com").name_in(&domain), Some("b.a"));
        assert_eq!(host("xt.example.com").name_in(&domain), None);
        assert_eq!(domain.name_in(&domain), None);
        assert_eq!(host("b.a.c").first_label(), "b");
        assert_eq!(host("b.a.c").parent(), Some("a.c"));
        assert_eq!(host("b").parent(), None);
    }

    proptest! {
        #[test]
        fn parsing_is_idempotent_and_never_panics(text in ".{0,80}") {
            if let Ok(host) = Host::parse(&text) {
                prop_assert_eq!(Host::parse(host.as_str()), Ok(host.clone()));
                prop_assert_eq!(Host::from_authority(host.as_str()), Ok(host.clone()));
                let upper = format!("{}:443", host.as_str().to_ascii_uppercase());
                prop_assert_eq!(Host::from_authority(&upper), Ok(host));
            }
            let _ = Host::from_authority(&text);
        }

        #[test]
        fn well_formed_names_are_accepted(text in "[a-z][a-z0-9]{0,20}(\\.[a-zA-Z]([a-z0-9-]{0,10}[a-z])?){0,4}") {
            prop_assert!(Host::parse(&text).is_ok());
        }
    }
}
