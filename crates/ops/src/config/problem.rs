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
    /// Not the file is at fault, but what it refers to.
    is_lack: bool,
}

/// What becomes of a part of a configuration that lacks what it refers to: a file, or a variable of the environment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Lack {
    /// The configuration is refused: somebody is there to mend it.
    #[default]
    Refused,
    /// The part is down, and the others are as good as ever.
    Down,
}

/// All that is wrong so far.
#[derive(Debug, Default)]
pub struct Problems {
    /// In the order in which they were found.
    pub found: Vec<Problem>,
    /// What no report may show, though it stands in the file.
    pub(super) hidden: Vec<Span>,
    lack: Lack,
    /// What is read now is such a part.
    in_part: bool,
}

impl Problems {
    /// Adds one.
    pub fn add(&mut self, span: Span, message: impl Display) {
        self.push(span, message.to_string(), None, false);
    }

    /// Adds one with advice.
    pub fn add_with_help(&mut self, span: Span, message: impl Display, help: impl Display) {
        self.push(span, message.to_string(), Some(help.to_string()), false);
    }

    /// Adds one that is not the file's own fault.
    pub fn add_lack(&mut self, span: Span, message: impl Display) {
        self.push(span, message.to_string(), None, true);
    }

    fn push(&mut self, span: Span, message: String, help: Option<String>, is_lack: bool) {
        self.found.push(Problem { span, message, help, is_lack });
    }

    /// The value of `result`; its error is a problem at `span`.
    pub fn check<T>(&mut self, span: Span, result: Result<T, impl Display>) -> Option<T> {
        result.map_err(|error| self.add(span, error)).ok()
    }

    /// The same, where not the file is at fault, but what it refers to.
    pub fn check_lack<T>(&mut self, span: Span, result: Result<T, impl Display>) -> Option<T> {
        result.map_err(|error| self.add_lack(span, error)).ok()
    }

    /// What becomes of parts from now on that lack something.
    pub fn on_lack(&mut self, lack: Lack) {
        self.lack = lack;
    }

    /// What `read` makes of a part that could be down, and what it lacks, if that is no problem: see [`Lack`].
    pub fn part<T>(&mut self, read: impl FnOnce(&mut Self) -> T) -> (T, Option<String>) {
        let (before, outer) = (self.found.len(), self.in_part);
        self.in_part = true;
        let made = read(self);
        self.in_part = outer;
        if self.lack == Lack::Refused {
            return (made, None);
        }
        let new = self.found.split_off(before.min(self.found.len()));
        let (lacks, wrong): (Vec<_>, Vec<_>) = new.into_iter().partition(|problem| problem.is_lack);
        self.found.extend(wrong);
        let lacks: Vec<_> = lacks.into_iter().map(|problem| problem.message).collect();
        (made, (!lacks.is_empty()).then(|| lacks.join("; ")))
    }

    /// Whether a text may stay without its variables: what is read now is down then.
    pub(super) fn may_lack(&self) -> bool {
        self.in_part && self.lack == Lack::Down
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

#[cfg(test)]
mod tests {
    use super::*;

    fn read(lack: Lack) -> (Problems, Option<String>) {
        let mut problems = Problems::default();
        problems.on_lack(lack);
        problems.add_lack(0..1, "before");
        let ((), lacks) = problems.part(|problems| {
            problems.add(1..2, "wrong");
            problems.add_lack(2..3, "gone");
            problems.add_lack(3..4, "unset");
        });
        (problems, lacks)
    }

    #[test]
    fn what_a_part_lacks_is_a_problem_only_where_it_may_not_be_down() {
        let messages = |problems: &Problems| -> Vec<_> {
            problems.found.iter().map(|problem| problem.message.clone()).collect()
        };
        let (problems, lacks) = read(Lack::Refused);
        assert_eq!((messages(&problems).join(" "), lacks), ("before wrong gone unset".to_owned(), None));
        let (problems, lacks) = read(Lack::Down);
        assert_eq!(messages(&problems), ["before", "wrong"]);
        assert_eq!(lacks.as_deref(), Some("gone; unset"));
    }
}
