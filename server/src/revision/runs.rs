//! What runs by a configuration, as far as revisions know it.

use std::future::Future;

use crate::config::Document;

/// What the operator asks for besides the text.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Wishes {
    /// Names that somebody holds are taken from him.
    pub(crate) take: bool,
    /// Every instance has to take the part of its group.
    pub(crate) require_all: bool,
}

/// Why a configuration could not be used. Nothing has changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct NotProven {
    /// All of it, for people.
    pub(crate) text: String,
    /// Whether another text could be used: else the server itself is at fault, or what it is given.
    pub(crate) is_usage: bool,
}

impl NotProven {
    /// Something else has to be written.
    pub(crate) fn usage(text: impl Into<String>) -> Self {
        Self { text: text.into(), is_usage: true }
    }
}

/// Everything that a configuration sets up.
pub(crate) trait Runs: Send + Sync + 'static {
    /// New parts that work and are not in use. Dropping them gives back what they hold.
    type Proven: Send;

    /// Makes the parts of `document`, to be called `revision`, and tries them. Changes nothing.
    fn prove(
        &self,
        document: Document,
        revision: u64,
        wishes: Wishes,
    ) -> impl Future<Output = Result<Self::Proven, NotProven>> + Send;

    /// Puts them into use in one step, and says what there is to say about it, a line each.
    fn switch(&self, proven: Self::Proven) -> Vec<String>;

    /// What is in use and lacks something by now, a line each.
    fn lacks(&self) -> Vec<String>;
}
