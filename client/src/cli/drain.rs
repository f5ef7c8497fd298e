//! `tunnelc drain`.

use std::time::Duration;

use argh::{ArgsInfo, FromArgs};
use http::Method;
use ops::admin::{self, AdminError};
use ops::cli::{Exit, print_error};
use serde_json::{Value, json};

use super::globals::Globals;
use super::wrong;
use crate::admin::{DRAIN, DRAIN_ANSWER};

/// Give the names back, finish what is in progress, and end the running tunnelc of this state directory. A signal meanwhile
/// ends it at once.
#[derive(FromArgs, ArgsInfo, Debug)]
#[argh(
    subcommand,
    name = "drain",
    example = "{command_name}\n{command_name} --deadline 10m",
    note = "Returns when it has ended. --state says which one."
)]
pub(super) struct Drain {
    /// what is left after it is cut, as in 30s or 10m; default: 30s, or 2s for tunnelc http, tcp and forward. Of one that drains
    /// already, from now on
    #[argh(option, arg_name = "span")]
    deadline: Option<String>,
    /// as JSON
    #[argh(switch)]
    json: bool,
}

impl Drain {
    pub(super) fn run(&self, globals: &Globals) -> Result<Exit, Exit> {
        let deadline = self.deadline.as_deref().map(humantime::parse_duration).transpose();
        let deadline = deadline.map_err(|error| wrong("--deadline", error))?;
        let state = globals.state_dir()?;
        let socket = state.file(admin::SOCKET);
        let runtime =
            tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(Exit::failed)?;
        let mut asked =
            json!({ "deadline_ms": deadline.map(|it| u64::try_from(it.as_millis()).unwrap_or(u64::MAX)) });
        // What was in progress when it said that it was draining.
        let mut left = None;
        loop {
            let answer = admin::call_within(DRAIN_ANSWER, &socket, Method::POST, DRAIN, Some(&asked));
            let answer = match (runtime.block_on(answer), left) {
                // It has ended between two answers; all that was left may have been cut.
                (Err(AdminError::NobodyAnswers(_) | AdminError::Protocol { .. }), Some(left)) => {
                    Ok(json!({ "state": "drained", "in_progress": 0, "cut": left }))
                }
                (answer, _) => answer,
            };
            let drained: Value = answer.map_err(|error| match error {
                AdminError::NobodyAnswers(path) => Exit::failed(format_args!(
                    "no tunnelc at {} (state from {}); is it running?",
                    path.display(),
                    state.origin()
                )),
                error => Exit::failed(error),
            })?;
            if let Some(ms) = drained["moved_to_ms"].as_u64() {
                let (left, within) = (&drained["in_progress"], Duration::from_millis(ms));
                print_error(&format!(
                    "tunnelc is draining already: what is left of {left} requests and connections is cut in {within:?} now\n"
                ));
            }
            if drained["state"] == "draining" {
                // It has its deadline; what is left to ask is how it goes.
                asked = json!({});
                left = Some(drained["in_progress"].as_u64().unwrap_or_default());
                continue;
            }
            let text = match drained["cut"].as_u64() {
                _ if self.json => format!("{drained}\n"),
                None | Some(0) => "tunnelc has ended; all work was finished\n".to_owned(),
                Some(cut) => {
                    format!("tunnelc has ended; {cut} requests and connections were cut at the deadline\n")
                }
            };
            return Ok(Exit::done(text));
        }
    }
}
