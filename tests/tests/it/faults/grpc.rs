//! D24: calls of gRPC, by what they are on the wire of HTTP/2.

use std::future::poll_fn;
use std::time::Duration;

use bytes::{BufMut, Bytes, BytesMut};
use h2::server::SendResponse;
use h2::{Reason, RecvStream, SendStream};
use http::{HeaderMap, Request, Response};
use tests::fixture::PlayedHttp2;
use tests::frames::{END_HEADERS, END_STREAM, Framer, HEADERS, block, frame};
use tests::http2::{self, Http2Visitor, data, whole, write};
use tests::leak::Baseline;
use tests::pattern;
use tests::place::nobody;
use tests::tunnelc::Home;
use tests::tunneld::Tunneld;
use tests::wait::{SOON, promised, within};

use crate::stage::{HOST, Web};

const CALL: [(&str, &str); 5] = [
    ("content-type", "application/grpc+proto"),
    ("te", "trailers"),
    ("grpc-timeout", "20S"),
    ("x-trace-bin", "AAEC/w"),
    ("user-agent", "tests/1"),
];
/// How soon the other side hears that a call is over.
const AT_ONCE: Duration = Duration::from_secs(1);

async fn stage() -> Web<PlayedHttp2> {
    let service = PlayedHttp2::start().await;
    let (server, home) = (Tunneld::start().await, Home::new());
    let tunnel = home.http(&server.join(), format!("h2c://{}", service.addr()), &["--host", "demo"]).await;
    Web { tunnel, home, server, service }
}

/// A message behind its prefix.
fn message(bytes: &[u8]) -> Bytes {
    let mut out = BytesMut::new();
    out.put_u8(0);
    out.put_u32(u32::try_from(bytes.len()).unwrap());
    out.put_slice(bytes);
    out.freeze()
}

/// One end of a call.
struct End {
    send: SendStream<Bytes>,
    receive: RecvStream,
    ahead: BytesMut,
}

impl End {
    async fn say(&mut self, bytes: &[u8]) {
        within("room for a message", SOON, write(&mut self.send, message(bytes))).await;
    }

    /// The next message; none at the end.
    async fn hear(&mut self) -> Option<Vec<u8>> {
        loop {
            if let Some((prefix, rest)) = self.ahead.split_at_checked(5) {
                let length = u32::from_be_bytes(prefix[1..].try_into().unwrap()) as usize;
                if rest.len() >= length {
                    let message = self.ahead.split_to(5 + length);
                    return Some(message[5..].to_vec());
                }
            }
            match within("a message", SOON, data(&mut self.receive)).await.unwrap() {
                Some(data) => self.ahead.extend_from_slice(&data),
                None => {
                    assert!(self.ahead.is_empty(), "half a message");
                    return None;
                }
            }
        }
    }

    fn done(&mut self) {
        self.send.send_data(Bytes::new(), true).unwrap();
    }

    fn end_with(&mut self, status: &str) {
        let mut trailers = HeaderMap::new();
        trailers.insert("grpc-status", status.parse().unwrap());
        trailers.insert("grpc-message", "as%20it%20was".parse().unwrap());
        trailers.insert("x-detail-bin", "AQID".parse().unwrap());
        // These would change what came before.
        for forbidden in ["content-length", "host", "authorization", "set-cookie"] {
            trailers.insert(forbidden, "1".parse().unwrap());
        }
        self.send.send_trailers(trailers).unwrap();
    }

    async fn ends_with(&mut self, status: &str) {
        assert_eq!(self.hear().await, None);
        let trailers = within("trailers", SOON, self.receive.trailers()).await.unwrap().unwrap();
        let mut names: Vec<_> = trailers.keys().map(http::HeaderName::as_str).collect();
        names.sort_unstable();
        assert_eq!(names, ["grpc-message", "grpc-status", "x-detail-bin"]);
        assert_eq!(trailers["grpc-status"], status);
        assert_eq!(trailers["grpc-message"], "as%20it%20was");
        assert_eq!(trailers["x-detail-bin"], "AQID");
    }

    /// Waits for the reset of what the other side sends.
    async fn is_reset(&mut self) -> Reason {
        within("a reset", promised(AT_ONCE), whole(&mut self.receive)).await.1.unwrap_err()
    }
}

/// Waits until nobody wants the answer.
async fn is_left(respond: &mut SendResponse<Bytes>) -> Reason {
    poll_fn(|cx| respond.poll_reset(cx)).await.unwrap()
}

struct Call {
    visitor: End,
    service: End,
    _connection: Http2Visitor,
}

impl Web<PlayedHttp2> {
    /// A call that has come to the service, with its visitor's connection.
    async fn called(
        &self,
    ) -> (Http2Visitor, h2::client::ResponseFuture, SendStream<Bytes>, Request<RecvStream>, SendResponse<Bytes>)
    {
        let mut visitor = Http2Visitor::connect(self.door()).await.unwrap();
        let asked = http2::request("POST", HOST, "/pkg.Service/Method", &CALL);
        let (response, send) = visitor.send(asked, false).await.unwrap();
        let (request, respond) = self.service.accept().await;
        (visitor, response, send, request, respond)
    }

    /// A call on which both ways are open.
    async fn call(&self) -> Call {
        let (connection, response, send, request, mut respond) = self.called().await;
        assert_eq!(request.uri().path(), "/pkg.Service/Method");
        for (name, value) in CALL {
            assert_eq!(request.headers()[name], value, "{name}");
        }
        let head = Response::builder().header("content-type", "application/grpc+proto").body(()).unwrap();
        let answer = respond.send_response(head, false).unwrap();
        let response = within("the head of the response", SOON, response).await.unwrap();
        assert_eq!(response.headers()["content-type"], "application/grpc+proto");
        let ahead = BytesMut::new();
        Call {
            visitor: End { send, receive: response.into_body(), ahead: ahead.clone() },
            service: End { send: answer, receive: request.into_body(), ahead },
            _connection: connection,
        }
    }

    async fn leaves_nothing(self, baseline: &Baseline) {
        let Self { server, tunnel, service, .. } = self;
        drop(service);
        baseline.holds(&server, &tunnel.program).await;
    }
}

#[tokio::test]
async fn d24_calls_of_all_kinds() {
    let web = stage().await;
    let mut baseline = None;
    for (from_visitor, from_service) in [(1, 1), (3, 1), (1, 3), (0, 0)] {
        let Call { mut visitor, mut service, _connection } = web.call().await;
        for n in 0..from_visitor {
            // Each arrives before the next is sent.
            visitor.say(&[n; 100]).await;
            assert_eq!(service.hear().await, Some(vec![n; 100]));
        }
        visitor.done();
        assert_eq!(service.hear().await, None);
        for n in 0..from_service {
            service.say(&[n; 200]).await;
            assert_eq!(visitor.hear().await, Some(vec![n; 200]));
        }
        service.end_with("0");
        visitor.ends_with("0").await;
        if baseline.is_none() {
            baseline = Some(Baseline::of(&web.server, &web.tunnel.program).await);
        }
    }
    // Both at once.
    let Call { mut visitor, mut service, _connection } = web.call().await;
    for n in 0..10 {
        visitor.say(&[n; 50]).await;
        assert_eq!(service.hear().await, Some(vec![n; 50]));
        service.say(&[n]).await;
        assert_eq!(visitor.hear().await, Some(vec![n]));
    }
    service.end_with("9");
    visitor.ends_with("9").await;
    drop((visitor, service, _connection));
    web.leaves_nothing(&baseline.unwrap()).await;
}

#[tokio::test]
async fn d24_messages_of_4_mib() {
    let web = stage().await;
    let Call { mut visitor, mut service, _connection } = web.call().await;
    let large = pattern::all(4 << 20);
    let ((), heard) = tokio::join!(visitor.say(&large), service.hear());
    assert!(heard.unwrap() == large);
    let ((), heard) = tokio::join!(service.say(&large), visitor.hear());
    assert!(heard.unwrap() == large);
    visitor.done();
    assert_eq!(service.hear().await, None);
    service.end_with("0");
    visitor.ends_with("0").await;
}

const PSEUDO: [(&str, &str); 4] =
    [(":method", "POST"), (":scheme", "http"), (":authority", HOST), (":path", "/pkg.Service/Method")];

/// Calls by hand; the first frame of the answer: its flags.
async fn first_frame(visitor: &mut Framer, stream: u32) -> u8 {
    let head = block(&[&PSEUDO[..], &CALL[..2]].concat());
    let call = message(b"x");
    visitor.0.send(frame(HEADERS, END_HEADERS, stream, &head)).await;
    visitor.0.send(frame(0, END_STREAM, stream, &call)).await;
    let (kind, flags, _) = visitor.hear(stream).await;
    assert_eq!(kind, HEADERS);
    flags
}

#[tokio::test]
async fn d24_a_response_of_trailers_only_is_one_frame() {
    let web = stage().await;
    let mut visitor = Framer::connect(web.door()).await;
    let play = async {
        let (_request, mut respond) = web.service.accept().await;
        let head = Response::builder().header("content-type", "application/grpc").header("grpc-status", "5");
        respond.send_response(head.body(()).unwrap(), true).unwrap();
    };
    let (flags, ()) = tokio::join!(first_frame(&mut visitor, 1), play);
    assert_eq!(flags, END_HEADERS | END_STREAM);
}

#[tokio::test]
async fn d24_a_dead_service_is_unavailable() {
    let (server, home) = (Tunneld::start().await, Home::new());
    let _tunnel = home.http(&server.join(), format!("h2c://{}", nobody()), &["--host", "demo"]).await;
    let mut visitor = Framer::connect(server.listen().http).await;
    assert_eq!(first_frame(&mut visitor, 1).await, END_HEADERS | END_STREAM);
    let mut visitor = Http2Visitor::connect(server.listen().http).await.unwrap();
    let (response, _send) =
        visitor.send(http2::request("POST", HOST, "/pkg.Service/Method", &CALL), true).await.unwrap();
    let response = within("an answer", SOON, response).await.unwrap();
    let fields = response.headers();
    assert_eq!(response.status(), 200);
    assert_eq!(fields["grpc-status"], "14");
    assert_eq!(fields["x-tunnel-error"], "service-refused");
    assert!(response.body().is_end_stream());

    // One that dies with calls in progress.
    let web = stage().await;
    let Call { mut visitor, mut service, _connection } = web.call().await;
    service.say(b"one").await;
    assert_eq!(visitor.hear().await, Some(b"one".to_vec()));
    let (_second, response, _send, _request, _respond) = web.called().await;
    let Web { service: dead, .. } = web;
    drop(dead);
    visitor.is_reset().await;
    let response = within("an answer", SOON, response).await.unwrap();
    assert_eq!(response.headers()["grpc-status"], "14");
    assert!(response.body().is_end_stream());
}

#[tokio::test]
async fn d24_a_call_that_is_cancelled_is_over_on_the_other_side() {
    let web = stage().await;
    // Before there is an answer, and when both ways have carried something.
    let (_connection, response, mut send, request, _respond) = web.called().await;
    send.send_reset(Reason::CANCEL);
    drop(response);
    let ended = within("a reset", promised(AT_ONCE), whole(&mut request.into_body())).await.1;
    assert_eq!(ended, Err(Reason::CANCEL));
    // When the request has ended.
    let (_connection, response, mut send, _request, mut respond) = web.called().await;
    send.send_data(message(b"x"), true).unwrap();
    drop((response, send));
    assert_eq!(within("a reset", promised(AT_ONCE), is_left(&mut respond)).await, Reason::CANCEL);
    for by_visitor in [true, false] {
        let Call { mut visitor, mut service, _connection } = web.call().await;
        visitor.say(b"up").await;
        assert_eq!(service.hear().await, Some(b"up".to_vec()));
        service.say(b"down").await;
        assert_eq!(visitor.hear().await, Some(b"down".to_vec()));
        if by_visitor {
            visitor.send.send_reset(Reason::CANCEL);
            assert_eq!(service.is_reset().await, Reason::CANCEL);
        } else {
            service.send.send_reset(Reason::CANCEL);
            visitor.is_reset().await;
        }
    }
}

#[tokio::test]
async fn d24_deadlines() {
    // The service's, which knows it from the call.
    let web = stage().await;
    let (_connection, response, _send, _request, mut respond) = web.called().await;
    let head = Response::builder().header("content-type", "application/grpc").header("grpc-status", "4");
    respond.send_response(head.body(()).unwrap(), true).unwrap();
    let response = within("an answer", SOON, response).await.unwrap();
    assert_eq!(response.headers()["grpc-status"], "4");
    assert!(response.body().is_end_stream());

    // The server's own, for a service that says nothing.
    let server = Tunneld::configured(|_| "timeouts = { request = \"1s\" }\n".to_owned(), &[]).await;
    let (service, home) = (PlayedHttp2::start().await, Home::new());
    let tunnel = home.http(&server.join(), format!("h2c://{}", service.addr()), &["--host", "demo"]).await;
    let web = Web { tunnel, home, server, service };
    let (_connection, response, mut send, request, mut respond) = web.called().await;
    send.send_data(message(b"x"), true).unwrap();
    let response = within("an answer", SOON, response).await.unwrap();
    assert_eq!(response.headers()["grpc-status"], "4");
    assert_eq!(response.headers()["x-tunnel-error"], "service-timeout");
    assert_eq!(data(&mut request.into_body()).await.unwrap().unwrap(), message(b"x"));
    within("that nobody waits any more", promised(AT_ONCE), is_left(&mut respond)).await;
}
