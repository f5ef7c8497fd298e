//! `tunneld version`.

use argh::{ArgsInfo, FromArgs};
use ops::cli::{Exit, version};
use protocol::handshake::VERSION;

/// say which version this is
#[derive(FromArgs, ArgsInfo, Debug)]
#[argh(subcommand, name = "version")]
pub(super) struct Version {
    /// as JSON
    #[argh(switch)]
    json: bool,
}

impl Version {
    pub(super) fn execute(&self) -> Exit {
        version("tunneld", crate::admin::VERSION, VERSION, self.json)
    }
}
