//! The end that dials: serves the substreams that the peer of a session opens.

use std::future::poll_fn;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Poll, ready};

use bytes::{Bytes, BytesMut};
use ops::error_kind::ErrorKind;
use ops::spawn::Worker;
use protocol::code::Code;
use protocol::exchange::RequestOrder;
use protocol::frame::Header;
use protocol::limits::SUBSTREAMS_ACCEPTED_MAX;
use protocol::request::{Head, Kind, Status};
use tokio::sync::Semaphore;
use transport::deadline::within;
use transport::relay::{IdleLimits, RelayEnd, relay};
use transport::session::{Inbound, Substream};

use crate::access::{AccessKind, Record};
use crate::context::Context;
use crate::error::kind_of;
use crate::exchange::{Channel, Frames, Order, respond};
use crate::service::{Offered, Service};
use crate::trace;

/// Substreams above the limit that are told so at once; further ones are reset.
const REFUSED_AT_ONCE: usize = 64;

/// Serves every substream that the peer opens with what is `offered`, until the session is over. `worker` is the session's,
/// where the substreams run too.
///
/// During a drain new substreams are refused; those in progress go on until its end.
pub async fn serve(mut inbound: Inbound, worker: Worker, offered: Arc<dyn Offered>, context: Context) {
    let places = Arc::new(Semaphore::new(usize::try_from(SUBSTREAMS_ACCEPTED_MAX).unwrap_or(usize::MAX)));
    let refusals = Arc::new(Semaphore::new(REFUSED_AT_ONCE));
    let context = Arc::new(Context { drain: context.drain.apart(), ..context });
    while let Some(substream) = inbound.accept().await {
        let (offered, context) = (offered.clone(), context.clone());
        let place = places.clone().try_acquire_owned().map_err(|_| Code::SESSION_FULL);
        let place = match offered.admit().and(place) {
            Ok(place) => place,
            Err(code) => {
                if let Ok(refusal) = refusals.clone().try_acquire_owned() {
                    context.spawner.clone().spawn(worker, "refuse", async move {
                        let channel = Channel::new(substream, Bytes::new(), Order::Statuses);
                        refuse(channel, code, context.timeouts().linger).await;
                        drop(refusal);
                    });
                }
                continue;
            }
        };
        context.spawner.clone().spawn(worker, "substream", async move {
            let _place = place;
            let _open = context.metrics.substream();
            // Boxed here, once: a task's future is moved several times before it first runs.
            let served = Box::pin(serve_one(substream, &*offered, &context));
            tokio::select! {
                // It first: most are over the next time that they are looked at, and the drain is behind a lock.
                biased;
                () = served => {}
                // Dropping it resets both sides.
                () = context.drain.now.cancelled() => {}
            }
        });
    }
}

async fn serve_one(mut substream: Substream, offered: &dyn Offered, context: &Context) {
    let timeouts = context.timeouts();
    let linger = timeouts.linger;
    let (head, rest) = match within(timeouts.open, read_head(&mut substream)).await {
        Ok(Ok(read)) => read,
        // It broke off by itself.
        Ok(Err(Headless::Gone)) => return,
        Ok(Err(Headless::Malformed(first))) => {
            if let Some(Header { kind, .. }) = first {
                offered.without_head(kind);
            }
            let channel = Channel::new(substream, Bytes::new(), Order::Statuses);
            return refuse(channel, Code::BAD_REQUEST, linger).await;
        }
        Err(_) => {
            let channel = Channel::new(substream, Bytes::new(), Order::Statuses);
            return refuse(channel, Code::BAD_REQUEST, linger).await;
        }
    };
    let order = match head.kind {
        Kind::Exchange => Order::Request(RequestOrder::new()),
        Kind::Tcp => Order::Statuses,
    };
    let channel = Channel::new(substream, rest, order);
    if context.drain.is_draining() {
        return refuse(channel, Code::DRAINING, linger).await;
    }
    let service = match offered.find(&head.name) {
        Ok(service) => service,
        Err(code) => return refuse(channel, code, linger).await,
    };
    let trace = head.trace.unwrap_or_else(trace::fresh);
    match head.kind {
        Kind::Exchange if service.takes_requests() => {
            let record = record(AccessKind::Http, &head, trace.trace_id, &service, context);
            respond(channel, &service, head.visitor, record, &timeouts, context).await;
        }
        Kind::Tcp if service.takes_connections() => {
            let record = record(AccessKind::Tcp, &head, trace.trace_id, &service, context);
            connect(channel, &service, head.visitor, record, context).await;
        }
        // The name is known, but not as this.
        _ => refuse(channel, Code::UNKNOWN_SERVICE, linger).await,
    }
}

/// Why a substream has no head.
enum Headless {
    Gone,
    /// It begins with something else, of which this is the header if there is one.
    Malformed(Option<Header>),
}

/// The head, and what was read behind it.
async fn read_head(substream: &mut Substream) -> Result<(Head, Bytes), Headless> {
    let mut buffer = BytesMut::new();
    poll_fn(|cx| {
        loop {
            match ready!(Pin::new(&mut *substream).poll_chunk(cx)) {
                // As a rule all of it is in the first, which nobody else holds.
                Ok(Some(chunk)) if buffer.is_empty() => buffer = chunk.into(),
                Ok(Some(chunk)) => buffer.extend_from_slice(&chunk),
                Ok(None) | Err(_) => return Poll::Ready(Err(Headless::Gone)),
            }
            let first = Header::peek(&buffer);
            match Head::take(&mut buffer) {
                Ok(Some(head)) => return Poll::Ready(Ok((head, buffer.split().freeze()))),
                Ok(None) => {}
                Err(_) => return Poll::Ready(Err(Headless::Malformed(first))),
            }
        }
    })
    .await
}

async fn refuse(mut channel: Channel, code: Code, linger: std::time::Duration) {
    let status = Status::Refused { code, text: Default::default() };
    // Without the status it is a reset, which says as much.
    if status.encode(channel.out.buffer()).is_ok() {
        channel.close(linger).await;
    }
}

fn record(
    kind: AccessKind,
    head: &Head,
    trace: [u8; 16],
    service: &Service,
    context: &Context,
) -> Box<Record> {
    let mut record = Record::start(context, kind, trace);
    record.line.visitor = head.visitor;
    record.routed(&service.labels);
    record
}

/// Connects a substream to a service for raw bytes.
async fn connect(
    mut channel: Channel,
    service: &Service,
    visitor: Option<SocketAddr>,
    mut record: Box<Record>,
    context: &Context,
) {
    let timeouts = context.timeouts();
    if Status::Accepted.encode(channel.out.buffer()).is_err() || channel.flush().await.is_err() {
        return;
    }
    let (local, _carried) = match service.servers().raw(visitor).await {
        Ok(connected) => connected,
        Err(error) => {
            record.failed(kind_of(error.code()));
            drop(record);
            let status = Status::Failed { code: error.code(), text: error.text().into() };
            if status.encode(channel.out.buffer()).is_ok() {
                channel.close(timeouts.linger).await;
            }
            return;
        }
    };
    if Status::Connected.encode(channel.out.buffer()).is_err() || channel.flush().await.is_err() {
        return;
    }
    let (substream, early) = channel.into_raw();
    let limits = IdleLimits { open: None, half_closed: timeouts.half_closed_tcp };
    let relayed = relay(local, substream, early, false, limits).await;
    record.up(relayed.from_substream);
    record.down(relayed.to_substream);
    match relayed.end {
        RelayEnd::SessionLost => record.failed(ErrorKind::SessionLost),
        RelayEnd::LocalReset => record.failed(ErrorKind::ServiceCut),
        RelayEnd::Clean | RelayEnd::SubstreamReset | RelayEnd::Idle => {}
    }
}
