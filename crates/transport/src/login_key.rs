//! The Ed25519 keys of a login (`spec/03`): the client holds the seed, the server only the public key.

use std::fmt;
use std::str::FromStr;

use aws_lc_rs::signature::{ED25519, Ed25519KeyPair, KeyPair, UnparsedPublicKey};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

/// A client's half: signs logins.
pub struct LoginKey(Ed25519KeyPair);

impl LoginKey {
    /// The key that a 32-byte seed stands for.
    ///
    /// # Errors
    /// [`KeyError::Seed`] if the library refuses the seed.
    pub fn from_seed(seed: &[u8; 32]) -> Result<Self, KeyError> {
        let pair = Ed25519KeyPair::from_seed_unchecked(seed).map_err(|_| KeyError::Seed)?;
        Ok(Self(pair))
    }

    /// The half that the server may know.
    ///
    /// # Errors
    /// [`KeyError::PublicKey`] if the library's public key is not 32 bytes, which RFC 8032 rules out.
    pub fn public(&self) -> Result<PublicKey, KeyError> {
        let bytes = self.0.public_key().as_ref();
        let bytes = <[u8; 32]>::try_from(bytes).map_err(|_| KeyError::PublicKey)?;
        Ok(PublicKey(bytes))
    }

    /// Signs a login message (`protocol::handshake::proof`).
    ///
    /// # Errors
    /// [`KeyError::Signature`] if the library's signature is not 64 bytes, which RFC 8032 rules out.
    pub fn sign(&self, message: &[u8]) -> Result<[u8; 64], KeyError> {
        let signature = self.0.sign(message);
        <[u8; 64]>::try_from(signature.as_ref()).map_err(|_| KeyError::Signature)
    }
}

impl fmt::Debug for LoginKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("LoginKey(…)")
    }
}

/// The server's half: verifies logins. Written `ed25519:BASE64URL`.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct PublicKey([u8; 32]);

impl PublicKey {
    /// Whether `signature` is this key's over `message`.
    #[must_use]
    pub fn verify(&self, message: &[u8], signature: &[u8; 64]) -> bool {
        UnparsedPublicKey::new(&ED25519, self.0).verify(message, signature).is_ok()
    }
}

impl fmt::Display for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ed25519:{}", URL_SAFE_NO_PAD.encode(self.0))
    }
}

impl fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for PublicKey {
    type Err = KeyError;

    fn from_str(text: &str) -> Result<Self, KeyError> {
        let encoded = text.strip_prefix("ed25519:").ok_or(KeyError::PublicKey)?;
        let bytes = URL_SAFE_NO_PAD.decode(encoded).map_err(|_| KeyError::PublicKey)?;
        let bytes = <[u8; 32]>::try_from(bytes.as_slice()).map_err(|_| KeyError::PublicKey)?;
        Ok(Self(bytes))
    }
}

/// Why a key can not be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// The seed was refused.
    #[error("the secret is not a usable Ed25519 seed")]
    Seed,
    /// Not a public key.
    #[error("not a public key of the form ed25519:BASE64URL with 32 bytes")]
    PublicKey,
    /// Not a signature.
    #[error("the signature has the wrong length")]
    Signature,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_signature_is_good_for_its_message_and_key_only() {
        let key = LoginKey::from_seed(&[7; 32]).unwrap();
        let other = LoginKey::from_seed(&[8; 32]).unwrap();
        let signature = key.sign(b"hello").unwrap();
        assert!(key.public().unwrap().verify(b"hello", &signature));
        assert!(!key.public().unwrap().verify(b"hullo", &signature));
        assert!(!other.public().unwrap().verify(b"hello", &signature));
    }

    #[test]
    fn a_public_key_survives_its_text() {
        let public = LoginKey::from_seed(&[7; 32]).unwrap().public().unwrap();
        assert_eq!(public.to_string().parse::<PublicKey>().unwrap(), public);
        assert_eq!("ed25519:AAAA".parse::<PublicKey>(), Err(KeyError::PublicKey));
        assert_eq!("AAAA".parse::<PublicKey>(), Err(KeyError::PublicKey));
    }

    #[test]
    fn debug_shows_no_secret() {
        assert_eq!(format!("{:?}", LoginKey::from_seed(&[7; 32]).unwrap()), "LoginKey(…)");
    }
}
