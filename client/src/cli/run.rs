//! `tunnelc run`.

use std::path::{Path, PathBuf};

use argh::{ArgsInfo, FromArgs};
use ops::cli::Exit;
use ops::watch::FileWatch;

use super::globals::Globals;
use crate::app;
use crate::source::Source;

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
        let source = Source {
            file: path,
            join: globals.flagged_join()?,
            ca_file: globals.ca_file.clone(),
            fail_fast: self.fail_fast,
            kinds: globals.kinds.clone(),
            state: globals.state_dir()?,
            log: globals.log,
        };
        // Before it is read: what changes from then on is seen.
        let watch = FileWatch::new(source.file.clone());
        Ok(app::run(source.read().map_err(Exit::usage)?, Some(watch)))
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
