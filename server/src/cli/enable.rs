//! `tunneld enable`.

use argh::{ArgsInfo, FromArgs};
use ops::cli::Exit;

use super::ask::{self, Server};
use super::report;
use crate::admin::api;

/// take something into service again that was disabled
#[derive(FromArgs, ArgsInfo, Debug)]
#[argh(
    subcommand,
    name = "enable",
    example = "$ tunneld enable edge-1",
    note = "`tunneld status` lists what is disabled; each of those words is good here."
)]
pub(super) struct Enable {
    /// what was disabled
    #[argh(positional)]
    what: String,
    /// as JSON
    #[argh(switch)]
    json: bool,
}

impl Enable {
    pub(super) fn execute(self, server: &Server) -> Result<Exit, Exit> {
        let answer = server.post("/v1/enable", &api::Switch { what: self.what })?;
        if self.json {
            return Ok(ask::json(&answer));
        }
        Ok(Exit::done(report::switched(&ask::read(answer)?, "enabled")))
    }
}
