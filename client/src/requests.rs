//! What hears of every request and connection that a service of this client got.

use arc_swap::ArcSwap;
use proxy::access::{AccessLine, RequestSink};

use crate::events::{Event, Events};
use crate::hints::HostHints;
use crate::settings::Mode;
use crate::tunnel::Tunnel;

/// Passes requests on: to the view, or to the log as access lines.
#[derive(Debug)]
pub(crate) struct Requests {
    events: Events,
    hints: ArcSwap<HostHints>,
}

impl Requests {
    /// Passes those of `tunnels` on to `events`.
    pub(crate) fn new(events: Events, tunnels: &[Tunnel], mode: Mode) -> Self {
        Self { events, hints: ArcSwap::from_pointee(HostHints::new(tunnels.iter(), mode)) }
    }

    /// Looks at the requests of these tunnels from now on.
    pub(crate) fn hint_at(&self, tunnels: &[Tunnel], mode: Mode) {
        self.hints.store(HostHints::new(tunnels.iter(), mode).into());
    }
}

impl RequestSink for Requests {
    fn request(&self, line: &AccessLine) {
        self.events.request(line);
        if let Some(hint) = self.hints.load().on(line) {
            self.events.tell(Event::Warning(hint));
        }
    }
}
