//! Visitors' connections that are relayed as they are, each from the first look at who serves it to its end.

use std::future::poll_fn;
use std::net::{SocketAddr, TcpStream as StdStream};
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};
use ops::error_kind::ErrorKind;
use policy::retry::Knowledge;
use protocol::request::{Kind, Opening, TraceContext};
use tokio::net::TcpStream;
use tokio::time::timeout;
use transport::relay::{IdleLimits, RelayEnd, relay};
use transport::session::Substream;
use transport::socket;

use super::ahead::{Unconnected, VisitorGone, Waiting};
use crate::access::{AccessKind, Record};
use crate::context::Context;
use crate::directory::{Connecting, Public, Route, Target};
use crate::dispatch::{Ask, Dispatch, Tries, Unrouted, kind_of_open};
use crate::exchange::{Channel, Order};
use crate::trace;

/// Connects visitors through the members that serve what they came for. A clone is the same one.
#[derive(Debug, Clone)]
pub(super) struct Relaying {
    context: Context,
    dispatch: Arc<Dispatch>,
}

/// Who came, and what for.
struct Visit {
    peer: SocketAddr,
    to: Public,
    /// Who serves it, if somebody did a moment ago.
    found: Option<Route>,
}

/// A member that has connected the visitor to the service.
struct Connected {
    substream: Substream,
    /// What the service said in the meantime.
    early: Bytes,
    idle_timeout: Option<Duration>,
}

impl Relaying {
    pub(super) fn new(dispatch: Arc<Dispatch>, context: Context) -> Self {
        Self { context, dispatch }
    }

    pub(super) fn context(&self) -> &Context {
        &self.context
    }

    pub(super) fn dispatch(&self) -> &Dispatch {
        &self.dispatch
    }

    /// Serves a visitor of `to` who comes from `peer`, in a task where the session runs that will most likely carry it:
    /// `stream` is of no runtime, so that this worker can be the first to read it. `kept` is dropped at the end.
    pub(super) fn start<K: Send + 'static>(&self, stream: StdStream, peer: SocketAddr, to: Public, kept: K) {
        let peer = SocketAddr::new(peer.ip().to_canonical(), peer.port());
        // The only look there is if it finds somebody: another one would take the next one's turn.
        let found = self.dispatch.live(Ask::Connection(&Connecting { to: &to, client: peer.ip() })).ok();
        let first = found.as_ref().and_then(|route| route.targets.first());
        let spawner = &self.context.spawner;
        let worker = first.map_or_else(|| spawner.here(), |target| target.session.worker());
        let relaying = self.clone();
        spawner.spawn(worker, "visitor", async move {
            relaying.visit(stream, Visit { peer, to, found }).await;
            drop(kept);
        });
    }

    /// A visitor asked for what is nobody's.
    pub(super) fn unknown(&self, peer: SocketAddr, to: &Public) {
        self.record(peer, to, trace::fresh()).failed(ErrorKind::NoRoute);
    }

    fn record(&self, peer: SocketAddr, to: &Public, trace: TraceContext) -> Box<Record> {
        let mut record = Record::start(&self.context, AccessKind::Tcp, trace.trace_id);
        record.line.visitor = Some(SocketAddr::new(peer.ip().to_canonical(), peer.port()));
        record.line.host = to.host().cloned();
        record
    }

    async fn visit(self, stream: StdStream, visit: Visit) {
        let Ok(stream) = TcpStream::from_std(stream) else { return };
        // A visitor that vanishes is found by the kernel: an idle connection is none of our business.
        let _ = socket::keep_alive(&stream);
        let trace = trace::fresh();
        let mut record = self.record(visit.peer, &visit.to, trace);
        let mut visitor = Waiting { stream, ahead: BytesMut::new(), ended: false };
        let ended = tokio::select! {
            biased;
            () = self.context.drain.now.cancelled() => Err(None),
            served = self.serve(&mut visitor, visit, trace, &mut record) => served.map_err(Some),
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
        visit: Visit,
        trace: TraceContext,
        record: &mut Record,
    ) -> Result<Option<Connected>, ErrorKind> {
        let Visit { peer, to, found } = visit;
        let mut tries = self.dispatch.begin();
        let route = match found {
            Some(route) => route,
            None => wait(&tries, &Connecting { to: &to, client: peer.ip() }, record).await?,
        };
        record.routed(&route.labels);
        route.labels.metrics.routed();
        let mut last = ErrorKind::NoMember;
        if !route.admits(peer.ip()) {
            return Err(ErrorKind::NotAllowed);
        }
        for target in &route.targets {
            record.line.member = Some(target.member_name.clone());
            record.opened();
            let head = Opening {
                kind: Kind::Tcp,
                name: &target.service,
                visitor: Some(peer),
                ingress: u32::from(to.port()),
                trace: Some(trace),
            };
            match self.open(visitor, target, &head, route.idle_timeout).await {
                Ok(Ok(connected)) => {
                    tries.answered();
                    target.fitness.reached();
                    return Ok(Some(connected));
                }
                Ok(Err(VisitorGone)) => return Ok(None),
                Err(Unconnected { kind, known }) => {
                    last = kind;
                    target.fitness.failed(kind, known, route.targets.len() > 1, Instant::now());
                    if !tries.another(&route.labels, known, false, true) {
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
        idle_timeout: Option<Duration>,
    ) -> Result<Result<Connected, VisitorGone>, Unconnected> {
        let failed = |kind, known| Unconnected { kind, known };
        let mut first = BytesMut::new();
        head.encode(&mut first).map_err(|_| failed(ErrorKind::Internal, Knowledge::Answered))?;
        first.extend_from_slice(&visitor.ahead);
        let substream = target
            .open(first.freeze())
            .map_err(|error| failed(kind_of_open(error), Knowledge::NotConnected))?;
        let mut channel = Channel::new(substream, Bytes::new(), Order::Statuses);
        let timeouts = self.context.timeouts();
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
        Ok(Ok(Connected { substream, early, idle_timeout }))
    }

    async fn relay(&self, visitor: Waiting, connected: Connected, record: &mut Record) {
        let Connected { substream, early, idle_timeout } = connected;
        let half_closed = self.context.timeouts().half_closed_tcp;
        let half_closed = idle_timeout.map_or(half_closed, |idle| idle.min(half_closed));
        let limits = IdleLimits { open: idle_timeout, half_closed };
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

/// Waits until somebody serves it, if it is known.
async fn wait(tries: &Tries<'_>, asked: &Connecting<'_>, record: &mut Record) -> Result<Route, ErrorKind> {
    tries.route(Ask::Connection(asked)).await.map_err(|unrouted| match unrouted {
        Unrouted::NoMember(labels, _) => {
            record.routed(&labels);
            ErrorKind::NoMember
        }
        // Answers are for requests.
        Unrouted::NoRoute | Unrouted::Answer(..) => ErrorKind::NoRoute,
    })
}
