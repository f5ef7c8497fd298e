//! `tunneld version`.

use argh::{ArgsInfo, FromArgs};
use ops::cli::Exit;
use serde_json::json;

use super::ask;
use crate::admin::VERSION;

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
        match self.json {
            true => ask::json(&json!({ "version": VERSION, "protocol": protocol::handshake::VERSION })),
            false => {
                Exit::done(format!("tunneld {VERSION} (protocol tunnel/{})\n", protocol::handshake::VERSION))
            }
        }
    }
}
