//! Why a revision was not put in force. Nothing has changed then.

use std::time::Duration;

use policy::revision::NoSuchRevision;

use super::reader::Unusable;
use super::runs::NotProven;
use super::store::StoreError;

/// Why a revision was not put in force.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Refusal {
    /// Its text is wrong.
    #[error("{0}")]
    Unusable(#[from] Unusable),
    /// The text is right, and what it asks for is not to be had.
    #[error("the configuration is not used: {}", .0.text)]
    Unproven(NotProven),
    /// There is none.
    #[error("{0}")]
    NoSuchRevision(#[from] NoSuchRevision),
    /// An operator's word is waited for.
    #[error(
        "revision {number} is undone in {} s unless it is confirmed: `tunneld config confirm` keeps it, `tunneld config rollback` undoes it now, \
         and another configuration can be applied in its place with --confirm",
        .left.as_secs()
    )]
    Awaiting {
        /// Which is in force on probation.
        number: u64,
        /// For how long.
        left: Duration,
    },
    /// No word is waited for.
    #[error("no revision waits to be confirmed")]
    NothingAwaited,
    /// The text is in force, so that there is nothing to undo.
    #[error("revision {0} is in force already and says the same: there is nothing that --confirm could undo")]
    InForce(u64),
    /// It can not be kept.
    #[error("the configuration is not used, because it can not be kept: {0}")]
    Store(#[from] StoreError),
    /// Files that it refers to can not be read.
    #[error(
        "a file that the configuration is in, or refers to, does not answer: look at its file system (df, dmesg), and try again"
    )]
    NoAnswer,
    /// The server ends.
    #[error("the server is going down")]
    Ended,
}

impl Refusal {
    /// The same in one line, for logs.
    pub(crate) fn line(&self) -> String {
        match self {
            Self::Unusable(unusable) => unusable.line.clone(),
            refusal => refusal.to_string(),
        }
    }

    /// Whether it is the operator who has to do something else.
    pub(crate) const fn is_usage(&self) -> bool {
        match self {
            Self::Unproven(not_proven) => not_proven.is_usage,
            Self::Store(_) | Self::NoAnswer | Self::Ended => false,
            _ => true,
        }
    }
}
