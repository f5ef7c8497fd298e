//! The body of a request on its way to the service: filled by the exchange, read by the connection.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http::HeaderMap;
use http_body::{Body, Frame, SizeHint};
use tokio::sync::mpsc;
use tokio_util::sync::PollSender;

use super::replay::{Reader, Replay};
use crate::last_chunk::LastChunk;

/// Pieces that wait for the connection. What is further back stays in the window of the substream.
const WAITING: usize = 2;

/// The opener broke off: the service must not take the body for complete.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the visitor broke off")]
pub(crate) struct Cut;

/// What travels from the exchange to the connection.
#[derive(Debug)]
pub(super) enum Piece {
    Data(Bytes),
    Trailers(HeaderMap),
    End,
}

/// The body as the connection reads it.
#[derive(Debug)]
pub(crate) struct RequestBody {
    /// None if there is no body, or it has ended.
    pieces: Option<Pieces>,
    length: Option<u64>,
    /// Who writes what stands behind it, on a connection of HTTP/1.1.
    last_chunk: Option<LastChunk>,
    trailers: Option<HeaderMap>,
}

#[derive(Debug)]
enum Pieces {
    Once(mpsc::Receiver<Piece>),
    Again(Reader),
}

/// The exchange's end of a body. Dropping it before the end cuts the body.
#[derive(Debug)]
pub(crate) struct BodyFeed(PollSender<Piece>);

impl RequestBody {
    /// No body.
    pub(crate) const fn empty() -> Self {
        Self { pieces: None, length: None, last_chunk: None, trailers: None }
    }

    /// A body that is still to come; `length` is what the head says of it.
    pub(crate) fn streamed(length: Option<u64>) -> (BodyFeed, Self) {
        let (sender, receiver) = mpsc::channel(WAITING);
        (
            BodyFeed(PollSender::new(sender)),
            Self { pieces: Some(Pieces::Once(receiver)), length, ..Self::empty() },
        )
    }

    /// As [`Self::streamed`], and it may be sent again.
    pub(super) fn replayed(length: Option<u64>) -> (BodyFeed, Self, Replay) {
        let (sender, receiver) = mpsc::channel(WAITING);
        let (replay, reader) = Replay::new(receiver);
        (BodyFeed(PollSender::new(sender)), Self::again(reader, length), replay)
    }

    /// A body that is sent again.
    pub(super) const fn again(reader: Reader, length: Option<u64>) -> Self {
        Self { pieces: Some(Pieces::Again(reader)), length, last_chunk: None, trailers: None }
    }

    /// It is sent on a connection of HTTP/1.1, where `last` writes what stands behind it. hyper drops what was not announced.
    pub(crate) fn on_http1(&mut self, last: LastChunk) {
        self.last_chunk = Some(last);
    }
}

impl Body for RequestBody {
    type Data = Bytes;
    type Error = Cut;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Cut>>> {
        let this = &mut *self;
        let frame = loop {
            let Some(pieces) = &mut this.pieces else { return Poll::Ready(None) };
            let frame = match pieces {
                Pieces::Once(pieces) => match ready!(pieces.poll_recv(cx)) {
                    Some(Piece::Data(data)) => Some(Ok(Frame::data(data))),
                    Some(Piece::Trailers(trailers)) => Some(Ok(Frame::trailers(trailers))),
                    Some(Piece::End) => None,
                    None => Some(Err(Cut)),
                },
                Pieces::Again(reader) => ready!(reader.poll(cx)),
            };
            match frame {
                Some(Ok(frame)) if frame.is_trailers() && this.last_chunk.is_some() => {
                    // A body of a stated length has no room for them.
                    this.trailers = frame.into_trailers().ok().filter(|_| this.length.is_none());
                }
                frame => break frame,
            }
        };
        if let (None, Some(last), Some(trailers)) = (&frame, &this.last_chunk, &this.trailers) {
            last.set(trailers);
        }
        match &frame {
            Some(Ok(frame)) => {
                if let (Some(length), Some(data)) = (&mut this.length, frame.data_ref()) {
                    *length = length.saturating_sub(u64::try_from(data.len()).unwrap_or(u64::MAX));
                }
            }
            Some(Err(_)) | None => this.pieces = None,
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.pieces.is_none()
    }

    fn size_hint(&self) -> SizeHint {
        match (&self.pieces, self.length) {
            (None, _) => SizeHint::with_exact(0),
            (Some(_), Some(length)) => SizeHint::with_exact(length),
            (Some(_), None) => SizeHint::default(),
        }
    }
}

impl BodyFeed {
    /// Ready when the connection takes another piece; an error if it wants none any more.
    pub(crate) fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), NotWanted>> {
        self.0.poll_reserve(cx).map_err(|_| NotWanted)
    }

    /// To be called after [`Self::poll_ready`] was ready.
    pub(crate) fn data(&mut self, data: Bytes) -> Result<(), NotWanted> {
        self.send(Piece::Data(data))
    }

    /// As [`Self::data`].
    pub(crate) fn trailers(&mut self, trailers: HeaderMap) -> Result<(), NotWanted> {
        self.send(Piece::Trailers(trailers))
    }

    /// As [`Self::data`]; nothing may follow.
    pub(crate) fn end(&mut self) -> Result<(), NotWanted> {
        self.send(Piece::End)
    }

    fn send(&mut self, piece: Piece) -> Result<(), NotWanted> {
        self.0.send_item(piece).map_err(|_| NotWanted)
    }
}

/// The connection to the service reads no more of the body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct NotWanted;

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use http_body_util::BodyExt;

    use super::*;

    #[tokio::test]
    async fn only_a_body_that_was_ended_ends() {
        let (mut feed, mut body) = RequestBody::streamed(None);
        poll_fn(|cx| feed.poll_ready(cx)).await.unwrap();
        feed.data(Bytes::from_static(b"a")).unwrap();
        poll_fn(|cx| feed.poll_ready(cx)).await.unwrap();
        feed.end().unwrap();
        drop(feed);
        assert_eq!(body.frame().await.unwrap().unwrap().into_data().unwrap(), "a");
        assert!(body.frame().await.is_none() && body.is_end_stream());

        let (feed, mut body) = RequestBody::streamed(Some(3));
        drop(feed);
        assert_eq!(body.frame().await.unwrap().unwrap_err(), Cut);
    }

    async fn feed_data(feed: &mut BodyFeed, data: Bytes) {
        poll_fn(|cx| feed.poll_ready(cx)).await.unwrap();
        feed.data(data).unwrap();
    }

    async fn data(body: &mut RequestBody) -> Bytes {
        body.frame().await.unwrap().unwrap().into_data().unwrap()
    }

    #[tokio::test]
    async fn a_body_is_sent_again_from_its_start() {
        let (mut feed, mut first, replay) = RequestBody::replayed(None);
        feed_data(&mut feed, Bytes::from_static(b"a")).await;
        feed_data(&mut feed, Bytes::from_static(b"b")).await;
        assert_eq!(data(&mut first).await, "a");
        let mut second = RequestBody::again(replay.again().unwrap(), None);
        assert_eq!(data(&mut second).await, "a");
        // The one before gets nothing more, and its end is nobody's.
        assert_eq!(first.frame().await.unwrap().unwrap_err(), Cut);
        drop(first);
        assert_eq!(data(&mut second).await, "b");
        poll_fn(|cx| feed.poll_ready(cx)).await.unwrap();
        feed.end().unwrap();
        replay.settle();
        assert!(second.frame().await.is_none() && second.is_end_stream());
    }

    #[tokio::test]
    async fn a_body_of_which_much_was_sent_is_not_sent_again() {
        let (mut feed, mut body, replay) = RequestBody::replayed(None);
        for _ in 0..5 {
            feed_data(&mut feed, Bytes::from(vec![0; 16 * 1024])).await;
            data(&mut body).await;
        }
        assert!(replay.again().is_none());
    }

    #[tokio::test]
    async fn a_reader_that_is_gone_is_missed_once_it_is_decided() {
        let (mut feed, body, replay) = RequestBody::replayed(None);
        drop(body);
        poll_fn(|cx| feed.poll_ready(cx)).await.unwrap();
        replay.settle();
        assert!(
            feed.data(Bytes::from_static(b"a")).is_err() || poll_fn(|cx| feed.poll_ready(cx)).await.is_err()
        );
    }

    #[tokio::test]
    async fn a_reader_that_is_gone_is_noticed() {
        let (mut feed, body) = RequestBody::streamed(None);
        drop(body);
        assert_eq!(poll_fn(|cx| feed.poll_ready(cx)).await, Err(NotWanted));
    }
}
