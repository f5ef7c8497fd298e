//! What is known of a revision besides its text.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::{Author, Digest};

/// A note has no more bytes.
pub const NOTE_MAX: usize = 1_000;

/// One immutable configuration.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Revision {
    /// Its number. No two have the same.
    pub number: u64,
    /// Of its text.
    #[serde(with = "crate::written")]
    pub digest: Digest,
    /// Bytes of its text.
    pub length: u64,
    /// When it was accepted, in seconds since 1970.
    pub time: u64,
    /// By whom.
    pub author: Author,
    /// The file that the text comes from: relative paths in it start there.
    pub path: PathBuf,
    /// The number of the revision whose text this is once more. Never one that is such itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub restores: Option<u64>,
    /// What the operator, or the server, has to say to it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
}

impl Revision {
    /// The number that this text was accepted under first.
    #[must_use]
    pub fn origin(&self) -> u64 {
        self.restores.unwrap_or(self.number)
    }

    /// Whether a text of this digest from `path` would mean the same.
    #[must_use]
    pub fn is_same(&self, path: &Path, digest: Digest) -> bool {
        self.digest == digest && self.path.parent() == path.parent()
    }
}
