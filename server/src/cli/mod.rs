//! The command line of `tunneld`.
#![allow(
    rustdoc::broken_intra_doc_links,
    reason = "doc comments are help texts here, with addresses like [::]:80"
)]

mod ask;
mod audit;
mod check;
mod config;
mod disable;
mod doctor;
mod drain;
mod duration;
mod enable;
mod explain;
mod invite;
mod kick;
mod principals;
mod report;
mod revoke;
mod route_report;
mod routes;
mod run;
mod sessions;
mod status;
mod table;
mod unban;
mod upgrade;
mod version;

use std::ffi::OsString;
use std::path::PathBuf;

use argh::{ArgsInfo, FromArgs};
use ops::cli::{Exit, parse};
use proxy::plugin::Kinds;

use crate::settings::Flags;

/// The program in messages.
const PROGRAM: &str = "tunneld";

/// Lets services that the world can not reach be reached by the world: clients (tunnelc) log in here, visitors come here.
#[derive(FromArgs, ArgsInfo, Debug)]
#[argh(
    example = "Start a server for this machine alone, and copy the line that it prints:\n$ tunneld",
    example = "Start a server for the world, with names under t.example.com:\n$ tunneld --domain t.example.com --http '[::]:80'",
    example = "Start a server with a configuration, after a look at it:\n$ tunneld check tunneld.toml && tunneld --config tunneld.toml",
    example = "Let somebody in, with one name and one port:\n$ tunneld invite bob --host wiki --port 2222",
    example = "What is behind a name:\n$ tunneld status wiki.t.example.com",
    example = "What is wrong, and what to do:\n$ tunneld doctor"
)]
struct Tunneld {
    /// the configuration file (default /etc/tunnel/tunneld.toml, if it is there)
    #[argh(option, arg_name = "FILE")]
    config: Option<PathBuf>,
    /// the state directory
    #[argh(option, arg_name = "DIR")]
    state: Option<PathBuf>,
    /// where clients connect (default [::]:7443)
    #[argh(option, arg_name = "ADDR")]
    tunnel: Option<String>,
    /// where visitors connect (default port 8080, on this machine alone for the domain localhost)
    #[argh(option, arg_name = "ADDR")]
    http: Option<String>,
    /// where visitors connect over TLS, with the certificates of the configuration
    #[argh(option, arg_name = "ADDR")]
    https: Option<String>,
    /// where /healthz, /readyz and /metrics are (default 127.0.0.1:7480)
    #[argh(option, arg_name = "ADDR")]
    ops: Option<String>,
    /// names without a dot are under it (default localhost)
    #[argh(option, arg_name = "NAME")]
    domain: Option<String>,
    /// what visitors type, as in https://{host}
    #[argh(option, arg_name = "URL")]
    public_url: Option<String>,
    /// HOST:PORT for join strings
    #[argh(option, arg_name = "HOST:PORT")]
    advertise: Option<String>,
    /// text or json
    #[argh(option, arg_name = "FORMAT")]
    log: Option<String>,
    #[argh(subcommand)]
    command: Option<Command>,
}

#[derive(FromArgs, ArgsInfo, Debug)]
#[argh(subcommand)]
enum Command {
    Run(run::Run),
    Check(check::Check),
    Drain(drain::Drain),
    Explain(explain::Explain),
    Config(config::Config),
    Doctor(doctor::Doctor),
    Invite(invite::Invite),
    Principals(principals::Principals),
    Revoke(revoke::Revoke),
    Status(status::Status),
    Upgrade(upgrade::Upgrade),
    Sessions(sessions::Sessions),
    Disable(disable::Disable),
    Enable(enable::Enable),
    Kick(kick::Kick),
    Unban(unban::Unban),
    Audit(audit::AuditLog),
    Routes(routes::Routes),
    Version(version::Version),
}

/// Does what `argv` says, in a program that knows these `kinds` of plugins.
pub fn main(argv: impl IntoIterator<Item = OsString>, kinds: &Kinds) -> Exit {
    match parse::<Tunneld>(PROGRAM, argv, &[]) {
        Ok(tunneld) => tunneld.execute(kinds).unwrap_or_else(|exit| exit),
        Err(exit) => exit,
    }
}

impl Tunneld {
    fn execute(self, kinds: &Kinds) -> Result<Exit, Exit> {
        let Self { config, state, tunnel, http, https, ops, domain, public_url, advertise, log, command } =
            self;
        let flags = Flags { config, state, tunnel, http, https, ops, domain, public_url, advertise, log };
        let command = match command {
            None | Some(Command::Run(run::Run {})) => return run::execute(flags, kinds),
            Some(Command::Check(check)) => return check.execute(&flags, kinds),
            Some(Command::Explain(explain)) => return explain.execute(flags, kinds),
            Some(Command::Doctor(doctor)) => return doctor.execute(flags, kinds),
            Some(command) => command,
        };
        let server = ask::Server::new(flags)?;
        match command {
            Command::Run(_) | Command::Check(_) | Command::Explain(_) | Command::Doctor(_) => {
                Ok(Exit::done(""))
            }
            Command::Config(config) => config.execute(&server),
            Command::Drain(drain) => drain.execute(&server),
            Command::Invite(invite) => invite.execute(&server),
            Command::Principals(principals) => principals.execute(&server),
            Command::Revoke(revoke) => revoke.execute(&server),
            Command::Status(status) => status.execute(&server),
            Command::Sessions(sessions) => sessions.execute(&server),
            Command::Disable(disable) => disable.execute(&server),
            Command::Enable(enable) => enable.execute(&server),
            Command::Kick(kick) => kick.execute(&server),
            Command::Unban(unban) => unban.execute(&server),
            Command::Audit(audit) => audit.execute(&server),
            Command::Routes(routes) => routes.execute(&server),
            Command::Upgrade(upgrade) => upgrade.execute(&server),
            Command::Version(version) => Ok(version.execute()),
        }
    }
}

#[cfg(test)]
mod tests {
    use ops::cli::ExitCode;

    use super::*;

    fn said(line: &str) -> Exit {
        main(line.split_whitespace().map(OsString::from), &Kinds::built_in())
    }

    #[test]
    fn options_of_run_are_not_ignored_elsewhere() {
        let exit = said("tunneld status --domain x");
        assert_eq!(exit.code, ExitCode::Usage);
        assert!(exit.text.contains("--domain"), "{}", exit.text);
    }

    #[test]
    fn wrong_usage_says_what_was_meant() {
        let exit = said("tunneld statsu");
        assert_eq!(exit.code, ExitCode::Usage);
        assert!(exit.text.contains("`status`"), "{}", exit.text);
        assert_eq!(said("tunneld --tunnel nowhere").code, ExitCode::Usage);
    }

    #[test]
    fn nobody_answers_is_a_failure_that_names_the_place() {
        let empty = tempfile::tempdir().unwrap();
        let exit = said(&format!("tunneld status --state {}", empty.path().display()));
        assert_eq!(exit.code, ExitCode::Failed);
        assert!(exit.text.contains("no tunneld at") && exit.text.contains("--state"), "{}", exit.text);
    }

    #[test]
    fn the_version_is_one_line() {
        let exit = said("tunneld version");
        assert_eq!((exit.code, exit.text.lines().count()), (ExitCode::Done, 1));
        assert!(said("tunneld --version").text.starts_with("tunneld "));
    }
}
