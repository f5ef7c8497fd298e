//! `tunneld doctor`.

use std::path::Path;

use argh::{ArgsInfo, FromArgs};
use ops::cli::Exit;
use ops::config::Lack;
use ops::state_dir::{Program, StateDir};
use proxy::plugin::Kinds;

use super::run::{CONFIG, read};
use crate::config::Document;
use crate::doctor::{Source, Subject, examine};
use crate::revision::{Reader, Store};
use crate::settings::{Flags, Settings};

/// look at all that the server needs of its machine and of the world, and say what to do about what is missing
#[derive(FromArgs, ArgsInfo, Debug)]
#[argh(
    subcommand,
    name = "doctor",
    example = "{command_name}",
    example = "With the configuration that a start would have:\n$ {command_name} --config tunneld.toml --json",
    note = "It changes nothing. The flags are those of `tunneld run`; say the same to both.",
    error_code(1, "something fails")
)]
pub(super) struct Doctor {
    /// as JSON
    #[argh(switch)]
    json: bool,
}

impl Doctor {
    pub(super) fn execute(&self, mut flags: Flags, kinds: &Kinds) -> Result<Exit, Exit> {
        if flags.config.is_none() && Path::new(CONFIG).exists() {
            flags.config = Some(CONFIG.into());
        }
        let state = StateDir::resolve(Program::Tunneld, flags.state.clone(), |name| std::env::var_os(name));
        let state = state.map_err(Exit::usage)?;
        let (config, document) = match flags.config.clone() {
            Some(path) => {
                let document = read(&path, &flags, kinds).map_err(|error| error.to_string());
                (Source::File(path), document)
            }
            None => in_force(&state, &flags, kinds),
        };
        let settings = document.and_then(|it| Settings::new(flags, it).map_err(|error| error.to_string()));
        examine(Subject { config, settings, state })?.exit(self.json)
    }
}

/// What a start without a file would have.
fn in_force(state: &StateDir, flags: &Flags, kinds: &Kinds) -> (Source, Result<Document, String>) {
    match Store::in_force(state) {
        Ok(Some((revision, text))) => {
            let reader = Reader::new(flags.clone(), kinds.clone());
            let document = reader.read(&revision.path, &text, Lack::Down).map_err(|unusable| unusable.report);
            (Source::Revision(revision.number, revision.path), document)
        }
        Ok(None) => (Source::Nowhere, Ok(Document::default())),
        Err(error) => (Source::Nowhere, Err(error.to_string())),
    }
}
