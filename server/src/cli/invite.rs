//! `tunneld invite`.

use argh::{ArgsInfo, FromArgs};
use ops::cli::Exit;

use super::ask::{self, Server};
use super::{duration, report};
use crate::admin::api;

/// let somebody in: make a credential with a join string, and add grants to the principal
#[derive(FromArgs, ArgsInfo, Debug)]
#[argh(
    subcommand,
    name = "invite",
    example = "One name and one port:\n$ tunneld invite bob --host wiki --port 2222",
    example = "A second credential for the same principal, good for one client and a month:\n$ tunneld invite bob --once --expires 30d"
)]
pub(super) struct Invite {
    /// the principal; new ones are made
    #[argh(positional)]
    name: String,
    /// a group that it may join (repeat for more)
    #[argh(option, arg_name = "GROUP")]
    group: Vec<String>,
    /// a host, or *.suffix for one label; without a dot it is under the domain (repeat for more)
    #[argh(option, arg_name = "PATTERN")]
    host: Vec<String>,
    /// a port, or a range A-B (repeat for more)
    #[argh(option, arg_name = "A-B")]
    port: Vec<String>,
    /// a service next to the server that it may reach (repeat for more)
    #[argh(option, arg_name = "SERVICE")]
    reach: Vec<String>,
    /// names=N, sessions=N or requests=N (repeat for more)
    #[argh(option, arg_name = "K=N")]
    quota: Vec<String>,
    /// how long the credential is good, as in 30d
    #[argh(option, arg_name = "TIME", from_str_fn(duration::seconds))]
    expires: Option<u64>,
    /// good for the first client only that uses it
    #[argh(switch)]
    once: bool,
    /// print nothing but the join string
    #[argh(switch)]
    print: bool,
    /// as JSON
    #[argh(switch)]
    json: bool,
}

impl Invite {
    pub(super) fn execute(self, server: &Server) -> Result<Exit, Exit> {
        let asked = api::Invite {
            name: self.name,
            groups: self.group,
            hosts: self.host,
            ports: self.port,
            reach: self.reach,
            quotas: self.quota,
            expires_seconds: self.expires,
            once: self.once,
        };
        let answer = server.post("/v1/invite", &asked)?;
        if self.json {
            return Ok(ask::json(&answer));
        }
        let invited: api::Invited = ask::read(answer)?;
        Ok(Exit::done(if self.print { invited.join } else { report::invited(&invited) }))
    }
}
