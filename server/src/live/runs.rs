//! What runs, as revisions know it.

use super::proven::Proven;
use super::running::{Running, Wishes};
use crate::config::Document;
use crate::revision::{self, NotProven, Runs};

impl Runs for Running {
    type Proven = Proven;

    async fn prove(
        &self,
        document: Document,
        revision: u64,
        wishes: revision::Wishes,
    ) -> Result<Proven, NotProven> {
        let revision::Wishes { take, require_all } = wishes;
        let wishes = Wishes { take, require_all };
        Self::prove(self, document, revision, wishes)
            .await
            .map_err(|error| NotProven { text: error.to_string(), is_usage: error.is_usage() })
    }

    fn switch(&self, proven: Proven) -> Vec<String> {
        Self::switch(self, proven).lines()
    }

    fn lacks(&self) -> Vec<String> {
        Self::lacks(self)
    }
}
