//! Which version of the protocol a session speaks.

use crate::codec::{DecodeError, EncodeError, Reader, Writer};

/// The name of this protocol in the ALPN extension of TLS (RFC 7301).
pub const ALPN: &[u8] = b"tunnel/1";

/// The only version of this release.
pub const VERSION: u16 = 1;

/// The versions that a client speaks, both ends included.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct VersionRange {
    /// The lowest, at least 1.
    pub min: u16,
    /// The highest, not below `min`.
    pub max: u16,
}

impl VersionRange {
    /// What this release speaks.
    pub const OURS: Self = Self { min: VERSION, max: VERSION };

    fn is_valid(self) -> bool {
        1 <= self.min && self.min <= self.max
    }

    pub(super) fn encode(self, writer: &mut Writer<'_>) -> Result<(), EncodeError> {
        if !self.is_valid() {
            return Err(EncodeError::BadValue { field: "versions" });
        }
        writer.u16(self.min);
        writer.u16(self.max);
        Ok(())
    }

    pub(super) fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let range = Self { min: reader.u16("versions")?, max: reader.u16("versions")? };
        if range.is_valid() { Ok(range) } else { Err(DecodeError::BadValue { field: "versions" }) }
    }
}

/// The highest version that both sides speak.
///
/// # Errors
/// [`VersionMismatch`] if there is none; its text belongs into the `reject`.
pub fn negotiate(theirs: VersionRange) -> Result<u16, VersionMismatch> {
    let ours = VersionRange::OURS;
    let highest = ours.max.min(theirs.max);
    if highest < ours.min.max(theirs.min) {
        return Err(VersionMismatch { ours, theirs });
    }
    Ok(highest)
}

/// No version in common; the text tells a person which side is too old.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "this server speaks version {}, the client {}: update the {}",
    Span(.ours), Span(.theirs), if .theirs.max < .ours.min { "client" } else { "server" }
)]
pub struct VersionMismatch {
    /// What this side speaks.
    pub ours: VersionRange,
    /// What the peer speaks.
    pub theirs: VersionRange,
}

struct Span<'a>(&'a VersionRange);

impl std::fmt::Display for Span<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let VersionRange { min, max } = self.0;
        if min == max { write!(f, "{min}") } else { write!(f, "{min} to {max}") }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_highest_common_version_is_chosen() {
        assert_eq!(negotiate(VersionRange { min: 1, max: 1 }), Ok(1));
        assert_eq!(negotiate(VersionRange { min: 1, max: 9 }), Ok(1));
    }

    #[test]
    fn a_mismatch_says_who_is_too_old() {
        let error = negotiate(VersionRange { min: 2, max: 3 }).unwrap_err();
        assert_eq!(error.to_string(), "this server speaks version 1, the client 2 to 3: update the server");
    }
}
