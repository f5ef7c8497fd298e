//! Who may log in: principals and credentials, as one document, so that what belongs together changes together.

use std::collections::{BTreeMap, BTreeSet};
use std::time::SystemTime;

use policy::grant::Grants;
use policy::host::Host;
use policy::principal::Principal;
use protocol::id::{ClientId, CredentialId};
use serde::{Deserialize, Serialize};
use transport::login_key::PublicKey;

use super::certified::{Certified, Fingerprint};
use super::credentials::{Credential, Refusal};
use super::default_principal::{DEFAULT, is_default};
use super::means::{Means, Which};
use super::principals::{Granted, NewGrants};
use super::unix_seconds;
use super::written::Written;

/// The format of the document.
const VERSION: u32 = 1;
/// Certificates that may be revoked one by one.
const CERTIFICATES_MAX: usize = 10_000;

/// The whole of it. A value: whoever changes it changes a copy.
#[derive(Debug, Clone, Default)]
pub struct Book {
    default_revoked: bool,
    principals: BTreeMap<Principal, Granted>,
    credentials: BTreeMap<CredentialId, Credential>,
    /// Certificates that are good for nobody any more.
    certificates: BTreeSet<Fingerprint>,
    /// Principals that were revoked as a whole: certificates from before then, in seconds since 1970, are not good.
    revoked: BTreeMap<Principal, u64>,
    /// Those of the configuration, which are not written here.
    configured: BTreeMap<Principal, Grants>,
}

/// As it is written.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Document {
    version: u32,
    /// `revoke default` lasts, also when the file is all that is left.
    #[serde(default)]
    default_revoked: bool,
    principals: Vec<Granted>,
    credentials: Vec<Credential>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    revoked_certificates: Vec<Written<Fingerprint>>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    revoked_principals: Vec<Revoked>,
}

/// When a principal was revoked, if it could come back by a certificate.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Revoked {
    name: Written<Principal>,
    at: u64,
}

/// Why the book stays as it is.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BookError {
    /// Nobody by that name.
    #[error("there is no principal {0}; `tunneld principals` lists them")]
    NoPrincipal(String),
    /// No such credential of that principal.
    #[error("{principal} has no credential {credential}; `tunneld principals` lists them")]
    NoCredential {
        /// Whose.
        principal: Principal,
        /// Which.
        credential: String,
    },
    /// What a principal of the configuration may use stands there.
    #[error("what {0} may use stands in the configuration: change it there, and invite without grants")]
    Configured(Principal),
    /// `default` belongs to the quick start.
    #[error("the principal {DEFAULT} is the quick start's own: invite somebody by another name")]
    Default,
    /// The list of certificates is full.
    #[error(
        "{CERTIFICATES_MAX} certificates are revoked, which is all that can be kept: change the CA, or revoke principals"
    )]
    TooMany,
    /// The credential was bound to another client in the meantime.
    #[error("the credential is bound to another client")]
    Bound,
}

impl Book {
    /// Reads the document.
    ///
    /// # Errors
    /// Where it is damaged.
    pub fn from_json(bytes: &[u8]) -> Result<Self, String> {
        let document: Document = serde_json::from_slice(bytes).map_err(|error| error.to_string())?;
        if document.version != VERSION {
            return Err(format!("it has format {}, this version reads {VERSION}", document.version));
        }
        let principals = document.principals.into_iter().map(|granted| (granted.name.0.clone(), granted));
        let credentials = document.credentials.into_iter().map(|it| (it.id.0.clone(), it));
        Ok(Self {
            default_revoked: document.default_revoked,
            principals: principals.collect(),
            credentials: credentials.collect(),
            certificates: document.revoked_certificates.into_iter().map(|it| it.0).collect(),
            revoked: document.revoked_principals.into_iter().map(|it| (it.name.0, it.at)).collect(),
            configured: BTreeMap::new(),
        })
    }

    /// Writes the document.
    ///
    /// # Errors
    /// Never for a value of this type; the library's type says that it could.
    pub fn to_json(&self) -> Result<Vec<u8>, String> {
        let document = Document {
            version: VERSION,
            default_revoked: self.default_revoked,
            principals: self.principals.values().cloned().collect(),
            credentials: self.credentials.values().cloned().collect(),
            revoked_certificates: self.certificates.iter().copied().map(Written).collect(),
            revoked_principals: self
                .revoked
                .iter()
                .map(|(name, at)| Revoked { name: Written(name.clone()), at: *at })
                .collect(),
        };
        serde_json::to_vec_pretty(&document).map_err(|error| error.to_string())
    }

    /// The principals of the configuration, from now on. While there is one, there is no `default`.
    pub fn configure(&mut self, principals: impl IntoIterator<Item = (Principal, Grants)>) {
        self.configured = principals.into_iter().collect();
    }

    /// Those of the configuration, by name.
    pub fn configured(&self) -> impl Iterator<Item = (&Principal, &Grants)> {
        self.configured.iter()
    }

    /// The credential with this id, if there is still somebody whom it logs in: a principal may have gone from the
    /// configuration.
    #[must_use]
    pub fn credential(&self, id: &CredentialId) -> Option<&Credential> {
        self.credentials.get(id).filter(|credential| self.knows(&credential.principal.0))
    }

    /// The keys of all who may log in by one.
    pub fn login_keys(&self) -> impl Iterator<Item = (&CredentialId, PublicKey)> {
        let good = self.credentials.values().filter(|credential| self.knows(&credential.principal.0));
        good.map(|credential| (&credential.id.0, credential.key.0))
    }

    /// Whether a certificate logs its principal in.
    ///
    /// # Errors
    /// [`Refusal::Stranger`], [`Refusal::CertificateRevoked`].
    pub fn certified(&self, certificate: &Certified) -> Result<(), Refusal> {
        let principal = &certificate.principal;
        let before = self.revoked.get(principal).is_some_and(|at| certificate.since <= *at);
        match () {
            // It belongs to whoever has the join string of the quick start.
            () if is_default(principal) || !self.knows(principal) => Err(Refusal::Stranger),
            () if before || self.certificates.contains(&certificate.fingerprint) => {
                Err(Refusal::CertificateRevoked)
            }
            () => Ok(()),
        }
    }

    /// Whether a login by these means would still be good.
    #[must_use]
    pub fn admits(&self, means: &Means) -> bool {
        means.key.as_ref().is_none_or(|id| self.credential(id).is_some())
            && means.certificate.as_ref().is_none_or(|it| self.certified(it).is_ok())
    }

    /// The certificates that are revoked one by one, in order.
    pub fn revoked_certificates(&self) -> impl Iterator<Item = &Fingerprint> {
        self.certificates.iter()
    }

    fn knows(&self, principal: &Principal) -> bool {
        match is_default(principal) {
            true => self.has_default(),
            false => self.configured.contains_key(principal) || self.principals.contains_key(principal),
        }
    }

    /// The credentials of `principal`, by id.
    pub fn credentials_of<'a>(&'a self, principal: &'a Principal) -> impl Iterator<Item = &'a Credential> {
        self.credentials.values().filter(move |it| it.principal.0 == *principal)
    }

    /// Everybody who was invited but `default` and those of the configuration, by name.
    pub fn principals(&self) -> impl Iterator<Item = &Granted> {
        self.principals.values().filter(|granted| !self.configured.contains_key(&granted.name.0))
    }

    /// Whether `default` exists.
    #[must_use]
    pub fn has_default(&self) -> bool {
        !self.default_revoked && self.configured.is_empty()
    }

    /// What `principal` may use at the server of `domain`; none if there is no such principal.
    #[must_use]
    pub fn grants(&self, principal: &Principal, domain: &Host) -> Option<Grants> {
        if is_default(principal) {
            return self.has_default().then(|| Grants::everything_under(domain.clone()));
        }
        let configured = self.configured.get(principal).cloned();
        configured.or_else(|| self.principals.get(principal).map(Granted::grants))
    }

    /// Adds `grants` to the principal, which is made if it is new, and its credential. One of the configuration gets the
    /// credential alone.
    ///
    /// # Errors
    /// [`BookError::Default`], [`BookError::Configured`].
    pub fn invite(&mut self, grants: NewGrants, credential: Credential) -> Result<(), BookError> {
        let principal = &credential.principal.0;
        if is_default(principal) {
            return Err(BookError::Default);
        }
        let new = || Granted::new(principal.clone(), credential.created);
        if self.configured.contains_key(principal) {
            if grants != NewGrants::default() {
                return Err(BookError::Configured(principal.clone()));
            }
            self.credentials.insert(credential.id.0.clone(), credential);
            return Ok(());
        }
        self.principals.entry(principal.clone()).or_insert_with(new).add(grants);
        self.credentials.insert(credential.id.0.clone(), credential);
        Ok(())
    }

    /// Puts the credential of `default` in the place of the one before.
    pub fn set_default(&mut self, credential: Credential) {
        self.credentials.retain(|_, it| !is_default(&it.principal.0));
        self.credentials.insert(credential.id.0.clone(), credential);
    }

    /// Removes a principal with all its credentials, or one of them, at `now` in seconds since 1970. Says which keys went;
    /// of certificates it is only known that they are not good any more.
    ///
    /// # Errors
    /// [`BookError::NoPrincipal`], [`BookError::NoCredential`], [`BookError::TooMany`].
    pub fn revoke(&mut self, name: &str, which: &Which, now: u64) -> Result<Vec<CredentialId>, BookError> {
        let no_principal = || BookError::NoPrincipal(name.to_owned());
        let principal = Principal::parse(name).map_err(|_| no_principal())?;
        let has_credentials = self.credentials_of(&principal).next().is_some();
        if !self.knows(&principal) && !has_credentials {
            return Err(no_principal());
        }
        let goes = |it: &Credential| it.principal.0 == principal && Means::of_key(it.id.0.clone()).has(which);
        let gone: Vec<CredentialId> =
            self.credentials.values().filter(|it| goes(it)).map(|it| it.id.0.clone()).collect();
        match which {
            Which::Key(only) if gone.is_empty() => {
                return Err(BookError::NoCredential { principal, credential: only.to_string() });
            }
            Which::Key(_) => {}
            Which::Certificate(_) if self.certificates.len() >= CERTIFICATES_MAX => {
                return Err(BookError::TooMany);
            }
            Which::Certificate(fingerprint) => {
                self.certificates.insert(*fingerprint);
                return Ok(gone);
            }
            Which::All => {
                self.principals.remove(&principal);
                self.revoked.insert(principal.clone(), now);
            }
        }
        self.credentials.retain(|_, it| !goes(it));
        // Without its one credential `default` could only come back by being made anew.
        self.default_revoked |= is_default(&principal);
        Ok(gone)
    }

    /// Binds a `--once` credential to the client that uses it first.
    ///
    /// # Errors
    /// [`BookError::Bound`] if another client was faster; [`BookError::NoPrincipal`] if it was revoked meanwhile.
    pub fn bind(&mut self, id: &CredentialId, client: ClientId) -> Result<(), BookError> {
        let credential =
            self.credentials.get_mut(id).ok_or_else(|| BookError::NoPrincipal(id.to_string()))?;
        match credential.client.get_or_insert(Written(client)).0 == client {
            true => Ok(()),
            false => Err(BookError::Bound),
        }
    }

    /// Notes a login.
    pub fn used(&self, id: &CredentialId, now: SystemTime) {
        if let Some(credential) = self.credentials.get(id) {
            credential.last_used.note(unix_seconds(now));
        }
    }
}
