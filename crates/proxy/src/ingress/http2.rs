//! A visitor's connection with HTTP/2 on it.

use std::sync::Arc;
use std::time::Duration;

use hyper::server::conn::http2;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use ops::metrics::GuardReason;

use super::connection::{Visitor, answer};
use super::stream::StreamExecutor;
use super::streams::Streams;
use super::visitor::{Visiting, VisitorIo, VisitorState, VisitorStream};
use crate::context::Context;
use crate::dispatch::Dispatch;

/// Requests that a visitor may have in progress on one connection.
const CONCURRENT: u32 = 100;
/// Streams that a connection may carry in its life; then the visitor is asked to make a new one.
const STREAMS: u32 = 10_000;
/// Bytes of one request's body that may be on their way.
const STREAM_WINDOW: u32 = 256 * 1024;
/// Bytes of all bodies of a connection that may be on their way.
const CONNECTION_WINDOW: u32 = 1024 * 1024;
/// Bytes of one response that wait for the visitor.
const SEND_BUFFER: usize = 64 * 1024;
/// A request's fields, as RFC 9113 section 6.5.2 counts them.
const HEADER_LIST: u32 = 32 * 1024;
/// Streams that a visitor may reset before they were looked at (CVE-2023-44487).
const PENDING_ACCEPT_RESETS: usize = 20;
/// Streams that a visitor may make this end reset.
const LOCAL_ERROR_RESETS: usize = 256;
/// A visitor that says nothing is asked whether it is there; and how long it may take to say so.
const PING: (Duration, Duration) = (Duration::from_secs(20), Duration::from_secs(20));

/// Answers what comes on `io`, all requests at once. During a drain no new ones are taken.
pub(super) async fn serve<S: VisitorStream>(
    io: VisitorIo<S>,
    state: Arc<VisitorState>,
    visitor: Visitor,
    dispatch: Arc<Dispatch>,
    context: Context,
) {
    state.multiplex();
    let visitor = Arc::new(visitor);
    let streams = Arc::new(Streams::new(STREAMS));
    let executor = StreamExecutor::new(context.spawner.clone(), streams.clone(), context.timeouts.stalled);
    let service = service_fn(|request| {
        let (context, dispatch, visitor) = (context.clone(), dispatch.clone(), visitor.clone());
        async move { answer(&context, &dispatch, &visitor, Visiting::stream(), request).await }
    });
    let mut connection = std::pin::pin!(builder(executor).serve_connection(TokioIo::new(io), service));
    let mut idle = std::pin::pin!(streams.idle(context.timeouts.keep_alive));
    let drain = &context.drain;
    // Once it closes. If a drain waits for connections, it waits until the last byte is written.
    let mut closing = None;
    loop {
        tokio::select! {
            // It first: what was answered until now is written.
            biased;
            // Whatever ended it, the visitor was told as much as it can be told.
            _ = connection.as_mut() => return,
            () = drain.start.cancelled(), if closing.is_none() => {}
            () = streams.used_up(), if closing.is_none() => {}
            () = idle.as_mut() => {
                if closing.is_some() {
                    return;
                }
                context.metrics.guard_closed(GuardReason::Idle);
            }
            () = drain.now.cancelled() => return,
        }
        closing = Some(context.connection_work());
        connection.as_mut().graceful_shutdown();
        // A visitor that does not answer the farewell is left.
        idle.set(streams.idle(context.timeouts.linger));
    }
}

fn builder(executor: StreamExecutor) -> http2::Builder<StreamExecutor> {
    let mut builder = http2::Builder::new(executor);
    builder
        .timer(TokioTimer::new())
        .max_concurrent_streams(CONCURRENT)
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .max_send_buf_size(SEND_BUFFER)
        .max_header_list_size(HEADER_LIST)
        .max_pending_accept_reset_streams(PENDING_ACCEPT_RESETS)
        .max_local_error_reset_streams(LOCAL_ERROR_RESETS)
        .keep_alive_interval(PING.0)
        .keep_alive_timeout(PING.1)
        .enable_connect_protocol();
    builder
}
