//! A visitor's connection with HTTP/2 on it.

use std::future::poll_fn;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use h2::server::{Builder, Connection};
use ops::metrics::GuardReason;
use tokio::time::timeout;

use super::connection::Visitor;
use super::stream::Stream;
use super::streams::Streams;
use super::visitor::{VisitorIo, VisitorState, VisitorStream};
use crate::context::Context;
use crate::dispatch::Dispatch;
use crate::http2::{Heard, Heartbeat, Listened};

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
/// A visitor that says nothing for so long is asked whether it is there, and may take as long to say so.
const PING: Duration = Duration::from_secs(20);

/// Answers what comes on `io`, all requests at once. During a drain no new ones are taken.
pub(super) async fn serve<S: VisitorStream>(
    io: VisitorIo<S>,
    state: Arc<VisitorState>,
    visitor: Visitor,
    dispatch: Arc<Dispatch>,
    context: Context,
) {
    state.multiplex();
    let drain = &context.drain;
    let heard = Heard::now();
    let greeted = tokio::select! {
        biased;
        () = drain.now.cancelled() => return,
        greeted = timeout(context.timeouts().head, builder().handshake(Listened::new(io, heard.clone()))) => greeted,
    };
    let mut connection: Connection<_, Bytes> = match greeted {
        Ok(Ok(connection)) => connection,
        Ok(Err(_)) => return,
        Err(_) => return context.metrics.guard_closed(GuardReason::SlowHead),
    };
    let visitor = Arc::new(visitor);
    let streams = Arc::new(Streams::new(STREAMS));
    let mut idle = std::pin::pin!(streams.idle(context.timeouts().keep_alive));
    let pings = connection.ping_pong();
    let mut lost = std::pin::pin!(async {
        match pings {
            Some(pings) => Heartbeat::new(pings, heard).lost(PING, || true).await,
            None => std::future::pending().await,
        }
    });
    // Once it closes. If a drain waits for connections, it waits until the last byte is written.
    let mut closing = None;
    loop {
        tokio::select! {
            // It first: what was answered until now is written.
            biased;
            accepted = poll_fn(|cx| connection.poll_accept(cx)) => {
                // Whatever ended it, the visitor was told as much as it can be told.
                let Some(Ok((request, respond))) = accepted else { return };
                let stream = Stream::new(respond, &visitor, &dispatch, &context, streams.open());
                context.spawner.spawn(context.spawner.here(), "stream", stream.answer(request));
                continue;
            }
            () = drain.start.cancelled(), if closing.is_none() => {}
            () = streams.used_up(), if closing.is_none() => {}
            () = idle.as_mut() => {
                if closing.is_some() {
                    return;
                }
                context.metrics.guard_closed(GuardReason::Idle);
            }
            () = lost.as_mut() => return,
            () = drain.now.cancelled() => return,
        }
        closing = Some(context.connection_work());
        connection.graceful_shutdown();
        // A visitor that does not answer the farewell is left.
        idle.set(streams.idle(context.timeouts().linger));
    }
}

fn builder() -> Builder {
    let mut builder = Builder::new();
    builder
        .max_concurrent_streams(CONCURRENT)
        .initial_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .max_send_buffer_size(SEND_BUFFER)
        .max_header_list_size(HEADER_LIST)
        .max_pending_accept_reset_streams(PENDING_ACCEPT_RESETS)
        .max_local_error_reset_streams(Some(LOCAL_ERROR_RESETS))
        .enable_connect_protocol();
    builder
}
