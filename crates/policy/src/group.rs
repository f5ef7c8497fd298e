//! Which group a registration is in: one that was granted, or the client's own.

use std::fmt;
use std::sync::Arc;

use protocol::id::ClientId;
use protocol::limits::NAME_MAX;
use protocol::service_name::is_name;

/// The group of a registration. Cloning is cheap.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum GroupKey {
    /// `~CLIENT`: an ad-hoc registration that names no group. It is never shared.
    Own(ClientId),
    /// A named group: its members share names and load.
    Named(Arc<str>),
}

/// The text is not the name of a group. Whoever wrote it is at fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a group's name is 1 to {NAME_MAX} letters, digits, '.', '_' or '-'")]
pub struct GroupNameError;

impl GroupKey {
    /// The group called `name`.
    ///
    /// # Errors
    /// `name` is too long, empty, or has other characters; among them are `~`, which marks a client's own
    /// group, and `/`, which separates a group from its service.
    pub fn named(name: &str) -> Result<Self, GroupNameError> {
        if is_name(name) { Ok(Self::Named(name.into())) } else { Err(GroupNameError) }
    }
}

impl fmt::Display for GroupKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Own(client) => write!(f, "~{client}"),
            Self::Named(name) => f.write_str(name),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_two_kinds_never_look_alike() {
        let own = GroupKey::Own(ClientId([0xab; 16]));
        assert_eq!(own.to_string(), format!("~{}", "ab".repeat(16)));
        assert_eq!(GroupKey::named(&own.to_string()), Err(GroupNameError));
        assert_eq!(GroupKey::named("web-1.eu").unwrap().to_string(), "web-1.eu");
        for name in ["", "a/b", "a b", "ä", &"a".repeat(65)] {
            assert_eq!(GroupKey::named(name), Err(GroupNameError), "{name}");
        }
    }
}
