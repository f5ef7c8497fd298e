//! A visitor's connection with HTTP/1.1 on it.

use std::sync::Arc;

use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;

use super::connection::{Visitor, answer};
use super::guard::Guarded;
use super::visitor::{Visiting, VisitorIo, VisitorState, VisitorStream};
use crate::context::Context;
use crate::dispatch::Dispatch;

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
    let io = Guarded::new(io, state.clone(), context.metrics.clone());
    let drain = context.drain.apart();
    let service = service_fn(|request| {
        // Now, not when the future is polled: hyper may look for the visitor's end before.
        answer(&context, &dispatch, &visitor, Visiting::begin(&state), request)
    });
    let mut connection = std::pin::pin!(
        http1::Builder::new()
            // `VisitorIo` keeps the time, with different limits for a head and for a pause.
            .header_read_timeout(None)
            .max_buf_size(READ_AHEAD)
            .serve_connection(TokioIo::new(io), service)
            .with_upgrades()
    );
    let mut draining = false;
    loop {
        tokio::select! {
            // Whatever ended it, the visitor was told as much as it can be told.
            _ = connection.as_mut() => return,
            () = drain.start.cancelled(), if !draining => {
                draining = true;
                connection.as_mut().graceful_shutdown();
            }
            () = drain.now.cancelled() => return,
        }
    }
}
