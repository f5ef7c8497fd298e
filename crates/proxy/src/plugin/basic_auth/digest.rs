//! A digest of a password: argon2 or bcrypt.

use argon2::password_hash::phc::PasswordHash;
use argon2::{Argon2, Params, PasswordVerifier as _};

/// Memory that one verification may take, in KiB.
const MEMORY_MAX: u32 = 256 * 1024;
const PASSES_MAX: u32 = 64;
/// A higher one takes seconds.
const COST_MAX: u32 = 14;

/// A digest, as it stands in a configuration.
pub(super) enum Digest {
    Argon2(String),
    Bcrypt(String),
}

/// Why a text is no digest that can be used. It does not show the text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum DigestError {
    #[error(
        "write a bcrypt or argon2 digest, which begins with $2y$ or $argon2id$, never the password itself"
    )]
    Unknown,
    #[error("it is cut, or not well formed")]
    Malformed,
    #[error(
        "to check it takes too long: bcrypt may have a cost of {COST_MAX}, argon2 {MEMORY_MAX} KiB and {PASSES_MAX} passes"
    )]
    Costly,
}

impl Digest {
    pub(super) fn parse(text: String) -> Result<Self, DigestError> {
        if text.starts_with("$argon2") {
            let hash = PasswordHash::new(&text).map_err(|_| DigestError::Malformed)?;
            let params = Params::try_from(&hash).map_err(|_| DigestError::Malformed)?;
            if hash.hash.is_none() || hash.salt.is_none() {
                return Err(DigestError::Malformed);
            }
            if params.m_cost() > MEMORY_MAX || params.t_cost() > PASSES_MAX {
                return Err(DigestError::Costly);
            }
            return Ok(Self::Argon2(text));
        }
        if text.starts_with("$2") {
            let parts = text.parse::<bcrypt::HashParts>().map_err(|_| DigestError::Malformed)?;
            if parts.get_cost() > COST_MAX {
                return Err(DigestError::Costly);
            }
            return Ok(Self::Bcrypt(text));
        }
        Err(DigestError::Unknown)
    }

    /// Whether it is of `password`. Takes long on purpose, and compares in constant time.
    pub(super) fn verify(&self, password: &[u8]) -> bool {
        match self {
            Self::Argon2(text) => PasswordHash::new(text)
                .is_ok_and(|hash| Argon2::default().verify_password(password, &hash).is_ok()),
            Self::Bcrypt(text) => bcrypt::verify(password, text).unwrap_or(false),
        }
    }
}

#[cfg(test)]
mod tests {
    use argon2::password_hash::PasswordHasher as _;

    use super::*;

    #[test]
    fn both_digests_tell_the_right_password() {
        let argon2 =
            Argon2::new(Default::default(), Default::default(), Params::new(64, 1, 1, None).unwrap());
        let argon2 = argon2.hash_password_with_salt(b"secret", b"salt-of-16-bytes").unwrap().to_string();
        let bcrypt = bcrypt::hash_with_salt("secret", 4, [7; 16]).unwrap().to_string();
        for text in [argon2, bcrypt] {
            let digest = Digest::parse(text.clone()).unwrap_or_else(|error| panic!("{text}: {error}"));
            assert!(digest.verify(b"secret") && !digest.verify(b"secret ") && !digest.verify(b""));
        }
    }

    #[test]
    fn what_is_no_digest_is_refused_without_showing_it() {
        let costly = bcrypt::hash_with_salt("x", 4, [7; 16]).unwrap().to_string().replacen("$04$", "$20$", 1);
        for (text, error) in [
            ("secret", DigestError::Unknown),
            ("$apr1$x$y", DigestError::Unknown),
            ("$2y$10$short", DigestError::Malformed),
            ("$argon2id$v=19$m=64,t=1,p=1$c2FsdA", DigestError::Malformed),
            (&costly, DigestError::Costly),
        ] {
            let refused = Digest::parse(text.to_owned()).err();
            assert_eq!(refused, Some(error), "{text}");
            assert!(!error.to_string().contains(text));
        }
    }
}
