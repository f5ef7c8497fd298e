//! As whom a client logs in, and where.

use std::sync::Arc;

use protocol::id::CredentialId;
use protocol::join::HostPort;
use rustls::ClientConfig;
use transport::login_key::{KeyError, LoginKey};
use transport::tls::{TlsError, client_config_as};

use crate::instance::host_name;
use crate::settings::Settings;

/// As whom a client logs in, and where.
#[derive(Debug)]
pub struct Login {
    /// For people.
    pub name: String,
    /// Whose login it is.
    pub credential: CredentialId,
    /// Signs it.
    pub key: LoginKey,
    /// Decides whom to trust.
    pub tls: Arc<ClientConfig>,
    /// Dialled in turn.
    pub servers: Vec<HostPort>,
}

/// Nobody can log in like that.
#[derive(Debug, thiserror::Error)]
pub enum LoginUnusable {
    /// With this secret.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// With what it is to trust.
    #[error(transparent)]
    Trust(#[from] TlsError),
}

impl Login {
    /// What `settings` say of it.
    ///
    /// # Errors
    /// [`LoginUnusable`].
    pub fn of(settings: &Settings) -> Result<Self, LoginUnusable> {
        Ok(Self {
            name: settings.name.clone().unwrap_or_else(host_name),
            credential: settings.join.credential.clone(),
            key: LoginKey::from_seed(settings.join.secret.expose())?,
            tls: client_config_as(&settings.trust, settings.certificate.clone())?,
            servers: settings.servers.clone(),
        })
    }

    /// Whether both sets of settings log in alike.
    pub(crate) fn is_same(one: &Settings, other: &Settings) -> bool {
        (&one.name, &one.join, &one.trust, &one.certificate, &one.servers)
            == (&other.name, &other.join, &other.trust, &other.certificate, &other.servers)
    }
}
