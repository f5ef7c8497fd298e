//! What a consistent hash is made of: requests that agree in it go to the same member.

use std::fmt;
use std::hash::Hasher;
use std::net::IpAddr;
use std::str::FromStr;

use siphasher::sip::SipHasher13;

use crate::rule::{Asked, is_token};

/// What requests must agree in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum HashKey {
    /// The visitor's address.
    ClientIp,
    /// The first value of this field, name in lower case.
    Header(String),
    /// The first cookie of this name.
    Cookie(String),
    /// The path without its query.
    Path,
}

/// The text is no key. Whoever wrote it is at fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("write \"client-ip\", \"header:NAME\", \"cookie:NAME\" or \"path\"")]
pub struct HashKeyError;

impl HashKey {
    /// The hash of a request: the same in every process, on every machine. A request without the field or the cookie
    /// is told apart by the visitor's address.
    #[must_use]
    pub fn of(&self, asked: &Asked<'_>) -> u64 {
        match self {
            Self::ClientIp => hash_address(asked.client),
            Self::Header(name) => hash_first(asked, name, |value| Some(hash(value))),
            Self::Cookie(name) => hash_first(asked, "cookie", |value| cookie(value, name).map(hash)),
            Self::Path => hash(asked.path.as_bytes()),
        }
    }
}

fn hash_first(asked: &Asked<'_>, field: &str, of: impl Fn(&[u8]) -> Option<u64>) -> u64 {
    let mut found = None;
    asked.fields.any(field, &mut |value| {
        found = of(value);
        found.is_some()
    });
    found.unwrap_or_else(|| hash_address(asked.client))
}

/// The value of a cookie in a `Cookie` field (RFC 6265 section 4.2.1).
fn cookie<'v>(field: &'v [u8], name: &str) -> Option<&'v [u8]> {
    field
        .split(|byte| *byte == b';')
        .find_map(|pair| pair.trim_ascii().strip_prefix(name.as_bytes())?.strip_prefix(b"="))
}

/// The hash of an address; an IPv4 address in its IPv6 form is the same one.
#[must_use]
pub fn hash_address(address: IpAddr) -> u64 {
    match address.to_canonical() {
        IpAddr::V4(address) => hash(&address.octets()),
        IpAddr::V6(address) => hash(&address.octets()),
    }
}

/// SipHash-1-3 with a key of zeros: what is hashed is compared with itself only, so that the key needs no secret.
#[must_use]
pub fn hash(bytes: &[u8]) -> u64 {
    let mut hasher = SipHasher13::new();
    hasher.write(bytes);
    hasher.finish()
}

impl FromStr for HashKey {
    type Err = HashKeyError;

    fn from_str(text: &str) -> Result<Self, HashKeyError> {
        match text.split_once(':') {
            None if text == "client-ip" => Ok(Self::ClientIp),
            None if text == "path" => Ok(Self::Path),
            Some(("header", name)) if is_token(name) => Ok(Self::Header(name.to_ascii_lowercase())),
            Some(("cookie", name)) if is_token(name) => Ok(Self::Cookie(name.to_owned())),
            _ => Err(HashKeyError),
        }
    }
}

impl fmt::Display for HashKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::ClientIp => f.write_str("client-ip"),
            Self::Header(name) => write!(f, "header:{name}"),
            Self::Cookie(name) => write!(f, "cookie:{name}"),
            Self::Path => f.write_str("path"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::Host;

    fn hash_of(key: &str, client: &str, path: &str, fields: &[(&str, &str)]) -> u64 {
        let host = Host::parse("a.test").unwrap();
        let fields: Vec<(String, String)> =
            fields.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        let asked =
            Asked { host: &host, method: "GET", path, fields: &fields, client: client.parse().unwrap() };
        key.parse::<HashKey>().unwrap().of(&asked)
    }

    #[test]
    fn keys_survive_their_text() {
        for text in ["client-ip", "header:x-user", "cookie:Sid", "path"] {
            assert_eq!(text.parse::<HashKey>().unwrap().to_string(), text);
        }
        assert_eq!("header:X-User".parse(), Ok(HashKey::Header("x-user".to_owned())));
        for text in ["", "ip", "header", "header:", "header:a b", "cookie:a=b", "path:x"] {
            assert_eq!(text.parse::<HashKey>(), Err(HashKeyError), "{text}");
        }
    }

    #[test]
    fn requests_that_agree_in_the_key_hash_alike() {
        let user = [("x-user", "ann"), ("x-user", "bob")];
        assert_eq!(
            hash_of("header:x-user", "::1", "/", &user),
            hash_of("header:x-user", "::2", "/", &user[..1])
        );
        let (first, second) = ([("cookie", "a=1; sid=7; b=2")], [("cookie", "a=9"), ("cookie", "sid=7")]);
        assert_eq!(hash_of("cookie:sid", "::1", "/", &first), hash_of("cookie:sid", "::2", "/", &second));
        assert_ne!(hash_of("path", "::1", "/a", &[]), hash_of("path", "::1", "/b", &[]));
        assert_eq!(
            hash_of("client-ip", "::ffff:192.0.2.1", "/a", &[]),
            hash_of("client-ip", "192.0.2.1", "/", &[])
        );
    }

    #[test]
    fn without_the_field_the_address_tells_visitors_apart() {
        let longer = [("cookie", "xsid=7; sidx=7")];
        assert_eq!(
            hash_of("cookie:sid", "192.0.2.1", "/", &longer),
            hash_of("client-ip", "192.0.2.1", "/", &[])
        );
        assert_ne!(hash_of("header:x", "192.0.2.1", "/", &[]), hash_of("header:x", "192.0.2.2", "/", &[]));
    }

    #[test]
    fn the_hash_is_the_same_in_every_process() {
        assert_eq!(hash(b""), 0xd1fb_a762_150c_532c);
        assert_eq!(hash(b"edge-1"), 0x9144_8259_b190_1f0d);
    }
}
