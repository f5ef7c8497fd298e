//! `tunneld revoke`.

use argh::{ArgsInfo, FromArgs};
use ops::cli::Exit;

use super::ask::{self, Server};
use super::report;
use crate::admin::api;

/// end a principal, or one of its credentials: its sessions end at once and its names are free
#[derive(FromArgs, ArgsInfo, Debug)]
#[argh(
    subcommand,
    name = "revoke",
    example = "Nobody gets in with the quick start's join string any more, which lasts:\n$ tunneld revoke default",
    example = "One key of several, as `tunneld principals` shows them:\n$ tunneld revoke edge-1 --credential 4vz7k2m3ab",
    example = "One certificate, by its SHA-256:\n$ tunneld revoke edge-1 --credential 3f:9c:…"
)]
pub(super) struct Revoke {
    /// the principal
    #[argh(positional)]
    name: String,
    /// only this credential of it, or the certificate with this fingerprint
    #[argh(option, arg_name = "ID")]
    credential: Option<String>,
    /// as JSON
    #[argh(switch)]
    json: bool,
}

impl Revoke {
    pub(super) fn execute(self, server: &Server) -> Result<Exit, Exit> {
        let asked = api::Revoke { name: self.name, credential: self.credential };
        let answer = server.post("/v1/revoke", &asked)?;
        if self.json {
            return Ok(ask::json(&answer));
        }
        let revoked: api::Revoked = ask::read(answer)?;
        Ok(Exit::done(report::revoked(&asked.name, &revoked)))
    }
}
