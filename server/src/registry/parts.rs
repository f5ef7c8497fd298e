//! The parts of groups, from one configuration to the next.

use std::sync::Arc;

use policy::part::GroupPart;

use super::Registry;
use super::memberships::{GroupError, Memberships};

/// Parts that can be used.
#[derive(Debug)]
pub struct PreparedParts(());

/// Parts that can not be used.
#[derive(Debug, thiserror::Error)]
pub enum TooFewAcks {
    /// One that can not be handed over.
    #[error(transparent)]
    Group(#[from] GroupError),
    /// They are others than those that the server began with.
    #[error("changing a [[group]] while the server runs is not in this version: start it anew")]
    Changed,
}

impl Registry {
    /// Prepares the parts of the groups of a configuration.
    ///
    /// # Errors
    /// [`TooFewAcks`].
    pub async fn prepare_parts(
        self: &Arc<Self>,
        parts: Vec<(String, GroupPart)>,
        revision: u64,
        _require_all: bool,
    ) -> Result<PreparedParts, TooFewAcks> {
        let wanted = Memberships::new(parts, revision)?;
        let digests = |groups: &Memberships| -> Vec<(String, [u8; 32])> {
            groups.iter().map(|(name, group)| (name.to_owned(), group.handed().digest)).collect()
        };
        if digests(&wanted) == digests(self.memberships()) {
            Ok(PreparedParts(()))
        } else {
            Err(TooFewAcks::Changed)
        }
    }

    /// Uses what was prepared.
    pub fn use_parts(self: &Arc<Self>, prepared: PreparedParts) {
        let PreparedParts(()) = prepared;
    }
}
