//! TCP ports that a grant gives.

use std::fmt;
use std::ops::RangeInclusive;
use std::str::FromStr;

/// The first port that a range may include; those below are granted one by one.
pub const UNPRIVILEGED: u16 = 1024;

/// One port, or a range of unprivileged ones; both ends are included, 0 never is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PortRange {
    first: u16,
    last: u16,
}

/// Why a text is no port range. Whoever wrote the grant is at fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PortRangeError {
    /// Not `A` or `A-B` with numbers from 1 to 65535.
    #[error("a port range is \"2222\" or \"1024-65535\", with ports from 1 to 65535")]
    Malformed,
    /// The last port is before the first.
    #[error("the port range {first}-{last} is empty: its last port is before its first")]
    Backwards {
        /// First port, as written.
        first: u16,
        /// Last port, as written.
        last: u16,
    },
    /// More than one port, some of them below [`UNPRIVILEGED`].
    #[error("ports below {UNPRIVILEGED} are granted one by one, not as a range")]
    Privileged,
}

impl PortRange {
    /// Every unprivileged port.
    pub const UNPRIVILEGED: Self = Self { first: UNPRIVILEGED, last: u16::MAX };

    /// The range from `first` to `last`, both included.
    ///
    /// # Errors
    /// A port 0, a range that is empty, or one of several ports that begins below [`UNPRIVILEGED`].
    pub const fn new(first: u16, last: u16) -> Result<Self, PortRangeError> {
        match (first, last) {
            (0, _) | (_, 0) => Err(PortRangeError::Malformed),
            _ if last < first => Err(PortRangeError::Backwards { first, last }),
            _ if first < last && first < UNPRIVILEGED => Err(PortRangeError::Privileged),
            _ => Ok(Self { first, last }),
        }
    }

    /// The range that `text` writes down: `2222` or `1024-65535`.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn parse(text: &str) -> Result<Self, PortRangeError> {
        let (first, last) = text.split_once('-').unwrap_or((text, text));
        Self::new(parse_port(first)?, parse_port(last)?)
    }

    /// The first port.
    #[must_use]
    pub const fn first(&self) -> u16 {
        self.first
    }

    /// The last port; never before the first.
    #[must_use]
    pub const fn last(&self) -> u16 {
        self.last
    }

    /// Whether `port` is in the range.
    #[must_use]
    pub const fn contains(&self, port: u16) -> bool {
        self.first <= port && port <= self.last
    }

    /// The ports, ascending.
    #[must_use]
    pub const fn iter(&self) -> RangeInclusive<u16> {
        self.first..=self.last
    }
}

impl IntoIterator for PortRange {
    type Item = u16;
    type IntoIter = RangeInclusive<u16>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

impl IntoIterator for &PortRange {
    type Item = u16;
    type IntoIter = RangeInclusive<u16>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

impl FromStr for PortRange {
    type Err = PortRangeError;

    fn from_str(text: &str) -> Result<Self, PortRangeError> {
        Self::parse(text)
    }
}

impl fmt::Display for PortRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.first == self.last {
            true => write!(f, "{}", self.first),
            false => write!(f, "{}-{}", self.first, self.last),
        }
    }
}

fn parse_port(text: &str) -> Result<u16, PortRangeError> {
    // `u16::from_str` would take a sign.
    match text.bytes().all(|b| b.is_ascii_digit()) {
        true => text.parse().map_err(|_| PortRangeError::Malformed),
        false => Err(PortRangeError::Malformed),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn one_port_or_a_range() {
        assert_eq!(PortRange::parse("2222"), PortRange::new(2222, 2222));
        assert_eq!(PortRange::parse("1024-65535"), Ok(PortRange::UNPRIVILEGED));
        assert_eq!(PortRange::parse("22").unwrap().iter().collect::<Vec<_>>(), [22]);
        assert_eq!(PortRange::UNPRIVILEGED.iter().count(), 64_512);
    }

    #[test]
    fn what_is_no_range_says_why() {
        for text in ["", "0", "-", "1-", "-1", "65536", "+80", "1 - 2", "a", "2000-3000-4000", "0-0"] {
            assert_eq!(PortRange::parse(text), Err(PortRangeError::Malformed), "{text}");
        }
        assert_eq!(PortRange::parse("3000-2000"), Err(PortRangeError::Backwards { first: 3000, last: 2000 }));
        assert_eq!(PortRange::parse("1-65535"), Err(PortRangeError::Privileged));
        assert_eq!(PortRange::parse("1023-1024"), Err(PortRangeError::Privileged));
    }

    proptest! {
        #[test]
        fn display_and_parse_agree(a in 1024u16.., b in 1024u16..) {
            let range = PortRange::new(a.min(b), a.max(b)).unwrap();
            prop_assert_eq!(PortRange::parse(&range.to_string()), Ok(range));
            prop_assert!(range.contains(a) && range.contains(b));
        }
    }
}
