//! `tunneld run`, which is what `tunneld` alone means.

use std::path::Path;

use argh::{ArgsInfo, FromArgs};
use ops::cli::Exit;
use policy::host::Host;
use proxy::plugin::Kinds;

use crate::app;
use crate::config::{self, ConfigError, Document};
use crate::settings::{Flags, Settings};
use crate::upgrade::Inheritance;

/// Used where `--config` is not given and this is present.
pub(super) const CONFIG: &str = "/etc/tunnel/tunneld.toml";

/// run the server (what tunneld does if no command is given)
#[derive(FromArgs, ArgsInfo, Debug)]
#[argh(subcommand, name = "run")]
pub(super) struct Run {}

pub(super) fn execute(flags: Flags, kinds: &Kinds) -> Result<Exit, Exit> {
    let mut inheritance = Inheritance::of_process().map_err(Exit::failed)?;
    start(flags, kinds, &mut inheritance).inspect_err(|exit| {
        if let Some(inheritance) = &inheritance {
            inheritance.refuse(exit.text.trim());
        }
    })
}

fn start(mut flags: Flags, kinds: &Kinds, inheritance: &mut Option<Inheritance>) -> Result<Exit, Exit> {
    if flags.config.is_none() && Path::new(CONFIG).exists() {
        flags.config = Some(CONFIG.into());
    }
    // Mistakes in the flags alone are said before anything is touched. Whether there is a certificate for https is in
    // the configuration.
    let alone = Flags { https: None, ..flags.clone() };
    Settings::new(alone, Document::default()).map_err(Exit::usage)?;
    app::run(flags, kinds, inheritance)
}

/// What the file at `path` says.
pub(super) fn read(path: &Path, flags: &Flags, kinds: &Kinds) -> Result<Document, ConfigError> {
    // A domain that is none is reported with the other flags.
    let domain = flags.domain.as_deref().and_then(|text| Host::parse(text).ok());
    config::load(path, domain.as_ref(), kinds, &|name| std::env::var(name).ok())
}
