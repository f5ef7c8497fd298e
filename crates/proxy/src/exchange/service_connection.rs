//! Which connection to the service an exchange is on, and how that connection has to end.

use http::{Extensions, Request};
use hyper_util::client::legacy::connect::{CaptureConnection, capture_connection};

use super::RequestBody;
use crate::poison::Poison;
use crate::service::ServiceTap;

/// The connection of an exchange. Unless the exchange was finished, dropping it makes the connection end with a reset, so
/// that the service sees that its answer went nowhere. To be dropped before the exchange lets go of the connection.
#[derive(Debug)]
pub(super) struct ServiceConnection {
    captured: CaptureConnection,
    finished: bool,
}

impl ServiceConnection {
    /// The connection that `request` will be sent on.
    pub(super) fn of(request: &mut Request<RequestBody>) -> Self {
        Self { captured: capture_connection(request), finished: false }
    }

    /// The exchange was complete: the connection is as good as before.
    pub(super) fn finish(mut self) {
        self.finished = true;
        if let Some(poison) = self.poison() {
            poison.clear();
        }
    }

    /// The connection has become one of its own.
    pub(super) fn switch(mut self) -> Poison {
        self.finished = true;
        self.poison().unwrap_or_default()
    }

    fn poison(&self) -> Option<Poison> {
        let mut extensions = Extensions::new();
        self.captured.connection_metadata().as_ref()?.get_extras(&mut extensions);
        extensions.remove::<ServiceTap>().map(|tap| tap.0)
    }
}

impl Drop for ServiceConnection {
    fn drop(&mut self) {
        if !self.finished
            && let Some(poison) = self.poison()
        {
            poison.apply();
        }
    }
}
