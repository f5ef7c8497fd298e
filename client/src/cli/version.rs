//! `tunnelc version`.

use argh::{ArgsInfo, FromArgs};
use ops::cli::{Exit, version};
use protocol::handshake::VERSION;

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
        version(crate::PROGRAM, crate::VERSION, VERSION, self.json)
    }
}
