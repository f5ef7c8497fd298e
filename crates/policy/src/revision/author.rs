//! Whose a revision is.

use std::fmt;

use serde::{Deserialize, Serialize};

/// Who put a revision in force.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "by", rename_all = "kebab-case", deny_unknown_fields)]
pub enum Author {
    /// The file changed.
    File,
    /// An operator, over the admin socket.
    Admin {
        /// The user at the other end of the socket; none if the connection did not tell.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        uid: Option<u32>,
        /// What that user is called.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        name: Option<String>,
    },
    /// SIGHUP: what the text refers to says something else by now.
    Hangup,
    /// The one before was not confirmed in time.
    Unconfirmed,
    /// The one before failed its visitors.
    Watch,
}

impl fmt::Display for Author {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File => f.write_str("file"),
            Self::Admin { name: Some(name), .. } => write!(f, "admin {name}"),
            Self::Admin { uid: Some(uid), name: None } => write!(f, "admin {uid}"),
            Self::Admin { uid: None, name: None } => f.write_str("admin"),
            Self::Hangup => f.write_str("hangup"),
            Self::Unconfirmed => f.write_str("unconfirmed"),
            Self::Watch => f.write_str("watch"),
        }
    }
}
