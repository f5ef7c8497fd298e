//! `tunnel://ID:SECRET@HOST:PORT?pin=sha256-BASE64URL[,sha256-…]`.

use std::fmt;
use std::str::FromStr;

use super::{HostPort, JoinError, Pin, Secret32};
use crate::id::CredentialId;
use crate::limits::PINS_MAX;

/// All that a client needs to log in. `Display` writes it in full, with the secret; `Debug` does not.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JoinString {
    /// Names the public key at the server.
    pub credential: CredentialId,
    /// The private key.
    pub secret: Secret32,
    /// Where the server listens for clients.
    pub address: HostPort,
    /// Whom to trust, at most [`PINS_MAX`]; without one, a CA file or the system's roots decide.
    pub pins: Vec<Pin>,
}

const SCHEME: &str = "tunnel://";
const PINS: &str = "pin=";

impl FromStr for JoinString {
    type Err = JoinError;

    /// Spaces and line breaks around it do not matter: people paste.
    fn from_str(text: &str) -> Result<Self, JoinError> {
        let rest = text.trim_ascii().strip_prefix(SCHEME).ok_or(JoinError::Scheme)?;
        let (credential, rest) = rest.split_once('@').ok_or(JoinError::NoCredential)?;
        let (id, secret) = credential.split_once(':').ok_or(JoinError::NoCredential)?;
        let (address, options) = match rest.split_once('?') {
            Some((address, options)) => (address, Some(options)),
            None => (rest, None),
        };
        Ok(Self {
            credential: CredentialId::parse(id).map_err(|_| JoinError::Credential)?,
            secret: secret.parse().map_err(|_| JoinError::Secret)?,
            address: address.parse().map_err(JoinError::Address)?,
            pins: options.map(pins).transpose()?.unwrap_or_default(),
        })
    }
}

fn pins(options: &str) -> Result<Vec<Pin>, JoinError> {
    let list = options.strip_prefix(PINS).ok_or(JoinError::UnknownOption)?;
    if list.contains('&') {
        return Err(JoinError::UnknownOption);
    }
    if list.split(',').count() > PINS_MAX {
        return Err(JoinError::TooManyPins);
    }
    list.split(',').map(|pin| pin.parse().map_err(JoinError::Pin)).collect()
}

impl fmt::Display for JoinString {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{SCHEME}{}:{}@{}", self.credential, self.secret.encode(), self.address)?;
        for (at, pin) in self.pins.iter().enumerate() {
            let before = if at == 0 { "?pin=" } else { "," };
            write!(f, "{before}{pin}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::join::{HostPortError, PinError};

    fn join(pins: Vec<Pin>) -> JoinString {
        JoinString {
            credential: CredentialId::parse("k3-default").unwrap(),
            secret: Secret32::new([7; 32]),
            address: "127.0.0.1:7443".parse().unwrap(),
            pins,
        }
    }

    #[test]
    fn a_join_string_survives_its_text() {
        for pins in [vec![], vec![Pin([1; 32])], vec![Pin([1; 32]), Pin([2; 32])]] {
            let join = join(pins);
            assert_eq!(format!(" {join}\n").parse(), Ok(join));
        }
    }

    #[test]
    fn debug_shows_no_secret() {
        let join = join(vec![]);
        let shown = format!("{join:?}");
        assert!(!shown.contains(&join.secret.encode()) && !shown.contains("7, 7"), "{shown}");
    }

    #[test]
    fn what_is_damaged_says_where() {
        let good = join(vec![Pin([1; 32])]).to_string();
        let cases = [
            ("https://x".to_owned(), JoinError::Scheme),
            ("tunnel://".to_owned(), JoinError::NoCredential),
            (good.replace("k3-default:", ""), JoinError::NoCredential),
            (good.replace("k3-default", "K3"), JoinError::Credential),
            (good.replace("Bw", ""), JoinError::Secret),
            (good.replace(":7443", ""), JoinError::Address(HostPortError::Port)),
            (good.replace("127.0.0.1", "a b"), JoinError::Address(HostPortError::Host)),
            (good.replace("sha256", "md5"), JoinError::Pin(PinError::Algorithm)),
            (good.replace("sha256-", "sha256-A"), JoinError::Pin(PinError::Hash)),
            (good.replace("?pin=", "?pin=,"), JoinError::Pin(PinError::Algorithm)),
            (good.replace("?pin=", "?insecure=1&pin="), JoinError::UnknownOption),
            (format!("{good}&x=1"), JoinError::UnknownOption),
            (format!("{good}{}", ",sha256-x".repeat(PINS_MAX)), JoinError::TooManyPins),
        ];
        for (text, error) in cases {
            assert_eq!(text.parse::<JoinString>(), Err(error), "{text}");
        }
    }
}
