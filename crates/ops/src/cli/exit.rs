//! How a program ends.

use std::fmt::Display;

use super::{print, print_error};

/// The exit codes of both programs (INTERFACE, "Commands").
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ExitCode {
    /// Done.
    Done = 0,
    /// Failed while running.
    Failed = 1,
    /// Wrong usage or configuration.
    Usage = 2,
    /// Refused by the server.
    Refused = 3,
}

impl From<ExitCode> for std::process::ExitCode {
    fn from(code: ExitCode) -> Self {
        Self::from(code as u8)
    }
}

/// The end of a program: its code, and what is left to say.
#[derive(Debug, Clone, PartialEq, Eq)]
#[must_use = "say it with `report`"]
pub struct Exit {
    /// The code that the process ends with.
    pub code: ExitCode,
    /// What is said before; may be empty. On stdout where the code is `Done`, else on stderr.
    pub text: String,
}

impl Exit {
    /// Done, with `text` on stdout.
    pub fn done(text: impl Into<String>) -> Self {
        Self { code: ExitCode::Done, text: text.into() }
    }

    /// Failed while running.
    pub fn failed(text: impl Display) -> Self {
        Self { code: ExitCode::Failed, text: text.to_string() }
    }

    /// Wrong usage or configuration.
    pub fn usage(text: impl Display) -> Self {
        Self { code: ExitCode::Usage, text: text.to_string() }
    }

    /// Refused by the server.
    pub fn refused(text: impl Display) -> Self {
        Self { code: ExitCode::Refused, text: text.to_string() }
    }

    /// `what` is in the interface but not in this version: wrong usage, said clearly.
    pub fn not_in_this_version(what: impl Display) -> Self {
        Self::usage(format_args!("{what} is not in this version"))
    }

    /// Says what is left to say and gives the code for `main`.
    pub fn report(self) -> std::process::ExitCode {
        let line = if self.text.is_empty() || self.text.ends_with('\n') { "" } else { "\n" };
        let text = self.text + line;
        match self.code {
            ExitCode::Done => print(&text),
            ExitCode::Failed | ExitCode::Usage | ExitCode::Refused => print_error(&text),
        }
        self.code.into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_those_of_the_interface() {
        let codes = [ExitCode::Done, ExitCode::Failed, ExitCode::Usage, ExitCode::Refused];
        assert_eq!(codes.map(|code| code as u8), [0, 1, 2, 3]);
    }

    #[test]
    fn later_things_are_wrong_usage() {
        let exit = Exit::not_in_this_version("`doctor`");
        assert_eq!(exit, Exit::usage("`doctor` is not in this version"));
    }
}
