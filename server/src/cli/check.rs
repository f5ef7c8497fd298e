//! `tunneld check`.

use std::collections::BTreeSet;
use std::path::PathBuf;

use argh::{ArgsInfo, FromArgs};
use ops::cli::Exit;
use ops::config::read_text;
use ops::metrics::Metrics;
use ops::sockets::Sockets;
use proxy::plugin::{Kinds, Plugins};

use super::ask::Server;
use super::run::read;
use crate::admin::VERSION;
use crate::config;
use crate::listeners::Listeners;
use crate::revision::api::ApplyRequest;
use crate::revision::{names, unresolved};
use crate::settings::{Flags, Listen, Settings};

/// look whether a configuration file could be used, and say everything that is wrong with it
#[derive(FromArgs, ArgsInfo, Debug)]
#[argh(
    subcommand,
    name = "check",
    example = "{command_name} /etc/tunnel/tunneld.toml",
    error_code(2, "it could not be used")
)]
pub(super) struct Check {
    /// the file
    #[argh(positional, arg_name = "FILE")]
    file: PathBuf,
    /// try too whether its addresses are free and its names known; a server that runs tries it beside what it has in use
    #[argh(switch)]
    prove: bool,
}

impl Check {
    pub(super) fn execute(self, flags: &Flags, kinds: &Kinds) -> Result<Exit, Exit> {
        if flags.config.is_some() {
            return Err(Exit::usage("name one file: tunneld check FILE"));
        }
        let document = read(&self.file, flags, kinds).map_err(Exit::usage)?;
        let none = Plugins::default();
        config::routing(&document, &none, kinds, &Metrics::new(VERSION)).map_err(Exit::usage)?;
        let counts = [
            ("principal", document.principals.len()),
            ("group", document.groups.len()),
            ("service", document.services.len()),
            ("rule", document.rules.len()),
            ("plugin", document.plugins.len()),
            ("certificate", document.certificates.len()),
            ("tcp ingress", document.tcp.len()),
            ("tls host", document.tls.len()),
        ];
        let counts: Vec<_> = counts.iter().filter(|(_, n)| *n > 0).map(|(what, n)| count(*n, what)).collect();
        // What the keys of the file ask of each other, once more with the flags.
        let with_file = Flags { config: Some(self.file.clone()), ..flags.clone() };
        let settings = Settings::new(with_file, document).map_err(Exit::usage)?;
        let proved = match self.prove {
            true => self.prove(flags, &settings)?,
            false => "",
        };
        let counts = if counts.is_empty() { String::new() } else { format!(": {}", counts.join(", ")) };
        Ok(Exit::done(format!("{} is good{counts}{proved}\n", self.file.display())))
    }

    /// Tries what it asks for: by the server of this state directory, if it runs, which has the addresses.
    fn prove(&self, flags: &Flags, settings: &Settings) -> Result<&'static str, Exit> {
        let asked = ApplyRequest {
            text: read_text(&self.file).map_err(Exit::usage)?,
            path: std::path::absolute(&self.file).map_err(Exit::usage)?,
            note: None,
            take: false,
            require_all: false,
            confirm_seconds: None,
        };
        let server = Server::new(Flags { state: flags.state.clone(), ..Flags::default() })?;
        if server.post_if_up("/v1/config/prove", &asked)?.is_some() {
            return Ok("; the running server could use it");
        }
        let wrong = prove(settings)?;
        if wrong.is_empty() {
            Ok("; its addresses are free, its names are known")
        } else {
            Err(Exit::usage(wrong.join("\n")))
        }
    }
}

/// What is not to be had of what `settings` ask for; all of it is given back.
fn prove(settings: &Settings) -> Result<Vec<String>, Exit> {
    let document = &settings.document;
    let at = |listen: config::RelayListen| Listen::at(listen.address);
    let mut listens = vec![
        ("--tunnel", settings.tunnel.clone()),
        ("--http", settings.http.clone()),
        ("--ops", settings.ops.clone()),
    ];
    listens.extend(settings.https.clone().map(|listen| ("--https", listen)));
    listens.extend(document.listen.admin.iter().map(|admin| ("listen.admin", Listen::at(admin.address))));
    listens.extend(document.tcp.iter().map(|entrance| ("tcp.listen", at(entrance.listen))));
    let passed: BTreeSet<_> = document.tls.iter().filter_map(|tls| tls.listen).map(|it| it.address).collect();
    listens.extend(passed.into_iter().map(|address| ("tls.listen", Listen::at(address))));
    let (mut wrong, mut held) = (Vec::new(), Vec::new());
    for (flag, listen) in listens {
        match Listeners::bind(&Sockets::default(), "proof", flag, &listen) {
            Ok(listeners) => held.push(listeners),
            Err(error) => wrong.push(error.to_string()),
        }
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(Exit::failed)?;
    wrong.extend(runtime.block_on(unresolved(names(document))));
    Ok(wrong)
}

fn count(number: usize, what: &str) -> String {
    let plural = match what.strip_suffix("ss") {
        _ if number == 1 => "",
        Some(_) => "es",
        None => "s",
    };
    format!("{number} {what}{plural}")
}
