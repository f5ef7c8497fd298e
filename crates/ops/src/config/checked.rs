//! What `check` of both programs says of a file, for programs that read it.

use std::path::Path;

use serde::Serialize;
use serde_json::{Value, json};

use super::file::ConfigError;
use crate::cli::{Exit, print};

/// One thing that is wrong.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Mistake {
    /// In which file.
    pub file: String,
    /// In which line, from 1; none if it is no place in the file that is wrong.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub line: Option<usize>,
    /// At which character of it, from 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub column: Option<usize>,
    /// What.
    pub message: String,
    /// What to do, if that is not clear from the message.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub help: Option<String>,
}

impl Mistake {
    /// Something that is wrong with `file`, and not at one place in it.
    #[must_use]
    pub fn nowhere(file: &Path, message: impl Into<String>) -> Self {
        let (file, message) = (file.display().to_string(), message.into());
        Self { file, line: None, column: None, message, help: None }
    }
}

/// A file that could not be used.
#[derive(Debug)]
pub struct Wrong {
    exit: Exit,
    mistakes: Vec<Mistake>,
}

impl Wrong {
    /// The file says what can not be used, or says nothing.
    #[must_use]
    pub fn of(file: &Path, error: &ConfigError) -> Self {
        Self { exit: Exit::usage(error), mistakes: error.mistakes(file) }
    }

    /// What it says does not go together; a line each.
    #[must_use]
    pub fn lines(file: &Path, text: &str) -> Self {
        let mistakes = text.lines().map(|line| Mistake::nowhere(file, line)).collect();
        Self { exit: Exit::usage(text), mistakes }
    }

    /// It could not even be looked at to the end; or somebody else has, and says this.
    #[must_use]
    pub fn ended(file: &Path, exit: Exit) -> Self {
        Self { mistakes: vec![Mistake::nowhere(file, exit.text.trim_end())], exit }
    }

    /// How the program ends.
    pub fn exit(self, file: &Path, as_json: bool) -> Exit {
        if !as_json {
            return self.exit;
        }
        // What was asked for is the answer, also where it is bad news.
        print(&shown(file, &self.mistakes, &[], Value::Null));
        Exit { text: String::new(), ..self.exit }
    }
}

/// What is said of a file that could be used: what may not be meant, and how much there is of what.
pub fn good(file: &Path, warnings: &[String], counts: Value) -> Exit {
    Exit::done(shown(file, &[], warnings, counts))
}

fn shown(file: &Path, mistakes: &[Mistake], warnings: &[String], counts: Value) -> String {
    let file = file.display().to_string();
    let mut shown =
        json!({ "file": file, "ok": mistakes.is_empty(), "errors": mistakes, "warnings": warnings });
    if let (Some(shown), false) = (shown.as_object_mut(), counts.is_null()) {
        shown.insert("counts".to_owned(), counts);
    }
    format!("{shown:#}\n")
}
