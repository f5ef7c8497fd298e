//! `tunneld check`.

use std::path::PathBuf;

use argh::{ArgsInfo, FromArgs};
use ops::cli::Exit;
use ops::metrics::Metrics;
use proxy::plugin::{Kinds, Plugins};

use super::run::read;
use crate::admin::VERSION;
use crate::config;
use crate::settings::{Flags, Settings};

/// look whether a configuration file could be used, and say everything that is wrong with it
#[derive(FromArgs, ArgsInfo, Debug)]
#[argh(subcommand, name = "check", example = "{command_name} /etc/tunnel/tunneld.toml")]
pub(super) struct Check {
    /// the file
    #[argh(positional, arg_name = "FILE")]
    file: PathBuf,
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
        let flags = Flags { config: Some(self.file.clone()), ..flags.clone() };
        Settings::new(flags, document).map_err(Exit::usage)?;
        let counts = if counts.is_empty() { String::new() } else { format!(": {}", counts.join(", ")) };
        Ok(Exit::done(format!("{} is good{counts}\n", self.file.display())))
    }
}

fn count(number: usize, what: &str) -> String {
    let plural = match what.strip_suffix("ss") {
        _ if number == 1 => "",
        Some(_) => "es",
        None => "s",
    };
    format!("{number} {what}{plural}")
}
