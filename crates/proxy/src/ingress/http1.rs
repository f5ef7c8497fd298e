//! A visitor's connection with HTTP/1.1 on it.

use std::future::Future;
use std::sync::Arc;

use futures_util::FutureExt;
use http::header::{CONNECTION, HeaderValue};
use http::{Request, Response, Version};
use http_body::Body;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use ops::called::WhenCalled;
use ops::drain::Drain;

use super::connection::{Answered, Visitor, VisitorGone, answer};
use super::guard::Guarded;
use super::interim::Interim;
use super::interim_queue::{InterimQueue, Interposed};
use super::visitor::{Visiting, VisitorIo, VisitorState, VisitorStream};
use crate::context::Context;
use crate::dispatch::Dispatch;
use crate::exchange::{AnswerBody, carry_upgraded};
use crate::incoming::IncomingBody;
use crate::last_chunk::Trailing;

/// What hyper reads ahead of a visitor, in bytes; a request head is no longer.
const READ_AHEAD: usize = 64 * 1024;

/// Answers what comes on `io`, one request after the other. During a drain it ends after the request that it is at.
pub(super) async fn serve<S: VisitorStream>(
    io: VisitorIo<S>,
    state: Arc<VisitorState>,
    visitor: Visitor,
    dispatch: Arc<Dispatch>,
    context: Context,
) {
    let interims = Arc::new(InterimQueue::default());
    let io = Guarded::new(io, state.clone(), context.metrics.clone());
    let io = Interposed::new(io, interims.clone());
    let io = Trailing::new(io, state.last_chunk());
    let drain = context.drain.apart();
    let service = service_fn(|request| {
        // Now, not when the future is polled: hyper may look for the visitor's end before.
        let visiting = Visiting::begin(&state);
        interims.begin();
        respond(&context, &drain, &dispatch, &visitor, visiting, &interims, request)
    });
    let mut connection = std::pin::pin!(
        http1::Builder::new()
            // `VisitorIo` keeps the time, with different limits for a head and for a pause.
            .header_read_timeout(None)
            .max_buf_size(READ_AHEAD)
            .serve_connection(TokioIo::new(io), service)
            .with_upgrades()
    );
    // Behind a drain that lingers the response to the next request ends the connection.
    let mut idle_ends = WhenCalled::new(drain.idle_ends());
    let mut now = WhenCalled::new(drain.now.cancelled());
    let mut draining = false;
    loop {
        tokio::select! {
            biased;
            // Whatever ended it, the visitor was told as much as it can be told.
            _ = connection.as_mut() => return,
            () = &mut idle_ends, if !draining => {
                draining = true;
                connection.as_mut().graceful_shutdown();
            }
            () = &mut now => return,
        }
    }
}

// No `async fn`: see `answer`.
fn respond<'a>(
    context: &'a Context,
    drain: &'a Drain,
    dispatch: &'a Dispatch,
    visitor: &'a Visitor,
    visiting: Visiting,
    interims: &'a Arc<InterimQueue>,
    mut request: Request<Incoming>,
) -> impl Future<Output = Result<Response<AnswerBody>, VisitorGone>> + Send + 'a {
    let upgrade = hyper::upgrade::on(&mut request);
    let interim = match request.version() {
        Version::HTTP_11 => Interim::connection(interims.clone()),
        _ => Interim::nowhere(),
    };
    let request = request.map(|body| (!body.is_end_stream()).then_some(IncomingBody::Http1(body)));
    answer(context, dispatch, visitor, visiting, interim, request).map(move |answered| {
        interims.answered();
        match answered? {
            Answered::Response(mut response) => {
                if drain.is_draining() {
                    response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
                }
                Ok(response)
            }
            Answered::Switched(switched) => {
                let (response, channel, record, poison) = *switched;
                // Without the connection there is nobody to tell: dropping the channel resets the other end.
                let io = async move { upgrade.await.ok().map(TokioIo::new) };
                let task = carry_upgraded(io, channel, poison, record, context.clone());
                context.spawner.spawn(context.spawner.here(), "upgraded", task);
                Ok(response.map(|()| AnswerBody::Page(None)))
            }
        }
    })
}
