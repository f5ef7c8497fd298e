//! What stands in the place of a plugin that lacks what its settings refer to: nobody passes, whatever it would have done.

use std::sync::Arc;
use std::time::Duration;

use super::{Call, Flow, OnFailure, Plugin, Reply, RequestHead, Seat};

struct Lacking;

/// The seat of the plugin `name`, which would be of this kind.
pub(super) fn seat(name: &str, kind: &str) -> Seat {
    // Its answer is there at once.
    Seat::new(name.into(), kind.into(), OnFailure::Closed, Duration::from_secs(1), Arc::new(Lacking))
}

impl Plugin for Lacking {
    fn on_request<'a>(&'a self, _request: &'a mut RequestHead) -> Call<'a, Flow> {
        Call::now(Flow::Answer(Box::new(Reply::lacking())))
    }
}
