//! `tunneld upgrade`.

use argh::{ArgsInfo, FromArgs};
use ops::cli::Exit;

use super::ask::{self, Server};
use crate::admin::going;

/// start the program that is installed now in place of the running one; no visitor notices
#[derive(FromArgs, ArgsInfo, Debug)]
#[argh(
    subcommand,
    name = "upgrade",
    example = "After a new version was installed at the same path:\n$ tunneld upgrade",
    note = "The new process gets all listeners, the admin socket and the lock of the state directory. It has 10 s to be ready: \
            until then, and if it fails, the old one goes on as if nothing had happened. Clients move to the new one, then \
            visitors do; the old one finishes what it has, as in a drain. kill -USR2 does the same."
)]
pub(super) struct Upgrade {
    /// as JSON
    #[argh(switch)]
    json: bool,
}

impl Upgrade {
    pub(super) fn execute(&self, server: &Server) -> Result<Exit, Exit> {
        let answer = server.post_within(going::UPGRADE_ANSWER, "/v1/upgrade", &())?;
        if self.json {
            return Ok(ask::json(&answer));
        }
        let going::Upgraded { process, clients, moved } = ask::read(answer)?;
        let mut text = format!("process {process} has taken over, with {moved} of {clients} clients\n");
        if moved < clients {
            text.push_str("the others have not come over in time: they keep the old process until it ends, and dial again then\n");
        }
        Ok(Exit::done(text))
    }
}
