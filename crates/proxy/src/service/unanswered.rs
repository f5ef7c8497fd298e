//! Why a request got no response head, and how far it had come.

use std::error::Error;
use std::io;

use protocol::code::Code;

use super::DialError;

/// A request without a response head.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Unanswered {
    /// What the opener is told.
    pub(crate) code: Code,
    /// The same in words.
    pub(crate) text: &'static str,
    /// How far it had come.
    pub(crate) progress: Progress,
}

/// How far a request had come that was not answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Progress {
    /// There was no connection for it.
    NotConnected,
    /// It had a connection, and is proven not to have been looked at.
    NotProcessed,
    /// The connection ended before a byte of the response; it may have been an idle one.
    Closed,
    /// Nothing is known.
    Unknown,
}

impl Unanswered {
    /// The service has not looked at it.
    pub(super) const fn not_processed() -> Self {
        let text = "the service has not taken the request";
        Self { code: Code::NOT_PROCESSED, text, progress: Progress::NotProcessed }
    }

    /// The same after an attempt that the service may have seen: nobody can say any more that none did.
    pub(crate) fn after_another(self) -> Self {
        match self.progress {
            Progress::NotConnected | Progress::NotProcessed => {
                Self { progress: self.progress, ..Self::cut(Progress::Unknown) }
            }
            Progress::Closed | Progress::Unknown => self,
        }
    }

    /// The service broke off.
    pub(super) const fn cut(progress: Progress) -> Self {
        let text = "the service ended the connection without a valid response";
        Self { code: Code::SERVICE_CUT, text, progress }
    }

    /// A request that left on a connection of HTTP/1.1.
    pub(super) fn of_http1(error: &hyper::Error) -> Self {
        Self::cut(if is_closed(error) { Progress::Closed } else { Progress::Unknown })
    }

    /// The request can not be said in HTTP/2.
    pub(super) const fn unfit() -> Self {
        let text = "the request head is not valid HTTP";
        Self { code: Code::BAD_REQUEST, text, progress: Progress::Unknown }
    }
}

impl From<DialError> for Unanswered {
    fn from(error: DialError) -> Self {
        Self { code: error.code(), text: error.text(), progress: Progress::NotConnected }
    }
}

impl From<&h2::Error> for Unanswered {
    fn from(error: &h2::Error) -> Self {
        // A stream hears of a farewell only if its number is above what the service has looked at (RFC 9113 section 6.8).
        let farewell = error.is_go_away() && error.is_remote();
        if error.is_io() {
            return Self::cut(Progress::Closed);
        }
        let refused = error.is_reset() && error.reason() == Some(h2::Reason::REFUSED_STREAM);
        if farewell || refused { Self::not_processed() } else { Self::cut(Progress::Unknown) }
    }
}

/// Whether a connection ended before the first byte of the response.
fn is_closed(error: &hyper::Error) -> bool {
    let closed = |error: &io::Error| {
        matches!(error.kind(), io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe)
    };
    error.is_incomplete_message()
        || error.source().and_then(|source| source.downcast_ref()).is_some_and(closed)
}
