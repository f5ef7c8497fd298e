//! Credentials: the public halves of what join strings hold.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use policy::principal::Principal;
use protocol::id::{ClientId, CredentialId};
use serde::{Deserialize, Serialize};
use transport::login_key::PublicKey;

use super::certified::UnnamedError;
use super::seen::Seen;
use super::written::Written;

/// A public key that logs a principal in.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Credential {
    /// Its name in join strings.
    pub id: Written<CredentialId>,
    /// Whom it logs in.
    pub principal: Written<Principal>,
    /// The key.
    pub key: Written<PublicKey>,
    /// When it was made, in seconds since 1970.
    pub created: u64,
    /// When it ends.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires: Option<u64>,
    /// Whether it is good for the first client only that uses it.
    #[serde(default)]
    pub once: bool,
    /// That client.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client: Option<Written<ClientId>>,
    /// Its last login.
    #[serde(default)]
    pub last_used: Seen,
}

/// Why a login is refused. Who can not prove that it holds the key hears nothing but [`Refusal::Denied`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// No such credential, or a wrong proof: nobody can tell which.
    #[error(
        "the server does not know this credential, or its secret is wrong; ask the operator for a new join string"
    )]
    Denied,
    /// The credential's time is over.
    #[error("the credential has expired; ask the operator for a new join string")]
    Expired,
    /// Another client used the credential first.
    #[error(
        "this join string was made for one client and another one has used it; ask the operator for a new one"
    )]
    UsedUp,
    /// TLS did not ask for one, or the client showed none.
    #[error(
        "the server wants a certificate of the client; name one in tunnelc.toml: cert = \"FILE\", key = \"FILE\""
    )]
    NoCertificate,
    /// There is nothing that certificates could be checked by.
    #[error(
        "the server can not check certificates at the moment, which its operator has to mend (`tunneld doctor`); come back later"
    )]
    Unchecked {
        /// The key that was shown instead is wrong: nobody can tell a client that meant to show a certificate from one that
        /// guesses, so that it counts as any wrong one.
        denied: bool,
    },
    /// The certificate is good and names nobody.
    #[error(transparent)]
    Unnamed(#[from] UnnamedError),
    /// The certificate names somebody whom the server does not know.
    #[error(
        "the certificate names a principal that the server does not know; its operator adds it to the configuration, or invites it"
    )]
    Stranger,
    /// The certificate was revoked, alone or with its principal.
    #[error("the certificate is revoked; ask the operator for a new one")]
    CertificateRevoked,
    /// The certificate and the key are not of the same principal.
    #[error("the certificate and the join string are of different principals; take those of the same one")]
    OtherPrincipal,
}

impl Credential {
    /// Whether its time is over.
    #[must_use]
    pub fn is_expired(&self, now: SystemTime) -> bool {
        self.ends().is_some_and(|end| end <= now)
    }

    /// When its time is over.
    #[must_use]
    pub fn ends(&self) -> Option<SystemTime> {
        self.expires.and_then(|at| UNIX_EPOCH.checked_add(Duration::from_secs(at)))
    }

    /// What is to be done for `client`, who has proved that it holds the key.
    ///
    /// # Errors
    /// [`Refusal::Expired`], [`Refusal::UsedUp`].
    pub fn admit(&self, client: ClientId, now: SystemTime) -> Result<Admit, Refusal> {
        if self.is_expired(now) {
            return Err(Refusal::Expired);
        }
        match &self.client {
            _ if !self.once => Ok(Admit::AsIs),
            None => Ok(Admit::Bind),
            Some(Written(bound)) if *bound == client => Ok(Admit::AsIs),
            Some(_) => Err(Refusal::UsedUp),
        }
    }
}

/// What a good login asks of the book.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Admit {
    /// Nothing.
    AsIs,
    /// To bind the credential to the client, before it is let in.
    Bind,
}
