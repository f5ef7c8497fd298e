//! HTTP through the tunnel: bodies, heads, connections, many at a time.

use std::time::Duration;

use futures_util::future::join_all;
use http_body_util::BodyExt;
use serde_json::Value;
use tests::fixture::HttpService;
use tests::pattern;
use tests::tunnelc::{Home, SESSIONS};
use tests::visitor::{self, End, Raw, Visitor, empty, full, request};
use tests::wait::{SOON, promised, until, within};

use crate::stage::{HOST, Web};

fn field(seen: &Value, name: &str) -> Vec<String> {
    let pairs = seen["headers"].as_array().unwrap();
    pairs.iter().filter(|pair| pair[0] == name).map(|pair| pair[1].as_str().unwrap().to_owned()).collect()
}

#[tokio::test]
async fn bodies_arrive_whole_in_both_directions() {
    let web = Web::up().await;
    for path in ["/bytes?n=3000000", "/chunked?n=3000000"] {
        let answer = web.get(path).await;
        assert_eq!(answer.status, 200);
        assert!(answer.body == pattern::all(3_000_000), "{path}: {} bytes", answer.body.len());
    }
    let sent = pattern::all(3_000_000);
    let mut visitor = web.visitor().await;
    let echoed = visitor.whole(request("POST", HOST, "/echo", full(sent.clone()))).await.unwrap();
    assert!(echoed.body == sent);
    let counted = visitor.whole(request("PUT", HOST, "/sink", full(sent))).await.unwrap().json();
    assert_eq!((&counted["bytes"], &counted["intact"]), (&3_000_000.into(), &true.into()));
}

#[tokio::test]
async fn lengths_and_statuses_pass_unchanged() {
    let web = Web::up().await;
    let answer = web.get("/bytes?n=12345").await;
    assert_eq!(answer.field("content-length"), "12345");
    for code in [201, 204, 304, 404, 500, 503] {
        let answer = web.get(&format!("/status/{code}")).await;
        assert_eq!(answer.status, code);
        assert_eq!(answer.field("x-tunnel-error"), "", "the service's own errors are not ours");
    }
    let head = visitor::try_send(web.door(), request("HEAD", HOST, "/bytes?n=12345", empty())).await.unwrap();
    assert_eq!((head.status, head.field("content-length"), head.body.len()), (200, "12345", 0));
    let empty = web.get("/bytes?n=0").await;
    assert_eq!((empty.status, empty.body.len()), (200, 0));
}

#[tokio::test]
async fn connections_are_kept_on_both_sides() {
    let web = Web::up().await;
    let mut visitor = web.visitor().await;
    for _ in 0..20 {
        let answer = visitor.whole(request("GET", HOST, "/", empty())).await.unwrap();
        assert_eq!(answer.status, 200);
    }
    assert_eq!(web.service.tally().get(|tally| &tally.requests), 20);
    let connections = web.service.tally().get(|tally| &tally.connections);
    // One may be the look at whether anything listens.
    assert!(connections <= 3, "{connections} connections to the service for 20 requests in a row");
}

#[tokio::test]
async fn the_host_can_be_set_for_the_service() {
    let (server, service, home) =
        (tests::tunneld::Tunneld::start().await, HttpService::start().await, Home::new());
    let more = ["--host", "demo", "--set-host", "localhost:3000"];
    let _tunnel = home.http(&server.join(), service.addr(), &more).await;
    let seen = visitor::get(server.listen().http, HOST, "/headers").await.json();
    assert_eq!(field(&seen, "host"), ["localhost:3000"]);
    assert_eq!(field(&seen, "x-forwarded-host"), [HOST]);
}

#[tokio::test]
async fn many_requests_at_once_and_none_waits_for_another() {
    let web = Web::up().await;
    let slow = async {
        let visitors = (0..50).map(|_| visitor::get(web.door(), HOST, "/held"));
        join_all(visitors).await
    };
    let fast = async {
        let all_wait = async || (web.service.tally().get(|tally| &tally.waiting) == 50).then_some(());
        until("fifty slow requests are at the service together", SOON, all_wait).await;
        let mut visitor = web.visitor().await;
        let ten = async {
            for _ in 0..10 {
                assert_eq!(visitor.whole(request("GET", HOST, "/", empty())).await.unwrap().status, 200);
            }
        };
        within("ten fast requests while fifty slow ones wait", promised(Duration::from_secs(2)), ten).await;
        assert_eq!(web.service.tally().get(|tally| &tally.waiting), 50, "none of the slow ones was over");
        web.service.tally().let_go();
    };
    let (slow, ()) = tokio::join!(slow, fast);
    assert!(slow.iter().all(|answer| answer.status == 200));
    // No session of its own for any of them.
    web.server.has_sessions(SESSIONS, SOON).await;
}

#[tokio::test]
async fn a_reader_that_stops_holds_nobody_up() {
    let web = Web::up().await;
    let mut stuck = Vec::new();
    for _ in 0..8 {
        let mut raw = Raw::open(web.door()).await;
        raw.send(format!("GET /bytes?n=1000000000 HTTP/1.1\r\nHost: {HOST}\r\n\r\n")).await;
        assert!(raw.head().await.starts_with("HTTP/1.1 200"));
        stuck.push(raw);
    }
    let other = within("a body of 4 MiB past eight stuck readers", SOON, web.get("/bytes?n=4194304")).await;
    assert_eq!(other.body.len(), 4_194_304);
}

#[tokio::test]
async fn an_answer_may_come_before_the_body_is_sent() {
    let web = Web::up().await;
    let mut raw = Raw::open(web.door()).await;
    raw.send(format!("POST /early HTTP/1.1\r\nHost: {HOST}\r\nContent-Length: 100000000\r\n\r\nstart")).await;
    assert!(raw.head().await.starts_with("HTTP/1.1 413"));
    assert_eq!(web.get("/").await.status, 200);
}

#[tokio::test]
async fn events_arrive_as_they_happen() {
    let web = Web::up().await;
    let mut visitor = web.visitor().await;
    let answer = visitor.send(request("GET", HOST, "/sse?n=3&ms=60000", empty())).await.unwrap();
    assert_eq!(answer.headers()["content-type"], "text/event-stream");
    // The next one comes in a minute.
    let mut body = answer.into_body();
    let first = within("the first event", SOON, body.frame()).await.unwrap().unwrap().into_data().unwrap();
    assert_eq!(&first[..], b"id: 0\ndata: event 0\n\n");
    let mut visitor = web.visitor().await;
    let answer = visitor.send(request("GET", HOST, "/sse?n=3&ms=50", empty())).await.unwrap();
    let all = answer.into_body().collect().await.unwrap().to_bytes();
    assert!(all.starts_with(b"id: 0") && all.ends_with(b"data: event 2\n\n"), "{all:?}");
}

#[tokio::test]
async fn old_clients_are_served() {
    let web = Web::up().await;
    let mut raw = Raw::open(web.door()).await;
    raw.send(format!("GET /chunked?n=100000 HTTP/1.0\r\nHost: {HOST}\r\n\r\n")).await;
    let head = raw.head().await.to_lowercase();
    assert!(!head.contains("transfer-encoding"), "{head}");
    let (body, end) = raw.rest(SOON).await;
    assert!(body == pattern::all(100_000), "{} bytes", body.len());
    assert_eq!(end, End::Fin);
}

#[tokio::test]
async fn pipelined_requests_are_answered_in_order() {
    let web = Web::up().await;
    let mut raw = Raw::open(web.door()).await;
    let one = |path: &str| format!("GET {path} HTTP/1.1\r\nHost: {HOST}\r\n\r\n");
    raw.send([one("/status/201"), one("/status/202"), one("/status/203")].concat()).await;
    for code in [201, 202, 203] {
        let head = raw.head().await;
        assert!(head.starts_with(&format!("HTTP/1.1 {code}")), "{head}");
        raw.exactly("as asked\n".len()).await;
    }
}

#[tokio::test]
async fn keep_alive_visitors_survive_our_own_error_pages() {
    let web = Web::up().await;
    let mut visitor = Visitor::connect(web.door()).await.unwrap();
    let missing = visitor.whole(request("GET", "nobody.localhost", "/", empty())).await.unwrap();
    assert_eq!(missing.status, 404);
    let found = visitor.whole(request("GET", HOST, "/", empty())).await.unwrap();
    assert_eq!(found.status, 200);
}
