//! What the pages under `/v1/config` of the admin socket speak.

use std::path::PathBuf;

use policy::revision::{PartChange, Revision};
use serde::{Deserialize, Serialize};

/// Body of `POST /v1/config/apply` and, of which only the text counts, of `POST /v1/config/prove`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ApplyRequest {
    /// The configuration.
    pub text: String,
    /// The file that it comes from: relative paths in it start there.
    pub path: PathBuf,
    /// What is to be remembered with it.
    #[serde(default)]
    pub note: Option<String>,
    /// Names that somebody holds are taken from him.
    #[serde(default)]
    pub take: bool,
    /// Every connected instance has to take the part of its group.
    #[serde(default)]
    pub require_all: bool,
    /// Undo it after so many seconds unless it is confirmed.
    #[serde(default)]
    pub confirm_seconds: Option<u64>,
}

/// Answer of `POST /v1/config/apply` and `POST /v1/config/rollback`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Applied {
    /// The revision that is in force now.
    pub revision: u64,
    /// Whether it was before: then nothing has changed.
    pub unchanged: bool,
    /// What differs from the one before.
    pub parts: Vec<PartChange>,
    /// What else there is to say, a line each: listeners, members that are behind.
    pub remarks: Vec<String>,
    /// Seconds after which it is undone unless it is confirmed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub undone_in_seconds: Option<u64>,
}

/// Answer of `POST /v1/config/prove`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProvedAnswer {
    /// Always true; what could not be used is an error.
    pub proved: bool,
}

/// Answer of `POST /v1/config/confirm`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Confirmed {
    /// The revision that stays.
    pub revision: u64,
}

/// Body of `POST /v1/config/rollback`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RollbackRequest {
    /// Which revision; none: the one before what is in force. 0 is no configuration.
    #[serde(default)]
    pub to: Option<u64>,
    /// What is to be remembered with it.
    #[serde(default)]
    pub note: Option<String>,
    /// See [`ApplyRequest`].
    #[serde(default)]
    pub take: bool,
    /// See [`ApplyRequest`].
    #[serde(default)]
    pub require_all: bool,
}

/// Answer of `GET /v1/config/history`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HistoryAnswer {
    /// The number in force; 0 without a configuration.
    pub revision: u64,
    /// All that are kept, oldest first. Times are seconds since 1970.
    pub revisions: Vec<Revision>,
    /// Seconds after which the one in force is undone unless it is confirmed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub undone_in_seconds: Option<u64>,
    /// Why the configuration file is not in force, if it is not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pending: Option<String>,
}

/// Answer of `GET /v1/config/show`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Shown {
    /// What is known of it; none of 0, which is no configuration.
    pub revision: Option<Revision>,
    /// As it was written: variables and files of secrets are not in it.
    pub text: String,
}

/// Answer of `GET /v1/config/diff`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Difference {
    /// One revision.
    pub from: u64,
    /// The other.
    pub to: u64,
    /// What differs, part by part.
    pub parts: Vec<PartChange>,
    /// Line by line, as `diff -u` writes it; empty if nothing differs.
    pub text: String,
}
