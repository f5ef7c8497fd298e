//! Pins: whom to trust.

use std::fmt;
use std::str::FromStr;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

/// SHA-256 over the SubjectPublicKeyInfo of a certificate (RFC 7469 section 2.4), written `sha256-BASE64URL`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Pin(pub [u8; 32]);

/// Why a text is no pin.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PinError {
    /// Another hash than SHA-256, or none named.
    #[error("a pin starts with sha256-")]
    Algorithm,
    /// Not the base64url form of 32 bytes.
    #[error("43 characters of base64url follow sha256-")]
    Hash,
}

const PREFIX: &str = "sha256-";

impl FromStr for Pin {
    type Err = PinError;

    fn from_str(text: &str) -> Result<Self, PinError> {
        let encoded = text.strip_prefix(PREFIX).ok_or(PinError::Algorithm)?;
        let hash = URL_SAFE_NO_PAD.decode(encoded).map_err(|_| PinError::Hash)?;
        hash.try_into().map(Self).map_err(|_| PinError::Hash)
    }
}

impl fmt::Display for Pin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{PREFIX}{}", URL_SAFE_NO_PAD.encode(self.0))
    }
}

impl fmt::Debug for Pin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Pin({self})")
    }
}
