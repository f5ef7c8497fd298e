//! Where the settings of `tunnelc run` come from: its command line, its environment and a file, which may change.

use std::path::PathBuf;

use ops::config::ConfigError;
use ops::log::LogFormat;
use ops::state_dir::StateDir;
use protocol::handshake::CERTIFICATE;
use protocol::id::{CredentialId, IdError};
use protocol::join::{HostPort, JoinString, Secret32};
use proxy::plugin::Kinds;

use crate::certificate::{self, CertificateError};
use crate::config::{self, FileConfig};
use crate::join_source::{JoinSource, JoinSourceError};
use crate::settings::{Mode, Settings};
use crate::trust::{self, TrustError};

/// What the command line of `tunnelc run` says. It stays; the file and what it names is read again.
#[derive(Clone)]
pub struct Source {
    /// The configuration.
    pub file: PathBuf,
    /// `--join` or `--join-file`.
    pub join: Option<JoinSource>,
    /// `--ca-file`.
    pub ca_file: Option<PathBuf>,
    /// `--fail-fast`.
    pub fail_fast: bool,
    /// The kinds of plugins that there are.
    pub kinds: Kinds,
    /// Where the state is.
    pub state: StateDir,
    /// The log format that was asked for.
    pub log: Option<LogFormat>,
}

/// Why there are no settings. Each says what to do.
#[derive(Debug, thiserror::Error)]
pub enum SourceError {
    /// What the file says.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// Who writes it may have begun with nothing, and a full disk leaves nothing behind.
    #[error(
        "{} is empty, and is taken for a mistake; write `tunnel = []` for a client without tunnels",
        .0.display()
    )]
    Emptied(PathBuf),
    /// Who logs in.
    #[error(transparent)]
    Join(#[from] JoinSourceError),
    /// Whom to trust.
    #[error(transparent)]
    Trust(#[from] TrustError),
    /// What to show to the server.
    #[error(transparent)]
    Certificate(#[from] CertificateError),
    /// Nothing says where to log in.
    #[error(
        "without a join string, the configuration has to say where the server is: servers = [\"HOST:7443\"]"
    )]
    NoServer,
    /// A name of ours that is none; a defect.
    #[error(transparent)]
    Id(#[from] IdError),
}

impl Source {
    /// Reads everything. Blocks for as long as the disk does.
    ///
    /// # Errors
    /// [`SourceError`], with all that is wrong in the file.
    pub fn read(&self) -> Result<Settings, SourceError> {
        self.settings(config::load(&self.file, &self.kinds, &variable)?)
    }

    /// The same when there are settings already.
    ///
    /// # Errors
    /// [`SourceError`], also for a file that has become empty.
    pub fn read_again(&self) -> Result<Settings, SourceError> {
        let file = config::load_again(&self.file, &self.kinds, &variable)?;
        self.settings(file.ok_or_else(|| SourceError::Emptied(self.file.clone()))?)
    }

    fn settings(&self, file: FileConfig) -> Result<Settings, SourceError> {
        let read = |(cert, key): &(PathBuf, PathBuf)| certificate::read(cert, key);
        let certificate = file.certificate.as_ref().map(read).transpose()?;
        let join = JoinSource::first(self.join.clone(), environment(), file.join_file, &self.state).read();
        let join = match join {
            Err(JoinSourceError::Nothing(_)) if certificate.is_some() => by_certificate(&file.servers)?,
            given => given?.string,
        };
        let ca_file = self.ca_file.clone().or(file.ca_file);
        let trust = trust::of(&join, ca_file.as_deref())?;
        let servers = match file.servers {
            none if none.is_empty() => vec![join.address.clone()],
            some => some,
        };
        Ok(Settings {
            join,
            trust,
            certificate,
            servers,
            name: file.name,
            connections: file.connections,
            rotation: file.rotation,
            ops: file.ops,
            tunnels: file.tunnels,
            forwards: file.forwards,
            plugins: file.plugins,
            allow: file.allow,
            kinds: self.kinds.clone(),
            mode: Mode::Service { fail_fast: self.fail_fast },
            source: Some(self.clone()),
            state: self.state.clone(),
            log: self.log,
        })
    }
}

impl std::fmt::Debug for Source {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Source").field("file", &self.file).finish_non_exhaustive()
    }
}

/// Who has a certificate alone: no key of a join string is known to the server, and no pin to this client.
fn by_certificate(servers: &[HostPort]) -> Result<JoinString, SourceError> {
    let address = servers.first().cloned().ok_or(SourceError::NoServer)?;
    // A secret that is none: the server does not look at what is signed with it.
    let (credential, secret) = (CredentialId::parse(CERTIFICATE)?, Secret32::new([0; 32]));
    Ok(JoinString { credential, secret, address, pins: Vec::new() })
}

fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok()
}

/// The join string of the environment. One that is not UTF-8 is none, and is told so.
pub(crate) fn environment() -> Option<String> {
    std::env::var_os("TUNNEL_JOIN").map(|text| text.to_string_lossy().into_owned())
}
