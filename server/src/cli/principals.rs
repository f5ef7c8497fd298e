//! `tunneld principals`.

use std::time::SystemTime;

use argh::{ArgsInfo, FromArgs};
use ops::cli::Exit;

use super::ask::{self, Server};
use super::report;
use crate::admin::api;

/// list who may log in, with which credentials and grants
#[derive(FromArgs, ArgsInfo, Debug)]
#[argh(subcommand, name = "principals")]
pub(super) struct Principals {
    /// as JSON
    #[argh(switch)]
    json: bool,
}

impl Principals {
    pub(super) fn execute(&self, server: &Server) -> Result<Exit, Exit> {
        let answer = server.get("/v1/principals")?;
        if self.json {
            return Ok(ask::json(&answer));
        }
        let principals: api::Principals = ask::read(answer)?;
        Ok(Exit::done(report::principals(&principals.principals, SystemTime::now())))
    }
}
