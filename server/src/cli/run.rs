//! `tunneld run`, which is what `tunneld` alone means.

use std::path::Path;

use argh::{ArgsInfo, FromArgs};
use ops::cli::Exit;

use crate::app;
use crate::settings::{Flags, Settings};

/// Where a configuration would be looked for.
const CONFIG: &str = "/etc/tunnel/tunneld.toml";

/// run the server (what tunneld does if no command is given)
#[derive(FromArgs, ArgsInfo, Debug)]
#[argh(subcommand, name = "run")]
pub(super) struct Run {}

pub(super) fn execute(flags: Flags) -> Result<Exit, Exit> {
    // A file that would be read must not be passed over in silence.
    if Path::new(CONFIG).exists() {
        return Err(Exit::not_in_this_version(format_args!("{CONFIG} is there, but a configuration file")));
    }
    let settings = Settings::new(flags).map_err(Exit::usage)?;
    app::run(settings)
}
