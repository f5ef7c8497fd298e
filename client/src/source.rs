//! Where the settings of `tunnelc run` come from: its command line, its environment and a file, which may change.

use std::path::PathBuf;

use ops::config::ConfigError;
use ops::log::LogFormat;
use ops::state_dir::StateDir;
use proxy::plugin::Kinds;

use crate::config;
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
    /// Who logs in.
    #[error(transparent)]
    Join(#[from] JoinSourceError),
    /// Whom to trust.
    #[error(transparent)]
    Trust(#[from] TrustError),
}

impl Source {
    /// Reads everything. Blocks for as long as the disk does.
    ///
    /// # Errors
    /// [`SourceError`], with all that is wrong in the file.
    pub fn read(&self) -> Result<Settings, SourceError> {
        let file = config::load(&self.file, &self.kinds, &|name| std::env::var(name).ok())?;
        let join = JoinSource::first(self.join.clone(), environment(), file.join_file, &self.state).read()?;
        let ca_file = self.ca_file.clone().or(file.ca_file);
        let trust = trust::of(&join.string, ca_file.as_deref())?;
        let servers = match file.servers {
            none if none.is_empty() => vec![join.string.address.clone()],
            some => some,
        };
        Ok(Settings {
            join: join.string,
            trust,
            servers,
            name: file.name,
            connections: file.connections,
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

/// The join string of the environment. One that is not UTF-8 is none, and is told so.
pub(crate) fn environment() -> Option<String> {
    std::env::var_os("TUNNEL_JOIN").map(|text| text.to_string_lossy().into_owned())
}
