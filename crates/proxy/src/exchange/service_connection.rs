//! Which pooled connection to the service an exchange is on, and how that connection has to end.

use http::{Extensions, Request};
use hyper_util::client::legacy::connect::{CaptureConnection, capture_connection};

use super::RequestBody;
use crate::poison::Poison;
use crate::service::{ServiceTap, Turn};

/// The connection of an exchange. Unless the exchange was finished, dropping it makes the connection end with a reset, so
/// that the service sees that its answer went nowhere. To be dropped before the exchange lets go of the connection.
#[derive(Debug)]
pub(super) struct ServiceConnection {
    captured: CaptureConnection,
    turn: Option<Turn>,
}

impl ServiceConnection {
    /// The connection that `request` will be sent on.
    pub(super) fn of(request: &mut Request<RequestBody>) -> Self {
        Self { captured: capture_connection(request), turn: None }
    }

    /// Takes hold of the connection, if there is one by now. To be called before the pool can have it back, and for the
    /// last time when the response has come: a request that could not be sent goes on another one.
    pub(super) fn hold(&mut self) {
        if let Some(tap) = self.tap()
            && self.turn.as_ref().is_none_or(|turn| !turn.is_on(&tap))
        {
            self.turn = Some(tap.take_turn());
        }
    }

    /// Whether it was taken hold of.
    pub(super) const fn is_held(&self) -> bool {
        self.turn.is_some()
    }

    /// The exchange was complete: the connection is as good as before.
    pub(super) fn finish(mut self) {
        self.turn = None;
    }

    /// The connection has become one of its own.
    pub(super) fn switch(mut self) -> Poison {
        self.turn.take().map(Turn::switch).unwrap_or_default()
    }

    fn tap(&self) -> Option<ServiceTap> {
        let mut extensions = Extensions::new();
        self.captured.connection_metadata().as_ref()?.get_extras(&mut extensions);
        extensions.remove::<ServiceTap>()
    }
}

impl Drop for ServiceConnection {
    fn drop(&mut self) {
        if let Some(turn) = &self.turn {
            turn.poison();
        }
    }
}
