//! `tunneld check`.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::time::SystemTime;

use argh::{ArgsInfo, FromArgs};
use ops::cli::Exit;
use ops::config::{Wrong, good, read_text};
use ops::doctor::Findings;
use ops::metrics::Metrics;
use ops::sockets::Sockets;
use proxy::plugin::{Kinds, Plugins};
use serde_json::Value;

use super::ask::Server;
use super::run::read;
use crate::admin::VERSION;
use crate::config;
use crate::doctor::of_visitors;
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
    /// as JSON: whether it is good, all that is wrong with its places, and what may not be meant
    #[argh(switch)]
    json: bool,
}

impl Check {
    pub(super) fn execute(self, flags: &Flags, kinds: &Kinds) -> Result<Exit, Exit> {
        if flags.config.is_some() {
            return Err(Exit::usage("name one file: tunneld check FILE"));
        }
        self.look(flags, kinds).map_err(|wrong| wrong.exit(&self.file, self.json))
    }

    fn look(&self, flags: &Flags, kinds: &Kinds) -> Result<Exit, Wrong> {
        let file = &self.file;
        let lines = |text: String| Wrong::lines(file, &text);
        let document = read(file, flags, kinds).map_err(|error| Wrong::of(file, &error))?;
        let none = Plugins::default();
        config::routing(&document, &none, kinds, &Metrics::new(VERSION)).map_err(lines)?;
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
        // What the keys of the file ask of each other, once more with the flags.
        let with_file = Flags { config: Some(file.clone()), ..flags.clone() };
        let settings = Settings::new(with_file, document).map_err(|error| lines(error.to_string()))?;
        let proved = match self.prove {
            true => self.prove(flags, &settings)?,
            false => "",
        };
        let mut findings = Findings::default();
        of_visitors(&settings, SystemTime::now(), &mut findings);
        let warnings = findings.doubts();
        if self.json {
            let counts = counts.iter().map(|(what, n)| ((*what).to_owned(), Value::from(*n)));
            return Ok(good(file, &warnings, Value::Object(counts.collect())));
        }
        let counts: Vec<_> = counts.iter().filter(|(_, n)| *n > 0).map(|(what, n)| count(*n, what)).collect();
        let warnings: String = warnings.iter().map(|warning| format!("warning: {warning}\n")).collect();
        let counts = if counts.is_empty() { String::new() } else { format!(": {}", counts.join(", ")) };
        Ok(Exit::done(format!("{} is good{counts}{proved}\n{warnings}", file.display())))
    }

    /// Tries what it asks for: by the server of this state directory, if it runs, which has the addresses.
    fn prove(&self, flags: &Flags, settings: &Settings) -> Result<&'static str, Wrong> {
        let file = &self.file;
        let ended = |exit| Wrong::ended(file, exit);
        let asked = ApplyRequest {
            text: read_text(file).map_err(|error| Wrong::of(file, &error))?,
            path: std::path::absolute(file).map_err(|error| ended(Exit::usage(error)))?,
            note: None,
            take: false,
            require_all: false,
            confirm_seconds: None,
        };
        let server = Server::new(Flags { state: flags.state.clone(), ..Flags::default() }).map_err(ended)?;
        if server.post_if_up("/v1/config/prove", &asked).map_err(ended)?.is_some() {
            return Ok("; the running server could use it");
        }
        match prove(settings).map_err(ended)?.as_slice() {
            [] => Ok("; its addresses are free, its names are known"),
            wrong => Err(Wrong::lines(file, &wrong.join("\n"))),
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
