//! Interim responses: from services of both versions of HTTP to visitors of both.

use std::future::poll_fn;
use std::time::{Duration, Instant};

use bytes::Bytes;
use h2::client::ResponseFuture;
use http::{Response, StatusCode};
use tokio::time::timeout;

use super::fixture::*;
use super::service::{Streams, part, run_part, server};
use super::visitor_h2::*;

const GET: &str = "GET / HTTP/1.1\r\nHost: app.test\r\n\r\n";
const EXPECT: &str = "POST / HTTP/1.1\r\nHost: app.test\r\nExpect: 100-continue\r\nContent-Length: 3\r\n\r\n";
const OK: &str = "HTTP/1.1 200 OK\r\nDate: x\r\nContent-Length: 2\r\n\r\nok";

/// As the visitor gets it.
const HEARD_OK: &str = "HTTP/1.1 200 OK\r\ndate: x\r\ncontent-length: 2\r\n\r\nok";

fn hint(path: &str) -> String {
    format!(
        "HTTP/1.1 103 Early Hints\r\nLink: <{path}>\r\nConnection: x-hop\r\nX-Hop: 1\r\nKeep-Alive: 1\r\n\r\n"
    )
}

fn heard_hint(path: &str) -> String {
    format!("HTTP/1.1 103 Early Hints\r\nlink: <{path}>\r\n\r\n")
}

/// The next interim response.
async fn interim(response: &mut ResponseFuture) -> Response<()> {
    let next = poll_fn(|cx| response.poll_informational(cx));
    timeout(LIMIT, next).await.unwrap().unwrap().unwrap()
}

fn early(status: u16, link: &str) -> Response<()> {
    Response::builder().status(status).header("link", link).body(()).unwrap()
}

#[test]
fn a_hint_waits_for_nothing() {
    let service = ByHand::new();
    run(service.addr(), |world| async move {
        let service = service.listen();
        let mut visitor = Peer::connect(world.http).await;
        visitor.say(GET).await;
        let mut connection = Peer::accept(&service).await;
        let mut quickest = LIMIT;
        for _ in 0..5 {
            connection.head().await;
            let said = Instant::now();
            connection.say(hint("/a")).await;
            assert_eq!(visitor.head().await, heard_hint("/a"));
            quickest = quickest.min(said.elapsed());
            connection.say(OK).await;
            assert_eq!(visitor.hear("ok").await, HEARD_OK);
            visitor.say(GET).await;
        }
        // With other news it would wait a second each time, for an answer that is not there.
        assert!(quickest < Duration::from_millis(500), "{quickest:?}");
    });
}

#[test]
fn pipelined_requests_have_their_hints_before_their_responses() {
    let service = ByHand::new();
    run(service.addr(), |world| async move {
        let service = service.listen();
        let mut visitor = Peer::connect(world.http).await;
        visitor.say([GET, GET, GET].concat()).await;
        let mut connection = Peer::accept(&service).await;
        connection.head().await;
        // While the response is still awaited.
        connection.say(hint("/a")).await;
        assert_eq!(visitor.head().await, heard_hint("/a"));
        connection.say("HTTP/1.1 102 Processing\r\n\r\n").await;
        assert_eq!(visitor.head().await, "HTTP/1.1 102 Processing\r\n\r\n");
        connection.say(OK).await;
        assert_eq!(visitor.hear("ok").await, HEARD_OK);
        // Together with it.
        connection.head().await;
        connection.say([hint("/b"), hint("/c"), OK.to_owned()].concat()).await;
        assert_eq!(
            visitor.hear("ok").await,
            [heard_hint("/b"), heard_hint("/c"), HEARD_OK.to_owned()].concat()
        );
        // None at all.
        connection.head().await;
        connection.say(OK).await;
        assert_eq!(visitor.hear("ok").await, HEARD_OK);
    });
}

#[test]
fn a_visitor_of_http2_gets_hints() {
    let service = ByHand::new();
    run(service.addr(), |world| async move {
        let service = service.listen();
        let mut visitor = Visitor::connect(&world).await;
        let (mut response, _) = visitor.send(get("/"), true).await;
        let mut connection = Peer::accept(&service).await;
        connection.head().await;
        connection.say(hint("/a")).await;
        let first = interim(&mut response).await;
        assert_eq!(
            (first.status(), &first.headers()["link"]),
            (StatusCode::EARLY_HINTS, &"</a>".parse().unwrap())
        );
        assert_eq!(first.headers().len(), 1, "{first:?}");
        connection.say(hint("/b")).await;
        assert_eq!(interim(&mut response).await.headers()["link"], "</b>");
        // A 100 that was not asked for is nothing to the visitor.
        connection.say(["HTTP/1.1 100 Continue\r\n\r\n", OK].concat()).await;
        let mut response = head(response).await;
        assert_eq!(response.status(), 200);
        assert_eq!(whole(response.body_mut()).await.unwrap().0, b"ok");
    });
}

#[test]
fn a_visitor_of_http_1_0_gets_none() {
    let service = ByHand::new();
    run(service.addr(), |world| async move {
        let service = service.listen();
        let mut visitor = Peer::connect(world.http).await;
        visitor.say("GET / HTTP/1.0\r\nHost: app.test\r\n\r\n").await;
        let mut connection = Peer::accept(&service).await;
        connection.head().await;
        connection.say([hint("/a"), OK.to_owned()].concat()).await;
        let heard = String::from_utf8(visitor.rest().await.0).unwrap();
        assert!(heard.starts_with("HTTP/1.0 200 OK\r\n") && heard.ends_with("\r\n\r\nok"), "{heard}");
    });
}

#[test]
fn hints_beyond_measure_are_dropped() {
    let service = ByHand::new();
    run(service.addr(), |world| async move {
        let service = service.listen();
        let mut visitor = Peer::connect(world.http).await;
        visitor.say(GET).await;
        let mut connection = Peer::accept(&service).await;
        connection.head().await;
        connection.say(hint(&"a".repeat(17_000))).await;
        for number in 0..40 {
            connection.say(hint(&number.to_string())).await;
        }
        connection.say(OK).await;
        let expected: String = (0..16).map(|number| heard_hint(&number.to_string())).collect();
        assert_eq!(visitor.hear("ok").await, expected + HEARD_OK);
    });
}

#[test]
fn a_body_that_is_waited_for_is_asked_for_once() {
    let service = ByHand::new();
    run(service.addr(), |world| async move {
        let service = service.listen();
        let mut visitor = Peer::connect(world.http).await;
        let mut connection = None;
        for _ in 0..2 {
            visitor.say(EXPECT).await;
            if connection.is_none() {
                connection = Some(Peer::accept(&service).await);
            }
            let connection = connection.as_mut().unwrap();
            connection.head().await;
            connection.say(hint("/a")).await;
            assert_eq!(visitor.head().await, heard_hint("/a"));
            connection.say("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 100 Continue\r\n\r\n").await;
            assert_eq!(visitor.head().await, "HTTP/1.1 100 Continue\r\n\r\n");
            visitor.say("abc").await;
            connection.hear("abc").await;
            connection.say([hint("/b"), OK.to_owned()].concat()).await;
            assert_eq!(visitor.hear("ok").await, [heard_hint("/b"), HEARD_OK.to_owned()].concat());
        }
    });
}

#[test]
fn a_visitor_of_http2_is_asked_for_its_body() {
    let service = ByHand::new();
    run(service.addr(), |world| async move {
        let service = service.listen();
        let mut visitor = Visitor::connect(&world).await;
        let fields = [("expect", "100-continue"), ("content-length", "3")];
        let (mut response, mut sender) = visitor.send(post("/", &fields), false).await;
        let mut connection = Peer::accept(&service).await;
        connection.head().await;
        connection.say("HTTP/1.1 100 Continue\r\n\r\n").await;
        assert_eq!(interim(&mut response).await.status(), StatusCode::CONTINUE);
        sender.send_data(Bytes::from_static(b"abc"), true).unwrap();
        connection.hear("abc").await;
        connection.say(OK).await;
        assert_eq!(head(response).await.status(), 200);
    });
}

#[test]
fn a_service_of_http2_gives_hints_and_asks_for_a_body() {
    let service = ByHand::new();
    run_part(part([server(format!("h2c://{}", service.addr()))]), |world| async move {
        let service = service.listen();
        let mut visitor = Peer::connect(world.http).await;
        visitor.say(EXPECT).await;
        let mut streams = Streams::new(Peer::accept(&service).await.0).await;
        let (request, mut respond) = streams.asked().await;
        assert_eq!(request.headers()["expect"], "100-continue");
        let started = Instant::now();
        respond.send_informational(early(103, "</a>")).unwrap();
        let mut body = request.into_body();
        streams
            .during(async {
                assert_eq!(visitor.head().await, heard_hint("/a"));
                respond.send_informational(Response::builder().status(100).body(()).unwrap()).unwrap();
                assert_eq!(visitor.head().await, "HTTP/1.1 100 Continue\r\n\r\n");
                // It was the service that asked.
                assert!(started.elapsed() < Duration::from_millis(900), "{:?}", started.elapsed());
                visitor.say("abc").await;
                assert_eq!(timeout(LIMIT, body.data()).await.unwrap().unwrap().unwrap(), "abc");
                respond.send_informational(early(103, "</b>")).unwrap();
                let mut stream = respond.send_response(Response::new(()), false).unwrap();
                stream.send_data(Bytes::from_static(b"ok"), true).unwrap();
                assert_eq!(visitor.head().await, heard_hint("/b"));
                assert!(visitor.head().await.starts_with("HTTP/1.1 200 OK\r\n"));
                visitor.hear("ok\r\n0\r\n\r\n").await;
            })
            .await;

        let mut visitor = Visitor::connect(&world).await;
        let (mut response, _) = visitor.send(get("/"), true).await;
        let (_request, mut respond) = streams.asked().await;
        respond.send_informational(early(103, "</c>")).unwrap();
        streams
            .during(async {
                assert_eq!(interim(&mut response).await.headers()["link"], "</c>");
                // A head and nothing else, as before.
                let mut only = Response::new(());
                only.headers_mut().insert("grpc-status", "5".parse().unwrap());
                respond.send_response(only, true).unwrap();
                let response = head(response).await;
                assert!(response.body().is_end_stream() && response.headers()["grpc-status"] == "5");
            })
            .await;
    });
}

#[test]
fn a_request_whose_answer_has_begun_is_not_sent_again() {
    let service = ByHand::new();
    run(service.addr(), |world| async move {
        let service = service.listen();
        let mut visitor = Peer::connect(world.http).await;
        visitor.say(GET).await;
        let mut connection = Peer::accept(&service).await;
        connection.head().await;
        connection.say(hint("/a")).await;
        assert_eq!(visitor.head().await, heard_hint("/a"));
        drop(connection);
        assert!(visitor.head().await.starts_with("HTTP/1.1 502"));
        assert!(timeout(Duration::from_millis(50), service.accept()).await.is_err());
    });
}
