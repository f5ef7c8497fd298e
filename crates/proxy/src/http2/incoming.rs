//! A body that comes on a stream of HTTP/2.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use h2::RecvStream;
use http_body::{Body, Frame};

/// The body of a request or a response. Only END_STREAM ends it: a reset is an error, whatever its reason.
#[derive(Debug)]
pub(crate) struct StreamBody {
    stream: RecvStream,
    /// All data is there; trailers may follow.
    data_done: bool,
}

impl From<RecvStream> for StreamBody {
    fn from(stream: RecvStream) -> Self {
        Self { stream, data_done: false }
    }
}

impl StreamBody {
    /// The stream, for what comes on it after an extended CONNECT.
    pub(crate) fn into_stream(self) -> RecvStream {
        self.stream
    }
}

impl Body for StreamBody {
    type Data = Bytes;
    type Error = h2::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, h2::Error>>> {
        if !self.data_done {
            if let Some(data) = ready!(self.stream.poll_data(cx)) {
                let data = data?;
                // Whoever asks takes it: more may come.
                self.stream.flow_control().release_capacity(data.len())?;
                return Poll::Ready(Some(Ok(Frame::data(data))));
            }
            self.data_done = true;
        }
        let trailers = ready!(self.stream.poll_trailers(cx))?;
        Poll::Ready(trailers.map(Frame::trailers).map(Ok))
    }

    fn is_end_stream(&self) -> bool {
        self.stream.is_end_stream()
    }
}
