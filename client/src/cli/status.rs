//! `tunnelc status`.

use std::fmt::Write;
use std::time::Duration;

use argh::{ArgsInfo, FromArgs};
use http::Method;
use ops::admin::{self, AdminError};
use ops::cli::Exit;
use serde_json::Value;

use super::globals::Globals;
use crate::admin::STATUS;

/// What is asked for is at hand.
const LIMIT: Duration = Duration::from_secs(10);

/// Show what the running tunnelc of this state directory is doing.
#[derive(FromArgs, ArgsInfo, Debug)]
#[argh(
    subcommand,
    name = "status",
    example = "{command_name}\n{command_name} --json",
    note = "--state says which one."
)]
pub(super) struct Status {
    /// as JSON
    #[argh(switch)]
    json: bool,
}

impl Status {
    pub(super) fn run(&self, globals: &Globals) -> Result<Exit, Exit> {
        let status = ask(globals, Method::GET, STATUS, LIMIT)?;
        Ok(Exit::done(if self.json { format!("{status}\n") } else { as_text(&status) }))
    }
}

/// Asks the running tunnelc.
pub(super) fn ask(globals: &Globals, method: Method, page: &str, limit: Duration) -> Result<Value, Exit> {
    let state = globals.state_dir()?;
    let socket = state.file(admin::SOCKET);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(Exit::failed)?;
    runtime.block_on(admin::call_within(limit, &socket, method, page, None)).map_err(|error| match error {
        AdminError::NobodyAnswers(path) => Exit::failed(format_args!(
            "no tunnelc at {} (state from {}); is it running?",
            path.display(),
            state.origin()
        )),
        error => Exit::failed(error),
    })
}

fn as_text(status: &Value) -> String {
    let word = |value: &Value, key: &str| value[key].as_str().unwrap_or("-").to_owned();
    let list = |key: &str| status[key].as_array().cloned().unwrap_or_default();
    let age = |value: &Value, key: &str| {
        let whole = Duration::from_secs(value[key].as_u64().unwrap_or_default() / 1000);
        humantime::format_duration(whole).to_string()
    };
    let mut out = format!(
        "{}  {}, up {}, client {}\n",
        word(status, "name"),
        word(status, "state"),
        age(status, "uptime_ms"),
        word(status, "client")
    );
    if let Some(problem) = status["config_pending"].as_str() {
        let _ = writeln!(out, "  the configuration file is not in use: {problem}");
    }
    for session in list("sessions") {
        let more = match session["state"].as_str() {
            Some("connected") => {
                let rtt =
                    session["rtt_ms"].as_f64().map_or_else(String::new, |ms| format!(", rtt {ms:.1} ms"));
                format!(" to {} for {}{rtt}", word(&session, "server"), age(&session, "since_ms"))
            }
            Some("connecting") => format!(" to {}", word(&session, "server")),
            Some("waiting") => {
                format!(": {}; next try in {}", word(&session, "reason"), age(&session, "retry_in_ms"))
            }
            _ => String::new(),
        };
        // Writing to a string does not fail.
        let _ = writeln!(out, "  session {}  {}{more}", session["slot"], word(&session, "state"));
    }
    let tunnels = list("tunnels");
    let width = tunnels.iter().map(|tunnel| word(tunnel, "name").len()).max().unwrap_or_default();
    for tunnel in tunnels {
        let what = match tunnel["state"].as_str() {
            Some("ready") => word(&tunnel, "url"),
            Some("refused") => format!("refused: {}: {}", word(&tunnel, "code"), word(&tunnel, "reason")),
            _ => "waiting".to_owned(),
        };
        let _ = writeln!(out, "  {:width$}  {what}  ->  {}", word(&tunnel, "name"), word(&tunnel, "to"));
    }
    for group in list("groups") {
        let texts = |key: &str| {
            let texts = group[key].as_array().cloned().unwrap_or_default();
            texts.iter().filter_map(Value::as_str).collect::<Vec<_>>().join(", ")
        };
        let mut what = word(&group, "state");
        for (key, before) in [("services", ""), ("listens", "listening on ")] {
            let texts = texts(key);
            if !texts.is_empty() {
                what.push_str(&format!("; {before}{texts}"));
            }
        }
        if let Some(reason) = group["reason"].as_str() {
            what.push_str(&format!("; refused revision {}: {reason}", group["refused_revision"]));
        }
        let _ = writeln!(out, "  group {}  {what}", word(&group, "name"));
    }
    out
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_few_lines_for_people() {
        let status = json!({
            "name": "edge-1", "state": "running", "uptime_ms": 65_000, "client": "ab",
            "sessions": [
                { "slot": 0, "state": "connected", "server": "h:1", "since_ms": 3_000, "rtt_ms": 1.25 },
                { "slot": 1, "state": "waiting", "reason": "cannot reach h:1", "retry_in_ms": 2_000 },
            ],
            "tunnels": [
                { "name": "wiki", "state": "ready", "url": "https://wiki.x", "to": "localhost:1" },
                { "name": "a", "state": "refused", "code": "NAME_IN_USE", "reason": "taken", "to": "localhost:2" },
            ],
        });
        assert_eq!(
            as_text(&status),
            "edge-1  running, up 1m 5s, client ab\n  \
               session 0  connected to h:1 for 3s, rtt 1.2 ms\n  \
               session 1  waiting: cannot reach h:1; next try in 2s\n  \
               wiki  https://wiki.x  ->  localhost:1\n  \
               a     refused: NAME_IN_USE: taken  ->  localhost:2\n"
        );
    }
}
