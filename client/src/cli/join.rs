//! `tunnelc join`.

use std::io::Read;

use argh::{ArgsInfo, FromArgs};
use ops::cli::Exit;
use protocol::join::JoinString;
use serde_json::json;

use super::globals::Globals;
use super::wrong;
use crate::join_source::{Given, JoinSource, remember};

/// No join string is longer. Bytes.
const STDIN_MAX: u64 = 64 * 1024;

/// Remember the join string of a server, so that no other command needs one.
#[derive(FromArgs, ArgsInfo, Debug)]
#[argh(
    subcommand,
    name = "join",
    example = "{command_name} 'tunnel://…'\n\
               {command_name} - < join-string       keeps it out of the history of the shell\n\
               {command_name}                       shows what is remembered, without the secret",
    note = "--state says where it is remembered."
)]
pub(super) struct Join {
    /// show as JSON
    #[argh(switch)]
    json: bool,
    /// the join string; - reads it from stdin
    #[argh(positional)]
    string: Option<String>,
}

impl Join {
    pub(super) fn run(self, globals: &Globals) -> Result<Exit, Exit> {
        let state = globals.state_dir()?;
        let source = match self.string {
            Some(dash) if dash == "-" => Some(JoinSource::Stdin(read_stdin()?)),
            Some(text) => Some(JoinSource::Argument(text)),
            None => globals.flagged_join()?,
        };
        let Some(source) = source else {
            let remembered = JoinSource::Remembered(state).read().map_err(Exit::failed)?;
            return Ok(Exit::done(if self.json { as_json(&remembered) } else { as_text(&remembered) }));
        };
        let given = source.read().map_err(Exit::usage)?;
        let path = remember(&state, &given.string).map_err(Exit::failed)?;
        let remembered = Given { string: given.string, origin: path.display().to_string() };
        Ok(Exit::done(if self.json {
            as_json(&remembered)
        } else {
            format!("Remembered.\n{}Now: tunnelc http 3000\n", as_text(&remembered))
        }))
    }
}

fn read_stdin() -> Result<String, Exit> {
    let mut text = String::new();
    let read = std::io::stdin().lock().take(STDIN_MAX).read_to_string(&mut text);
    read.map_err(|error| wrong("stdin", error))?;
    Ok(text)
}

fn as_text(given: &Given) -> String {
    let JoinString { credential, address, pins, .. } = &given.string;
    let pins = match pins.as_slice() {
        [] => "its certificate, by the CA of --ca-file or of the system".to_owned(),
        pins => pins.iter().map(ToString::to_string).collect::<Vec<_>>().join(" or "),
    };
    format!(
        "  server      {address}\n  trusted by  {pins}\n  credential  {credential}\n  kept in     {}\n",
        given.origin
    )
}

fn as_json(given: &Given) -> String {
    let JoinString { credential, address, pins, .. } = &given.string;
    let pins: Vec<String> = pins.iter().map(ToString::to_string).collect();
    let shown = json!({
        "server": address.to_string(),
        "credential": credential.as_str(),
        "pins": pins,
        "path": given.origin,
    });
    format!("{shown}\n")
}
