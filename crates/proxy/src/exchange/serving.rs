//! One exchange at the end of the service, from the request head to the last byte of the response.

use std::net::SocketAddr;
use std::task::{Context as TaskContext, Poll, ready};
use std::time::Duration;

use bytes::BytesMut;
use http::{Response, StatusCode};
use http_body::Body;
use policy::retry::is_idempotent;
use protocol::code::Code;
use protocol::codec::EncodeError;
use protocol::exchange::{RequestHead, ResponseLine};
use tokio::time::Instant;

use super::attempt::Attempt;
use super::inbound::{Inbound, Over};
use super::outbox::{COPIED_BELOW, Frames, HEAD_ROOM, WAITING_MAX};
use super::plugged::{Answered, Passing, pass};
use super::replay::Replay;
use super::sending::{BodyFailed, Sending};
use super::waiting::Waiting;
use super::wire_request::{has_body, request};
use super::{Channel, RequestBody};
use crate::access::Record;
use crate::context::Timeouts;
use crate::headers::{Listed, content_length, forward_response, is_plainly_framed};
use crate::incoming::IncomingBody;
use crate::plugin::Plugged;
use crate::service::{Carried, Progress, Service, TRIES_MAX, Tried, Unanswered};
use transport::deadline::Deadline;

/// How long the news that a request was accepted waits for its answer. A part of what an opener waits for it (`spec/06`), and
/// no less than the driver of a session sleeps: to be woken before that, a runtime has to tell itself by a system call.
const HOLD: Duration = Duration::from_secs(1);

/// How the exchange goes on.
pub(super) enum Outcome<'a> {
    /// The response is complete and written.
    Answered,
    /// The service switched protocols; nothing was said about it yet.
    Switched(Box<Response<IncomingBody>>, Box<Attempt<'a>>),
    /// No complete response.
    Failed(Code, &'static str),
    /// The opener broke off.
    Gone,
}

/// An exchange in progress. Dropping it breaks it off towards both sides.
pub(super) struct Serving<'a> {
    pub(super) channel: Channel,
    pub(super) record: Box<Record>,
    pub(super) inbound: Inbound,
    /// The plugins of the service, until the head of the response has come; none without them.
    pub(super) plugged: Option<Box<Plugged>>,
    stage: Stage<'a>,
    head: RequestHead,
    service: &'a Service,
    visitor: Option<SocketAddr>,
    timeouts: &'a Timeouts,
    /// The servers that were tried.
    tried: Tried,
    /// The body, while it may have to be sent again; none if there is none, or one server alone.
    replay: Option<Replay>,
    /// Whether an idempotent request may be sent again though the service may have seen it.
    retry: bool,
    /// Whether a server may have seen it in an attempt before.
    seen: bool,
    /// Until when what there is to say waits for the answer; none once it has waited.
    hold: Option<Instant>,
    timer: Deadline,
}

enum Stage<'a> {
    /// Nothing has come from the service.
    Waiting(Waiting<'a>),
    /// The head goes through the plugins of the service.
    Passing(Attempt<'a>, Passing),
    /// The head has been passed on.
    Answering(Attempt<'a>, Sending),
    /// The end has been encoded.
    Answered,
}

impl<'a> Serving<'a> {
    /// Sends the request on its way.
    ///
    /// # Errors
    /// The head is not valid HTTP: what was given for the answer is given back.
    pub(super) fn start(
        channel: Channel,
        record: Box<Record>,
        head: RequestHead,
        service: &'a Service,
        visitor: Option<SocketAddr>,
        timeouts: &'a Timeouts,
    ) -> Result<Self, Box<(Channel, Box<Record>)>> {
        let tried = Tried::default();
        let (Ok(request), Some(server)) =
            (request(&head, service.set_host()), service.servers().choose(visitor, &tried))
        else {
            return Err(Box::new((channel, record)));
        };
        let length = content_length(request.headers());
        let (feed, body, replay) = if !has_body(&head) {
            (None, RequestBody::empty(), None)
        } else if service.servers().is_single() && server.0.is_http1() {
            let (feed, body) = RequestBody::streamed(length);
            (Some(feed), body, None)
        } else {
            let (feed, body, replay) = RequestBody::replayed(length);
            (Some(feed), body, Some(replay))
        };
        let attempt = |request, interims: &_| Attempt::send(server, visitor, request, interims);
        let mut waiting = Waiting::start(request.map(|()| body), head.expect_continue, attempt);
        let timer = waiting.attempt.borrow_timer();
        Ok(Self {
            channel,
            record,
            inbound: Inbound::new(feed),
            plugged: None,
            stage: Stage::Waiting(waiting),
            retry: head.bodyless && is_idempotent(&head.method),
            seen: false,
            head,
            service,
            visitor,
            timeouts,
            tried,
            replay,
            hold: Instant::now().checked_add(HOLD.min(timeouts.open / 4)),
            timer,
        })
    }

    /// Lets go of the service: what is not complete is broken off.
    pub(super) fn end(self) -> (Channel, Box<Record>) {
        (self.channel, self.record)
    }

    /// Drives both directions.
    pub(super) fn poll(&mut self, cx: &mut TaskContext<'_>) -> Poll<Outcome<'a>> {
        loop {
            let timeouts = self.timeouts;
            // A service that has begun to answer may take its time with the rest.
            let answering = !matches!(self.stage, Stage::Waiting(_));
            let stalled = if answering { timeouts.silence } else { timeouts.stalled };
            let over = self.inbound.poll(&mut self.channel, stalled, cx);
            self.record.up(self.inbound.take_bytes());
            match over {
                Poll::Ready(Over::Gone) => return Poll::Ready(Outcome::Gone),
                Poll::Ready(Over::Unread) => {
                    return Poll::Ready(Outcome::Failed(
                        Code::SERVICE_TIMEOUT,
                        "the service does not read the request",
                    ));
                }
                Poll::Pending => {}
            }
            // The head waits for the first bytes of the body, so that a small response is one write.
            let answer = loop {
                match self.poll_answer(cx) {
                    Poll::Ready(Err(outcome)) => return Poll::Ready(outcome),
                    Poll::Ready(Ok(())) if !matches!(self.stage, Stage::Answered) => {}
                    answer => break answer,
                }
            };
            let held = self.holds();
            if answer.is_pending() && self.poll_hold(cx).is_pending() {
                return Poll::Pending;
            }
            let full = !self.channel.has_room();
            if ready!(self.channel.poll_flush(cx)).is_err() {
                return Poll::Ready(Outcome::Gone);
            }
            if matches!(self.stage, Stage::Answered) {
                return Poll::Ready(Outcome::Answered);
            }
            // What waits for an answer has waited with something else until now.
            if answer.is_pending() && !full && !held {
                return Poll::Pending;
            }
        }
    }

    /// Ready when it got on; an error is the end.
    fn poll_answer(&mut self, cx: &mut TaskContext<'_>) -> Poll<Result<(), Outcome<'a>>> {
        match &mut self.stage {
            Stage::Waiting(waiting) => {
                let response = waiting.attempt.poll(cx);
                // Behind it: those that came together with the response are there by now.
                let before = self.channel.out.waiting();
                let interims = waiting.poll_interims(self.channel.out.buffer(), &mut self.timer, cx);
                if let Err(error) = interims {
                    return Poll::Ready(Err(unfit(error)));
                }
                if self.channel.out.waiting() > before {
                    // An interim response is of use only while the other one is not there.
                    self.hold = None;
                }
                self.retry &= !waiting.answers();
                match response {
                    Poll::Ready(Ok(response)) => Poll::Ready(self.answer(response)),
                    Poll::Ready(Err(unanswered)) => Poll::Ready(self.retry(unanswered)),
                    Poll::Pending => self.poll_late(cx),
                }
            }
            Stage::Passing(attempt, passing) => {
                // The rest of the request goes on meanwhile.
                attempt.drive(cx);
                let passed = ready!(passing.as_mut().poll(cx));
                let stage = std::mem::replace(&mut self.stage, Stage::Answered);
                let Stage::Passing(attempt, _) = stage else { return Poll::Ready(Ok(())) };
                Poll::Ready(match passed {
                    Ok(response) => self.pass_on(attempt, response),
                    Err(answered) => self.answer_instead(answered),
                })
            }
            Stage::Answering(attempt, sending) => {
                // A body of HTTP/2 is sent by the way.
                attempt.drive(cx);
                let mut encoded = sending.poll_encode(&mut self.channel.out, WAITING_MAX, cx);
                while encoded.is_pending() && self.channel.out.waiting() < WAITING_MAX {
                    let before = self.channel.out.waiting();
                    attempt.drive(cx);
                    encoded = sending.poll_encode(&mut self.channel.out, WAITING_MAX, cx);
                    if self.channel.out.waiting() == before {
                        break;
                    }
                }
                self.record.down(sending.take_bytes());
                let end = match ready!(encoded) {
                    Ok(()) => Ok(()),
                    Err(BodyFailed::Cut(_) | BodyFailed::Malformed(_)) => {
                        Err((Code::SERVICE_CUT, "the service broke its response off"))
                    }
                    Err(BodyFailed::Silent) => Err((Code::IDLE_TIMEOUT, "the response did not go on")),
                    Err(BodyFailed::Unfit | BodyFailed::TooLong) => {
                        Err((Code::SERVICE_CUT, "the response can not be passed on"))
                    }
                };
                if let Err((code, text)) = end {
                    return Poll::Ready(Err(Outcome::Failed(code, text)));
                }
                let stage = std::mem::replace(&mut self.stage, Stage::Answered);
                if let (Stage::Answering(attempt, _), Some(_)) = (stage, self.inbound.complete()) {
                    attempt.finish(std::mem::take(&mut self.timer));
                }
                Poll::Ready(Ok(()))
            }
            Stage::Answered => Poll::Pending,
        }
    }

    /// The head has come.
    fn answer(&mut self, response: Response<IncomingBody>) -> Result<(), Outcome<'a>> {
        let Stage::Waiting(waiting) = std::mem::replace(&mut self.stage, Stage::Answered) else {
            return Ok(());
        };
        self.service.servers().connected(waiting.attempt.server().0);
        if let Some(replay) = self.replay.take() {
            replay.settle();
        }
        match self.plugged.take() {
            None => self.pass_on(waiting.attempt, response),
            Some(plugged) => {
                self.stage = Stage::Passing(waiting.attempt, pass(plugged, response));
                Ok(())
            }
        }
    }

    /// A plugin fails the response of the service: what the opener gets instead is complete.
    fn answer_instead(&mut self, answered: Answered) -> Result<(), Outcome<'a>> {
        self.record.answered(answered.status(), answered.kind);
        answered.encode(&self.head, false, &mut self.channel.out).map_err(unfit)
    }

    /// The head goes to the opener.
    fn pass_on(&mut self, attempt: Attempt<'a>, response: Response<IncomingBody>) -> Result<(), Outcome<'a>> {
        self.record.line.status = Some(response.status().as_u16());
        if response.status() == StatusCode::SWITCHING_PROTOCOLS {
            return Err(if self.head.protocol.is_some() {
                Outcome::Switched(Box::new(response), Box::new(attempt))
            } else {
                Outcome::Failed(Code::SERVICE_CUT, "the service switched protocols without being asked")
            });
        }
        if !is_plainly_framed(response.headers()) {
            let text = "the transfer coding of the response is not chunked";
            return Err(Outcome::Failed(Code::SERVICE_CUT, text));
        }
        // Head, small body and end are written together: they get their room at once.
        let body = response.body().size_hint().exact().and_then(|length| usize::try_from(length).ok());
        let room = HEAD_ROOM.saturating_add(body.filter(|length| *length < COPIED_BELOW).unwrap_or(0));
        self.channel.out.buffer().reserve(room);
        encode_head(&response, self.channel.out.buffer()).map_err(unfit)?;
        let sending = Sending::new(response.into_body(), self.timeouts.silence);
        self.stage = Stage::Answering(attempt, sending);
        Ok(())
    }

    /// No head came. Another server is tried if this one could not be connected to, or has not looked at the request. A
    /// connection that the service closed before it said anything gets a second chance if that does no harm: it may have
    /// been an idle one.
    fn retry(&mut self, unanswered: Unanswered) -> Result<(), Outcome<'a>> {
        let Stage::Waiting(waiting) = &self.stage else { return Ok(()) };
        let (servers, server) = (self.service.servers(), waiting.attempt.server().0);
        let unanswered = if self.seen { unanswered.after_another() } else { unanswered };
        let failed = Err(Outcome::Failed(unanswered.code, unanswered.text));
        match unanswered.progress {
            Progress::NotConnected => {
                servers.connect_failed(server);
                self.tried.push(server);
            }
            Progress::NotProcessed => self.tried.push(server),
            Progress::Closed if std::mem::take(&mut self.retry) => self.seen = true,
            Progress::Closed | Progress::Unknown => return failed,
        }
        if self.tried.count() >= TRIES_MAX {
            return failed;
        }
        let again = match unanswered.progress {
            // The same server will do, on another connection.
            Progress::NotProcessed | Progress::Closed => {
                servers.choose(self.visitor, &self.tried).or_else(|| Some(servers.carry(server)))
            }
            _ => servers.choose(self.visitor, &self.tried),
        };
        let Some(server) = again else { return failed };
        match self.send_again(server) {
            Some(()) => Ok(()),
            None => failed,
        }
    }

    /// None if the body can not be sent again.
    fn send_again(&mut self, server: Carried<'a>) -> Option<()> {
        let request = request(&self.head, self.service.set_host()).ok()?;
        let body = match &self.replay {
            Some(replay) => RequestBody::again(replay.again()?, content_length(request.headers())),
            None if has_body(&self.head) => return None,
            None => RequestBody::empty(),
        };
        let visitor = self.visitor;
        let expect_continue = self.head.expect_continue && self.inbound.is_untouched();
        let attempt = |request, interims: &_| Attempt::send(server, visitor, request, interims);
        self.stage = Stage::Waiting(Waiting::start(request.map(|()| body), expect_continue, attempt));
        Some(())
    }

    /// Pending while it is better not to write. The opener has nothing more to send: it can hear that its request was accepted
    /// together with the answer. Or nobody has connected to the service yet: an opener that is not told keeps what it has
    /// sent, for another member, and sends no more than it can keep.
    fn poll_hold(&mut self, cx: &mut TaskContext<'_>) -> Poll<()> {
        if let Some(until) = self.hold.filter(|_| self.holds()) {
            ready!(self.timer.poll(until, cx));
        }
        self.hold = None;
        Poll::Ready(())
    }

    fn holds(&self) -> bool {
        let Stage::Waiting(waiting) = &self.stage else { return false };
        self.hold.is_some() && (self.inbound.complete().is_some() || !waiting.is_connected())
    }

    fn poll_late(&mut self, cx: &mut TaskContext<'_>) -> Poll<Result<(), Outcome<'a>>> {
        if self.holds() {
            return Poll::Pending;
        }
        let due = self.inbound.complete().and_then(|at| at.checked_add(self.timeouts.answer));
        let Some(due) = due else { return Poll::Pending };
        ready!(self.timer.poll(due, cx));
        Poll::Ready(Err(Outcome::Failed(Code::SERVICE_TIMEOUT, "the service did not answer in time")))
    }
}

/// The head of a response as the opener gets it.
pub(super) fn encode_head(response: &Response<IncomingBody>, out: &mut BytesMut) -> Result<(), EncodeError> {
    let switching = response.status() == StatusCode::SWITCHING_PROTOCOLS;
    let bodyless = !switching && response.body().is_end_stream();
    let listed = Listed::of(response.headers());
    ResponseLine { status: response.status().as_u16(), bodyless }
        .encode_with(forward_response(response.status(), response.headers(), &listed), out)
}

fn unfit<'a>(_: EncodeError) -> Outcome<'a> {
    Outcome::Failed(Code::SERVICE_CUT, "the head of the response is too large to be passed on")
}
