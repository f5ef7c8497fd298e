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
    ) -> impl Future<Output = Result<Self::Proven, String>> + Send;

    /// Puts them into use in one step, and says what there is to say about it, a line each.
    fn switch(&self, proven: Self::Proven) -> Vec<String>;
}
