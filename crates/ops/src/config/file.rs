//! A file, from its bytes to what a program makes of it.

use std::io::{self, IsTerminal};
use std::path::{Path, PathBuf};

use toml::de::DeTable;

use super::problem::Problems;
use super::report::draw;
use super::section::{Scope, Section};

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
    /// What it says is wrong. The text is the whole report, drawn.
    #[error("{0}")]
    Wrong(String),
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
    let source =
        std::fs::read_to_string(path).map_err(|error| ConfigError::Read { path: path.to_owned(), error })?;
    read(path, &source, env, document).map_err(|problems| {
        let colour = io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none();
        ConfigError::Wrong(draw(&path.display().to_string(), &source, &problems, colour))
    })
}

/// The same for a file that was read already; relative paths in it start at the folder of `path`.
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
