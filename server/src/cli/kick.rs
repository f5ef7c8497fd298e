//! `tunneld kick`.

use argh::{ArgsInfo, FromArgs};
use ops::cli::Exit;

use super::ask::{self, Server};
use crate::admin::api;

/// end the sessions of a client at once; it may dial again (to keep it out, revoke its credential)
#[derive(FromArgs, ArgsInfo, Debug)]
#[argh(subcommand, name = "kick", example = "$ tunneld kick edge-1")]
pub(super) struct Kick {
    /// the client, by its name or id
    #[argh(positional)]
    client: String,
    /// as JSON
    #[argh(switch)]
    json: bool,
}

impl Kick {
    pub(super) fn execute(self, server: &Server) -> Result<Exit, Exit> {
        let answer = server.post("/v1/kick", &api::Kick { client: self.client.clone() })?;
        if self.json {
            return Ok(ask::json(&answer));
        }
        let api::Kicked { sessions } = ask::read(answer)?;
        Ok(Exit::done(format!("{}: sessions ended: {sessions}\n", self.client)))
    }
}
