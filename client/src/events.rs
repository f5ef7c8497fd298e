//! What happens, for whoever watches: a view or the log.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use http::Method;
use ops::error_kind::ErrorKind;
use protocol::control::RegisterCode;
use protocol::id::Slot;
use protocol::join::HostPort;
use protocol::text::Text;
use proxy::access::{AccessKind, AccessLine, LogSink, RequestSink};
use proxy::error::answer_to;
use tokio::sync::mpsc;

use crate::view;

/// Events that wait for the view.
const WAITING_MAX: usize = 256;
/// Places kept for what is not a request: of those nobody reads as many as the rest in the moment that the view rests.
const RESERVED: usize = 64;

/// Something that happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// A first attempt.
    Connecting {
        /// At this server.
        server: HostPort,
    },
    /// An attempt failed, for another reason than the one before.
    Failing {
        /// Why, and what to do about it.
        reason: String,
        /// Until the next attempt.
        retry_in: Duration,
    },
    /// A session is up.
    Connected {
        /// Which of the parallel ones.
        slot: Slot,
        /// With this server.
        server: HostPort,
        /// In which way.
        how: Connected,
    },
    /// The server is about to end a session; another one is sought.
    Draining {
        /// Which of the parallel ones.
        slot: Slot,
    },
    /// A session was lost.
    Lost {
        /// Which of the parallel ones.
        slot: Slot,
        /// Why.
        reason: String,
    },
    /// A tunnel is public.
    Ready {
        /// Its name.
        tunnel: String,
        /// What visitors type.
        url: String,
        /// Where the service listens.
        to: String,
    },
    /// A tunnel was refused; the others are not affected.
    Refused {
        /// Its name.
        tunnel: String,
        /// The reason.
        code: RegisterCode,
        /// The reason, for a person.
        text: Text,
    },
    /// A request or connection is over.
    Request(RequestLine),
    /// The program ends as soon as work in progress does.
    Ending {
        /// So many requests, and for a service also connections.
        in_progress: usize,
        /// And at the latest after this.
        limit: Duration,
    },
    /// Something to look at.
    Warning(String),
    /// Good to know.
    Note(String),
}

/// In which way a session came up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Connected {
    /// The slot had none before.
    First,
    /// After one that was lost.
    Again,
    /// Beside one that drains, before it ends.
    InPlace,
}

/// What is shown of a request or connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RequestLine {
    /// What it was.
    pub kind: AccessKind,
    /// None for TCP.
    pub method: Option<Method>,
    /// Without its query, which may hold secrets of the visitor. None for TCP.
    pub path: Option<String>,
    /// What the service answered, or else what the server answers in its place. None for TCP.
    pub status: Option<u16>,
    /// From its head to its end.
    pub duration: Duration,
    /// Bytes from visitor and from service.
    pub bytes: (u64, u64),
    /// What went wrong.
    pub error: Option<ErrorKind>,
}

impl RequestLine {
    /// What is shown of `line`.
    #[must_use]
    pub fn of(line: &AccessLine) -> Self {
        Self {
            kind: line.kind,
            method: line.method.clone(),
            path: line.path.as_ref().map(|path| path.path().to_owned()),
            status: line.status.or_else(|| answered(line)),
            duration: line.duration,
            bytes: (line.bytes_up, line.bytes_down),
            error: line.error,
        }
    }
}

/// What a visitor is told if the service gave no answer.
fn answered(line: &AccessLine) -> Option<u16> {
    line.method.as_ref().and(line.error).map(|error| answer_to(error).status.as_u16())
}

/// Where events go. A clone is the same place. Telling never waits.
#[derive(Debug, Clone)]
pub struct Events(To);

#[derive(Debug, Clone)]
enum To {
    Log,
    View { waiting: mpsc::Sender<Event>, dropped: Arc<AtomicU64> },
}

/// The receiving end of a view.
#[derive(Debug)]
pub struct Watched {
    pub(crate) events: mpsc::Receiver<Event>,
    pub(crate) dropped: Arc<AtomicU64>,
}

impl Events {
    /// Events become lines of the log.
    #[must_use]
    pub fn to_log() -> Self {
        Self(To::Log)
    }

    /// Events go to a view. What does not fit is dropped and counted.
    #[must_use]
    pub fn to_view() -> (Self, Watched) {
        let (waiting, events) = mpsc::channel(WAITING_MAX);
        let dropped = Arc::new(AtomicU64::new(0));
        (Self(To::View { waiting, dropped: dropped.clone() }), Watched { events, dropped })
    }

    /// A request or connection is over: for the view, or an access line of the log.
    pub fn request(&self, line: &AccessLine) {
        match &self.0 {
            To::Log => LogSink.request(line),
            To::View { waiting, dropped } => {
                // What is not shown is not put together either.
                if waiting.capacity() <= RESERVED
                    || waiting.try_send(Event::Request(RequestLine::of(line))).is_err()
                {
                    dropped.fetch_add(1, Ordering::Relaxed);
                }
            }
        }
    }

    /// Something else happened.
    pub fn tell(&self, event: Event) {
        match &self.0 {
            To::Log => view::log::write(&event),
            To::View { waiting, dropped } => {
                if waiting.try_send(event).is_err() {
                    dropped.fetch_add(1, Ordering::Relaxed);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flood_of_requests_leaves_room_for_news() {
        let (events, mut watched) = Events::to_view();
        let line = AccessLine {
            trace: [0; 16],
            kind: AccessKind::Http,
            visitor: None,
            method: Some(Method::GET),
            path: None,
            host: None,
            route: None,
            service: None,
            member: None,
            status: Some(200),
            bytes_up: 0,
            bytes_down: 0,
            duration: Duration::ZERO,
            error: None,
        };
        for _ in 0..WAITING_MAX {
            events.request(&line);
        }
        events.tell(Event::Note("news".to_owned()));
        assert_eq!(watched.dropped.load(Ordering::Relaxed), RESERVED as u64);
        let mut last = None;
        while let Ok(event) = watched.events.try_recv() {
            last = Some(event);
        }
        assert_eq!(last, Some(Event::Note("news".to_owned())));
    }
}
