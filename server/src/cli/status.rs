//! `tunneld status`.

use argh::{ArgsInfo, FromArgs};
use ops::cli::Exit;

use super::ask::{self, Server};
use super::report;
use crate::admin::api;

/// say how the server is; or only what is behind one host, port, group or client
#[derive(FromArgs, ArgsInfo, Debug)]
#[argh(subcommand, name = "status", example = "What is behind a name:\n$ tunneld status wiki.t.example.com")]
pub(super) struct Status {
    /// a host, a port, a group, or a client by its name or id
    #[argh(positional, arg_name = "HOST|GROUP|CLIENT")]
    of: Option<String>,
    /// as JSON
    #[argh(switch)]
    json: bool,
}

impl Status {
    pub(super) fn execute(&self, server: &Server) -> Result<Exit, Exit> {
        let answer = server.get("/v1/status")?;
        let Some(of) = &self.of else {
            if self.json {
                return Ok(ask::json(&answer));
            }
            return Ok(Exit::done(report::status(&ask::read(answer)?)));
        };
        let mut status: api::Status = ask::read(answer)?;
        status.narrow(of);
        let named = !status.names.is_empty() || !status.ingresses.is_empty();
        if !named && status.sessions.is_empty() && status.groups.is_empty() {
            return Err(Exit::failed(format_args!(
                "nothing here is called {of}; `tunneld status` shows what there is"
            )));
        }
        match self.json {
            true => Ok(ask::json(&serde_json::to_value(&status).map_err(Exit::failed)?)),
            false => Ok(Exit::done(report::matches(&status))),
        }
    }
}
