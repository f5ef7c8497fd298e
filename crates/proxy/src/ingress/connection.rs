//! One request of a visitor: from its head to the response that the visitor gets.

use std::net::SocketAddr;
use std::sync::Arc;

use http::header::{CONNECTION, HeaderMap, HeaderValue};
use http::request::Parts;
use http::{Request, Response};
use http_body::Body;
use hyper::body::Incoming;
use hyper::upgrade::OnUpgrade;
use ops::error_kind::ErrorKind;
use policy::retry::is_idempotent;
use protocol::request::TraceContext;

use super::visitor::{Visiting, VisitorState};
use crate::access::{AccessKind, Record};
use crate::context::Context;
use crate::dispatch::{Ask, Dispatch};
use crate::error::{Failure, Fault};
use crate::exchange::{AnswerBody, Opened, Opener, Unanswered, carry_upgraded};
use crate::headers::{FacingVisitor, Facts, upgrade_token};
use crate::page::page;
use crate::trace;

/// How often the members are looked up anew, when all of them were lost.
const ROUNDS: usize = 3;

/// A visitor's connection, as the requests on it see it.
#[derive(Debug)]
pub(super) struct Visitor {
    pub(super) address: SocketAddr,
    pub(super) facing: FacingVisitor,
    pub(super) state: Arc<VisitorState>,
}

/// The visitor broke off, or must be told nothing: the connection ends with a reset.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the visitor has gone")]
pub(super) struct VisitorGone;

/// Why a request gets no response from a member.
enum Stopped {
    Failure(Failure),
    VisitorGone,
}

impl<F: Into<Failure>> From<F> for Stopped {
    fn from(failure: F) -> Self {
        Self::Failure(failure.into())
    }
}

/// Answers `request`.
pub(super) async fn answer(
    context: &Context,
    dispatch: &Dispatch,
    visitor: &Visitor,
    visiting: Visiting,
    mut request: Request<Incoming>,
) -> Result<Response<AnswerBody>, VisitorGone> {
    let trace = trace::of_request(request.headers());
    let mut record = Record::start(context, AccessKind::Http, trace.trace_id);
    record.line.visitor = Some(visitor.address);
    record.line.method = Some(request.method().clone());
    record.line.path = request.uri().path_and_query().cloned();

    let has_body = !request.body().is_end_stream();
    let facts = match Facts::of(&request, has_body) {
        Ok(facts) => facts,
        Err(failure) => return Ok(refuse(&failure, request.headers(), trace, record, visiting, has_body)),
    };
    record.line.host = Some(facts.host.clone());
    let on_upgrade = facts.upgrade.is_some().then(|| hyper::upgrade::on(&mut request));
    let (parts, body) = request.into_parts();
    let body = has_body.then_some(body);
    let mut opener =
        Opener::new(&facts, &parts, body, visitor.address, &visitor.facing, trace, context.timeouts);

    let opened = match attempt(dispatch, &mut opener, &mut record).await {
        Ok(opened) => opened,
        Err(Stopped::Failure(failure)) => {
            let unread = opener.is_unread();
            return Ok(refuse(&failure, &parts.headers, trace, record, visiting, unread));
        }
        Err(Stopped::VisitorGone) => return Err(VisitorGone),
    };
    drop(opener);
    match on_upgrade {
        Some(upgrade) if opened.head.status == 101 => {
            Ok(switch(opened, upgrade, &facts, context, record, visiting))
        }
        _ => Ok(respond(opened, &parts, trace, context, record, visiting)),
    }
}

/// Sends the request to one member after the other, as far as that is safe.
async fn attempt(
    dispatch: &Dispatch,
    opener: &mut Opener<'_>,
    record: &mut Record,
) -> Result<Opened, Stopped> {
    let idempotent = is_idempotent(opener.parts.method.as_str().as_bytes());
    let mut tries = dispatch.begin();
    let mut last = Failure::of(ErrorKind::NoMember);
    for round in 0..ROUNDS {
        let route = tries.route(Ask::Http(&opener.facts.host)).await.map_err(|nobody| {
            if let Some(labels) = &nobody.labels {
                record.routed(labels);
            }
            match nobody.kind {
                // The name was there a moment ago: what became of the request is the truer answer.
                ErrorKind::NoRoute if round > 0 => last,
                kind => kind.into(),
            }
        })?;
        record.routed(&route.labels);
        if !route.admits(opener.visitor.ip()) {
            return Err(ErrorKind::NotAllowed.into());
        }
        if round == 0 {
            opener.take_ready().await.map_err(stopped)?;
        }
        for target in &route.targets {
            record.line.member = Some(target.member_name.clone());
            record.opened();
            match opener.send(target).await {
                Ok(opened) => {
                    tries.answered();
                    return Ok(opened);
                }
                Err(Unanswered::Failed { failure, known }) => {
                    last = failure;
                    if !tries.another(known, idempotent, opener.is_replayable()) {
                        return Err(failure.into());
                    }
                }
                Err(other) => return Err(stopped(other)),
            }
        }
        if !matches!(last.kind, ErrorKind::NoMember | ErrorKind::SessionLost) {
            break;
        }
    }
    Err(last.into())
}

fn stopped(unanswered: Unanswered) -> Stopped {
    match unanswered {
        Unanswered::Failed { failure, .. } => failure.into(),
        Unanswered::VisitorGone => Stopped::VisitorGone,
        Unanswered::VisitorSilent => Fault::Slow.into(),
    }
}

/// An answer of ours. `unread`: the visitor may still be sending its request.
fn refuse(
    failure: &Failure,
    request: &HeaderMap,
    trace: TraceContext,
    mut record: Record,
    visiting: Visiting,
    unread: bool,
) -> Response<AnswerBody> {
    record.failed(failure.kind);
    record.line.status = Some(failure.answer.status.as_u16());
    let mut response = page(failure, request, trace).map(|page| AnswerBody::Page(Some(page)));
    if unread || failure.kind == ErrorKind::BadRequest {
        // What comes next on this connection could be the rest of this request.
        response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
    }
    visiting.finish(unread);
    response
}

fn respond(
    opened: Opened,
    parts: &Parts,
    trace: TraceContext,
    context: &Context,
    record: Record,
    visiting: Visiting,
) -> Response<AnswerBody> {
    let Some(head) = opened.response(&parts.method) else {
        let failure = Failure::of(ErrorKind::ServiceCut);
        return refuse(&failure, &parts.headers, trace, record, visiting, true);
    };
    let mut response = opened.into_body(head, &parts.method, record, visiting, context.timeouts);
    if upgrade_token(&parts.headers).is_some() {
        // Whoever wanted to speak another protocol may do so all the same.
        response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
    }
    response
}

/// The 101 for the visitor; a task of its own carries what comes after it.
fn switch(
    opened: Opened,
    upgrade: OnUpgrade,
    facts: &Facts,
    context: &Context,
    mut record: Record,
    visiting: Visiting,
) -> Response<AnswerBody> {
    record.upgraded(context);
    record.line.status = Some(101);
    let poison = visiting.switch();
    let (response, channel) = opened.into_switched(facts.upgrade.as_ref());
    let task = carry_upgraded(upgrade, channel, poison, record, context.clone());
    context.spawner.spawn(context.spawner.here(), "upgraded", task);
    response
}
