//! `tunneld disable`.

use argh::{ArgsInfo, FromArgs};
use ops::cli::Exit;

use super::ask::{self, Server};
use super::report;
use crate::admin::api;

/// take something out of service: it gets no new work and finishes what it has, until it is enabled again, also across
/// restarts
#[derive(FromArgs, ArgsInfo, Debug)]
#[argh(
    subcommand,
    name = "disable",
    example = "A client, by its name or id; others of its group go on:\n$ tunneld disable edge-1",
    example = "The same only as a member of one group:\n$ tunneld disable member:web/edge-1",
    example = "A host, for maintenance; visitors get 503:\n$ tunneld disable host:wiki.t.example.com",
    example = "One server of a service next to this server; its others go on:\n$ tunneld disable billing/10.0.0.5:8080",
    note = "WHAT is a word of `tunneld status`; if several things are called so, with its kind in front: client:NAME, \
            principal:NAME, group:NAME, member:GROUP/CLIENT, host:HOST, port:N, rule:NAME, server:SERVICE/ADDRESS."
)]
pub(super) struct Disable {
    /// a client, principal, group, member of a group, host, port, rule or server of a service
    #[argh(positional)]
    what: String,
    /// as JSON
    #[argh(switch)]
    json: bool,
}

impl Disable {
    pub(super) fn execute(self, server: &Server) -> Result<Exit, Exit> {
        let answer = server.post("/v1/disable", &api::Switch { what: self.what })?;
        if self.json {
            return Ok(ask::json(&answer));
        }
        Ok(Exit::done(report::switched(&ask::read(answer)?, "disabled")))
    }
}
