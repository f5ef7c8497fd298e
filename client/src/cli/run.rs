//! `tunnelc run`.

use std::path::{Path, PathBuf};

use argh::{ArgsInfo, FromArgs};
use ops::cli::Exit;

use super::globals::Globals;
use crate::app;
use crate::config;
use crate::settings::{Mode, Settings};
use crate::trust;

/// Used where `--config` is not given and this is present.
pub(super) const DEFAULT_CONFIG: &str = "/etc/tunnel/tunnelc.toml";

/// Run the tunnels of a configuration file, as a service: it never gives up.
#[derive(FromArgs, ArgsInfo, Debug)]
#[argh(
    subcommand,
    name = "run",
    example = "{command_name} --config tunnelc.toml\n\
               {command_name} --config tunnelc.toml --join-file /run/secrets/join --log json",
    note = "A configuration for one tunnel:\n\
            \u{a0} tunnel = [{{ name = \"wiki\", kind = \"http\", host = \"wiki\", to = \"127.0.0.1:8081\" }}]\n\
            --join, --join-file, --ca-file, --log and --state are explained by `tunnelc --help`."
)]
pub(super) struct Run {
    /// configuration file; default: /etc/tunnel/tunnelc.toml
    #[argh(option, arg_name = "file")]
    config: Option<String>,
    /// exit with code 3 if the first login is refused, instead of trying again
    #[argh(switch)]
    fail_fast: bool,
}

impl Run {
    pub(super) fn run(self, globals: &Globals) -> Result<Exit, Exit> {
        let path = self.config.map_or_else(default_config, |path| Ok(path.into()))?;
        let file =
            config::load(&path, &globals.kinds, &|name| std::env::var(name).ok()).map_err(Exit::usage)?;
        let state = globals.state_dir()?;
        let join = globals.join(file.join_file, &state)?;
        let ca_file = globals.ca_file.clone().or(file.ca_file);
        let trust = trust::of(&join.string, ca_file.as_deref()).map_err(Exit::usage)?;
        let servers = match file.servers {
            none if none.is_empty() => vec![join.string.address.clone()],
            some => some,
        };
        Ok(app::run(Settings {
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
            kinds: globals.kinds.clone(),
            mode: Mode::Service { fail_fast: self.fail_fast },
            config: Some(path),
            state,
            log: globals.log,
        }))
    }
}

fn default_config() -> Result<PathBuf, Exit> {
    let path = Path::new(DEFAULT_CONFIG);
    if path.exists() {
        return Ok(path.to_owned());
    }
    Err(Exit::usage(format_args!(
        "no configuration: {DEFAULT_CONFIG} is not there; name one with --config FILE (for one tunnel: `tunnelc http 3000`)"
    )))
}
