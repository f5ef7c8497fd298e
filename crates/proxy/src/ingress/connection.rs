//! One request of a visitor: from its head to the response that the visitor gets.

use std::future::{Future, ready};
use std::net::SocketAddr;
use std::sync::Arc;

use bytes::Bytes;
use futures_util::future::Either;
use http::header::{CONNECTION, CONTENT_LENGTH, HeaderMap, HeaderValue};
use http::request::Parts;
use http::{Method, Request, Response, Version};
use ops::error_kind::ErrorKind;
use protocol::request::TraceContext;

use super::attempt::{Stopped, attempt};
use super::entrance::{Entrance, Gate};
use super::guard::FIELDS_MAX;
use super::interim::Interim;
use super::redirect::redirect;
use super::visitor::Visiting;
use crate::access::{AccessKind, Record};
use crate::context::Context;
use crate::dispatch::Dispatch;
use crate::error::{Failure, Fault};
use crate::exchange::{AnswerBody, Channel, Opened, Opener};
use crate::headers::{FacingVisitor, Facts};
use crate::incoming::IncomingBody;
use crate::page::page;
use crate::plugin::Plugged;
use crate::poison::Poison;
use crate::trace;

/// A visitor's connection, as the requests on it see it.
#[derive(Debug)]
pub(super) struct Visitor {
    pub(super) address: SocketAddr,
    pub(super) facing: FacingVisitor,
    pub(super) gate: Gate,
    /// The name that its TLS was made for.
    pub(super) sni: Option<Arc<str>>,
}

impl Visitor {
    /// Whose request it is, and what the service hears of it, where a trusted proxy says so in the request; none elsewhere.
    fn forwarded(&self, entrance: &Entrance, headers: &HeaderMap) -> Option<(SocketAddr, FacingVisitor)> {
        let trusts = |address| entrance.trusts(address);
        trusts(self.address.ip()).then(|| {
            let (address, facing) = self.facing.forwarded(self.address.ip(), headers, &trusts);
            let port = if address == self.address.ip() { self.address.port() } else { 0 };
            (SocketAddr::new(address, port), facing)
        })
    }
}

/// The visitor broke off, or must be told nothing: the connection ends with a reset.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the visitor has gone")]
pub(super) struct VisitorGone;

/// What a visitor gets.
pub(super) enum Answered {
    /// A response.
    Response(Response<AnswerBody>),
    /// The head that says that another protocol is spoken now, what carries it, whose record it is, and what decides how a
    /// connection of HTTP/1.1 ends.
    Switched(Box<(Response<()>, Channel, Box<Record>, Poison)>),
}

/// A request that may go to a member.
struct Admitted {
    parts: Parts,
    body: Option<IncomingBody>,
    facts: Facts,
    trace: TraceContext,
    /// Whose it is and what the service hears of it, if a trusted proxy says so.
    forwarded: Option<(SocketAddr, FacingVisitor)>,
    record: Box<Record>,
    visiting: Visiting,
}

/// Answers `request`, which has a body, or none. Interim responses go ahead by `interim`.
// No `async fn`: every visitor has room for this future, and that of an `async fn` has its arguments twice.
pub(super) fn answer<'a>(
    context: &'a Context,
    dispatch: &'a Dispatch,
    visitor: &'a Visitor,
    visiting: Visiting,
    interim: Interim,
    request: Request<Option<IncomingBody>>,
) -> impl Future<Output = Result<Answered, VisitorGone>> + Send + 'a {
    match admit(context, visitor, visiting, request) {
        Either::Left(admitted) => Either::Left(pass_on(admitted, context, dispatch, visitor, interim)),
        Either::Right(response) => Either::Right(ready(Ok(response.into()))),
    }
}

/// Looks whether `request` makes sense, and is for here; else, what it is answered.
fn admit(
    context: &Context,
    visitor: &Visitor,
    visiting: Visiting,
    request: Request<Option<IncomingBody>>,
) -> Either<Admitted, Response<AnswerBody>> {
    let trace = trace::of_request(request.headers());
    let mut record = Record::start(context, AccessKind::Http, trace.trace_id);
    let entrance = visitor.gate.now();
    let forwarded = visitor.forwarded(&entrance, request.headers());
    record.line.visitor = Some(forwarded.as_ref().map_or(visitor.address, |(address, _)| *address));
    if let Some(fault) = visiting.refused() {
        return Either::Right(refuse(&fault.into(), request.headers(), trace, record, visiting, true));
    }
    record.line.method = Some(request.method().clone());
    record.line.path = request.uri().path_and_query().cloned();

    let has_body = request.body().is_some();
    // The guard has counted those of HTTP/1.1.
    if request.headers().len() > FIELDS_MAX {
        let failure = Fault::Fields.into();
        return Either::Right(refuse(&failure, request.headers(), trace, record, visiting, has_body));
    }
    let facts = match Facts::of(&request, has_body, entrance.by_address.as_ref()) {
        Ok(facts) => facts,
        Err(failure) => {
            return Either::Right(refuse(&failure, request.headers(), trace, record, visiting, has_body));
        }
    };
    record.line.host = Some(facts.host.clone());
    if !entrance.covers(visitor.sni.as_deref(), &facts.host) {
        let failure = Fault::Misdirected.into();
        return Either::Right(refuse(&failure, request.headers(), trace, record, visiting, has_body));
    }
    if let Some(pattern) = &entrance.redirect {
        return Either::Right(match redirect(pattern, &facts) {
            Ok(response) => {
                record.line.status = Some(response.status().as_u16());
                visiting.finish(has_body);
                sent_elsewhere(response, has_body)
            }
            Err(failure) => refuse(&failure, request.headers(), trace, record, visiting, has_body),
        });
    }
    let (mut parts, body) = request.into_parts();
    if parts.method == Method::CONNECT {
        // An extended one: for the other end an upgrade is an upgrade.
        parts.method = Method::GET;
    }
    Either::Left(Admitted { parts, body, facts, trace, forwarded, record, visiting })
}

/// Gets the response of a member for `admitted`, or what is said without one.
#[expect(clippy::manual_async_fn, reason = "the future of an `async fn` has its arguments twice")]
fn pass_on<'a>(
    mut admitted: Admitted,
    context: &'a Context,
    dispatch: &'a Dispatch,
    visitor: &'a Visitor,
    interim: Interim,
) -> impl Future<Output = Result<Answered, VisitorGone>> + Send + 'a {
    async move {
        let (facts, parts, trace) = (&admitted.facts, &admitted.parts, admitted.trace);
        let (mut record, visiting) = (admitted.record, admitted.visiting);
        let (address, facing) = match &admitted.forwarded {
            Some((address, facing)) => (*address, facing),
            None => (visitor.address, &visitor.facing),
        };
        let body = admitted.body.take();
        let mut opener = Opener::new(facts, parts, body, interim, address, facing, trace, context.timeouts());
        opener.timer = visiting.borrow_timer();

        let opened = match attempt(dispatch, &context.spawner, &mut opener, &mut record).await {
            Ok(opened) => opened,
            Err(stopped) => {
                let (unread, plugged) = (opener.is_unread(), opener.plugged.take());
                let (response, kind) = match stopped {
                    Stopped::Failure(failure) => (page(&failure, &parts.headers, trace), Some(failure.kind)),
                    Stopped::Answered(reply) => {
                        let kind = reply.kind();
                        (reply.into_response(&parts.headers, trace), kind)
                    }
                    Stopped::Answer(rule) => {
                        match rule.response(&facts.host, facts.path.path(), facts.path.query()) {
                            Some(response) => (response, None),
                            None => {
                                let failure = Failure::of(ErrorKind::Internal);
                                (page(&failure, &parts.headers, trace), Some(failure.kind))
                            }
                        }
                    }
                    Stopped::VisitorGone => return Err(VisitorGone),
                };
                let (response, kind) =
                    Box::pin(pass_back(plugged, response, kind, &parts.headers, trace)).await;
                return Ok(say(response, kind, record, visiting, unread).into());
            }
        };
        let plugged = opener.plugged.take();
        drop(opener);
        match &facts.upgrade {
            Some(asked) if opened.head.status == 101 && opened.keeps_to(Some(asked)) => {
                let switched = switch(opened, plugged, asked, (parts, trace), context, record, visiting);
                Ok(Box::pin(switched).await)
            }
            // In HTTP/2 a success would tell the visitor that the protocol is spoken (RFC 8441 section 4).
            Some(_)
                if opened.head.status == 101
                    || (parts.version == Version::HTTP_2 && (200..300).contains(&opened.head.status)) =>
            {
                let failure = Failure::of(ErrorKind::ServiceCut);
                let page = page(&failure, &parts.headers, trace);
                let (page, kind) =
                    Box::pin(pass_back(plugged, page, Some(failure.kind), &parts.headers, trace)).await;
                // What the visitor said behind its request is in the protocol that it asked for.
                Ok(say(page, kind, record, visiting, parts.version < Version::HTTP_2).into())
            }
            _ => Ok(respond(opened, plugged, parts, trace, context, record, visiting).await.into()),
        }
    }
}

/// An answer of ours, once the plugins have seen it that have let its request pass.
async fn pass_back(
    plugged: Option<Box<Plugged>>,
    mut response: Response<Bytes>,
    kind: Option<ErrorKind>,
    request: &HeaderMap,
    trace: TraceContext,
) -> (Response<Bytes>, Option<ErrorKind>) {
    match plugged {
        Some(mut plugged) => match plugged.on_response(&mut response).await {
            Ok(()) => (response, kind),
            Err(reply) => (reply.into_response(request, trace), Some(ErrorKind::Internal)),
        },
        None => (response, kind),
    }
}

/// An answer of ours. `unread`: the visitor may still be sending its request.
fn refuse(
    failure: &Failure,
    request: &HeaderMap,
    trace: TraceContext,
    record: Box<Record>,
    visiting: Visiting,
    unread: bool,
) -> Response<AnswerBody> {
    say(page(failure, request, trace), Some(failure.kind), record, visiting, unread)
}

/// A redirect; after it the connection ends if the visitor `has_body` to send, which nobody reads.
fn sent_elsewhere(response: Response<Bytes>, has_body: bool) -> Response<AnswerBody> {
    let mut response = response.map(|page| AnswerBody::Page(Some(page)));
    if has_body {
        response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
    }
    response
}

/// Gives an answer of ours; `kind` says what failed, if something did.
fn say(
    response: Response<Bytes>,
    kind: Option<ErrorKind>,
    mut record: Box<Record>,
    visiting: Visiting,
    unread: bool,
) -> Response<AnswerBody> {
    record.answered(response.status().as_u16(), kind);
    let is_head = record.line.method == Some(Method::HEAD);
    let length = HeaderValue::from(response.body().len());
    // HTTP/2 would send it even so.
    let mut response = response.map(|body| AnswerBody::Page(Some(body).filter(|_| !is_head)));
    if is_head {
        response.headers_mut().insert(CONTENT_LENGTH, length);
    }
    let ends = unread || kind == Some(ErrorKind::BadRequest) || visiting.is_last();
    if ends {
        // What comes next on this connection could be the rest of this request.
        response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
    }
    visiting.finish(ends);
    response
}

async fn respond(
    opened: Opened,
    plugged: Option<Box<Plugged>>,
    parts: &Parts,
    trace: TraceContext,
    context: &Context,
    record: Box<Record>,
    visiting: Visiting,
) -> Response<AnswerBody> {
    let Some(mut head) = opened.response(&parts.method) else {
        let failure = Failure::of(ErrorKind::ServiceCut);
        let page = page(&failure, &parts.headers, trace);
        let (page, kind) =
            Box::pin(pass_back(plugged, page, Some(failure.kind), &parts.headers, trace)).await;
        return say(page, kind, record, visiting, true);
    };
    if let Some(mut plugged) = plugged
        && let Err(reply) = Box::pin(plugged.on_response(&mut head)).await
    {
        let kind = reply.kind();
        return say(reply.into_response(&parts.headers, trace), kind, record, visiting, true);
    }
    // A visitor that was not asked for its body may send it or not: nobody could tell what comes next.
    let last = visiting.is_last() || (opened.unasked && parts.version < Version::HTTP_2);
    let mut response = opened.into_body(head, parts, record, visiting, context);
    if last {
        // Whoever wanted to speak another protocol may do so all the same.
        response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
    }
    response
}

/// The 101 for the visitor, or the 200 of HTTP/2, and what comes after it.
async fn switch(
    opened: Opened,
    plugged: Option<Box<Plugged>>,
    asked: &HeaderValue,
    (parts, trace): (&Parts, TraceContext),
    context: &Context,
    mut record: Box<Record>,
    visiting: Visiting,
) -> Answered {
    let (mut response, channel) = opened.into_switched(asked, parts.version);
    if let Some(mut plugged) = plugged
        && let Err(reply) = plugged.on_response(&mut response).await
    {
        let kind = reply.kind();
        return say(reply.into_response(&parts.headers, trace), kind, record, visiting, true).into();
    }
    record.upgraded(context);
    record.line.status = Some(response.status().as_u16());
    Answered::Switched(Box::new((response, channel, record, visiting.switch())))
}

impl From<Response<AnswerBody>> for Answered {
    fn from(response: Response<AnswerBody>) -> Self {
        Self::Response(response)
    }
}
