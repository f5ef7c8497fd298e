//! A body on its way into a stream of HTTP/2.

use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use h2::{Reason, SendStream};
use http_body::Body;
use tokio::time::Instant;
use transport::deadline::Deadline;

/// Why a body was not sent to its end. The stream is reset then.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Stopped {
    /// The other end wants no more of it, or has gone.
    #[error("the stream was reset")]
    Reset,
    /// The body itself was cut.
    #[error("the body was cut")]
    Cut,
    /// The other end has made no room for too long.
    #[error("the other end reads nothing")]
    Stalled,
}

/// Sends a body piece by piece, as far as the windows allow: what is not sent is not asked for.
pub(crate) struct Outgoing<B> {
    body: B,
    stream: SendStream<Bytes>,
    /// What there is no room for yet, and whether it is the last.
    piece: Option<(Bytes, bool)>,
    /// Since when there is no room, and how long that may last.
    blocked: Option<Instant>,
    limit: Option<Duration>,
    deadline: Deadline,
    /// What the stream is reset with when the body is cut.
    cut: Reason,
}

impl<B: Body<Data = Bytes> + Unpin> Outgoing<B> {
    /// Sends `body` on `stream`, which is reset with `cut` if the body is.
    pub(crate) fn new(body: B, stream: SendStream<Bytes>, cut: Reason) -> Self {
        let deadline = Deadline::default();
        Self { body, stream, piece: None, blocked: None, limit: None, deadline, cut }
    }

    /// The other end has to make room within `limit`.
    pub(crate) const fn within(mut self, limit: Duration) -> Self {
        self.limit = Some(limit);
        self
    }

    /// Sends what can be sent; ready when that is all of it.
    pub(crate) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Stopped>> {
        let stopped = match ready!(self.poll_send(cx)) {
            Ok(()) => return Poll::Ready(Ok(())),
            Err(stopped) => stopped,
        };
        match stopped {
            Stopped::Reset => {}
            Stopped::Cut => self.stream.send_reset(self.cut),
            Stopped::Stalled => self.stream.send_reset(Reason::CANCEL),
        }
        Poll::Ready(Err(stopped))
    }

    fn poll_send(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Stopped>> {
        loop {
            if self.stream.poll_reset(cx).is_ready() {
                return Poll::Ready(Err(Stopped::Reset));
            }
            if let Some((data, last)) = self.piece.take() {
                if let Some(ended) = ready!(self.poll_piece(data, last, cx)?) {
                    return Poll::Ready(Ok(ended));
                }
                continue;
            }
            let sent = match ready!(Pin::new(&mut self.body).poll_frame(cx)) {
                Some(Ok(frame)) => match frame.into_data() {
                    Ok(data) if data.is_empty() && !self.body.is_end_stream() => continue,
                    Ok(data) => {
                        // Not before there is something to send: what is reserved is taken from the other streams.
                        self.stream.reserve_capacity(data.len());
                        self.piece = Some((data, self.body.is_end_stream()));
                        continue;
                    }
                    Err(frame) => match frame.into_trailers() {
                        Ok(trailers) => self.stream.send_trailers(trailers),
                        Err(_) => continue,
                    },
                },
                Some(Err(_)) => return Poll::Ready(Err(Stopped::Cut)),
                None => self.stream.send_data(Bytes::new(), true),
            };
            return Poll::Ready(sent.map_err(|_| Stopped::Reset));
        }
    }

    /// Sends as much of a piece as there is room for. Ready with something once the body is over.
    fn poll_piece(
        &mut self,
        mut data: Bytes,
        last: bool,
        cx: &mut Context<'_>,
    ) -> Result<Poll<Option<()>>, Stopped> {
        let mut room = self.stream.capacity();
        while room == 0 && !data.is_empty() {
            match self.stream.poll_capacity(cx) {
                Poll::Ready(Some(Ok(more))) => room = more,
                Poll::Ready(_) => return Err(Stopped::Reset),
                Poll::Pending => {
                    self.piece = Some((data, last));
                    let since = *self.blocked.get_or_insert_with(Instant::now);
                    let due = self.limit.and_then(|limit| since.checked_add(limit));
                    return match due.map(|due| self.deadline.poll(due, cx)) {
                        Some(Poll::Ready(())) => Err(Stopped::Stalled),
                        _ => Ok(Poll::Pending),
                    };
                }
            }
        }
        self.blocked = None;
        let now = data.split_to(room.min(data.len()));
        let ends = last && data.is_empty();
        self.stream.send_data(now, ends).map_err(|_| Stopped::Reset)?;
        if !data.is_empty() {
            self.stream.reserve_capacity(data.len());
            self.piece = Some((data, last));
        }
        Ok(Poll::Ready(ends.then_some(())))
    }
}
