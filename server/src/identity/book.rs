//! Who may log in: principals and credentials, as one document, so that what belongs together changes together.

use std::collections::BTreeMap;
use std::time::SystemTime;

use policy::grant::Grants;
use policy::host::Host;
use policy::principal::Principal;
use protocol::id::{ClientId, CredentialId};
use serde::{Deserialize, Serialize};

use super::credentials::Credential;
use super::default_principal::{DEFAULT, is_default};
use super::principals::{Granted, NewGrants};
use super::unix_seconds;
use super::written::Written;

/// The format of the document.
const VERSION: u32 = 1;

/// The whole of it. A value: whoever changes it changes a copy.
#[derive(Debug, Clone, Default)]
pub struct Book {
    default_revoked: bool,
    principals: BTreeMap<Principal, Granted>,
    credentials: BTreeMap<CredentialId, Credential>,
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

    /// Removes a principal with all its credentials, or `only` one of them. Says which ones went.
    ///
    /// # Errors
    /// [`BookError::NoPrincipal`], [`BookError::NoCredential`].
    pub fn revoke(&mut self, name: &str, only: Option<&str>) -> Result<Vec<CredentialId>, BookError> {
        let no_principal = || BookError::NoPrincipal(name.to_owned());
        let principal = Principal::parse(name).map_err(|_| no_principal())?;
        let has_credentials = self.credentials_of(&principal).next().is_some();
        if !self.knows(&principal) && !has_credentials {
            return Err(no_principal());
        }
        let goes =
            |it: &Credential| it.principal.0 == principal && only.is_none_or(|only| it.id.0.as_str() == only);
        let gone: Vec<CredentialId> =
            self.credentials.values().filter(|it| goes(it)).map(|it| it.id.0.clone()).collect();
        if let (Some(only), true) = (only, gone.is_empty()) {
            return Err(BookError::NoCredential { principal, credential: only.to_owned() });
        }
        self.credentials.retain(|_, it| !goes(it));
        // Without its one credential `default` could only come back by being made anew.
        self.default_revoked |= is_default(&principal);
        if only.is_none() {
            self.principals.remove(&principal);
        }
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
