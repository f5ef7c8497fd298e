//! Who and which: the identities that sessions are known by (`spec/03-handshake.md`).

use std::fmt;
use std::str::FromStr;

use crate::limits::CREDENTIAL_ID_MAX;

/// Why a text is no id.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum IdError {
    /// Not the hexadecimal form of 16 bytes.
    #[error("an id is 32 lower-case hexadecimal digits")]
    NotHex,
    /// Not the id of a credential.
    #[error("the id of a credential is 1 to {CREDENTIAL_ID_MAX} of a-z, 0-9, '_' and '-'")]
    NotCredential,
}

macro_rules! random_id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(pub [u8; 16]);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{}({self})", stringify!($name))
            }
        }

        impl FromStr for $name {
            type Err = IdError;

            fn from_str(text: &str) -> Result<Self, IdError> {
                hex16(text).map(Self).ok_or(IdError::NotHex)
            }
        }
    };
}

random_id! {
    /// One installation of a client: 16 random bytes that live in its state directory.
    ClientId
}
random_id! {
    /// One running process of a client: 16 random bytes, new with every start. The member that is balanced.
    InstanceId
}

fn hex16(text: &str) -> Option<[u8; 16]> {
    let (pairs, rest) = text.as_bytes().as_chunks::<2>();
    let mut id = [0; 16];
    if !rest.is_empty() || pairs.len() != id.len() {
        return None;
    }
    for (byte, [high, low]) in id.iter_mut().zip(pairs) {
        *byte = (hex_digit(*high)? << 4) | hex_digit(*low)?;
    }
    Some(id)
}

fn hex_digit(digit: u8) -> Option<u8> {
    match digit {
        b'0'..=b'9' => digit.checked_sub(b'0'),
        b'a'..=b'f' => digit.checked_sub(b'a')?.checked_add(10),
        _ => None,
    }
}

macro_rules! number_id {
    ($(#[$doc:meta])* $name:ident($inner:ty)) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(pub $inner);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }
    };
}

number_id! {
    /// One session, as the server that made it counts them.
    SessionId(u64)
}
number_id! {
    /// The number that makes an old session unable to undo what a newer one did: of two sessions the newer has the
    /// greater generation, also across restarts of the server.
    Generation(u64)
}
number_id! {
    /// Which of an instance's parallel sessions, from 0.
    Slot(u16)
}

/// The id of a credential: names a public key at the server, is no secret.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CredentialId(String);

impl CredentialId {
    /// Reads 1 to [`CREDENTIAL_ID_MAX`] of `a-z`, `0-9`, `_`, `-`.
    ///
    /// # Errors
    /// [`IdError::NotCredential`] for anything else.
    pub fn parse(text: &str) -> Result<Self, IdError> {
        let length = 1..=CREDENTIAL_ID_MAX;
        let known = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_' || b == b'-';
        if length.contains(&text.len()) && text.bytes().all(known) {
            Ok(Self(text.to_owned()))
        } else {
            Err(IdError::NotCredential)
        }
    }

    /// As a plain string slice.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for CredentialId {
    type Err = IdError;

    fn from_str(text: &str) -> Result<Self, IdError> {
        Self::parse(text)
    }
}

impl fmt::Display for CredentialId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

impl fmt::Debug for CredentialId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "CredentialId({self})")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn random_ids_survive_their_text() {
        let id = ClientId([0xAB; 16]);
        assert_eq!(id.to_string(), "ab".repeat(16));
        assert_eq!(id.to_string().parse::<ClientId>().unwrap(), id);
        assert_eq!(format!("{id:?}"), format!("ClientId({id})"));
    }

    #[test]
    fn what_is_no_id_is_refused() {
        for text in ["", "ab", &"AB".repeat(16), &"ab".repeat(17), &"zz".repeat(16), &"ä".repeat(16)] {
            assert_eq!(text.parse::<InstanceId>(), Err(IdError::NotHex), "{text}");
        }
        for text in ["", "UPPER", "a b", "a/b", &"a".repeat(33)] {
            assert_eq!(CredentialId::parse(text), Err(IdError::NotCredential), "{text}");
        }
        assert_eq!(CredentialId::parse("edge-1_a").unwrap().as_str(), "edge-1_a");
    }
}
