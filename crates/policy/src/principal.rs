//! Who authenticated.

use std::borrow::Borrow;
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use protocol::limits::NAME_MAX;

/// The name of a principal: the owner of credentials, names and ports. 1 to [`NAME_MAX`] ASCII letters, digits,
/// `-`, `_`, `.` and `@`, of which the first is a letter or a digit. Cloning is cheap.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Principal(Arc<str>);

/// The text is not the name of a principal. Whoever wrote it is at fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "a principal's name is 1 to {NAME_MAX} letters, digits, '-', '_', '.' or '@', and begins with a letter or a digit"
)]
pub struct PrincipalError;

impl Principal {
    /// The principal called `text`.
    ///
    /// # Errors
    /// `text` is too long, empty, or has other characters.
    pub fn parse(text: &str) -> Result<Self, PrincipalError> {
        let allowed = |b: u8| b.is_ascii_alphanumeric() || b"-_.@".contains(&b);
        let good = text.len() <= NAME_MAX
            && text.starts_with(|c: char| c.is_ascii_alphanumeric())
            && text.bytes().all(allowed);
        if good { Ok(Self(text.into())) } else { Err(PrincipalError) }
    }

    /// The name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Principal {
    type Err = PrincipalError;

    fn from_str(text: &str) -> Result<Self, PrincipalError> {
        Self::parse(text)
    }
}

impl fmt::Display for Principal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

impl fmt::Debug for Principal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&*self.0, f)
    }
}

/// Maps keyed by `Principal` can be asked with a `&str`.
impl Borrow<str> for Principal {
    fn borrow(&self) -> &str {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_plain_words() {
        for text in ["default", "edge-1", "bob@example.com", "7", &"a".repeat(64)] {
            assert_eq!(Principal::parse(text).map(|p| p.to_string()), Ok(text.to_owned()));
        }
        for text in ["", "-a", ".a", "a b", "a/b", "~a", "ä", &"a".repeat(65)] {
            assert_eq!(Principal::parse(text), Err(PrincipalError), "{text}");
        }
    }
}
