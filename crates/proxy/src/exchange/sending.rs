//! A body on its way to the other end: from hyper to frames.

use std::error::Error as _;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http_body::Body;
use hyper::body::Incoming;
use protocol::exchange::{encode_end, encode_trailers};
use tokio::time::Instant;

use super::outbox::Frames;
use crate::headers::forward_trailers;
use transport::deadline::Deadline;

/// Why a body did not come to its end.
#[derive(Debug, thiserror::Error)]
pub(crate) enum BodyFailed {
    /// Its sender broke off.
    #[error("the body was cut: {0}")]
    Cut(hyper::Error),
    /// Its stream of HTTP/2 ended in another way than with the end of the body.
    #[error("the body was not ended")]
    Unended,
    /// Its sender broke the framing.
    #[error("the body is malformed: {0}")]
    Malformed(hyper::Error),
    /// Its sender sent nothing for too long.
    #[error("the body did not go on")]
    Silent,
    /// It holds what the wire can not carry.
    #[error("the trailers can not be passed on")]
    Unfit,
}

impl From<hyper::Error> for BodyFailed {
    fn from(error: hyper::Error) -> Self {
        let cause = error.source().and_then(|source| source.downcast_ref::<io::Error>());
        match cause.map(io::Error::kind) {
            Some(io::ErrorKind::InvalidData | io::ErrorKind::InvalidInput) => Self::Malformed(error),
            _ => Self::Cut(error),
        }
    }
}

/// What a body of HTTP/2 has to be measured by: a stream that is reset with NO_ERROR looks to hyper's readers like one that
/// has ended. That is how a service says that it wants no more of the request, after its whole response (RFC 9113 section
/// 8.1), and also how one can break off.
#[derive(Debug, Clone, Copy)]
struct Streamed {
    declared: Option<u64>,
    bytes: u64,
}

/// A body that is sent frame by frame.
#[derive(Debug)]
pub(crate) struct Sending {
    /// None once it has ended, or nobody wants the rest.
    body: Option<Incoming>,
    /// Whether `end` was encoded.
    ended: bool,
    bytes: u64,
    /// For a body of HTTP/2.
    streamed: Option<Streamed>,
    silence: Duration,
    moved: Option<Instant>,
    deadline: Deadline,
}

impl Sending {
    /// Sends `body`, which may be silent for `silence`.
    pub(crate) fn new(body: Incoming, silence: Duration) -> Self {
        Self {
            body: Some(body),
            ended: false,
            bytes: 0,
            streamed: None,
            silence,
            moved: None,
            deadline: Deadline::default(),
        }
    }

    /// The body is one of HTTP/2, and of the length `declared`, if its head says one.
    pub(crate) const fn streamed(mut self, declared: Option<u64>) -> Self {
        self.streamed = Some(Streamed { declared, bytes: 0 });
        self
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
                    let whole = |streamed: &Streamed| streamed.declared == Some(streamed.bytes);
                    let ended = body.is_end_stream() || self.streamed.as_ref().is_none_or(whole);
                    self.body = None;
                    if !ended {
                        return Poll::Ready(Err(BodyFailed::Unended));
                    }
                    self.ended = true;
                    encode_end(out.buffer()).map_err(|_| BodyFailed::Unfit)?;
                }
            }
        }
        Poll::Ready(Ok(()))
    }

    fn encode(&mut self, data: Bytes, out: &mut impl Frames) -> Result<(), BodyFailed> {
        let length = u64::try_from(data.len()).unwrap_or(0);
        self.bytes = self.bytes.saturating_add(length);
        if let Some(streamed) = &mut self.streamed {
            streamed.bytes = streamed.bytes.saturating_add(length);
        }
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
