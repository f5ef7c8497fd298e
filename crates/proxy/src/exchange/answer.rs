//! The body of a response on its way to the visitor.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use parking_lot::Mutex;

use super::opened::OpenedBody;

/// The response is cut: the visitor's connection must be broken off, never ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the response was cut")]
pub(crate) struct Cut;

/// The body of a response: a page of ours, or what a service says.
#[derive(Debug)]
pub(crate) enum AnswerBody {
    /// All of it.
    Page(Option<Bytes>),
    /// As it comes. Whoever sends the rest of the request has a hold of it too.
    Opened(Arc<Mutex<OpenedBody>>),
}

impl Body for AnswerBody {
    type Data = Bytes;
    type Error = Cut;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Cut>>> {
        match &mut *self {
            Self::Page(page) => Poll::Ready(page.take().map(|page| Ok(Frame::data(page)))),
            Self::Opened(body) => OpenedBody::poll_frame(body, cx),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Page(page) => page.as_ref().is_none_or(Bytes::is_empty),
            Self::Opened(body) => body.lock().is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Page(page) => {
                let length = page.as_ref().map_or(0, Bytes::len);
                SizeHint::with_exact(u64::try_from(length).unwrap_or(u64::MAX))
            }
            Self::Opened(body) => body.lock().size_hint(),
        }
    }
}
