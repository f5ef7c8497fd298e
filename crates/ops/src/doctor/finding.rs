//! One check, and what came of it.

use std::fmt::{Display, Write as _};

use serde_json::{Value, json};

use crate::cli::{Exit, ExitCode, print};

/// What came of a check.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// As it should be.
    Good,
    /// It works, and may not be what was meant.
    Warning,
    /// It does not work.
    Bad,
    /// It could not be looked at, for the reason that is given.
    Skipped,
}

impl Verdict {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Good => "ok",
            Self::Warning => "warning",
            Self::Bad => "failed",
            Self::Skipped => "skipped",
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Finding {
    check: &'static str,
    verdict: Verdict,
    says: String,
    todo: Option<String>,
}

/// All findings so far, in the order in which they were made.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Findings(Vec<Finding>);

impl Findings {
    /// `check` is as it should be.
    pub fn good(&mut self, check: &'static str, says: impl Display) {
        self.add(check, Verdict::Good, says, None);
    }

    /// `check` works, and may not be what was meant; `todo` says what to do.
    pub fn warn(&mut self, check: &'static str, says: impl Display, todo: impl Display) {
        self.add(check, Verdict::Warning, says, Some(todo.to_string()));
    }

    /// `check` does not work; `todo` says what to do.
    pub fn bad(&mut self, check: &'static str, says: impl Display, todo: impl Display) {
        self.add(check, Verdict::Bad, says, Some(todo.to_string()));
    }

    /// `check` was not looked at, for this reason.
    pub fn skip(&mut self, check: &'static str, why: impl Display) {
        self.add(check, Verdict::Skipped, why, None);
    }

    fn add(&mut self, check: &'static str, verdict: Verdict, says: impl Display, todo: Option<String>) {
        self.0.push(Finding { check, verdict, says: says.to_string(), todo });
    }

    /// What came of the last look at `check`.
    #[must_use]
    pub fn verdict(&self, check: &str) -> Option<Verdict> {
        self.0.iter().rev().find(|finding| finding.check == check).map(|finding| finding.verdict)
    }

    /// What works and may not be what was meant, and what does not, a line each with what to do.
    #[must_use]
    pub fn doubts(&self) -> Vec<String> {
        let doubtful = |it: &&Finding| matches!(it.verdict, Verdict::Warning | Verdict::Bad);
        let line = |Finding { says, todo, .. }: &Finding| match todo {
            Some(todo) => format!("{says}: {todo}"),
            None => says.clone(),
        };
        self.0.iter().filter(doubtful).map(line).collect()
    }

    fn count(&self, verdict: Verdict) -> usize {
        self.0.iter().filter(|finding| finding.verdict == verdict).count()
    }

    /// All of them, as `--json` shows them.
    #[must_use]
    pub fn json(&self) -> Value {
        let findings = self.0.iter().map(|Finding { check, verdict, says, todo }| {
            json!({ "check": check, "verdict": verdict.as_str(), "says": says, "todo": todo })
        });
        json!({ "ok": self.count(Verdict::Bad) == 0, "findings": findings.collect::<Vec<_>>() })
    }

    /// All of them, for people.
    #[must_use]
    pub fn text(&self) -> String {
        let width = self.0.iter().map(|finding| finding.check.len()).max().unwrap_or_default();
        let mut text = String::new();
        for Finding { check, verdict, says, todo } in &self.0 {
            let indent = " ".repeat(width.saturating_add(11));
            let says = says.trim_end().replace('\n', &format!("\n{indent}"));
            // Writing to a string does not fail.
            let _ = writeln!(text, "{:<7}  {check:<width$}  {says}", verdict.as_str());
            if let Some(todo) = todo {
                let _ = writeln!(text, "{indent}-> {}", todo.replace('\n', &format!("\n{indent}   ")));
            }
        }
        let (bad, warnings) = (self.count(Verdict::Bad), self.count(Verdict::Warning));
        let of = self.0.len();
        let _ = match (bad, warnings) {
            (0, 0) => writeln!(text, "nothing is wrong"),
            (0, _) => writeln!(text, "nothing fails; {warnings} of {of} may not be what you want"),
            _ => writeln!(text, "{bad} of {of} failed"),
        };
        text
    }

    /// Says all of them, and how the program ends: failed, if one did.
    ///
    /// # Errors
    /// One failed.
    pub fn exit(&self, as_json: bool) -> Result<Exit, Exit> {
        let text = if as_json { format!("{:#}\n", self.json()) } else { self.text() };
        if self.count(Verdict::Bad) == 0 {
            return Ok(Exit::done(text));
        }
        // What was asked for is the answer, also where it is bad news.
        print(&text);
        Err(Exit { code: ExitCode::Failed, text: String::new() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_failure_says_what_to_do() {
        let mut findings = Findings::default();
        findings.good("clock", "right");
        assert_eq!(findings.text(), "ok       clock  right\nnothing is wrong\n");
        findings.warn("files", "few", "raise\nthem");
        findings.bad("connect", "refused", "start it");
        findings.skip("login", "no connection");
        assert_eq!(
            findings.text(),
            "ok       clock    right\n\
             warning  files    few\n                  -> raise\n                     them\n\
             failed   connect  refused\n                  -> start it\n\
             skipped  login    no connection\n\
             1 of 4 failed\n"
        );
        assert_eq!(findings.doubts(), ["few: raise\nthem", "refused: start it"]);
        let shown = findings.json();
        assert_eq!((&shown["ok"], &shown["findings"][2]["todo"]), (&json!(false), &json!("start it")));
        assert_eq!(findings.verdict("connect"), Some(Verdict::Bad));
        assert_eq!(findings.exit(true).unwrap_err().code, ExitCode::Failed);
    }
}
