//! `tunnelc check`.

use std::path::PathBuf;

use argh::{ArgsInfo, FromArgs};
use ops::cli::Exit;
use ops::config::{Wrong, good};
use proxy::plugin::Plugins;
use serde_json::json;

use super::globals::Globals;
use crate::config;

/// Look whether a configuration file could be used, and say everything that is wrong with it.
#[derive(FromArgs, ArgsInfo, Debug)]
#[argh(
    subcommand,
    name = "check",
    example = "{command_name} /etc/tunnel/tunnelc.toml",
    note = "Nothing is connected to and nothing is listened on. Exit code 2: it could not be used."
)]
pub(super) struct Check {
    /// as JSON
    #[argh(switch)]
    json: bool,
    /// the file
    #[argh(positional, arg_name = "FILE")]
    file: PathBuf,
}

impl Check {
    pub(super) fn run(&self, globals: &Globals) -> Result<Exit, Exit> {
        self.look(globals).map_err(|wrong| wrong.exit(&self.file, self.json))
    }

    fn look(&self, globals: &Globals) -> Result<Exit, Wrong> {
        let checked = config::load(&self.file, &globals.kinds, &|name| std::env::var(name).ok());
        let file = checked.map_err(|error| Wrong::of(&self.file, &error))?;
        Plugins::of(&file.plugins, &globals.kinds)
            .map_err(|error| Wrong::lines(&self.file, &error.to_string()))?;
        let counts = [
            ("tunnel", file.tunnels.len()),
            ("forward", file.forwards.len()),
            ("plugin", file.plugins.len()),
            ("place allowed to be dialled", file.allow.dial.len()),
            ("place allowed to be listened at", file.allow.listen.len()),
        ];
        if self.json {
            let [tunnels, forwards, plugins, dial, listen] = counts.map(|(_, count)| count);
            let counts = json!({
                "tunnels": tunnels, "forwards": forwards, "plugins": plugins,
                "allow": { "dial": dial, "listen": listen },
            });
            return Ok(good(&self.file, &[], counts));
        }
        let counts: Vec<_> =
            counts.iter().filter(|(_, n)| *n > 0).map(|(what, n)| counted(*n, what)).collect();
        let counts = if counts.is_empty() { String::new() } else { format!(": {}", counts.join(", ")) };
        Ok(Exit::done(format!("{} is good{counts}\n", self.file.display())))
    }
}

fn counted(number: usize, what: &str) -> String {
    match what.split_once(' ') {
        _ if number == 1 => format!("1 {what}"),
        Some((noun, rest)) => format!("{number} {noun}s {rest}"),
        None => format!("{number} {what}s"),
    }
}
