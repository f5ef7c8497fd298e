//! From argv to a command.

use std::ffi::OsString;

use argh::{ArgsInfo, TopLevelCommand};

use super::Exit;
use super::arrange::arrange;

/// Parses `argv`, whose first word is dropped, as a `T` named `program` in messages.
///
/// Options of `T` itself are taken anywhere, also behind the subcommand. `later` are commands and
/// options (`forward`, `--inspect`) of later versions, refused as such.
///
/// # Errors
/// Help that was asked for, as an exit with the code `Done`; otherwise wrong usage: the text says
/// what is wrong, suggests what was meant and names `--help`.
pub fn parse<T: TopLevelCommand + ArgsInfo>(
    program: &str,
    argv: impl IntoIterator<Item = OsString>,
    later: &[&str],
) -> Result<T, Exit> {
    // A word may be a secret: a bad one is named by its place, not shown.
    let words = argv.into_iter().enumerate().skip(1).map(|(place, word)| {
        let bad = |_| wrong(program, &format!("argument {place} is not valid UTF-8"));
        word.into_string().map_err(bad)
    });
    let words = words.collect::<Result<Vec<_>, _>>()?;
    let words = arrange(&T::get_args_info(), words, later).map_err(|exit| wrong(program, &exit.text))?;
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    T::from_args(&[program], &words).map_err(|early| match early.status {
        Ok(()) => Exit::done(early.output),
        Err(()) if words.is_empty() => Exit::usage(usage::<T>(program)),
        Err(()) => wrong(program, early.output.trim_end()),
    })
}

/// The help text of the whole program.
pub fn usage<T: TopLevelCommand>(program: &str) -> String {
    T::from_args(&[program], &["--help"]).err().map_or_else(String::new, |early| early.output)
}

fn wrong(program: &str, text: &str) -> Exit {
    Exit::usage(format_args!("{program}: {text}\n`{program} --help` shows what there is"))
}

#[cfg(test)]
mod tests {
    use argh::FromArgs;

    use super::super::ExitCode;
    use super::*;

    /// a program
    #[derive(FromArgs, ArgsInfo, Debug, PartialEq)]
    struct Program {
        /// where the state is
        #[argh(option)]
        state: Option<String>,
        #[argh(subcommand)]
        command: Command,
    }

    #[derive(FromArgs, ArgsInfo, Debug, PartialEq)]
    #[argh(subcommand)]
    enum Command {
        Join(Join),
        Notes(Notes),
        Version(Version),
    }

    /// remember
    #[derive(FromArgs, ArgsInfo, Debug, PartialEq)]
    #[argh(subcommand, name = "join")]
    struct Join {
        /// as json
        #[argh(switch)]
        json: bool,
        /// names
        #[argh(option)]
        host: Vec<String>,
        /// what
        #[argh(positional)]
        what: Option<String>,
    }

    /// say the version
    #[derive(FromArgs, ArgsInfo, Debug, PartialEq)]
    #[argh(subcommand, name = "version")]
    struct Version {}

    /// keep notes
    #[derive(FromArgs, ArgsInfo, Debug, PartialEq)]
    #[argh(subcommand, name = "notes")]
    struct Notes {
        #[argh(subcommand)]
        command: NotesCommand,
    }

    #[derive(FromArgs, ArgsInfo, Debug, PartialEq)]
    #[argh(subcommand)]
    enum NotesCommand {
        Add(Add),
    }

    /// add one
    #[derive(FromArgs, ArgsInfo, Debug, PartialEq)]
    #[argh(subcommand, name = "add")]
    struct Add {
        /// where
        #[argh(option)]
        at: Option<String>,
        /// what
        #[argh(positional)]
        what: String,
    }

    fn run(line: &str) -> Result<Program, Exit> {
        parse("prog", line.split_whitespace().map(OsString::from), &["forward", "--inspect"])
    }

    fn join(state: Option<&str>, json: bool, host: &[&str], what: Option<&str>) -> Program {
        Program {
            state: state.map(Into::into),
            command: Command::Join(Join {
                json,
                host: host.iter().map(|&host| host.into()).collect(),
                what: what.map(Into::into),
            }),
        }
    }

    #[test]
    fn both_spellings_and_any_order() {
        let want = Ok(join(Some("/s"), true, &["a", "b=c"], Some("x")));
        assert_eq!(run("/bin/prog --state /s join --json --host a --host b=c x"), want);
        assert_eq!(run("/bin/prog join x --host=a --host=b=c --state=/s --json"), want);
        assert_eq!(run("/bin/prog join --host=a --json --state /s --host b=c -- x"), want);
    }

    #[test]
    fn a_command_may_have_commands() {
        let command = |state: Option<&str>, at: Option<&str>, what: &str| Program {
            state: state.map(Into::into),
            command: Command::Notes(Notes {
                command: NotesCommand::Add(Add { at: at.map(Into::into), what: what.into() }),
            }),
        };
        assert_eq!(run("prog notes add x"), Ok(command(None, None, "x")));
        assert_eq!(
            run("prog notes --state=/s add --at=top join"),
            Ok(command(Some("/s"), Some("top"), "join"))
        );
        assert_eq!(run("prog notes add --help").unwrap_err().code, ExitCode::Done);
        assert!(run("prog notes add --help").unwrap_err().text.contains("add one"));
        assert!(run("prog notes help").unwrap_err().text.contains("keep notes"));
    }

    #[test]
    fn a_dash_is_a_value() {
        assert_eq!(run("prog join - --json"), Ok(join(None, true, &[], Some("-"))));
        assert_eq!(run("prog join -- --json"), Ok(join(None, false, &[], Some("--json"))));
        assert_eq!(run("prog join --host=-x"), Ok(join(None, false, &["-x"], None)));
    }

    #[test]
    fn wrong_usage_says_what_is_wrong() {
        for (line, text) in [
            ("prog jion", "unknown command `jion`; did you mean `join`?"),
            ("prog bananas", "unknown command `bananas`"),
            ("prog join --jsno", "unknown option `--jsno` of `join`; did you mean `--json`?"),
            ("prog --stat=x join", "unknown option `--stat`; did you mean `--state`?"),
            ("prog join --host", "`--host` needs a value"),
            ("prog join --host --json", "`--host` needs a value"),
            ("prog join --json=1", "`--json` takes no value"),
            ("prog join -x", "unknown option `-x` of `join`"),
            ("prog join a b", "Unrecognized argument: b"),
            ("prog notes ad", "unknown command `ad` of `notes`; did you mean `add`?"),
            ("prog notes add x --to=y", "unknown option `--to` of `notes add`"),
            ("prog forward 1", "`forward` is not in this version"),
            ("prog join --inspect=1", "`--inspect` is not in this version"),
        ] {
            let exit = run(line).unwrap_err();
            assert_eq!(exit.code, ExitCode::Usage, "{line}");
            assert_eq!(exit.text, format!("prog: {text}\n`prog --help` shows what there is"), "{line}");
        }
    }

    #[test]
    fn help_and_version() {
        for line in ["prog --help", "prog help", "prog -h"] {
            let exit = run(line).unwrap_err();
            assert_eq!(exit, Exit::done(usage::<Program>("prog")), "{line}");
        }
        for line in ["prog join --help", "prog join help", "prog join -h", "prog --help join"] {
            let exit = run(line).unwrap_err();
            assert!(exit.code == ExitCode::Done && exit.text.starts_with("Usage: prog join"), "{line}");
        }
        for line in ["prog --version", "prog -V", "prog version"] {
            assert_eq!(run(line), Ok(Program { state: None, command: Command::Version(Version {}) }));
        }
        assert_eq!(run("prog"), Err(Exit::usage(usage::<Program>("prog"))));
    }

    #[test]
    #[cfg(unix)]
    fn bad_utf8_is_wrong_usage() {
        use std::os::unix::ffi::OsStringExt;
        let argv = ["prog", "join"].map(OsString::from).into_iter().chain([OsString::from_vec(vec![0xff])]);
        let exit = parse::<Program>("prog", argv, &[]).unwrap_err();
        assert_eq!(exit.code, ExitCode::Usage);
        assert!(exit.text.starts_with("prog: argument 2 is not valid UTF-8"), "{}", exit.text);
    }
}
