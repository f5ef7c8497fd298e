//! The end of the visitor: sends a request to a member and waits for the head of its response.

use std::borrow::Cow;
use std::future::poll_fn;
use std::net::SocketAddr;
use std::sync::Arc;
use std::task::{Context as TaskContext, Poll};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::request::Parts;
use ops::error_kind::ErrorKind;
use policy::retry::Knowledge;
use protocol::codec::EncodeError;
use protocol::exchange::{RequestLine, ResponseHead, ResponseOrder, encode_end};
use protocol::limits::TCP_AHEAD_MAX;
use protocol::request::{Kind, Opening, TraceContext};

use super::outbox::{Frames, HEAD_ROOM, WAITING_MAX};
use super::sending::{BodyFailed, Sending};
use super::wait::Wait;
use super::{Channel, Order};
use crate::context::Timeouts;
use crate::directory::Target;
use crate::dispatch::kind_of_open;
use crate::error::{Failure, Fault};
use crate::grpc;
use crate::headers::{FacingVisitor, Facts, content_length};
use crate::incoming::IncomingBody;
use crate::ingress::Interim;
use crate::plugin::{Chain, Plugged, RequestHead};
use crate::treatment::Treatment;
use transport::deadline::Deadline;

/// A request on its way to a member, and what is needed to send it to another one.
pub(crate) struct Opener<'a> {
    pub(crate) facts: &'a Facts,
    pub(crate) parts: &'a Parts,
    pub(crate) visitor: SocketAddr,
    pub(crate) facing: &'a FacingVisitor,
    pub(crate) trace: TraceContext,
    pub(crate) timeouts: Timeouts,
    /// The plugins of its route, and what they have made of its head; none before there is a route, or without plugins.
    pub(crate) plugged: Option<Box<Plugged>>,
    /// What a rule wants done with it.
    pub(crate) treatment: Option<Arc<Treatment>>,
    /// What tells the time of the next attempt.
    pub(crate) timer: Deadline,
    /// Where interim responses go.
    pub(super) interim: Interim,
    /// None if there is no body.
    upload: Option<Sending>,
    /// The frames of the body so far, for another member; what is longer than this can not be sent again.
    ahead: BytesMut,
    /// Whether `ahead` is all of it.
    replayable: bool,
    bytes: u64,
}

/// A member that answers.
pub(crate) struct Opened {
    pub(crate) channel: Channel,
    pub(crate) head: ResponseHead,
    /// The rest of the request's body, if there is any.
    pub(crate) upload: Option<Sending>,
    /// Bytes of the body that were sent before the response came.
    pub(crate) bytes: u64,
    /// The visitor waits to be asked for its body, and was not.
    pub(crate) unasked: bool,
    pub(super) timer: Deadline,
}

/// Why a member gave no response.
#[derive(Debug)]
pub(crate) enum Unanswered {
    /// The attempt failed; another member may do better.
    Failed {
        /// What the visitor is told if there is none.
        failure: Failure,
        /// What is known of the attempt.
        known: Knowledge,
    },
    /// The visitor broke its request off: nobody is left to answer.
    VisitorGone,
    /// The visitor sent no more of its request.
    VisitorSilent,
}

impl Unanswered {
    pub(super) fn failed(kind: ErrorKind, known: Knowledge) -> Self {
        Self::Failed { failure: kind.into(), known }
    }
}

impl From<BodyFailed> for Unanswered {
    fn from(failed: BodyFailed) -> Self {
        match failed {
            BodyFailed::Cut(_) => Self::VisitorGone,
            BodyFailed::Silent => Self::VisitorSilent,
            BodyFailed::Malformed(_) => {
                Self::Failed { failure: Fault::Chunks.into(), known: Knowledge::Answered }
            }
            BodyFailed::Unfit => Self::Failed { failure: Fault::Fields.into(), known: Knowledge::Answered },
            BodyFailed::TooLong => Self::Failed { failure: Fault::Body.into(), known: Knowledge::Answered },
        }
    }
}

impl<'a> Opener<'a> {
    /// Prepares to send a request with `body`, if it has one.
    #[expect(clippy::too_many_arguments, reason = "all that is known of a request begins here")]
    pub(crate) fn new(
        facts: &'a Facts,
        parts: &'a Parts,
        body: Option<IncomingBody>,
        interim: Interim,
        visitor: SocketAddr,
        facing: &'a FacingVisitor,
        trace: TraceContext,
        timeouts: Timeouts,
    ) -> Self {
        // Whoever calls a method of gRPC may have nothing to say for long.
        let silence =
            if grpc::content_type(&parts.headers).is_some() { timeouts.silence } else { timeouts.stalled };
        let upload = body.map(|body| Sending::new(body, silence));
        let (ahead, replayable, bytes) = (BytesMut::new(), true, 0);
        let (plugged, treatment) = (None, None);
        Self {
            facts,
            parts,
            visitor,
            facing,
            trace,
            timeouts,
            plugged,
            treatment,
            timer: Deadline::default(),
            interim,
            upload,
            ahead,
            replayable,
            bytes,
        }
    }

    /// Takes the request to the plugins of its route.
    pub(crate) fn plug(&mut self, plugins: &Chain) -> &mut Plugged {
        let Self { facts, parts, visitor, facing, trace, .. } = self;
        let (method, host, path) = (parts.method.clone(), facts.host.clone(), facts.path.clone());
        let head = RequestHead::new(method, facing.came_by(), host, path, *visitor).with(
            facts.port(),
            facts.unlisted(&parts.headers),
            trace.trace_id,
        );
        self.plugged.insert(Box::new(plugins.begin(head)))
    }

    /// From the end of the request to the response head.
    pub(super) fn limit(&self) -> Duration {
        let of_rule = self.treatment.as_ref().and_then(|treatment| treatment.timeout);
        of_rule.unwrap_or(self.timeouts.request)
    }

    /// Its body may have `most` bytes.
    ///
    /// # Errors
    /// It says that it has more.
    pub(crate) fn limit_body(&mut self, most: u64) -> Result<(), Fault> {
        let Some(upload) = &mut self.upload else { return Ok(()) };
        upload.limit(most);
        if content_length(&self.parts.headers).is_some_and(|length| length > most) {
            return Err(Fault::Body);
        }
        Ok(())
    }

    /// Whether the request can be sent again.
    pub(crate) const fn is_replayable(&self) -> bool {
        self.replayable
    }

    /// Whether the visitor may still be sending what nobody has read.
    pub(crate) fn is_unread(&self) -> bool {
        self.upload.as_ref().is_some_and(|upload| !upload.is_ended())
    }

    /// Nobody reads the rest of the body.
    pub(super) fn stop_upload(&mut self) {
        if let Some(upload) = &mut self.upload {
            upload.stop();
        }
    }

    /// Whether the body is still on its way.
    pub(super) fn is_uploading(&self) -> bool {
        self.upload.as_ref().is_some_and(|upload| !upload.is_over())
    }

    /// Takes what is ready of the body, so that a small request leaves in one write.
    pub(crate) async fn take_ready(&mut self) -> Result<(), Unanswered> {
        if self.facts.expect_continue {
            return Ok(());
        }
        let Some(upload) = &mut self.upload else { return Ok(()) };
        let mut asked = false;
        poll_fn(|cx| match upload.poll_encode(&mut self.ahead, TCP_AHEAD_MAX, cx) {
            // Asking makes the connection read what lies in its buffer; it is polled together with this.
            Poll::Pending if !std::mem::replace(&mut asked, true) => {
                cx.waker().wake_by_ref();
                Poll::Pending
            }
            Poll::Pending => Poll::Ready(Ok(())),
            Poll::Ready(taken) => Poll::Ready(taken),
        })
        .await?;
        self.bytes = self.bytes.saturating_add(upload.take_bytes());
        Ok(())
    }

    /// Sends the request to `target` and waits for the head of the response, at most as long as the time-outs say.
    ///
    /// Dropping it resets the substream.
    pub(crate) async fn send(&mut self, target: &Target) -> Result<Opened, Unanswered> {
        let mut first = BytesMut::with_capacity(HEAD_ROOM.saturating_add(self.ahead.len()));
        self.encode(target, &mut first).map_err(|error| Unanswered::Failed {
            failure: unfit(error).into(),
            known: Knowledge::Answered,
        })?;
        let substream = target
            .open(first.freeze())
            .map_err(|error| Unanswered::failed(kind_of_open(error), Knowledge::NotConnected))?;
        let order = Order::Response(ResponseOrder::new(self.facts.upgrade.is_some()));
        let mut channel = Channel::new(substream, Bytes::new(), order);
        if self.is_bodyless() {
            // Its end goes with the rest: no message of its own.
            channel.end();
        }
        let timer = std::mem::take(&mut self.timer);
        let mut wait = Wait::new(channel, !self.facts.expect_continue, timer);
        let head = poll_fn(|cx| wait.poll(self, cx)).await?;
        let Wait { mut channel, timer, .. } = wait;
        if self.facts.upgrade.is_some() && head.status != 101 && encode_end(channel.out.buffer()).is_err() {
            return Err(Unanswered::failed(ErrorKind::Internal, Knowledge::Answered));
        }
        if !wait.may_upload {
            // The answer came without the body being asked for.
            self.stop_upload();
        }
        let unasked = !wait.may_upload;
        Ok(Opened { channel, head, upload: self.upload.take(), bytes: self.bytes, unasked, timer })
    }

    const fn is_bodyless(&self) -> bool {
        self.upload.is_none() && self.facts.upgrade.is_none()
    }

    /// Everything that leaves at once.
    fn encode(&self, target: &Target, out: &mut BytesMut) -> Result<(), EncodeError> {
        Opening {
            kind: Kind::Exchange,
            name: &target.service,
            visitor: Some(self.visitor),
            ingress: 0,
            trace: Some(self.trace),
        }
        .encode(out)?;
        let bodyless = self.is_bodyless();
        let (path, headers) = match &self.plugged {
            Some(plugged) => (&plugged.request.path, &plugged.request.headers),
            None => (&self.facts.path, &self.parts.headers),
        };
        let treatment = self.treatment.as_deref();
        let authority = treatment.and_then(|treatment| treatment.set_host.as_ref());
        let path = path.as_str();
        let path = treatment.map_or(Cow::Borrowed(path), |treatment| treatment.path(path));
        let set = treatment.map_or(&[][..], |treatment| &treatment.set_headers);
        let line = RequestLine {
            method: self.parts.method.as_str().as_bytes(),
            scheme: self.facing.scheme,
            authority: authority.unwrap_or(&self.facts.authority).as_bytes(),
            path: path.as_bytes(),
            protocol: self.facts.upgrade.as_ref().map(|protocol| protocol.as_bytes()),
            expect_continue: self.facts.expect_continue,
            bodyless,
        };
        line.encode_with(self.facts.forward(headers, self.plugged.is_some(), self.facing, set), out)?;
        if bodyless {
            encode_end(out)?;
        }
        out.extend_from_slice(&self.ahead);
        Ok(())
    }

    /// Sends what is ready of the body, and keeps it while all of it can be kept. Until the request is `accepted`, no more
    /// is sent than can be kept.
    pub(super) fn poll_upload(
        &mut self,
        channel: &mut Channel,
        accepted: bool,
        cx: &mut TaskContext<'_>,
    ) -> Result<(), BodyFailed> {
        loop {
            let encoded = self.poll_encode(channel, accepted, cx);
            if let Poll::Ready(Err(failed)) = encoded {
                return Err(failed);
            }
            let more = encoded.is_pending() && !channel.has_room();
            match channel.poll_flush(cx) {
                Poll::Ready(Ok(())) if more => {}
                Poll::Ready(Err(_)) => {
                    // Whoever reads the channel learns why.
                    self.stop_upload();
                    channel.out.clear();
                    return Ok(());
                }
                _ => return Ok(()),
            }
        }
    }

    fn poll_encode(
        &mut self,
        channel: &mut Channel,
        accepted: bool,
        cx: &mut TaskContext<'_>,
    ) -> Poll<Result<(), BodyFailed>> {
        let Some(upload) = &mut self.upload else { return Poll::Ready(Ok(())) };
        if self.replayable {
            if !channel.has_room() {
                return Poll::Pending;
            }
            let before = self.ahead.len();
            let encoded = upload.poll_encode(&mut self.ahead, TCP_AHEAD_MAX, cx);
            channel.out.buffer().extend_from_slice(self.ahead.get(before..).unwrap_or_default());
            self.bytes = self.bytes.saturating_add(upload.take_bytes());
            let full = self.ahead.len() >= TCP_AHEAD_MAX;
            if encoded.is_ready() || !full || !accepted {
                return encoded;
            }
            // Too much to be sent again.
            (self.ahead, self.replayable) = (BytesMut::new(), false);
        }
        let encoded = upload.poll_encode(&mut channel.out, WAITING_MAX, cx);
        self.bytes = self.bytes.saturating_add(upload.take_bytes());
        encoded
    }
}

/// A visitor's request that is above the limits of the wire.
fn unfit(error: EncodeError) -> Fault {
    match error {
        EncodeError::TooLong { field: "path", .. } => Fault::Target,
        EncodeError::BadValue { field: "authority" } | EncodeError::TooLong { field: "authority", .. } => {
            Fault::Host
        }
        _ => Fault::Fields,
    }
}
