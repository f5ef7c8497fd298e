//! What is told of a request or a connection once it is over: to the log, the metrics and the live view.

use std::fmt::{self, Write as _};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use http::Method;
use http::uri::PathAndQuery;
use ops::drain::Work;
use ops::error_kind::ErrorKind;
use ops::metrics::{Direction, Failure, GaugeGuard, Metrics, RouteMetrics};
use policy::host::Host;

use crate::concurrency::Place;
use crate::context::Context;
use crate::directory::RouteLabels;
use crate::plugin::Ending;
use crate::trace::TraceId;

/// What passed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AccessKind {
    /// An HTTP request and its response.
    Http,
    /// An HTTP request that became a connection: a WebSocket, or another upgrade.
    Upgrade,
    /// A TCP connection.
    Tcp,
}

/// One request or connection that is over.
#[derive(Debug, Clone)]
pub struct AccessLine {
    /// The trace it belongs to.
    pub trace: [u8; 16],
    /// What it was.
    pub kind: AccessKind,
    /// Who came, as far as it is known here.
    pub visitor: Option<SocketAddr>,
    /// The method; none for TCP.
    pub method: Option<Method>,
    /// The path with its query, which may hold secrets of the visitor: a log shows the path only.
    pub path: Option<PathAndQuery>,
    /// The canonical host; none if the request named none, and for TCP unless TLS asked for one.
    pub host: Option<Host>,
    /// The rule or tunnel; none if nothing matched.
    pub route: Option<Arc<str>>,
    /// The service within its group; none if no route matched.
    pub service: Option<Arc<str>>,
    /// The member that answered, or that was tried last.
    pub member: Option<Arc<str>>,
    /// The status that the visitor got; none if it got none, and for TCP.
    pub status: Option<u16>,
    /// Bytes of bodies or connections from the visitor to the service.
    pub bytes_up: u64,
    /// Bytes of bodies or connections from the service to the visitor.
    pub bytes_down: u64,
    /// From the complete head, or the accept, to the end.
    pub duration: Duration,
    /// What went wrong, if something other than the visitor did.
    pub error: Option<ErrorKind>,
}

/// Hears of every request and connection at its end. Called on the hot path: it must not block.
pub trait RequestSink: Send + Sync {
    /// A request or connection is over.
    fn request(&self, line: &AccessLine);
}

/// Writes access lines to the log, target `access`.
#[derive(Debug, Clone, Copy, Default)]
pub struct LogSink;

impl RequestSink for LogSink {
    fn request(&self, line: &AccessLine) {
        let host = line.host.as_ref().map(Host::as_str);
        tracing::info!(
            target: "access",
            trace = %TraceId(line.trace),
            visitor = line.visitor.map(|visitor| tracing::field::display(Address(visitor))),
            method = line.method.as_ref().map(Method::as_str),
            host,
            path = line.path.as_ref().map(PathAndQuery::path),
            route = line.route.as_deref(),
            service = line.service.as_deref(),
            member = line.member.as_deref(),
            status = line.status,
            bytes_up = line.bytes_up,
            bytes_down = line.bytes_down,
            ms = u64::try_from(line.duration.as_millis()).unwrap_or(u64::MAX),
            error = line.error.map(ErrorKind::as_str),
            "{}",
            match line.kind {
                AccessKind::Http => "request",
                AccessKind::Upgrade => "upgraded connection",
                AccessKind::Tcp => "connection",
            },
        );
    }
}

/// An address, as the standard library writes it. That one takes a few thousand instructions, and there is one in every line.
struct Address(SocketAddr);

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let SocketAddr::V4(address) = self.0 else { return self.0.fmt(f) };
        let mut digits = itoa::Buffer::new();
        let [a, b, c, d] = address.ip().octets();
        f.write_str(digits.format(a))?;
        for part in [b, c, d] {
            f.write_char('.')?;
            f.write_str(digits.format(part))?;
        }
        f.write_char(':')?;
        f.write_str(digits.format(address.port()))
    }
}

/// The line of a request or connection that is not over; when it is dropped, the line is told. Boxed, because it changes hands
/// often.
pub(crate) struct Record {
    pub(crate) line: AccessLine,
    started: Instant,
    route: Option<RouteMetrics>,
    metrics: Metrics,
    sink: Arc<dyn RequestSink>,
    /// Held for as long as a drain is to wait.
    work: Option<Work>,
    substream: Option<GaugeGuard>,
    /// The plugins that are told.
    ending: Option<Box<Ending>>,
    /// Among the requests that are worked on.
    pub(crate) place: Option<Place>,
}

impl Record {
    pub(crate) fn start(context: &Context, kind: AccessKind, trace: [u8; 16]) -> Box<Self> {
        Box::new(Self {
            line: AccessLine {
                trace,
                kind,
                visitor: None,
                method: None,
                path: None,
                host: None,
                route: None,
                service: None,
                member: None,
                status: None,
                bytes_up: 0,
                bytes_down: 0,
                duration: Duration::ZERO,
                error: None,
            },
            started: Instant::now(),
            route: None,
            metrics: context.metrics.clone(),
            sink: context.sink.clone(),
            work: match kind {
                AccessKind::Http => Some(context.drain.work()),
                AccessKind::Upgrade | AccessKind::Tcp => context.connection_work(),
            },
            substream: None,
            ending: None,
            place: None,
        })
    }

    /// The route is known.
    pub(crate) fn routed(&mut self, labels: &RouteLabels) {
        self.line.route = Some(labels.route.clone());
        self.line.service = Some(labels.service.clone());
        self.route = Some(labels.metrics.clone());
    }

    /// Plugins are to be told when it is over.
    pub(crate) fn tells(&mut self, ending: Ending) {
        self.ending = Some(Box::new(ending));
    }

    /// The request has become a connection.
    pub(crate) fn upgraded(&mut self, context: &Context) {
        self.line.kind = AccessKind::Upgrade;
        self.place = None;
        self.work = context.connection_work();
    }

    /// A substream is opened for it.
    pub(crate) fn opened(&mut self) {
        self.substream.get_or_insert_with(|| self.metrics.substream());
    }

    /// Something went wrong; the first thing is the cause of the others.
    pub(crate) fn failed(&mut self, kind: ErrorKind) {
        self.line.error.get_or_insert(kind);
    }

    /// The visitor gets an answer of ours with this status; `kind` says what failed, if something did.
    pub(crate) fn answered(&mut self, status: u16, kind: Option<ErrorKind>) {
        if let Some(kind) = kind {
            self.failed(kind);
        }
        self.line.status = Some(status);
    }

    /// Bytes that went towards the service.
    pub(crate) fn up(&mut self, bytes: u64) {
        self.line.bytes_up = self.line.bytes_up.saturating_add(bytes);
    }

    /// Bytes that went towards the visitor.
    pub(crate) fn down(&mut self, bytes: u64) {
        self.line.bytes_down = self.line.bytes_down.saturating_add(bytes);
    }
}

impl Drop for Record {
    fn drop(&mut self) {
        self.line.duration = self.started.elapsed();
        self.metrics.bytes(Direction::In, self.line.bytes_up);
        self.metrics.bytes(Direction::Out, self.line.bytes_down);
        let route = self.route.take().unwrap_or_else(|| self.metrics.unrouted());
        if let Some(status) = self.line.status {
            route.request(status, self.line.duration);
            self.metrics.judge(self.line.error);
        }
        if let Some(kind) = self.line.error {
            route.error(Failure { kind, at: SystemTime::now(), trace: self.line.trace });
        }
        self.sink.request(&self.line);
        if let Some(ending) = self.ending.take() {
            ending.tell(&self.line);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_written_as_everywhere() {
        for address in
            ["0.0.0.0:0", "127.0.0.1:80", "203.0.113.255:65535", "[::1]:8080", "[::ffff:192.0.2.1]:1"]
        {
            let address: SocketAddr = address.parse().unwrap();
            assert_eq!(Address(address).to_string(), address.to_string());
        }
    }
}
