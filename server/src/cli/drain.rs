//! `tunneld drain`.

use argh::{ArgsInfo, FromArgs};
use ops::cli::{Exit, print_error};

use super::ask::{self, Server};
use super::duration;
use crate::admin::going;

/// take no new work, finish what is in progress, and end; a signal meanwhile ends it at once
#[derive(FromArgs, ArgsInfo, Debug)]
#[argh(
    subcommand,
    name = "drain",
    example = "Before maintenance; returns when the server has ended:\n$ tunneld drain",
    example = "Downloads and terminals get ten minutes:\n$ tunneld drain --deadline 10m",
    example = "No, that is too long, while it drains:\n$ tunneld drain --deadline 10s"
)]
pub(super) struct Drain {
    /// what is left after it is cut, as in 30s or 10m (default: timeouts.drain); of a server that drains already, from now on
    #[argh(option, arg_name = "SPAN", from_str_fn(duration::seconds))]
    deadline: Option<u64>,
    /// as JSON
    #[argh(switch)]
    json: bool,
}

impl Drain {
    pub(super) fn execute(&self, server: &Server) -> Result<Exit, Exit> {
        let mut asked = going::Drain { deadline_seconds: self.deadline };
        // What it said while it was draining.
        let mut before = None;
        loop {
            let drained: going::Drained = match before {
                None => ask::read(server.post_within(going::DRAIN_ANSWER, "/v1/drain", &asked)?)?,
                Some(going::Drained { in_progress, .. }) => {
                    match server.post_while_up(going::DRAIN_ANSWER, "/v1/drain", &asked)? {
                        Some(answer) => ask::read(answer)?,
                        // It has ended between two answers; all that was left may have been cut.
                        None => going::Drained {
                            state: going::DRAINED.to_owned(),
                            in_progress: 0,
                            cut: in_progress,
                            moved_to_seconds: None,
                        },
                    }
                }
            };
            if let Some(seconds) = drained.moved_to_seconds {
                print_error(&format!(
                    "the server is draining already: what is left of {} requests and connections is cut in {seconds} s now\n",
                    drained.in_progress
                ));
            }
            if drained.state == going::DRAINING {
                // It has its deadline; what is left to ask is how it goes.
                asked.deadline_seconds = None;
                before = Some(drained);
                continue;
            }
            return Ok(match (self.json, drained.cut) {
                (true, _) => ask::json(&serde_json::to_value(drained).map_err(Exit::failed)?),
                (false, 0) => Exit::done("the server has ended; all work was finished\n"),
                (false, cut) => Exit::done(format!(
                    "the server has ended; {cut} requests and connections were cut at the deadline\n"
                )),
            });
        }
    }
}
