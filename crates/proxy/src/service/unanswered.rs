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

impl From<&hyper::Error> for Unanswered {
    /// For a request on a connection of HTTP/2.
    fn from(error: &hyper::Error) -> Self {
        let Some(error) = find::<h2::Error>(error) else { return Self::cut(Progress::Unknown) };
        // A stream hears of a farewell only if its number is above what the service has looked at (RFC 9113 section 6.8).
        let farewell = error.is_go_away() && error.is_remote();
        if error.is_io() {
            return Self::cut(Progress::Closed);
        }
        let refused = error.is_reset() && error.reason() == Some(h2::Reason::REFUSED_STREAM);
        Self::cut(if farewell || refused { Progress::NotProcessed } else { Progress::Unknown })
    }
}

/// The first cause of this kind.
fn find<'e, E: Error + 'static>(error: &'e (dyn Error + 'static)) -> Option<&'e E> {
    let mut cause = error.source();
    while let Some(error) = cause {
        if let Some(found) = error.downcast_ref() {
            return Some(found);
        }
        cause = error.source();
    }
    None
}

/// Whether a connection ended before the first byte of the response.
fn is_closed(error: &hyper::Error) -> bool {
    let closed = |error: &io::Error| {
        matches!(error.kind(), io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe)
    };
    error.is_incomplete_message()
        || error.source().and_then(|source| source.downcast_ref()).is_some_and(closed)
}
