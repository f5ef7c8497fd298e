//! A file, from its bytes to what a program makes of it.

use std::fmt;
use std::fs::File;
use std::io::{self, IsTerminal, Read};
use std::path::{Path, PathBuf};

use toml::de::DeTable;

use super::checked::Mistake;
use super::problem::{Problem, Problems};
use super::report::{draw, place};
use super::section::{Scope, Section};

/// A configuration never has more bytes.
pub const TEXT_MAX: usize = 4 * 1024 * 1024;

/// Why a configuration cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file cannot be read.
    #[error("cannot read the configuration {}: {error}", .path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system said.
        #[source]
        error: io::Error,
    },
    /// No configuration is as large.
    #[error("the configuration {} has more than {} MiB: is it another file?", .path.display(), TEXT_MAX / (1024 * 1024))]
    TooLarge {
        /// The file.
        path: PathBuf,
    },
    /// It is no text.
    #[error("{}:{line}:{column}: the configuration is not UTF-8: save it as such", .path.display())]
    NotText {
        /// The file.
        path: PathBuf,
        /// Where the first byte stands that is none.
        line: usize,
        /// Likewise, in characters.
        column: usize,
    },
    /// What it says is wrong.
    #[error("{0}")]
    Wrong(Report),
}

impl ConfigError {
    /// The same in one line, for logs: the first of what is wrong, and how much more there is.
    #[must_use]
    pub fn line(&self) -> String {
        match self {
            Self::Wrong(report) => report.line.clone(),
            error => error.to_string(),
        }
    }

    /// The same for programs: all of what is wrong with `file`, which is the one that was read.
    #[must_use]
    pub fn mistakes(&self, file: &Path) -> Vec<Mistake> {
        match self {
            Self::Wrong(report) => report.mistakes.clone(),
            Self::NotText { line, column, .. } => {
                let message = "the configuration is not UTF-8: save it as such";
                let place = (Some(*line), Some(*column));
                vec![Mistake { line: place.0, column: place.1, ..Mistake::nowhere(file, message) }]
            }
            error => vec![Mistake::nowhere(file, error.to_string())],
        }
    }
}

/// All that is wrong in a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    drawn: String,
    line: String,
    mistakes: Vec<Mistake>,
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.drawn)
    }
}

/// Reads the file at `path` and hands it to `document`, which takes its keys; `env` looks up the variables of `${…}`. Blocks
/// for as long as the disk does.
///
/// # Errors
/// It cannot be read, or anything in it is wrong: then all of it is in the report.
pub fn load<T>(
    path: &Path,
    env: &dyn Fn(&str) -> Option<String>,
    document: impl FnOnce(Section<'_>, &mut Problems) -> Option<T>,
) -> Result<T, ConfigError> {
    load_text(path, &read_text(path)?, env, document)
}

/// The same for a file that was read already.
///
/// # Errors
/// Anything in it is wrong: all of it is in the report.
pub fn load_text<T>(
    path: &Path,
    source: &str,
    env: &dyn Fn(&str) -> Option<String>,
    document: impl FnOnce(Section<'_>, &mut Problems) -> Option<T>,
) -> Result<T, ConfigError> {
    let colour = io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none();
    interpret(path, source, env, colour, document)
}

/// What stands in the file at `path`. Blocks for as long as the disk does.
///
/// # Errors
/// It cannot be read, or is no text.
pub fn read_text(path: &Path) -> Result<String, ConfigError> {
    let unreadable = |error| ConfigError::Read { path: path.to_owned(), error };
    // What is opened and never written to keeps who reads it for ever.
    if !std::fs::metadata(path).map_err(unreadable)?.is_file() {
        return Err(unreadable(io::Error::new(io::ErrorKind::InvalidInput, "it is not a file")));
    }
    let mut bytes = Vec::new();
    let limit = u64::try_from(TEXT_MAX).unwrap_or(u64::MAX).saturating_add(1);
    let read = File::open(path).and_then(|file| file.take(limit).read_to_end(&mut bytes));
    read.map_err(unreadable)?;
    if bytes.len() > TEXT_MAX {
        return Err(ConfigError::TooLarge { path: path.to_owned() });
    }
    String::from_utf8(bytes).map_err(|error| {
        let good = error.as_bytes().get(..error.utf8_error().valid_up_to()).unwrap_or_default();
        let (line, column) = place(&String::from_utf8_lossy(good), good.len());
        ConfigError::NotText { path: path.to_owned(), line, column }
    })
}

/// What `document` makes of a file that was read already; relative paths in it start at the folder of `path`. The report is
/// drawn with colours if `colour` says so.
///
/// # Errors
/// Anything in it is wrong: all of it is in the report.
pub fn interpret<T>(
    path: &Path,
    source: &str,
    env: &dyn Fn(&str) -> Option<String>,
    colour: bool,
    document: impl FnOnce(Section<'_>, &mut Problems) -> Option<T>,
) -> Result<T, ConfigError> {
    read(path, source, env, document).map_err(|mut problems| {
        problems.found.sort_by_key(|problem| (problem.span.start, problem.span.end));
        let mistake = |problem: &Problem| {
            let (line, column) = place(source, problem.span.start);
            let help = problem.help.clone();
            let nowhere = Mistake::nowhere(path, &problem.message);
            Mistake { line: Some(line), column: Some(column), help, ..nowhere }
        };
        let mistakes = problems.found.iter().map(mistake).collect();
        let path = path.display().to_string();
        let drawn = draw(&path, source, &problems, colour);
        let more = match problems.found.len().saturating_sub(1) {
            0 => String::new(),
            more => format!(" (and {more} more)"),
        };
        let line = problems.found.first().map_or_else(String::new, |first| {
            let (line, column) = place(source, first.span.start);
            // One of several lines, from the reader of TOML, has the point in its first.
            let message = first.message.lines().next().unwrap_or_default();
            format!("{path}:{line}:{column}: {message}{more}")
        });
        ConfigError::Wrong(Report { drawn, line, mistakes })
    })
}

/// The same as problems, with their places.
///
/// # Errors
/// All that is wrong in it.
pub fn read<T>(
    path: &Path,
    source: &str,
    env: &dyn Fn(&str) -> Option<String>,
    document: impl FnOnce(Section<'_>, &mut Problems) -> Option<T>,
) -> Result<T, Problems> {
    let mut problems = Problems::default();
    let (table, errors) = DeTable::parse_recoverable(source);
    for error in errors {
        problems.add(error.span().unwrap_or_default(), error.message());
    }
    if !problems.is_empty() {
        // What follows broken syntax is guesswork.
        return Err(problems);
    }
    let scope = Scope { env, base: path.parent().unwrap_or(Path::new("")) };
    let made = document(Section::new(table.get_ref(), 0..0, scope), &mut problems);
    match made {
        Some(made) if problems.is_empty() => Ok(made),
        _ => Err(problems),
    }
}
