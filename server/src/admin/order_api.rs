//! What is asked with an operator's orders, and answered; and what they have left.

use std::net::IpAddr;

use serde::{Deserialize, Serialize};

/// Something that is out of service.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DisabledInfo {
    /// What, as `enable` takes it.
    pub what: String,
    /// What a client called itself then.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub called: Option<String>,
    /// Since when, in seconds since 1970.
    pub since: u64,
}

impl DisabledInfo {
    /// Whether it is one of these words, or has to do with it; a host may be said without its domain.
    #[must_use]
    pub fn is_about(&self, words: &[&str], domain: &str) -> bool {
        let bare = self.what.split_once(':').map_or("", |(_, bare)| bare);
        let short = bare.strip_suffix(domain).and_then(|label| label.strip_suffix('.'));
        let mut names = bare.split('/').chain([bare]).chain(short).chain(self.called.as_deref());
        names.any(|name| words.iter().any(|word| word.eq_ignore_ascii_case(name)))
    }
}

/// Body of `POST /v1/disable` and of `POST /v1/enable`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Switch {
    /// A word of `status`, or with its kind in front, as in `principal:bob`.
    pub what: String,
}

/// Answer to it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Switched {
    /// What was meant.
    pub what: String,
    /// Whether it was otherwise before.
    pub changed: bool,
}

/// Body of `POST /v1/kick`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Kick {
    /// A client, by name or id.
    pub client: String,
}

/// Answer of `POST /v1/kick`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Kicked {
    /// Sessions that were ended.
    pub sessions: usize,
}

/// Body of `POST /v1/unban`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Unban {
    /// The address; of IPv6 all of its /64 is meant.
    pub address: IpAddr,
}

/// Answer of `POST /v1/unban`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Unbanned {
    /// Credentials that may be tried from there again, and could not before.
    pub bans: usize,
}
