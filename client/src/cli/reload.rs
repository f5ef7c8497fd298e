//! `tunnelc reload`.

use std::time::Duration;

use argh::{ArgsInfo, FromArgs};
use http::Method;
use ops::cli::{Exit, ExitCode, print};
use serde_json::Value;

use super::globals::Globals;
use super::status::ask;
use crate::admin::RELOAD;

/// It may log in anew, at more than one server.
const LIMIT: Duration = Duration::from_secs(120);

/// Make the running tunnelc of this state directory read its configuration file again.
#[derive(FromArgs, ArgsInfo, Debug)]
#[argh(
    subcommand,
    name = "reload",
    example = "{command_name}\n{command_name} --state /var/lib/tunnel/tunnelc",
    note = "It does so by itself when the file changes, and at SIGHUP. A file that can not be used changes nothing:\n\
            exit code 1, and what is wrong. --state says which tunnelc."
)]
pub(super) struct Reload {
    /// as JSON
    #[argh(switch)]
    json: bool,
}

impl Reload {
    pub(super) fn run(&self, globals: &Globals) -> Result<Exit, Exit> {
        let answer = ask(globals, Method::POST, RELOAD, LIMIT)?;
        let failed = answer["outcome"] == "failed";
        let text = match (self.json, answer["outcome"].as_str()) {
            (true, _) => format!("{answer}\n"),
            (_, Some("failed")) => {
                format!("nothing has changed: {}", answer["error"].as_str().unwrap_or_default())
            }
            (_, Some("applied")) => {
                let changes = answer["changes"].as_array().into_iter().flatten();
                let changes: Vec<_> = changes.filter_map(Value::as_str).collect();
                format!("the configuration is in use: {}\n", changes.join(", "))
            }
            _ => "the configuration says nothing new\n".to_owned(),
        };
        match (failed, self.json) {
            (false, _) => Ok(Exit::done(text)),
            (true, false) => Err(Exit::failed(text)),
            (true, true) => {
                // What was asked for is the answer, also where it is bad news.
                print(&text);
                Err(Exit { code: ExitCode::Failed, text: String::new() })
            }
        }
    }
}
