//! The command line of `tunnelc` (INTERFACE, "Commands").

mod check;
mod doctor;
mod drain;
mod forward;
mod globals;
mod http;
mod join;
mod reload;
mod run;
mod status;
mod tcp;
mod version;

use std::ffi::OsString;

use argh::{ArgsInfo, FromArgs};
use ops::cli::{Exit, parse, usage};
use proxy::plugin::Kinds;

use globals::Globals;

/// Commands and options of INTERFACE that come later.
const LATER: [&str; 1] = ["--inspect"];

/// Puts services that the world cannot reach behind a server that it can.
#[derive(FromArgs, ArgsInfo, Debug)]
#[argh(
    example = "{command_name} http 3000 --join 'tunnel://…'      put localhost:3000 on the internet\n\
               {command_name} http 3000 --host demo               … as demo.DOMAIN\n\
               {command_name} tcp 22 --port 2222                  a TCP port\n\
               {command_name} forward 9000 billing                reach a service next to the server\n\
               {command_name} join 'tunnel://…'                   remember a server\n\
               {command_name} run --config tunnelc.toml           many tunnels, as a service\n\
               {command_name} doctor                              what is wrong, and what to do",
    note = "The join string is printed by `tunneld` at its start or by `tunneld invite`. It is taken from\n\
            --join, --join-file, $TUNNEL_JOIN, the configuration, or what `{command_name} join` remembered.\n\
            Options above go before or behind the command.",
    error_code(1, "failed while running"),
    error_code(2, "wrong usage or configuration"),
    error_code(3, "refused by the server")
)]
struct Tunnelc {
    /// join string of the server: tunnel://ID:SECRET@HOST:PORT?pin=…
    #[argh(option, arg_name = "string")]
    join: Option<String>,
    /// file with the join string
    #[argh(option, arg_name = "file")]
    join_file: Option<String>,
    /// PEM file with the CA of the server, for join strings without a pin; default: the system's
    #[argh(option, arg_name = "file")]
    ca_file: Option<String>,
    /// log format on stderr: text or json; default: text on a terminal
    #[argh(option, arg_name = "format")]
    log: Option<String>,
    /// state directory: identity, remembered join string, admin socket
    #[argh(option, arg_name = "dir")]
    state: Option<String>,
    #[argh(subcommand)]
    command: Option<Command>,
}

#[derive(FromArgs, ArgsInfo, Debug)]
#[argh(subcommand)]
enum Command {
    Http(http::Http),
    Tcp(tcp::Tcp),
    Forward(forward::ForwardTo),
    Run(run::Run),
    Check(check::Check),
    Reload(reload::Reload),
    Join(join::Join),
    Drain(drain::Drain),
    Status(status::Status),
    Doctor(doctor::Doctor),
    Version(version::Version),
}

/// Parses `argv`, whose first word is the program's path, and runs the command to its end.
pub(crate) fn run(argv: impl IntoIterator<Item = OsString>, kinds: &Kinds) -> Exit {
    match parse::<Tunnelc>(crate::PROGRAM, argv, &LATER) {
        Ok(tunnelc) => tunnelc.run(kinds).unwrap_or_else(|exit| exit),
        Err(exit) => exit,
    }
}

impl Tunnelc {
    fn run(self, kinds: &Kinds) -> Result<Exit, Exit> {
        let Some(command) = self.command else {
            return Err(Exit::usage(usage::<Self>(crate::PROGRAM)));
        };
        let globals = Globals {
            join: self.join,
            join_file: self.join_file.map(Into::into),
            ca_file: self.ca_file.map(Into::into),
            log: self.log.map(|word| word.parse().map_err(|error| wrong("--log", error))).transpose()?,
            state: self.state.map(Into::into),
            kinds: kinds.clone(),
        };
        match command {
            Command::Http(command) => command.run(&globals),
            Command::Tcp(command) => command.run(&globals),
            Command::Forward(command) => command.run(&globals),
            Command::Run(command) => command.run(&globals),
            Command::Check(command) => command.run(&globals),
            Command::Reload(command) => command.run(&globals),
            Command::Join(command) => command.run(&globals),
            Command::Drain(command) => command.run(&globals),
            Command::Status(command) => command.run(&globals),
            Command::Doctor(command) => command.run(&globals),
            Command::Version(command) => Ok(command.run()),
        }
    }
}

/// Wrong usage: `what` (an option or argument) is wrong for this `reason`.
fn wrong(what: &str, reason: impl std::fmt::Display) -> Exit {
    Exit::usage(format_args!("{what}: {reason}"))
}

#[cfg(test)]
mod tests {
    use ops::cli::ExitCode;

    use super::*;

    fn exit(line: &str) -> Exit {
        run(line.split_whitespace().map(OsString::from), &Kinds::built_in())
    }

    #[test]
    fn what_comes_later_is_refused_as_such() {
        let exit = exit("tunnelc http 3000 --inspect 127.0.0.1:4040");
        assert_eq!(exit.code, ExitCode::Usage);
        assert!(exit.text.contains("not in this version"), "{}", exit.text);
    }

    #[test]
    fn wrong_words_are_wrong_usage_and_say_which() {
        for (line, part) in [
            ("tunnelc htpp 3000", "did you mean `http`?"),
            ("tunnelc http 3000 --hots a", "did you mean `--host`?"),
            ("tunnelc forward 9000 10.0.0.5:80", "not the name of a service"),
            ("tunnelc forward nowhere billing", "no place to listen at"),
            ("tunnelc forward 9000 billing --kind udp", "write http or tcp"),
            ("tunnelc http", "target"),
            ("tunnelc http nowhere", "has no port"),
            ("tunnelc tcp http://localhost:22", "without http://"),
            ("tunnelc tcp 22 --port 0", "--port"),
            ("tunnelc tcp 22 --port 99999", "--port"),
            ("tunnelc tcp 22 --allow 10.0.0.0/33", "--allow"),
            ("tunnelc http 3000 --host a_b", "--host"),
            ("tunnelc http 3000 --set-host a/b", "--set-host"),
            ("tunnelc http 3000 --group a/b", "--group"),
            ("tunnelc http 3000 --log xml", "use text or json"),
            ("tunnelc http 3000 --join tunnel://x", "--join: the join string has no ID:SECRET@"),
            ("tunnelc http 3000 --join x --join-file y", "not both"),
        ] {
            let exit = exit(line);
            assert_eq!(exit.code, ExitCode::Usage, "{line}");
            assert!(exit.text.contains(part), "{line}: {}", exit.text);
        }
    }

    #[test]
    fn help_shows_examples() {
        let help = exit("tunnelc --help");
        assert_eq!(help.code, ExitCode::Done);
        assert!(help.text.contains("Examples:") && help.text.contains("tunnelc http 3000"), "{}", help.text);
        let help = exit("tunnelc http --help");
        assert!(help.text.contains("--set-host") && help.text.contains("Examples:"), "{}", help.text);
        assert_eq!(exit("tunnelc").code, ExitCode::Usage);
    }

    #[test]
    fn the_version_names_the_wire() {
        assert_eq!(exit("tunnelc --version"), Exit::done("tunnelc 0.1.0 (protocol tunnel/1)\n"));
        assert_eq!(
            exit("tunnelc version --json"),
            Exit::done("{\"program\":\"tunnelc\",\"protocol\":1,\"version\":\"0.1.0\"}\n")
        );
    }
}
