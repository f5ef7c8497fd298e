//! The options that every command has.

use std::path::PathBuf;

use ops::cli::Exit;
use ops::log::LogFormat;
use ops::state_dir::{Program, StateDir};
use proxy::plugin::Kinds;

use super::wrong;
use crate::join_source::{Given, JoinSource};
use crate::source::environment;

/// The options that every command has.
#[derive(Debug, Clone)]
pub(super) struct Globals {
    pub(super) join: Option<String>,
    pub(super) join_file: Option<PathBuf>,
    pub(super) ca_file: Option<PathBuf>,
    pub(super) log: Option<LogFormat>,
    pub(super) state: Option<PathBuf>,
    /// The plugins that a server may hand over.
    pub(super) kinds: Kinds,
}

impl Globals {
    /// Where the state is.
    pub(super) fn state_dir(&self) -> Result<StateDir, Exit> {
        StateDir::resolve(Program::Tunnelc, self.state.clone(), |name| std::env::var_os(name))
            .map_err(Exit::usage)
    }

    /// The join string that a flag gives.
    pub(super) fn flagged_join(&self) -> Result<Option<JoinSource>, Exit> {
        match (&self.join, &self.join_file) {
            (Some(_), Some(_)) => Err(wrong("--join", "give it or --join-file, not both")),
            (Some(text), None) => Ok(Some(JoinSource::Flag(text.clone()))),
            (None, Some(path)) => Ok(Some(JoinSource::File(path.clone()))),
            (None, None) => Ok(None),
        }
    }

    /// The join string: flag, environment, `configured`, or the one remembered.
    pub(super) fn join(&self, configured: Option<PathBuf>, state: &StateDir) -> Result<Given, Exit> {
        self.source(configured, state)?.read().map_err(Exit::usage)
    }

    /// Where the join string is.
    pub(super) fn source(&self, configured: Option<PathBuf>, state: &StateDir) -> Result<JoinSource, Exit> {
        Ok(JoinSource::first(self.flagged_join()?, environment(), configured, state))
    }
}
