//! What a grant says about hosts: one of them, or all that are one label below a suffix.

use std::fmt;
use std::str::FromStr;

use crate::host::{Host, HostError};

/// `app.example.com`, or `*.example.com` for exactly one label in front. A bare `*` does not exist.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum HostPattern {
    /// This host.
    Exact(Host),
    /// Every host that is one label followed by this suffix.
    Wildcard(Host),
}

/// Why a text is no host pattern. Whoever wrote the grant is at fault.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum HostPatternError {
    /// `*` alone would be everything.
    #[error("\"*\" alone is not a pattern: write \"*.domain\"")]
    Bare,
    /// A `*` somewhere else than as the first label.
    #[error("\"*\" stands for one whole label, at the front: \"*.domain\"")]
    Misplaced,
    /// The host or the suffix is not a host name.
    #[error(transparent)]
    Host(#[from] HostError),
}

impl HostPattern {
    /// The pattern that `text` writes down.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn parse(text: &str) -> Result<Self, HostPatternError> {
        if matches!(text, "*" | "*.") {
            return Err(HostPatternError::Bare);
        }
        let (suffix, build): (&str, fn(Host) -> Self) = match text.strip_prefix("*.") {
            Some(suffix) => (suffix, Self::Wildcard),
            None => (text, Self::Exact),
        };
        if suffix.contains('*') {
            return Err(HostPatternError::Misplaced);
        }
        Ok(build(Host::parse(suffix)?))
    }

    /// Whether `host` is meant.
    #[must_use]
    pub fn matches(&self, host: &Host) -> bool {
        match self {
            Self::Exact(exact) => exact == host,
            Self::Wildcard(suffix) => host.parent() == Some(suffix.as_str()),
        }
    }
}

impl FromStr for HostPattern {
    type Err = HostPatternError;

    fn from_str(text: &str) -> Result<Self, HostPatternError> {
        Self::parse(text)
    }
}

impl fmt::Display for HostPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exact(host) => write!(f, "{host}"),
            Self::Wildcard(suffix) => write!(f, "*.{suffix}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_wildcard_is_exactly_one_label() {
        let pattern = HostPattern::parse("*.Sub.example.com").unwrap();
        for (host, expected) in [
            ("a.sub.example.com", true),
            ("sub.example.com", false),
            ("b.a.sub.example.com", false),
            ("asub.example.com", false),
        ] {
            assert_eq!(pattern.matches(&Host::parse(host).unwrap()), expected, "{host}");
        }
        assert_eq!(pattern.to_string(), "*.sub.example.com");
    }

    #[test]
    fn stars_elsewhere_are_refused() {
        for text in ["*", "*."] {
            assert_eq!(HostPattern::parse(text), Err(HostPatternError::Bare));
        }
        for text in ["a.*.b", "*.*.b", "*a.b", "a*"] {
            assert_eq!(HostPattern::parse(text), Err(HostPatternError::Misplaced), "{text}");
        }
        assert_eq!(HostPattern::parse("*..b"), Err(HostPatternError::Host(HostError::EmptyLabel)));
        assert_eq!(HostPattern::parse("*.10"), Err(HostPatternError::Host(HostError::IpLiteral)));
    }

    proptest! {
        #[test]
        fn display_and_parse_agree(text in "(\\*\\.)?[a-z]{1,5}(\\.[a-z]{1,5}){0,3}") {
            let pattern = HostPattern::parse(&text).unwrap();
            prop_assert_eq!(HostPattern::parse(&pattern.to_string()), Ok(pattern));
        }
    }
}
