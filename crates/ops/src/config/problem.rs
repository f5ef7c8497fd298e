//! What is wrong in a file, and where.

use std::fmt::Display;

use super::placed::Span;

/// One thing that is wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// Where, in bytes of the file.
    pub span: Span,
    /// What.
    pub message: String,
    /// What to do, if that is not clear from the message.
    pub help: Option<String>,
}

/// All that is wrong so far.
#[derive(Debug, Default)]
pub struct Problems {
    /// In the order in which they were found.
    pub found: Vec<Problem>,
    /// What no report may show, though it stands in the file.
    pub(super) hidden: Vec<Span>,
}

impl Problems {
    /// Adds one.
    pub fn add(&mut self, span: Span, message: impl Display) {
        self.found.push(Problem { span, message: message.to_string(), help: None });
    }

    /// Adds one with advice.
    pub fn add_with_help(&mut self, span: Span, message: impl Display, help: impl Display) {
        let help = Some(help.to_string());
        self.found.push(Problem { span, message: message.to_string(), help });
    }

    /// The value of `result`; its error is a problem at `span`.
    pub fn check<T>(&mut self, span: Span, result: Result<T, impl Display>) -> Option<T> {
        result.map_err(|error| self.add(span, error)).ok()
    }

    /// What stands at `span` may be a secret: reports that show its line show it as asterisks.
    pub fn hide(&mut self, span: Span) {
        self.hidden.push(span);
    }

    /// Whether nothing is wrong.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.found.is_empty()
    }
}
