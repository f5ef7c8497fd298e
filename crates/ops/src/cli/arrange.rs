//! Puts words into the order and the shape that argh understands.

use argh::{CommandInfoWithArgs, FlagInfo, FlagInfoKind};

use super::{Exit, did_you_mean};

/// Splits `--key=value`, moves options of the program in front of the subcommand, keeps a lone `-`
/// a value, and finds the words that nobody knows. `later` are the commands and options of later
/// versions.
pub(super) fn arrange(
    top: &CommandInfoWithArgs,
    words: Vec<String>,
    later: &[&str],
) -> Result<Vec<String>, Exit> {
    let mut arranged =
        Arranged { top, commands: vec![], later, front: vec![], back: vec![], positionals: vec![] };
    let mut words = words.into_iter().peekable();
    let mut options_ended = false;
    while let Some(word) = words.next() {
        if options_ended || word == "-" || !word.starts_with('-') {
            arranged.plain(word, options_ended)?;
        } else if word == "--" {
            options_ended = true;
        } else if matches!(word.as_str(), "--version" | "-V") && arranged.knows_version() {
            arranged.plain("version".to_owned(), false)?;
        } else {
            let (name, value) = match word.split_once('=') {
                Some((name, value)) => (name.to_owned(), Some(value.to_owned())),
                None => (word, None),
            };
            let takes_value = arranged.takes_value(&name)?;
            let value = match value {
                None if takes_value => {
                    // An option in place of a value is a forgotten value, never a value.
                    let given = words.next_if(|next| arranged.option(next).is_none());
                    Some(given.ok_or_else(|| Exit::usage(format_args!("`{name}` needs a value")))?)
                }
                Some(_) if !takes_value => {
                    return Err(Exit::usage(format_args!("`{name}` takes no value")));
                }
                given => given,
            };
            arranged.push_option(name, value);
        }
    }
    Ok(arranged.finish())
}

struct Arranged<'a> {
    top: &'a CommandInfoWithArgs,
    /// The subcommands that have been seen, each within the one before.
    commands: Vec<&'a CommandInfoWithArgs>,
    later: &'a [&'a str],
    /// Options of the program.
    front: Vec<String>,
    /// Options of the subcommand.
    back: Vec<String>,
    positionals: Vec<String>,
}

impl<'a> Arranged<'a> {
    /// Takes a word that is no option: the subcommand or a value.
    fn plain(&mut self, word: String, literal: bool) -> Result<(), Exit> {
        let command = self.command().unwrap_or(self.top);
        if command.commands.is_empty() {
            self.positionals.push(word);
            return Ok(());
        }
        if let Some(found) = command.commands.iter().find(|sub| sub.name == word) {
            self.commands.push(&found.command);
        } else if word == "help" && !literal {
            self.push_option("--help".to_owned(), None);
        } else if self.later.contains(&word.as_str()) {
            return Err(Exit::not_in_this_version(format_args!("`{word}`")));
        } else {
            let hint = did_you_mean(&word, command.commands.iter().map(|sub| sub.name));
            let of = self.of();
            return Err(Exit::usage(format_args!("unknown command `{word}`{of}{hint}")));
        }
        Ok(())
    }

    fn push_option(&mut self, name: String, value: Option<String>) {
        let help = matches!(name.as_str(), "--help" | "-h");
        let name = if help { "--help".to_owned() } else { name };
        let own = help || self.command().is_some_and(|command| flag(command, &name).is_some());
        let list = if own { &mut self.back } else { &mut self.front };
        list.push(name);
        list.extend(value);
    }

    /// The innermost subcommand.
    fn command(&self) -> Option<&'a CommandInfoWithArgs> {
        self.commands.last().copied()
    }

    /// Which command a message is about.
    fn of(&self) -> String {
        let names: Vec<_> = self.commands.iter().map(|command| command.name).collect();
        if names.is_empty() { String::new() } else { format!(" of `{}`", names.join(" ")) }
    }

    /// Whether `--version` stands for the command of that name.
    fn knows_version(&self) -> bool {
        self.commands.is_empty() && self.top.commands.iter().any(|sub| sub.name == "version")
    }

    /// Whether an option takes a value; an error if nobody knows it.
    fn takes_value(&self, name: &str) -> Result<bool, Exit> {
        if name == "-h" {
            return Ok(false);
        }
        if let Some(flag) = self.option(name) {
            return Ok(matches!(flag.kind, FlagInfoKind::Option { .. }));
        }
        if self.later.contains(&name) {
            return Err(Exit::not_in_this_version(format_args!("`{name}`")));
        }
        let of = self.of();
        let hint = did_you_mean(name, self.visible().map(|flag| flag.long));
        Err(Exit::usage(format_args!("unknown option `{name}`{of}{hint}")))
    }

    fn option(&self, name: &str) -> Option<&'a FlagInfo<'static>> {
        self.command().and_then(|command| flag(command, name)).or_else(|| flag(self.top, name))
    }

    fn visible(&self) -> impl Iterator<Item = &'a FlagInfo<'static>> {
        self.command().into_iter().chain([self.top]).flat_map(|command| command.flags)
    }

    fn finish(self) -> Vec<String> {
        let mut words = self.front;
        words.extend(self.commands.iter().map(|command| command.name.to_owned()));
        words.extend(self.back);
        if self.positionals.iter().any(|word| word.starts_with('-')) {
            words.push("--".to_owned());
        }
        words.extend(self.positionals);
        words
    }
}

fn flag(command: &CommandInfoWithArgs, name: &str) -> Option<&'static FlagInfo<'static>> {
    command.flags.iter().find(|flag| flag.long == name)
}
