//! `tunneld config`.

use std::path::PathBuf;
use std::time::SystemTime;

use argh::{ArgsInfo, FromArgs};
use ops::cli::Exit;
use ops::config::read_text;
use policy::revision::Revision;

use super::ask::{self, Server};
use super::duration;
use super::report::ago;
use super::table::table;
use crate::revision::api::{
    Applied, ApplyRequest, Confirmed, Difference, HistoryAnswer, RollbackRequest, Shown,
};

/// put configurations in force, look at those that were, and go back
#[derive(FromArgs, ArgsInfo, Debug)]
#[argh(
    subcommand,
    name = "config",
    example = "Put a file in force, and undo that in five minutes unless you can still say otherwise:\n$ tunneld config apply tunneld.toml --confirm 5m\n$ tunneld config confirm",
    example = "What has changed, and back:\n$ tunneld config history\n$ tunneld config diff 3\n$ tunneld config rollback 3"
)]
pub(super) struct Config {
    #[argh(subcommand)]
    command: Command,
}

#[derive(FromArgs, ArgsInfo, Debug)]
#[argh(subcommand)]
enum Command {
    Apply(Apply),
    Confirm(Confirm),
    Show(Show),
    History(History),
    Diff(Diff),
    Rollback(Rollback),
}

/// put a file in force; if that fails, nothing has changed
#[derive(FromArgs, ArgsInfo, Debug)]
#[argh(
    subcommand,
    name = "apply",
    error_code(1, "no file could be put in force"),
    error_code(2, "the file is wrong, or what it asks for is not to be had")
)]
struct Apply {
    /// the file
    #[argh(positional, arg_name = "FILE")]
    file: PathBuf,
    /// what to remember with it
    #[argh(option, arg_name = "TEXT")]
    note: Option<String>,
    /// take names from whoever holds them
    #[argh(switch)]
    take: bool,
    /// fail unless every connected instance takes the part of its group (else half of them is enough)
    #[argh(switch)]
    require_all: bool,
    /// undo it after this time, as in 5m, unless `config confirm` follows; also if the server restarts
    #[argh(option, arg_name = "TIME")]
    confirm: Option<String>,
    /// as JSON
    #[argh(switch)]
    json: bool,
}

/// keep what `apply --confirm` has put in force
#[derive(FromArgs, ArgsInfo, Debug)]
#[argh(subcommand, name = "confirm")]
struct Confirm {
    /// as JSON
    #[argh(switch)]
    json: bool,
}

/// print the text of a revision, or of the one in force
#[derive(FromArgs, ArgsInfo, Debug)]
#[argh(subcommand, name = "show")]
struct Show {
    /// its number
    #[argh(positional, arg_name = "N")]
    number: Option<u64>,
    /// as JSON, with what is known of it
    #[argh(switch)]
    json: bool,
}

/// list the revisions
#[derive(FromArgs, ArgsInfo, Debug)]
#[argh(subcommand, name = "history")]
struct History {
    /// as JSON
    #[argh(switch)]
    json: bool,
}

/// say what a revision says otherwise than another, or than the one in force
#[derive(FromArgs, ArgsInfo, Debug)]
#[argh(
    subcommand,
    name = "diff",
    example = "From what was before to what is in force:\n$ tunneld config diff 3"
)]
struct Diff {
    /// the older one; 0 is no configuration
    #[argh(positional, arg_name = "A")]
    from: u64,
    /// the newer one
    #[argh(positional, arg_name = "B")]
    to: Option<u64>,
    /// as JSON
    #[argh(switch)]
    json: bool,
}

/// put an earlier text in force once more, under a new number; credentials that were revoked stay so
#[derive(FromArgs, ArgsInfo, Debug)]
#[argh(subcommand, name = "rollback")]
struct Rollback {
    /// its number; without it the one before what is in force, and 0 is no configuration
    #[argh(positional, arg_name = "N")]
    number: Option<u64>,
    /// what to remember with it
    #[argh(option, arg_name = "TEXT")]
    note: Option<String>,
    /// take names from whoever holds them
    #[argh(switch)]
    take: bool,
    /// fail unless every connected instance takes the part of its group
    #[argh(switch)]
    require_all: bool,
    /// as JSON
    #[argh(switch)]
    json: bool,
}

impl Config {
    pub(super) fn execute(self, server: &Server) -> Result<Exit, Exit> {
        match self.command {
            Command::Apply(apply) => apply.execute(server),
            Command::Confirm(Confirm { json }) => {
                let answer = server.post("/v1/config/confirm", &())?;
                say(json, answer, |Confirmed { revision }| format!("revision {revision} is confirmed\n"))
            }
            Command::Show(Show { number, json }) => {
                let which = number.map_or_else(String::new, |number| format!("?revision={number}"));
                let answer = server.get(&format!("/v1/config/show{which}"))?;
                say(json, answer, |shown: Shown| shown.text)
            }
            Command::History(History { json }) => {
                say(json, server.get("/v1/config/history")?, |it| history(&it, SystemTime::now()))
            }
            Command::Diff(Diff { from, to, json }) => {
                let to = to.map_or_else(String::new, |to| format!("&to={to}"));
                say(json, server.get(&format!("/v1/config/diff?from={from}{to}"))?, |it| difference(&it))
            }
            Command::Rollback(Rollback { number, note, take, require_all, json }) => {
                let asked = RollbackRequest { to: number, note, take, require_all };
                say(json, server.post_slow("/v1/config/rollback", &asked)?, |it| applied(&it))
            }
        }
    }
}

impl Apply {
    fn execute(self, server: &Server) -> Result<Exit, Exit> {
        let confirm_seconds = self.confirm.as_deref().map(duration::seconds).transpose();
        let confirm_seconds =
            confirm_seconds.map_err(|error| Exit::usage(format_args!("--confirm: {error}")))?;
        let asked = ApplyRequest {
            text: read_text(&self.file).map_err(Exit::usage)?,
            path: std::path::absolute(&self.file).map_err(Exit::usage)?,
            note: self.note,
            take: self.take,
            require_all: self.require_all,
            confirm_seconds,
        };
        say(self.json, server.post_slow("/v1/config/apply", &asked)?, |it| applied(&it))
    }
}

/// The answer as it came, or in words.
fn say<T: serde::de::DeserializeOwned>(
    json: bool,
    answer: serde_json::Value,
    words: impl FnOnce(T) -> String,
) -> Result<Exit, Exit> {
    if json {
        return Ok(ask::json(&answer));
    }
    Ok(Exit::done(words(ask::read(answer)?)))
}

fn applied(applied: &Applied) -> String {
    let Applied { revision, unchanged, parts, remarks, undone_in_seconds } = applied;
    let mut text = match unchanged {
        true => format!("revision {revision} is in force and says the same: nothing has changed\n"),
        false => format!("revision {revision} is in force\n"),
    };
    parts.iter().for_each(|part| text.push_str(&format!("  {part}\n")));
    if parts.is_empty() && !unchanged {
        text.push_str("  no part says anything else\n");
    }
    remarks.iter().for_each(|remark| text.push_str(&format!("note: {remark}\n")));
    if let Some(seconds) = undone_in_seconds {
        text.push_str(&format!("it is undone in {seconds} s unless you say `tunneld config confirm`\n"));
    }
    text
}

fn history(answer: &HistoryAnswer, now: SystemTime) -> String {
    let HistoryAnswer { revision: in_force, revisions, undone_in_seconds, pending } = answer;
    let rows = revisions.iter().rev().map(|revision| {
        let mark = if revision.number == *in_force { "*" } else { " " };
        let digest: String = revision.digest.to_string().chars().take(12).collect();
        let number = format!("{mark} {}", revision.number);
        [number, ago(revision.time, now), revision.author.to_string(), digest, what(revision)]
    });
    let mut text = table(["  REVISION", "WHEN", "BY", "DIGEST", "WHAT"], rows);
    if revisions.is_empty() {
        text.push_str("there is no configuration yet; `tunneld config apply FILE` makes revision 1\n");
    }
    if let Some(seconds) = undone_in_seconds {
        text.push_str(&format!(
            "revision {in_force} is undone in {seconds} s unless you say `tunneld config confirm`\n"
        ));
    }
    if let Some(reason) = pending {
        text.push_str(&format!("the configuration file is not in force: {reason}\n"));
    }
    text
}

/// What a revision is, in a few words.
fn what(revision: &Revision) -> String {
    let of = match revision.restores {
        Some(0) => "no configuration".to_owned(),
        Some(number) => format!("revision {number} once more"),
        None => revision.path.display().to_string(),
    };
    match &revision.note {
        // A line of its own would not be one of the table.
        Some(note) => format!("{of}: {}", note.escape_debug()),
        None => of,
    }
}

fn difference(difference: &Difference) -> String {
    let Difference { from, to, parts, text } = difference;
    if text.is_empty() {
        return format!("revisions {from} and {to} say the same\n");
    }
    let mut said = text.clone();
    if !parts.is_empty() {
        said.push_str("\nparts:\n");
        parts.iter().for_each(|part| said.push_str(&format!("  {part}\n")));
    }
    said
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, UNIX_EPOCH};

    use policy::revision::{Author, Digest};

    use super::*;

    fn revision(number: u64) -> Revision {
        Revision {
            number,
            digest: Digest([0xab; 32]),
            length: 1,
            time: 40 * number,
            author: Author::File,
            path: "/etc/tunnel/tunneld.toml".into(),
            restores: None,
            note: None,
        }
    }

    #[test]
    fn the_history_is_a_table_with_the_newest_on_top() {
        let admin = Author::Admin { uid: Some(0), name: Some("root".to_owned()) };
        let (restores, note) = (Some(1), Some("two\nlines".to_owned()));
        let restored = Revision { author: admin, restores, note, ..revision(2) };
        let answer = HistoryAnswer {
            revision: 2,
            revisions: vec![revision(1), restored],
            undone_in_seconds: Some(7),
            pending: Some("t.toml:1:2: wrong".to_owned()),
        };
        assert_eq!(
            history(&answer, UNIX_EPOCH + Duration::from_secs(100)),
            "  REVISION  WHEN        BY          DIGEST        WHAT\n\
             * 2         20s ago     admin root  abababababab  revision 1 once more: two\\nlines\n  \
               1         1m0s ago    file        abababababab  /etc/tunnel/tunneld.toml\n\
             revision 2 is undone in 7 s unless you say `tunneld config confirm`\n\
             the configuration file is not in force: t.toml:1:2: wrong\n"
                .replace("20s ago   ", "20s ago ")
                .replace("1m0s ago  ", "1m0s ago")
                .replace("WHEN      ", "WHEN    ")
        );
    }
}
