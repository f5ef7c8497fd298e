//! A body on its way to the other end: from HTTP to frames.

use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http_body::Body;
use protocol::exchange::{encode_end, encode_trailers};
use tokio::time::Instant;

use super::outbox::Frames;
use crate::headers::forward_trailers;
use crate::incoming::{IncomingBody, IncomingError};
use transport::deadline::Deadline;

/// Why a body did not come to its end.
#[derive(Debug, thiserror::Error)]
pub(crate) enum BodyFailed {
    /// Its sender broke off.
    #[error("the body was cut: {0}")]
    Cut(IncomingError),
    /// Its sender broke the framing.
    #[error("the body is malformed: {0}")]
    Malformed(IncomingError),
    /// Its sender sent nothing for too long.
    #[error("the body did not go on")]
    Silent,
    /// It holds what the wire can not carry.
    #[error("the trailers can not be passed on")]
    Unfit,
    /// It is longer than it may be.
    #[error("the body is longer than it may be")]
    TooLong,
}

impl From<IncomingError> for BodyFailed {
    fn from(error: IncomingError) -> Self {
        if error.is_malformed() { Self::Malformed(error) } else { Self::Cut(error) }
    }
}

/// A body that is sent frame by frame.
#[derive(Debug)]
pub(crate) struct Sending {
    /// None once it has ended, or nobody wants the rest.
    body: Option<IncomingBody>,
    /// Whether `end` was encoded.
    ended: bool,
    bytes: u64,
    /// How much more may come.
    room: u64,
    silence: Duration,
    moved: Option<Instant>,
    deadline: Deadline,
}

impl Sending {
    /// Sends `body`, which may be silent for `silence`.
    pub(crate) fn new(body: IncomingBody, silence: Duration) -> Self {
        let (body, deadline) = (Some(body), Deadline::default());
        Self { body, ended: false, bytes: 0, room: u64::MAX, silence, moved: None, deadline }
    }

    /// No more than `most` bytes may come from now on.
    pub(crate) const fn limit(&mut self, most: u64) {
        self.room = most;
    }

    /// Encodes what is ready while `out` is below `limit`. Ready when there is nothing more to do; pending when the body
    /// has nothing ready, or `out` is full.
    ///
    /// # Errors
    /// The body failed; `end` was not encoded.
    pub(crate) fn poll_encode(
        &mut self,
        out: &mut impl Frames,
        limit: usize,
        cx: &mut Context<'_>,
    ) -> Poll<Result<(), BodyFailed>> {
        while let Some(body) = &mut self.body {
            if out.waiting() >= limit {
                // Whoever empties `out` asks again.
                self.moved = None;
                return Poll::Pending;
            }
            let Poll::Ready(frame) = Pin::new(&mut *body).poll_frame(cx) else {
                return self.poll_silence(cx);
            };
            self.moved = None;
            match frame.transpose()? {
                Some(frame) => match frame.into_data() {
                    Ok(data) => self.encode(data, out)?,
                    Err(frame) => {
                        if let Ok(trailers) = frame.into_trailers() {
                            let mut fields = forward_trailers(&trailers).peekable();
                            if fields.peek().is_some() {
                                encode_trailers(fields, out.buffer()).map_err(|_| BodyFailed::Unfit)?;
                            }
                        }
                    }
                },
                None => {
                    self.body = None;
                    self.ended = true;
                    encode_end(out.buffer()).map_err(|_| BodyFailed::Unfit)?;
                }
            }
        }
        Poll::Ready(Ok(()))
    }

    fn encode(&mut self, data: Bytes, out: &mut impl Frames) -> Result<(), BodyFailed> {
        let length = u64::try_from(data.len()).unwrap_or(0);
        self.room = self.room.checked_sub(length).ok_or(BodyFailed::TooLong)?;
        self.bytes = self.bytes.saturating_add(length);
        out.data(data).map_err(|_| BodyFailed::Unfit)
    }

    fn poll_silence(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), BodyFailed>> {
        let since = *self.moved.get_or_insert_with(Instant::now);
        let Some(due) = since.checked_add(self.silence) else { return Poll::Pending };
        ready!(self.deadline.poll(due, cx));
        Poll::Ready(Err(BodyFailed::Silent))
    }

    /// The other end reads no more.
    pub(crate) fn stop(&mut self) {
        self.body = None;
    }

    /// Whether the whole body was encoded, with its end.
    pub(crate) const fn is_ended(&self) -> bool {
        self.ended
    }

    /// Whether there is nothing more to encode.
    pub(crate) const fn is_over(&self) -> bool {
        self.body.is_none()
    }

    /// Bytes encoded since the last call.
    pub(crate) const fn take_bytes(&mut self) -> u64 {
        std::mem::replace(&mut self.bytes, 0)
    }
}
