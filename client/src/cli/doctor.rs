//! `tunnelc doctor`.

use std::path::{Path, PathBuf};

use argh::{ArgsInfo, FromArgs};
use ops::cli::Exit;

use super::globals::Globals;
use super::run::DEFAULT_CONFIG;
use crate::config;
use crate::doctor::{Subject, examine};
use crate::trust;

/// Look at every step between here and a visitor, and say what to do about each that fails.
#[derive(FromArgs, ArgsInfo, Debug)]
#[argh(
    subcommand,
    name = "doctor",
    example = "{command_name}\n{command_name} --config tunnelc.toml --json",
    note = "It logs in and opens a tunnel of its own, which is gone at the end. What runs is left alone.\n\
            --join, --join-file, --ca-file and --state are explained by `tunnelc --help`.",
    error_code(1, "something fails")
)]
pub(super) struct Doctor {
    /// configuration file; default: /etc/tunnel/tunnelc.toml, if it is there
    #[argh(option, arg_name = "file")]
    config: Option<String>,
    /// as JSON
    #[argh(switch)]
    json: bool,
}

impl Doctor {
    pub(super) fn run(self, globals: &Globals) -> Result<Exit, Exit> {
        let default = || Path::new(DEFAULT_CONFIG).exists().then(|| DEFAULT_CONFIG.into());
        let path: Option<PathBuf> = self.config.map(PathBuf::from).or_else(default);
        let config = path.map(|path| {
            let file = config::load(&path, &globals.kinds, &|name| std::env::var(name).ok());
            (path, file.map_err(|error| error.to_string()))
        });
        let file = config.as_ref().and_then(|(_, file)| file.as_ref().ok());
        let state = globals.state_dir()?;
        let join = globals.source(file.and_then(|file| file.join_file.clone()), &state)?.read();
        let ca_file = globals.ca_file.clone().or_else(|| file.and_then(|file| file.ca_file.clone()));
        let trust = join.as_ref().ok().map(|join| trust::of(&join.string, ca_file.as_deref()));
        examine(Subject { config, state, join, trust })?.exit(self.json)
    }
}
