//! The listener for raw TCP: a public port leads to one service.

use std::future::poll_fn;
use std::io;
use std::net::{SocketAddr, TcpStream as StdStream};
use std::sync::Arc;
use std::task::{Context as TaskContext, Poll};

use bytes::{Bytes, BytesMut};
use ops::error_kind::ErrorKind;
use ops::metrics::IngressMetrics;
use ops::spawn::Worker;
use policy::retry::Knowledge;
use protocol::exchange::Message;
use protocol::limits::TCP_AHEAD_MAX;
use protocol::request::{Kind, Opening, Status};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use transport::accept::{Accepted, accept_loop};
use transport::relay::{IdleLimits, RelayEnd, relay};
use transport::session::Substream;
use transport::socket;

use crate::access::{AccessKind, Record};
use crate::context::Context;
use crate::directory::{Lookup, Target};
use crate::dispatch::{Ask, Dispatch, Unrouted, kind_of_open};
use crate::error::kind_of;
use crate::exchange::{Broken, Channel, Frames, Order};
use crate::trace;

/// Bytes read from a visitor at once before it is connected.
const READ: usize = 16 * 1024;

/// Takes visitors in on one public port, and connects them through the members that serve it.
#[derive(Debug, Clone)]
pub struct TcpIngress {
    port: u16,
    context: Context,
    dispatch: Arc<Dispatch>,
    metrics: IngressMetrics,
}

/// Why a member did not connect a visitor.
struct Unconnected {
    kind: ErrorKind,
    known: Knowledge,
}

/// The visitor has gone: nobody is left to connect.
struct VisitorGone;

impl TcpIngress {
    /// An ingress for `port`, called `name` in metrics.
    #[must_use]
    pub fn new(name: &str, port: u16, dispatch: Arc<Dispatch>, context: Context) -> Self {
        let metrics = context.metrics.ingress(name);
        Self { port, context, dispatch, metrics }
    }

    /// Accepts on `listener` until `stop`, which should be a child of the drain's start; `permits` bounds the connections
    /// that live at once. The connections go on after it returns.
    pub async fn run(&self, listener: TcpListener, permits: Arc<Semaphore>, stop: CancellationToken) {
        let accepted = |accepted: Accepted| {
            let Accepted { stream, peer, permit } = accepted;
            // Unread so far, so that the worker of its session can be the first to poll it.
            let Ok(stream) = stream.into_std() else { return };
            let task = self.clone().connection(stream, peer, permit);
            self.context.spawner.spawn(self.worker(), "visitor", task);
        };
        let failed = |error: &io::Error| {
            self.context.metrics.accept_error();
            tracing::warn!(%error, port = self.port, "accepting visitors fails");
        };
        accept_loop(listener, permits, stop, accepted, failed).await;
    }

    /// Where the session runs that will most likely carry the next visitor.
    fn worker(&self) -> Worker {
        match self.dispatch.lookup(Ask::Tcp(self.port)) {
            Lookup::Found(route) => route.targets.first().map(|target| target.session.worker()),
            Lookup::Reserved(..) | Lookup::Answer(..) | Lookup::Unknown => None,
        }
        .unwrap_or_else(|| self.context.spawner.here())
    }

    async fn connection(self, stream: StdStream, peer: SocketAddr, _permit: OwnedSemaphorePermit) {
        let Ok(stream) = TcpStream::from_std(stream) else { return };
        // A visitor that vanishes is found by the kernel: an idle connection is none of our business.
        let _ = socket::keep_alive(&stream);
        let _active = self.metrics.connection();
        let trace = trace::fresh();
        let mut record = Record::start(&self.context, AccessKind::Tcp, trace.trace_id);
        record.line.visitor = Some(SocketAddr::new(peer.ip().to_canonical(), peer.port()));
        let mut visitor = Waiting { stream, ahead: BytesMut::new(), ended: false };
        let ended = tokio::select! {
            biased;
            () = self.context.drain.now.cancelled() => Err(None),
            served = self.serve(&mut visitor, trace, &mut record) => served.map_err(Some),
        };
        match ended {
            Ok(Some(connected)) => {
                tokio::select! {
                    biased;
                    // Dropping the relay resets both sides.
                    () = self.context.drain.now.cancelled() => {}
                    () = self.relay(visitor, connected, &mut record) => {}
                }
            }
            Ok(None) => socket::abort(visitor.stream),
            Err(kind) => {
                if let Some(kind) = kind {
                    record.failed(kind);
                }
                socket::abort(visitor.stream);
            }
        }
    }

    /// Connects the visitor through one member after the other; none if it has gone.
    async fn serve(
        &self,
        visitor: &mut Waiting,
        trace: protocol::request::TraceContext,
        record: &mut Record,
    ) -> Result<Option<Connected>, ErrorKind> {
        let mut tries = self.dispatch.begin();
        let route = tries.route(Ask::Tcp(self.port)).await.map_err(|unrouted| match unrouted {
            Unrouted::NoMember(labels, _) => {
                record.routed(&labels);
                ErrorKind::NoMember
            }
            // Answers are for requests.
            Unrouted::NoRoute | Unrouted::Answer(..) => ErrorKind::NoRoute,
        })?;
        record.routed(&route.labels);
        let mut last = ErrorKind::NoMember;
        let address = record.line.visitor;
        if address.is_some_and(|address| !route.admits(address.ip())) {
            return Err(ErrorKind::NotAllowed);
        }
        for target in &route.targets {
            record.line.member = Some(target.member_name.clone());
            record.opened();
            let head = Opening {
                kind: Kind::Tcp,
                name: &target.service,
                visitor: address,
                ingress: u32::from(self.port),
                trace: Some(trace),
            };
            match self.open(visitor, target, &head).await {
                Ok(Ok(connected)) => {
                    tries.answered();
                    return Ok(Some(connected));
                }
                Ok(Err(VisitorGone)) => return Ok(None),
                Err(Unconnected { kind, known }) => {
                    last = kind;
                    if !tries.another(known, false, true) {
                        break;
                    }
                    tries.pause(kind, known).await;
                }
            }
        }
        Err(last)
    }

    async fn open(
        &self,
        visitor: &mut Waiting,
        target: &Target,
        head: &Opening<'_>,
    ) -> Result<Result<Connected, VisitorGone>, Unconnected> {
        let failed = |kind, known| Unconnected { kind, known };
        let mut first = BytesMut::new();
        head.encode(&mut first).map_err(|_| failed(ErrorKind::Internal, Knowledge::Answered))?;
        first.extend_from_slice(&visitor.ahead);
        let substream = target
            .session
            .open(first.freeze())
            .map_err(|error| failed(kind_of_open(error), Knowledge::NotConnected))?;
        let mut channel = Channel::new(substream, Bytes::new(), Order::Statuses);
        let timeouts = &self.context.timeouts;
        // The other end reports first that it could not dial.
        let limit = timeouts.open.saturating_add(timeouts.dial);
        let answer = timeout(limit, poll_fn(|cx| visitor.poll_connected(&mut channel, cx))).await;
        match answer.unwrap_or(Err(failed(ErrorKind::OpenTimeout, Knowledge::NoAnswerByte)))? {
            Ok(()) => {}
            Err(gone) => return Ok(Err(gone)),
        }
        // All of it fits into the window of a fresh substream.
        channel.flush().await.map_err(|_| failed(ErrorKind::SessionLost, Knowledge::SessionLost))?;
        let (substream, early) = channel.into_raw();
        Ok(Ok(Connected { substream, early }))
    }

    async fn relay(&self, visitor: Waiting, connected: Connected, record: &mut Record) {
        let limits = IdleLimits { open: None, half_closed: self.context.timeouts.half_closed_tcp };
        let Connected { substream, early } = connected;
        let ahead = u64::try_from(visitor.ahead.len()).unwrap_or(0);
        drop(visitor.ahead);
        let relayed = relay(visitor.stream.into(), substream, early, visitor.ended, limits).await;
        record.up(ahead.saturating_add(relayed.to_substream));
        record.down(relayed.from_substream);
        match relayed.end {
            RelayEnd::SessionLost => record.failed(ErrorKind::SessionLost),
            RelayEnd::SubstreamReset => record.failed(ErrorKind::ServiceCut),
            RelayEnd::Clean | RelayEnd::LocalReset | RelayEnd::Idle => {}
        }
    }
}

/// A member that has connected the visitor to the service.
struct Connected {
    substream: Substream,
    /// What the service said in the meantime.
    early: Bytes,
}

/// A visitor that is not connected yet.
struct Waiting {
    stream: TcpStream,
    /// What it said so far, for another member.
    ahead: BytesMut,
    /// It has ended its way.
    ended: bool,
}

impl Waiting {
    /// Sends what the visitor says ahead, until the member has answered.
    fn poll_connected(
        &mut self,
        channel: &mut Channel,
        cx: &mut TaskContext<'_>,
    ) -> Poll<Result<Result<(), VisitorGone>, Unconnected>> {
        let failed = |kind, known| Poll::Ready(Err(Unconnected { kind, known }));
        if self.poll_ahead(channel, cx).is_err() {
            return Poll::Ready(Ok(Err(VisitorGone)));
        }
        // Whoever reads the channel learns why it can not be written.
        let _ = channel.poll_flush(cx);
        loop {
            let Poll::Ready(message) = channel.poll_message(cx) else { return Poll::Pending };
            return match message {
                Ok(Message::Status(Status::Accepted)) => continue,
                Ok(Message::Status(Status::Connected)) => Poll::Ready(Ok(Ok(()))),
                Ok(Message::Status(Status::Refused { code, .. })) => {
                    failed(kind_of(code), Knowledge::RefusedBeforeAnyByte)
                }
                Ok(Message::Status(Status::Failed { code, .. })) => {
                    failed(kind_of(code), Knowledge::FailedBeforeAnyByte)
                }
                Ok(_) => failed(ErrorKind::Internal, Knowledge::Answered),
                Err(Broken::SessionLost) => failed(ErrorKind::SessionLost, Knowledge::SessionLost),
                Err(Broken::Ended | Broken::Reset) => failed(ErrorKind::ServiceCut, Knowledge::NoAnswerByte),
                Err(Broken::Malformed(_) | Broken::Misplaced(_)) => {
                    failed(ErrorKind::Internal, Knowledge::Answered)
                }
            };
        }
    }

    /// Reads what the visitor says, as long as it can be kept.
    fn poll_ahead(&mut self, channel: &mut Channel, cx: &mut TaskContext<'_>) -> io::Result<()> {
        while !self.ended && self.ahead.len() < TCP_AHEAD_MAX {
            let Poll::Ready(ready) = self.stream.poll_read_ready(cx) else { return Ok(()) };
            ready?;
            let mut bytes = [0; READ];
            let room = TCP_AHEAD_MAX.saturating_sub(self.ahead.len()).min(READ);
            match self.stream.try_read(bytes.get_mut(..room).unwrap_or_default()) {
                Ok(0) => self.ended = true,
                Ok(read) => {
                    let read = bytes.get(..read).unwrap_or_default();
                    self.ahead.extend_from_slice(read);
                    channel.out.buffer().extend_from_slice(read);
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}
