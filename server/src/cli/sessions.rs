//! `tunneld sessions`.

use argh::{ArgsInfo, FromArgs};
use ops::cli::Exit;

use super::ask::{self, Server};
use super::report;
use crate::admin::api;

/// list the sessions of all clients
#[derive(FromArgs, ArgsInfo, Debug)]
#[argh(subcommand, name = "sessions")]
pub(super) struct Sessions {
    /// as JSON
    #[argh(switch)]
    json: bool,
}

impl Sessions {
    pub(super) fn execute(&self, server: &Server) -> Result<Exit, Exit> {
        let answer = server.get("/v1/sessions")?;
        if self.json {
            return Ok(ask::json(&answer));
        }
        let sessions: api::Sessions = ask::read(answer)?;
        Ok(Exit::done(match sessions.sessions.as_slice() {
            [] => "no sessions\n".to_owned(),
            all => report::sessions(all),
        }))
    }
}
