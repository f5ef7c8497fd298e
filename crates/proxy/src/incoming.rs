//! A body that comes from the outside, whichever HTTP carries it.

use std::error::Error as _;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;

use crate::http2::StreamBody;

/// A body as a visitor or a service sends it. It has ended if its last frame was the end that its HTTP has for it.
#[derive(Debug)]
pub(crate) enum IncomingBody {
    /// Over HTTP/1.1.
    Http1(Incoming),
    /// On a stream of HTTP/2.
    Http2(StreamBody),
}

/// A body that did not come to its end.
#[derive(Debug, thiserror::Error)]
pub(crate) enum IncomingError {
    /// The connection failed, or what came was none.
    #[error(transparent)]
    Http1(#[from] hyper::Error),
    /// The stream was reset, or its connection failed.
    #[error(transparent)]
    Http2(#[from] h2::Error),
}

impl IncomingError {
    /// Whether the sender broke the framing.
    pub(crate) fn is_malformed(&self) -> bool {
        let Self::Http1(error) = self else { return false };
        let cause = error.source().and_then(|source| source.downcast_ref::<io::Error>());
        matches!(cause.map(io::Error::kind), Some(io::ErrorKind::InvalidData | io::ErrorKind::InvalidInput))
    }
}

impl Body for IncomingBody {
    type Data = Bytes;
    type Error = IncomingError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, IncomingError>>> {
        match &mut *self {
            Self::Http1(body) => Pin::new(body).poll_frame(cx).map_err(IncomingError::Http1),
            Self::Http2(body) => Pin::new(body).poll_frame(cx).map_err(IncomingError::Http2),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Http1(body) => body.is_end_stream(),
            Self::Http2(body) => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Http1(body) => body.size_hint(),
            Self::Http2(body) => body.size_hint(),
        }
    }
}
