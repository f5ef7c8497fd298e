//! The secret of a join string.

use std::fmt;
use std::str::FromStr;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

/// An Ed25519 seed (RFC 8032 section 5.1.5). Shows itself nowhere but where [`Secret32::expose`] or
/// [`Secret32::encode`] says so.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret32([u8; 32]);

/// The text is not the base64url form of 32 bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a secret is 43 characters of base64url")]
pub struct SecretError;

impl Secret32 {
    /// These bytes as a secret.
    #[must_use]
    pub fn new(seed: [u8; 32]) -> Self {
        Self(seed)
    }

    /// The bytes, for the one who signs with them.
    #[must_use]
    pub fn expose(&self) -> &[u8; 32] {
        &self.0
    }

    /// The text, for the one who hands it out.
    #[must_use]
    pub fn encode(&self) -> String {
        URL_SAFE_NO_PAD.encode(self.0)
    }
}

impl FromStr for Secret32 {
    type Err = SecretError;

    fn from_str(text: &str) -> Result<Self, SecretError> {
        let seed = URL_SAFE_NO_PAD.decode(text).map_err(|_| SecretError)?;
        seed.try_into().map(Self).map_err(|_| SecretError)
    }
}

impl fmt::Debug for Secret32 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret32(…)")
    }
}
