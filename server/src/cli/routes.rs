//! `tunneld routes`.

use argh::{ArgsInfo, FromArgs};
use ops::cli::Exit;

use super::ask::{self, Server};
use super::route_report;
use crate::admin;

/// list every rule, tunnel and relay: what it takes, where it leads, and whether somebody is there
#[derive(FromArgs, ArgsInfo, Debug)]
#[argh(subcommand, name = "routes", example = "{command_name}\n{command_name} --json")]
pub(super) struct Routes {
    /// as JSON
    #[argh(switch)]
    json: bool,
}

impl Routes {
    pub(super) fn execute(&self, server: &Server) -> Result<Exit, Exit> {
        let answer = server.get("/v1/routes")?;
        if self.json {
            return Ok(ask::json(&answer));
        }
        let routes: admin::Routes = ask::read(answer)?;
        Ok(Exit::done(route_report::routes(&routes)))
    }
}
