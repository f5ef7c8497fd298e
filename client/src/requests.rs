//! What hears of every request and connection that a service of this client got.

use proxy::access::{AccessLine, LogSink, RequestSink};

use crate::events::{Event, Events, RequestLine};
use crate::hints::HostHints;

/// Passes requests on: to the view, or to the log as access lines.
#[derive(Debug)]
pub(crate) struct Requests {
    pub(crate) events: Events,
    pub(crate) hints: HostHints,
}

impl RequestSink for Requests {
    fn request(&self, line: &AccessLine) {
        if self.events.show_requests() {
            self.events.tell(Event::Request(RequestLine::of(line)));
        } else {
            LogSink.request(line);
        }
        if let Some(hint) = self.hints.on(line) {
            self.events.tell(Event::Warning(hint));
        }
    }
}
