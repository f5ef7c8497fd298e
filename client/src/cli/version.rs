//! `tunnelc version`.

use argh::{ArgsInfo, FromArgs};
use ops::cli::Exit;
use protocol::handshake::VERSION;
use serde_json::json;

/// Say the version of the program and of the wire.
#[derive(FromArgs, ArgsInfo, Debug)]
#[argh(subcommand, name = "version")]
pub(super) struct Version {
    /// as JSON
    #[argh(switch)]
    json: bool,
}

impl Version {
    pub(super) fn run(&self) -> Exit {
        let (program, version) = (crate::PROGRAM, crate::VERSION);
        Exit::done(if self.json {
            format!("{}\n", json!({ "program": program, "version": version, "wire": VERSION }))
        } else {
            format!("{program} {version} (wire {VERSION})\n")
        })
    }
}
