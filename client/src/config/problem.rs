//! What is wrong in a file, and where.

use std::fmt::Display;
use std::ops::Range;

/// One thing that is wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Problem {
    /// Where, in bytes of the file.
    pub(super) span: Range<usize>,
    /// What.
    pub(super) message: String,
    /// What to do, if that is not clear from the message.
    pub(super) help: Option<String>,
}

/// All that is wrong so far.
#[derive(Debug, Default)]
pub(super) struct Problems(pub(super) Vec<Problem>);

impl Problems {
    pub(super) fn add(&mut self, span: Range<usize>, message: impl Display) {
        self.0.push(Problem { span, message: message.to_string(), help: None });
    }

    pub(super) fn add_with_help(&mut self, span: Range<usize>, message: impl Display, help: impl Display) {
        let help = Some(help.to_string());
        self.0.push(Problem { span, message: message.to_string(), help });
    }

    /// The value of `result`; its error is a problem at `span`.
    pub(super) fn check<T>(&mut self, span: Range<usize>, result: Result<T, impl Display>) -> Option<T> {
        result.map_err(|error| self.add(span, error)).ok()
    }
}
