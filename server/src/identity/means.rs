//! By what somebody logged in, and which of it is meant.

use std::fmt;

use policy::principal::Principal;
use protocol::id::CredentialId;

use super::certified::{Certified, Fingerprint};

/// By what a client logged in: a key, a certificate, or both.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Means {
    /// The credential whose key it holds.
    pub key: Option<CredentialId>,
    /// The certificate that it has shown.
    pub certificate: Option<Certified>,
}

/// Which of a principal's credentials are meant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Which {
    /// All of them, and the principal too.
    All,
    /// This one.
    Key(CredentialId),
    /// The certificate with this fingerprint.
    Certificate(Fingerprint),
}

impl Means {
    /// The key of this credential.
    #[must_use]
    pub fn of_key(credential: CredentialId) -> Self {
        Self { key: Some(credential), certificate: None }
    }

    /// Whether this is among it.
    #[must_use]
    pub fn has(&self, which: &Which) -> bool {
        match which {
            Which::All => true,
            Which::Key(id) => self.key.as_ref() == Some(id),
            Which::Certificate(fingerprint) => {
                self.certificate.as_ref().is_some_and(|it| it.fingerprint == *fingerprint)
            }
        }
    }

    /// Whether the certificate, if there is one, is of `principal`.
    #[must_use]
    pub fn is_of(&self, principal: &Principal) -> bool {
        self.certificate.as_ref().is_none_or(|it| it.principal == *principal)
    }
}

impl fmt::Display for Means {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (&self.key, &self.certificate) {
            (Some(id), None) => write!(f, "{id}"),
            (Some(id), Some(certificate)) => write!(f, "{id} and {}", certificate.fingerprint),
            (None, Some(certificate)) => write!(f, "{}", certificate.fingerprint),
            (None, None) => f.write_str("nothing"),
        }
    }
}

impl Which {
    /// What the word after `--credential` means; all of them without one. None: it is neither an id nor a fingerprint.
    #[must_use]
    pub fn parse(text: Option<&str>) -> Option<Self> {
        let Some(text) = text else { return Some(Self::All) };
        let by_id = CredentialId::parse(text).map(Self::Key).ok();
        by_id.or_else(|| text.parse().map(Self::Certificate).ok())
    }
}
