//! `tunneld audit`.

use std::time::SystemTime;

use argh::{ArgsInfo, FromArgs};
use ops::cli::Exit;

use super::ask::{self, Server};
use super::report;
use crate::admin::Audit;

/// Lines where nobody says how many.
const LAST: usize = 20;

/// show what operators did: every command that changed something, or tried to; also while no server runs
#[derive(FromArgs, ArgsInfo, Debug)]
#[argh(
    subcommand,
    name = "audit",
    example = "The last hundred:\n$ tunneld audit --last 100",
    note = "It reads STATE/audit.log and those beside it, which hold the last few megabytes, a line of JSON for each command."
)]
pub(super) struct AuditLog {
    /// how many, the newest last (default 20)
    #[argh(option, arg_name = "N", default = "LAST")]
    last: usize,
    /// as JSON
    #[argh(switch)]
    json: bool,
}

impl AuditLog {
    pub(super) fn execute(&self, server: &Server) -> Result<Exit, Exit> {
        let entries = Audit::of(&server.state()?).and_then(|audit| audit.entries()).map_err(Exit::failed)?;
        let entries = entries.get(entries.len().saturating_sub(self.last)..).unwrap_or_default();
        match self.json {
            true => Ok(ask::json(&serde_json::to_value(entries).map_err(Exit::failed)?)),
            false => Ok(Exit::done(report::audit(entries, SystemTime::now()))),
        }
    }
}
