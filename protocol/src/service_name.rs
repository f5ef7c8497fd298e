//! What a substream asks for: a name, never an address (`spec/06-request-substreams.md`).

use std::fmt;
use std::str::FromStr;

use crate::limits::NAME_MAX;

/// The name of a service, which the receiver looks up in its own table for the session.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ServiceName {
    /// `GROUP/SERVICE`: a service of a group's configuration.
    Grouped {
        /// The group.
        group: String,
        /// The service within it.
        service: String,
    },
    /// `~/N`: the registration with id N of the receiving instance.
    Own(u32),
    /// `SERVICE`: a service next to the server.
    Plain(String),
}

/// Why a text names no service.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "a service is GROUP/SERVICE, SERVICE or ~/NUMBER; names are 1 to {NAME_MAX} of letters, digits, '.', '_' and '-'"
)]
pub struct ServiceNameError;

/// Whether `name` can name a group or a service: 1 to [`NAME_MAX`] of ASCII letters, digits, `.`, `_`, `-`.
#[must_use]
pub fn is_name(name: &str) -> bool {
    let known = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-');
    (1..=NAME_MAX).contains(&name.len()) && name.bytes().all(known)
}

impl ServiceName {
    /// Whether its parts are names, so that its text reads back as the same value.
    pub(crate) fn is_valid(&self) -> bool {
        match self {
            Self::Grouped { group, service } => is_name(group) && is_name(service),
            Self::Own(_) => true,
            Self::Plain(service) => is_name(service),
        }
    }
}

impl FromStr for ServiceName {
    type Err = ServiceNameError;

    fn from_str(text: &str) -> Result<Self, ServiceNameError> {
        let name = match text.split_once('/') {
            Some(("~", number)) => Self::Own(canonical_number(number).ok_or(ServiceNameError)?),
            Some((group, service)) => Self::Grouped { group: group.to_owned(), service: service.to_owned() },
            None => Self::Plain(text.to_owned()),
        };
        if name.is_valid() { Ok(name) } else { Err(ServiceNameError) }
    }
}

/// A decimal number with one spelling: no sign, no leading zero.
fn canonical_number(text: &str) -> Option<u32> {
    let canonical = text == "0" || text.bytes().next().is_some_and(|b| (b'1'..=b'9').contains(&b));
    text.parse().ok().filter(|_| canonical)
}

impl fmt::Display for ServiceName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Grouped { group, service } => write!(f, "{group}/{service}"),
            Self::Own(id) => write!(f, "~/{id}"),
            Self::Plain(service) => f.write_str(service),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_survive_their_text() {
        for text in ["web/app", "~/0", "~/4294967295", "billing", "a.b_c-D/9"] {
            assert_eq!(text.parse::<ServiceName>().unwrap().to_string(), text);
        }
        assert_eq!("~/7".parse(), Ok(ServiceName::Own(7)));
    }

    #[test]
    fn what_names_no_service_is_refused() {
        let long = "a".repeat(NAME_MAX + 1);
        let bad =
            ["", "/", "a/", "/a", "a/b/c", "~", "~/", "~/01", "~/+1", "~/x", "~/4294967296", "ä", "a b"];
        let addresses = ["127.0.0.1:80", "[::1]:80", "http://a", "~1/x", &long];
        for text in bad.into_iter().chain(addresses) {
            assert_eq!(text.parse::<ServiceName>(), Err(ServiceNameError), "{text}");
        }
    }
}
