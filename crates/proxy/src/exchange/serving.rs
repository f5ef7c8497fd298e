//! One exchange at the end of the service, from the request head to the last byte of the response.

use std::error::Error as _;
use std::future::Future;
use std::io;
use std::pin::Pin;
use std::task::{Context as TaskContext, Poll, ready};
use std::time::Duration;

use bytes::BytesMut;
use http::{HeaderValue, Request, Response, StatusCode};
use http_body::Body;
use hyper::body::Incoming;
use hyper_util::client::legacy::{Error, ResponseFuture};
use policy::retry::is_idempotent;
use protocol::code::Code;
use protocol::codec::EncodeError;
use protocol::exchange::{RequestHead, ResponseLine};
use tokio::sync::mpsc;
use tokio::time::Instant;

use super::inbound::{Inbound, Over};
use super::outbox::{Frames, WAITING_MAX};
use super::request_body::BodyFeed;
use super::sending::{BodyFailed, Sending};
use super::service_connection::ServiceConnection;
use super::wire_request::request;
use super::{Channel, RequestBody};
use crate::access::Record;
use crate::context::Context;
use crate::headers::{Listed, forward_response, is_plainly_framed};
use crate::poison::Poison;
use crate::service::{HttpPool, request_failure};
use transport::deadline::Deadline;

/// A service that was asked whether it wants the body, and says nothing, is sent the body after this.
const CONTINUE_AFTER: Duration = Duration::from_secs(1);

/// How the exchange goes on.
#[derive(Debug)]
pub(super) enum Outcome {
    /// The response is complete and written.
    Answered,
    /// The service switched protocols; nothing was said about it yet.
    Switched(Box<Response<Incoming>>, Poison),
    /// No complete response.
    Failed(Code, &'static str),
    /// The opener broke off.
    Gone,
}

/// An exchange in progress. Dropping it breaks it off towards both sides.
pub(super) struct Serving<'a> {
    pub(super) channel: Channel,
    pub(super) record: Record,
    pub(super) inbound: Inbound,
    stage: Stage,
    head: RequestHead,
    pool: &'a HttpPool,
    set_host: Option<&'a HeaderValue>,
    context: &'a Context,
    /// Whether a second connection may be tried.
    retry: bool,
    /// The head has just come.
    fresh: bool,
    deadline: Deadline,
}

enum Stage {
    /// Nothing has come from the service.
    Waiting(Waiting),
    /// The head has been passed on.
    Answering(ServiceConnection, Sending),
    /// The end has been encoded.
    Answered,
}

struct Waiting {
    // Dropped first: see `ServiceConnection`.
    connection: ServiceConnection,
    response: ResponseFuture,
    /// The service asks for the body.
    continues: Option<mpsc::Receiver<()>>,
    /// When the body is asked for in its place.
    continue_at: Option<Instant>,
}

impl<'a> Serving<'a> {
    /// Sends the request on its way.
    pub(super) fn start(
        channel: Channel,
        record: Record,
        head: RequestHead,
        request: (Request<RequestBody>, Option<BodyFeed>),
        pool: &'a HttpPool,
        set_host: Option<&'a HeaderValue>,
        context: &'a Context,
    ) -> Self {
        let (request, feed) = request;
        Self {
            channel,
            record,
            inbound: Inbound::new(feed),
            stage: send(request, &head, pool, context),
            retry: head.bodyless && is_idempotent(&head.method),
            head,
            pool,
            set_host,
            context,
            fresh: false,
            deadline: Deadline::default(),
        }
    }

    /// Lets go of the service: what is not complete is broken off.
    pub(super) fn end(self) -> (Channel, Record) {
        (self.channel, self.record)
    }

    /// Drives both directions.
    pub(super) fn poll(&mut self, cx: &mut TaskContext<'_>) -> Poll<Outcome> {
        loop {
            let over = self.inbound.poll(&mut self.channel, self.context.timeouts.stalled, cx);
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
            if answer.is_pending() && std::mem::take(&mut self.fresh) {
                // They are in the connection's buffer already; its task only has to run.
                cx.waker().wake_by_ref();
                return Poll::Pending;
            }
            let full = !self.channel.has_room();
            if ready!(self.channel.poll_flush(cx)).is_err() {
                return Poll::Ready(Outcome::Gone);
            }
            if matches!(self.stage, Stage::Answered) {
                return Poll::Ready(Outcome::Answered);
            }
            if answer.is_pending() && !full {
                return Poll::Pending;
            }
        }
    }

    /// Ready when it got on; an error is the end.
    fn poll_answer(&mut self, cx: &mut TaskContext<'_>) -> Poll<Result<(), Outcome>> {
        match &mut self.stage {
            Stage::Waiting(waiting) => {
                if let Err(error) = waiting.poll_continue(self.channel.out.buffer(), &mut self.deadline, cx) {
                    return Poll::Ready(Err(unfit(error)));
                }
                let response = Pin::new(&mut waiting.response).poll(cx);
                if response.is_ready() || !waiting.connection.is_held() {
                    waiting.connection.hold();
                }
                match response {
                    Poll::Ready(Ok(response)) => Poll::Ready(self.answer(response)),
                    Poll::Ready(Err(error)) => Poll::Ready(self.retry(&error)),
                    Poll::Pending => self.poll_late(cx),
                }
            }
            Stage::Answering(_, sending) => {
                let encoded = sending.poll_encode(&mut self.channel.out, WAITING_MAX, cx);
                self.record.down(sending.take_bytes());
                let end = match ready!(encoded) {
                    Ok(()) => Ok(()),
                    Err(BodyFailed::Cut(_) | BodyFailed::Malformed(_)) => {
                        Err((Code::SERVICE_CUT, "the service broke its response off"))
                    }
                    Err(BodyFailed::Silent) => Err((Code::IDLE_TIMEOUT, "the response did not go on")),
                    Err(BodyFailed::Unfit) => Err((Code::SERVICE_CUT, "the trailers can not be passed on")),
                };
                if let Err((code, text)) = end {
                    return Poll::Ready(Err(Outcome::Failed(code, text)));
                }
                let stage = std::mem::replace(&mut self.stage, Stage::Answered);
                if let (Stage::Answering(connection, _), Some(_)) = (stage, self.inbound.complete()) {
                    connection.finish();
                }
                Poll::Ready(Ok(()))
            }
            Stage::Answered => Poll::Pending,
        }
    }

    /// The head has come.
    fn answer(&mut self, response: Response<Incoming>) -> Result<(), Outcome> {
        let Stage::Waiting(waiting) = std::mem::replace(&mut self.stage, Stage::Answered) else {
            return Ok(());
        };
        self.record.line.status = Some(response.status().as_u16());
        if response.status() == StatusCode::SWITCHING_PROTOCOLS {
            return Err(if self.head.protocol.is_some() {
                Outcome::Switched(Box::new(response), waiting.connection.switch())
            } else {
                Outcome::Failed(Code::SERVICE_CUT, "the service switched protocols without being asked")
            });
        }
        if !is_plainly_framed(response.headers()) {
            let text = "the transfer coding of the response is not chunked";
            return Err(Outcome::Failed(Code::SERVICE_CUT, text));
        }
        encode_head(&response, self.channel.out.buffer()).map_err(unfit)?;
        let sending = Sending::new(response.into_body(), self.context.timeouts.silence);
        self.stage = Stage::Answering(waiting.connection, sending);
        self.fresh = true;
        Ok(())
    }

    /// No head came. A connection that the service closed before it said anything gets a second chance if that does no
    /// harm: it may have been an idle one.
    fn retry(&mut self, error: &Error) -> Result<(), Outcome> {
        let (code, text) = request_failure(error);
        if self.retry && is_closed_unanswered(error) {
            self.retry = false;
            if let Ok((request, _)) = request(&self.head, self.set_host) {
                self.stage = send(request, &self.head, self.pool, self.context);
                return Ok(());
            }
        }
        Err(Outcome::Failed(code, text))
    }

    fn poll_late(&mut self, cx: &mut TaskContext<'_>) -> Poll<Result<(), Outcome>> {
        let due = self.inbound.complete().and_then(|at| at.checked_add(self.context.timeouts.request));
        let Some(due) = due else { return Poll::Pending };
        ready!(self.deadline.poll(due, cx));
        Poll::Ready(Err(Outcome::Failed(Code::SERVICE_TIMEOUT, "the service did not answer in time")))
    }
}

fn send(mut request: Request<RequestBody>, head: &RequestHead, pool: &HttpPool, context: &Context) -> Stage {
    let connection = ServiceConnection::of(&mut request);
    let (continues, continue_at) = if head.expect_continue {
        let (asked, continues) = mpsc::channel(1);
        hyper::ext::on_informational(&mut request, move |response| {
            if response.status() == StatusCode::CONTINUE {
                // A second one says nothing new.
                let _ = asked.try_send(());
            }
        });
        (Some(continues), Instant::now().checked_add(CONTINUE_AFTER))
    } else {
        (None, None)
    };
    let response = pool.client(context.spawner.here()).request(request);
    Stage::Waiting(Waiting { connection, response, continues, continue_at })
}

impl Waiting {
    /// Asks for the body once: when the service does, or after a while in its place.
    fn poll_continue(
        &mut self,
        out: &mut BytesMut,
        deadline: &mut Deadline,
        cx: &mut TaskContext<'_>,
    ) -> Result<(), EncodeError> {
        let Some(continues) = &mut self.continues else { return Ok(()) };
        let asked = matches!(continues.poll_recv(cx), Poll::Ready(Some(())));
        let late = self.continue_at.is_some_and(|at| deadline.poll(at, cx).is_ready());
        if asked || late {
            self.continues = None;
            ResponseLine { status: StatusCode::CONTINUE.as_u16(), bodyless: false }.encode_with([], out)?;
        }
        Ok(())
    }
}

/// The head of a response as the opener gets it.
pub(super) fn encode_head(response: &Response<Incoming>, out: &mut BytesMut) -> Result<(), EncodeError> {
    let switching = response.status() == StatusCode::SWITCHING_PROTOCOLS;
    let bodyless = !switching && response.body().is_end_stream();
    let listed = Listed::of(response.headers());
    ResponseLine { status: response.status().as_u16(), bodyless }
        .encode_with(forward_response(response.status(), response.headers(), &listed), out)
}

fn unfit(_: EncodeError) -> Outcome {
    Outcome::Failed(Code::SERVICE_CUT, "the head of the response is too large to be passed on")
}

/// Whether a connection ended before the first byte of the response.
fn is_closed_unanswered(error: &Error) -> bool {
    let Some(error) = error.source().and_then(|source| source.downcast_ref::<hyper::Error>()) else {
        return false;
    };
    let closed = |error: &io::Error| {
        matches!(error.kind(), io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe)
    };
    error.is_incomplete_message()
        || error.source().and_then(|source| source.downcast_ref()).is_some_and(closed)
}
