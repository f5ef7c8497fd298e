//! A response that comes from a member, together with the rest of its request.

use std::fmt;
use std::future::poll_fn;
use std::sync::{Arc, Weak};
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use http::header::{HeaderValue, TE};
use http::request::Parts;
use http::{HeaderMap, Method, Response, StatusCode, Version};
use http_body::{Frame, SizeHint};
use ops::error_kind::ErrorKind;
use ops::spawn::Spawner;
use parking_lot::Mutex;
use protocol::exchange::{Message, ResponseHead};
use tokio::time::Instant;

use super::answer::{AnswerBody, Cut};
use super::outbox::{Frames, WAITING_MAX};
use super::sending::{BodyFailed, Sending};
use super::{Broken, Channel, Opened};
use crate::access::Record;
use crate::context::Timeouts;
use crate::error::kind_of;
use crate::headers::{content_length, restore_response, restore_trailers};
use crate::ingress::Visiting;
use transport::deadline::Deadline;

/// A body that is read from the substream when the visitor takes it. The rest of the request is sent at the same time, and
/// goes on while the visitor takes nothing.
pub(crate) struct OpenedBody {
    /// None once it is complete or cut.
    channel: Option<Channel>,
    upload: Option<Sending>,
    uploading: Uploading,
    record: Box<Record>,
    visiting: Option<Visiting>,
    /// What is left of the length that the head states.
    remaining: Option<u64>,
    /// Whether trailers can follow a body of a stated length: only in HTTP/2.
    multiplexed: bool,
    /// Whether the visitor takes them at all.
    takes_trailers: bool,
    /// What the head says of a body that does not follow: of a `HEAD` or a 304.
    stated: Option<u64>,
    /// The last piece, until it is known to be the last.
    held: Option<Bytes>,
    /// Held back like it: nobody asks for anything behind them.
    trailers: Option<HeaderMap>,
    /// Since when nothing has come.
    silent_since: Option<Instant>,
    timeouts: Timeouts,
    timer: Deadline,
}

/// Who sends the rest of the request.
enum Uploading {
    /// Whoever reads the response, by the way.
    Reader(Spawner),
    /// A task of its own, because the reader may be kept waiting by the visitor.
    Task { task: Option<Waker>, reader: Option<Waker> },
    /// The visitor has broken it off, which the reader is to say.
    Broken,
}

impl Opened {
    /// Status and fields of the response; none if it is no valid one.
    pub(crate) fn response(&self, method: &Method) -> Option<Response<()>> {
        let mut response = Response::new(());
        *response.status_mut() = StatusCode::from_u16(self.head.status).ok()?;
        *response.headers_mut() = restore_response(response.status(), &self.head.fields)?;
        let length = content_length(response.headers()).unwrap_or(0);
        let cut = self.head.bodyless && length > 0 && !has_no_body(method, response.status());
        (!cut).then_some(response)
    }

    /// The whole response for the visitor, whose head is `response`.
    pub(crate) fn into_body(
        self,
        response: Response<()>,
        request: &Parts,
        mut record: Box<Record>,
        visiting: Visiting,
        context: &crate::context::Context,
    ) -> Response<AnswerBody> {
        let Self { channel, head: ResponseHead { bodyless, .. }, upload, bytes, timer, .. } = self;
        let length = content_length(response.headers());
        let no_body = has_no_body(&request.method, response.status());
        let multiplexed = request.version == Version::HTTP_2;
        record.line.status = Some(response.status().as_u16());
        record.up(bytes);
        let mut body = OpenedBody {
            channel: Some(channel),
            upload,
            uploading: Uploading::Reader(context.spawner.clone()),
            record,
            visiting: Some(visiting),
            remaining: if no_body { None } else { length },
            multiplexed,
            takes_trailers: takes_trailers(request),
            // Where an end is a flag of the head, nothing has to follow.
            stated: if bodyless && !multiplexed { length.filter(|length| *length > 0) } else { None },
            held: None,
            trailers: None,
            silent_since: None,
            timeouts: context.timeouts(),
            timer,
        };
        // hyper drops what may not be there in HTTP/1.1 only.
        if bodyless || (multiplexed && no_body) {
            body.finish();
        }
        response.map(|()| AnswerBody::Opened(Arc::new(Mutex::new(body))))
    }
}

/// Whether a response has no body whatever its fields say (RFC 9112 section 6.3).
fn has_no_body(method: &Method, status: StatusCode) -> bool {
    *method == Method::HEAD || matches!(status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED)
}

/// Whether a visitor knows what to do with trailers: in HTTP/1.1 it says so (RFC 9110 section 10.1.4).
fn takes_trailers(request: &Parts) -> bool {
    let says = |value: &HeaderValue| {
        value
            .as_bytes()
            .split(|byte| *byte == b',')
            .any(|it| it.trim_ascii().eq_ignore_ascii_case(b"trailers"))
    };
    match request.version {
        Version::HTTP_2 => true,
        Version::HTTP_11 => request.headers.get_all(TE).iter().any(says),
        _ => false,
    }
}

impl OpenedBody {
    pub(super) fn poll_frame(
        this: &Arc<Mutex<Self>>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Cut>>> {
        let mut body = this.lock();
        let frame = body.poll_next(cx);
        let uploads = body.uploads();
        match &mut body.uploading {
            Uploading::Reader(spawner) if uploads && frame.is_ready() => {
                // Until the visitor has taken that, nobody may ask for more.
                let upload = upload(Arc::downgrade(this));
                spawner.spawn(spawner.here(), "upload", upload);
                body.uploading = Uploading::Task { task: None, reader: None };
            }
            Uploading::Task { reader, .. } if frame.is_pending() => *reader = Some(cx.waker().clone()),
            _ => {}
        }
        frame
    }

    fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Cut>>> {
        let broken = match &self.uploading {
            Uploading::Reader(_) => self.poll_upload(cx).is_err(),
            Uploading::Task { .. } => false,
            Uploading::Broken => true,
        };
        if broken && self.channel.is_some() {
            return Poll::Ready(Some(Err(self.cut(None))));
        }
        loop {
            let Some(channel) = &mut self.channel else {
                return Poll::Ready(self.trailers.take().map(Frame::trailers).map(Ok));
            };
            let Poll::Ready(message) = channel.poll_message(cx) else { return self.poll_silence(cx) };
            self.silent_since = None;
            match message {
                Ok(Message::Data(data)) => match self.take(data) {
                    Ok(Some(data)) => return Poll::Ready(Some(Ok(Frame::data(data)))),
                    Ok(None) => {}
                    Err(cut) => return Poll::Ready(Some(Err(cut))),
                },
                // With a stated length there is no room for them.
                Ok(Message::Trailers(_))
                    if !self.takes_trailers || (self.remaining.is_some() && !self.multiplexed) => {}
                Ok(Message::Trailers(fields)) => self.trailers = Some(restore_trailers(&fields)),
                Ok(Message::End) if self.remaining.is_none_or(|remaining| remaining == 0) => {
                    // Not by hyper, which drops what was not announced.
                    let trailing = |trailers: &mut HeaderMap| {
                        self.visiting.as_ref().is_some_and(|visiting| visiting.trail(trailers))
                    };
                    drop(self.trailers.take_if(trailing));
                    self.finish();
                    let last = self.held.take().map(Frame::data);
                    return Poll::Ready(last.or_else(|| self.trailers.take().map(Frame::trailers)).map(Ok));
                }
                Ok(Message::Stop { .. }) => {
                    if let Some(upload) = &mut self.upload {
                        upload.stop();
                    }
                    self.wake_upload();
                }
                Ok(Message::Reset { code, .. }) => {
                    return Poll::Ready(Some(Err(self.cut(Some(kind_of(code))))));
                }
                // An end before the stated length, or a message that the order does not let through.
                Ok(_) => return Poll::Ready(Some(Err(self.cut(Some(ErrorKind::ServiceCut))))),
                Err(broken) => {
                    let kind = match broken {
                        Broken::SessionLost => ErrorKind::SessionLost,
                        Broken::Ended | Broken::Reset => ErrorKind::ServiceCut,
                        Broken::Malformed(_) | Broken::Misplaced(_) => ErrorKind::Internal,
                    };
                    return Poll::Ready(Some(Err(self.cut(Some(kind)))));
                }
            }
        }
    }

    /// Counts a piece. The last one of a stated length is held back until the end has come, because nobody asks for more
    /// once that length is there, and an exchange whose end nobody reads looks broken off.
    fn take(&mut self, data: Bytes) -> Result<Option<Bytes>, Cut> {
        let length = u64::try_from(data.len()).unwrap_or(u64::MAX);
        let Some(remaining) = self.remaining else {
            self.record.down(length);
            return Ok(Some(data));
        };
        let Some(rest) = remaining.checked_sub(length).filter(|_| self.held.is_none()) else {
            return Err(self.cut(Some(ErrorKind::ServiceCut)));
        };
        self.record.down(length);
        self.remaining = Some(rest);
        if rest > 0 {
            return Ok(Some(data));
        }
        self.held = Some(data);
        Ok(None)
    }

    /// Whether there is something of the request to send.
    fn uploads(&self) -> bool {
        let rest = self.upload.as_ref().is_some_and(|upload| !upload.is_over());
        self.channel.as_ref().is_some_and(|channel| rest || channel.out.waiting() > 0)
    }

    /// The task that sends the request looks what is left to do.
    fn wake_upload(&mut self) {
        if let Uploading::Task { task, .. } = &mut self.uploading
            && let Some(task) = task.take()
        {
            task.wake();
        }
    }

    /// Ready when all of the request is sent, or nobody wants it.
    fn poll_task(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let sent = self.poll_upload(cx);
        let uploads = self.uploads();
        let Uploading::Task { task, reader } = &mut self.uploading else { return Poll::Ready(()) };
        if sent.is_err() {
            let reader = reader.take();
            self.uploading = Uploading::Broken;
            reader.into_iter().for_each(Waker::wake);
            return Poll::Ready(());
        }
        if !uploads {
            return Poll::Ready(());
        }
        *task = Some(cx.waker().clone());
        Poll::Pending
    }

    /// Sends what is ready of the request; an error if the visitor broke it off.
    fn poll_upload(&mut self, cx: &mut Context<'_>) -> Result<(), Cut> {
        let Some(channel) = &mut self.channel else { return Ok(()) };
        loop {
            let encoded = match &mut self.upload {
                Some(upload) => {
                    let encoded = upload.poll_encode(&mut channel.out, WAITING_MAX, cx);
                    self.record.up(upload.take_bytes());
                    encoded
                }
                None => Poll::Ready(Ok(())),
            };
            if let Poll::Ready(Err(failed)) = encoded {
                if !matches!(failed, BodyFailed::Cut(_)) {
                    self.record.failed(ErrorKind::BadRequest);
                }
                return Err(Cut);
            }
            let more = encoded.is_pending() && !channel.has_room();
            match channel.poll_flush(cx) {
                Poll::Ready(Ok(())) if more => {}
                Poll::Ready(Err(_)) => {
                    // Whoever reads the channel learns why.
                    self.upload = None;
                    channel.out.clear();
                    return Ok(());
                }
                _ => return Ok(()),
            }
        }
    }

    fn poll_silence(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Cut>>> {
        let since = *self.silent_since.get_or_insert_with(Instant::now);
        // The other end notices first, and says so.
        let limit = self.timeouts.silence.saturating_add(self.timeouts.open);
        match since.checked_add(limit).map(|due| self.timer.poll(due, cx)) {
            Some(Poll::Ready(())) => Poll::Ready(Some(Err(self.cut(Some(ErrorKind::ServiceTimeout))))),
            _ => Poll::Pending,
        }
    }

    /// All of the response is there.
    fn finish(&mut self) {
        let unread = self.upload.as_ref().is_some_and(|upload| !upload.is_ended());
        self.upload = None;
        self.wake_upload();
        if let Some(mut channel) = self.channel.take()
            && !unread
        {
            // What can not be written now is of no use to anybody.
            let _ = channel.poll_finish(&mut Context::from_waker(Waker::noop()));
        }
        if let Some(visiting) = self.visiting.take() {
            visiting.return_timer(std::mem::take(&mut self.timer));
            visiting.finish(unread);
        }
    }

    fn cut(&mut self, kind: Option<ErrorKind>) -> Cut {
        self.channel = None;
        self.wake_upload();
        self.held = None;
        self.trailers = None;
        if let Some(kind) = kind {
            self.record.failed(kind);
        }
        // The visitor's connection ends with a reset.
        self.visiting = None;
        Cut
    }

    pub(super) fn is_end_stream(&self) -> bool {
        self.channel.is_none() && self.held.is_none() && self.trailers.is_none() && self.stated.is_none()
    }

    pub(super) fn size_hint(&self) -> SizeHint {
        let held = self.held.as_ref().and_then(|held| u64::try_from(held.len()).ok());
        match (self.stated, self.remaining) {
            (Some(stated), _) => SizeHint::with_exact(stated),
            (None, Some(remaining)) => SizeHint::with_exact(remaining.saturating_add(held.unwrap_or(0))),
            (None, None) if self.channel.is_none() => SizeHint::with_exact(0),
            (None, None) => SizeHint::default(),
        }
    }
}

impl Drop for OpenedBody {
    fn drop(&mut self) {
        self.wake_upload();
    }
}

/// Sends the rest of the request.
async fn upload(body: Weak<Mutex<OpenedBody>>) {
    poll_fn(|cx| match body.upgrade() {
        Some(body) => body.lock().poll_task(cx),
        None => Poll::Ready(()),
    })
    .await;
}

impl fmt::Debug for OpenedBody {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OpenedBody").field("remaining", &self.remaining).finish_non_exhaustive()
    }
}
