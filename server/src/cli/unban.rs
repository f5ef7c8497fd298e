//! `tunneld unban`.

use std::net::IpAddr;

use argh::{ArgsInfo, FromArgs};
use ops::cli::Exit;

use super::ask::{self, Server};
use crate::admin::api;

/// let an address log in again that failed too often
#[derive(FromArgs, ArgsInfo, Debug)]
#[argh(
    subcommand,
    name = "unban",
    example = "$ tunneld unban 192.0.2.7",
    note = "Who fails ten times a minute with one credential waits a minute, then longer, up to 15 minutes. Of an IPv6 \
            address all of its /64 is meant."
)]
pub(super) struct Unban {
    /// the address
    #[argh(positional)]
    address: IpAddr,
    /// as JSON
    #[argh(switch)]
    json: bool,
}

impl Unban {
    pub(super) fn execute(self, server: &Server) -> Result<Exit, Exit> {
        let answer = server.post("/v1/unban", &api::Unban { address: self.address })?;
        if self.json {
            return Ok(ask::json(&answer));
        }
        let api::Unbanned { bans } = ask::read(answer)?;
        Ok(Exit::done(match bans {
            0 => format!("{} was not banned\n", self.address),
            bans => format!("{} may log in again; bans ended: {bans}\n", self.address),
        }))
    }
}
