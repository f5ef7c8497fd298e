//! D09: six ways to end, over six kinds of connection. A FIN comes out as a FIN behind all bytes; a reset, or the death of
//! the session, comes out as a reset and never as an end.

use std::time::Duration;

use h2::Reason;
use tests::fixture::{Played, PlayedHttp2};
use tests::http2::{self, Http2Visitor};
use tests::pattern;
use tests::tunnelc::SESSIONS;
use tests::visitor::Raw;
use tests::wait::{SOON, promised, within};

use super::Linked;
use super::side::{Framing, Outcome, Side};
use crate::stage::HOST;

/// What the visitor sends, and the service: bytes.
const UPLOAD: usize = 200_000;
const ANSWER: usize = 300_000;
/// How soon a reset comes out at the other side.
const AT_ONCE: Duration = Duration::from_secs(1);

/// A kind of connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Column {
    Tcp,
    /// HTTP/1.1 with lengths.
    Length,
    Chunked,
    /// A response that only the end of its connection delimits, to a visitor who reads it so.
    ToTheEnd,
    Http2,
    WebSocket,
}

/// Both services of the test; a column has use for one of them.
struct Services {
    sockets: Played,
    streams: PlayedHttp2,
}

struct Cell {
    column: Column,
    linked: Linked,
    services: Services,
}

impl Cell {
    async fn of(column: Column) -> Self {
        let services = Services { sockets: Played::start().await, streams: PlayedHttp2::start().await };
        let linked = match column {
            Column::Tcp => Linked::tcp(services.sockets.addr()).await,
            Column::Http2 => Linked::http(format!("h2c://{}", services.streams.addr())).await,
            _ => Linked::http(services.sockets.addr()).await,
        };
        Self { column, linked, services }
    }

    /// An exchange whose heads are through, as its visitor and its service see it.
    async fn exchange(&self) -> (Side, Side) {
        let door = self.linked.server.listen().http;
        match self.column {
            Column::Tcp => {
                let mut visitor = Raw::open(self.linked.tunnel.tcp()).await;
                visitor.send("!").await;
                let mut service = self.services.sockets.accept().await;
                service.exactly(1).await;
                let bytes = Framing::ToTheEnd;
                (Side::socket(visitor, bytes, bytes), Side::socket(service, bytes, bytes))
            }
            Column::Http2 => {
                let mut visitor = Http2Visitor::connect(door).await.unwrap();
                let (response, send) =
                    visitor.send(http2::request("POST", HOST, "/", &[]), false).await.unwrap();
                let (request, mut respond) = self.services.streams.accept().await;
                let answer = respond.send_response(http::Response::new(()), false).unwrap();
                let response = within("the head of the response", SOON, response).await.unwrap();
                let visitor = Side::stream(send, response.into_body()).with(visitor);
                (visitor, Side::stream(answer, request.into_body()))
            }
            Column::Length => {
                let (upload, answer) = (Framing::Length(UPLOAD), Framing::Length(ANSWER));
                let head = format!("POST / HTTP/1.1\r\nHost: {HOST}\r\nContent-Length: {UPLOAD}\r\n\r\n");
                let reply = format!("HTTP/1.1 200 OK\r\nContent-Length: {ANSWER}\r\n\r\n");
                self.over_http1(&head, &reply, upload, answer).await
            }
            Column::Chunked => {
                let head = format!("POST / HTTP/1.1\r\nHost: {HOST}\r\nTransfer-Encoding: chunked\r\n\r\n");
                let reply = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";
                self.over_http1(&head, reply, Framing::Chunked, Framing::Chunked).await
            }
            Column::ToTheEnd => {
                let head = format!("POST / HTTP/1.0\r\nHost: {HOST}\r\nContent-Length: {UPLOAD}\r\n\r\n");
                let reply = "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n";
                self.over_http1(&head, reply, Framing::Length(UPLOAD), Framing::ToTheEnd).await
            }
            Column::WebSocket => {
                let head = format!(
                    "GET / HTTP/1.1\r\nHost: {HOST}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
                     Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
                );
                let reply = "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
                             Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n";
                self.over_http1(&head, reply, Framing::ToTheEnd, Framing::ToTheEnd).await
            }
        }
    }

    async fn over_http1(&self, head: &str, reply: &str, upload: Framing, answer: Framing) -> (Side, Side) {
        let mut visitor = Raw::open(self.linked.server.listen().http).await;
        visitor.send(head).await;
        let mut service = self.services.sockets.accept().await;
        service.head().await;
        service.send(reply).await;
        let status = visitor.head().await;
        assert!(status.contains(" 200 ") || status.contains(" 101 "), "{status}");
        (Side::socket(visitor, answer, upload), Side::socket(service, upload, answer))
    }

    /// Whether the end of the answer is the end of everything.
    fn is_exchange(&self) -> bool {
        !matches!(self.column, Column::Tcp | Column::WebSocket)
    }

    async fn visitor_ends_first(&self) {
        let (mut visitor, mut service) = self.exchange().await;
        let upload = async {
            visitor.say(&pattern::all(UPLOAD)).await;
            visitor.finish().await;
        };
        let ((), (bytes, outcome)) = tokio::join!(upload, service.end(SOON));
        assert!(bytes == pattern::all(UPLOAD) && outcome == Outcome::Whole, "{} {outcome:?}", bytes.len());
        let answer = async {
            service.say(&pattern::all(ANSWER)).await;
            service.finish().await;
        };
        let ((), (bytes, outcome)) = tokio::join!(answer, visitor.end(SOON));
        assert!(bytes == pattern::all(ANSWER) && outcome == Outcome::Whole, "{} {outcome:?}", bytes.len());
    }

    async fn service_ends_first(&self) {
        let (mut visitor, mut service) = self.exchange().await;
        let sent = pattern::all(UPLOAD);
        tokio::join!(visitor.say(&sent), service.hear(UPLOAD));
        let answer = async {
            service.say(&pattern::all(ANSWER)).await;
            service.finish().await;
        };
        let ((), (bytes, outcome)) = tokio::join!(answer, visitor.end(SOON));
        assert!(bytes == pattern::all(ANSWER) && outcome == Outcome::Whole, "{} {outcome:?}", bytes.len());
        if !self.is_exchange() {
            // The other way is open as long as the visitor likes.
            visitor.say(b"more").await;
            visitor.finish().await;
            let (bytes, outcome) = service.end(SOON).await;
            assert!(bytes == [&sent[..], b"more"].concat() && outcome == Outcome::Whole, "{outcome:?}");
        }
    }

    async fn both_end(&self) {
        let (mut visitor, mut service) = self.exchange().await;
        let (sent, answer) = (pattern::all(UPLOAD), pattern::all(ANSWER));
        tokio::join!(visitor.say(&sent), service.hear(UPLOAD));
        tokio::join!(service.say(&answer), visitor.hear(ANSWER));
        tokio::join!(visitor.finish(), service.finish());
        let ((uploaded, at_service), (answered, at_visitor)) =
            tokio::join!(service.end(SOON), visitor.end(SOON));
        assert!(uploaded == sent && answered == answer);
        assert_eq!(at_visitor, Outcome::Whole);
        // An answer that is there before the end of the request makes an end of both.
        let overtaken = self.is_exchange() && (at_service.is_broken() || at_service == Outcome::Short);
        assert!(at_service == Outcome::Whole || overtaken, "{at_service:?}");
    }

    /// Half of everything is through.
    async fn halfway(&self) -> (Side, Side) {
        let (mut visitor, mut service) = self.exchange().await;
        let (sent, answer) = (pattern::all(UPLOAD / 2), pattern::all(ANSWER / 2));
        tokio::join!(visitor.say(&sent), service.hear(UPLOAD / 2));
        tokio::join!(service.say(&answer), visitor.hear(ANSWER / 2));
        (visitor, service)
    }

    async fn visitor_resets(&self) {
        let (visitor, mut service) = self.halfway().await;
        let _connection = visitor.reset();
        let (bytes, outcome) = service.end(promised(AT_ONCE)).await;
        assert!(bytes == pattern::all(UPLOAD / 2) && outcome.is_broken(), "{} {outcome:?}", bytes.len());
    }

    async fn service_resets(&self) {
        let (mut visitor, service) = self.halfway().await;
        let _connection = service.reset();
        let (bytes, outcome) = visitor.end(promised(AT_ONCE)).await;
        let reset = match self.column {
            Column::Http2 => Outcome::ResetFor(Reason::INTERNAL_ERROR),
            _ => Outcome::Reset,
        };
        assert!(bytes == pattern::all(ANSWER / 2) && outcome == reset, "{} {outcome:?}", bytes.len());
    }

    async fn session_is_killed(&self) {
        let (mut visitor, mut service) = self.halfway().await;
        self.linked.link.cut();
        let ((uploaded, at_service), (answered, at_visitor)) =
            tokio::join!(service.end(promised(AT_ONCE)), visitor.end(promised(AT_ONCE)));
        assert!(uploaded == pattern::all(UPLOAD / 2) && answered == pattern::all(ANSWER / 2));
        assert!(at_service.is_broken() && at_visitor.is_broken(), "{at_service:?} {at_visitor:?}");
        self.linked.server.has_sessions(SESSIONS, SOON).await;
    }
}

/// All rows of a column.
async fn column(column: Column) {
    let cell = Cell::of(column).await;
    // What a first exchange makes stays.
    cell.visitor_ends_first().await;
    let baseline = cell.linked.baseline().await;
    cell.visitor_ends_first().await;
    cell.service_ends_first().await;
    cell.both_end().await;
    cell.visitor_resets().await;
    cell.service_resets().await;
    cell.session_is_killed().await;
    cell.visitor_ends_first().await;
    let Cell { linked, services, .. } = cell;
    drop(services);
    linked.leaves_nothing(&baseline).await;
}

#[tokio::test]
async fn d09_ends_of_tcp() {
    column(Column::Tcp).await;
}

#[tokio::test]
async fn d09_ends_of_http1_with_lengths() {
    column(Column::Length).await;
}

#[tokio::test]
async fn d09_ends_of_http1_in_chunks() {
    column(Column::Chunked).await;
}

#[tokio::test]
async fn d09_ends_of_http1_delimited_by_the_end() {
    column(Column::ToTheEnd).await;
}

#[tokio::test]
async fn d09_ends_of_http2() {
    column(Column::Http2).await;
}

#[tokio::test]
async fn d09_ends_of_websockets() {
    column(Column::WebSocket).await;
}
