//! A value, and where it stands.

use std::fmt::Display;
use std::ops::Range;

use super::problem::Problems;

/// Bytes of a file.
pub type Span = Range<usize>;

/// A value of the file, with its place for whatever turns out to be wrong with it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Placed<T> {
    /// The value.
    pub value: T,
    /// Where it stands.
    pub span: Span,
    /// It is not what stands in the file, and may be a secret: no message shows it.
    unseen: bool,
}

impl<T> Placed<T> {
    /// A value that stands in the file as it is.
    pub const fn new(value: T, span: Span) -> Self {
        Self { value, span, unseen: false }
    }

    /// A value that was put together from the environment.
    pub(super) const fn unseen(value: T, span: Span) -> Self {
        Self { value, span, unseen: true }
    }

    /// Another value at the same place.
    pub fn map<U>(self, make: impl FnOnce(T) -> U) -> Placed<U> {
        Placed { value: make(self.value), span: self.span, unseen: self.unseen }
    }
}

impl Placed<String> {
    /// What `parse` makes of the text; its error is a problem here. Of a text with variables the error is not shown,
    /// because it may quote what stands for them.
    pub fn parse<T, E: Display>(
        &self,
        parse: impl FnOnce(&str) -> Result<T, E>,
        problems: &mut Problems,
    ) -> Option<T> {
        match parse(&self.value) {
            Ok(value) => Some(value),
            Err(error) => {
                self.wrong(error, problems);
                None
            }
        }
    }

    /// Reports that the text is wrong.
    pub fn wrong(&self, message: impl Display, problems: &mut Problems) {
        if self.unseen {
            problems.add(self.span.clone(), "what stands here is wrong once its variables are replaced");
        } else {
            problems.add(self.span.clone(), message);
        }
    }
}
