//! HTTP through the tunnel: bodies, heads, connections, many at a time.

use std::time::Duration;

use futures_util::future::join_all;
use http_body_util::BodyExt;
use serde_json::Value;
use tests::fixture::{Ending, HttpService};
use tests::pattern;
use tests::tunnelc::{Home, SESSIONS};
use tests::visitor::{self, End, Raw, Visitor, empty, full, request};
use tests::wait::{SOON, until, within};

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
async fn hop_by_hop_fields_stop_and_forwarded_fields_are_ours() {
    let web = Web::up().await;
    let mut asked = request("GET", HOST, "/headers", empty());
    for (name, value) in [
        ("connection", "keep-alive, x-secret-hop"),
        ("x-secret-hop", "1"),
        ("keep-alive", "timeout=5"),
        ("te", "trailers"),
        ("x-forwarded-for", "198.51.100.7"),
        ("x-forwarded-proto", "https"),
        ("x-forwarded-host", "bank.example"),
        ("forwarded", "for=198.51.100.7"),
        ("x-real-ip", "198.51.100.7"),
        ("x_forwarded_for", "198.51.100.7"),
        ("x-kept", "end to end"),
        ("cookie", "a=1"),
    ] {
        asked.headers_mut().append(name, value.parse().unwrap());
    }
    let seen = visitor::try_send(web.door(), asked).await.unwrap().json();
    for gone in ["x-secret-hop", "keep-alive", "forwarded", "x-real-ip", "x_forwarded_for"] {
        assert_eq!(field(&seen, gone), Vec::<String>::new(), "{gone} must not pass");
    }
    assert_eq!(field(&seen, "x-forwarded-for"), ["127.0.0.1"]);
    assert_eq!(field(&seen, "x-forwarded-proto"), ["http"]);
    assert_eq!(field(&seen, "x-forwarded-host"), [HOST]);
    assert_eq!(field(&seen, "host"), [HOST]);
    assert_eq!(field(&seen, "x-kept"), ["end to end"]);
    assert_eq!(field(&seen, "cookie"), ["a=1"]);
    assert_eq!(seen["uri"], "/headers");
}

#[tokio::test]
async fn response_fields_pass_in_order_and_hop_by_hop_ones_do_not() {
    let web = Web::scripted(
        "HTTP/1.1 200 OK\r\nSet-Cookie: a=1\r\nSet-Cookie: b=2\r\nConnection: x-hop\r\nX-Hop: 1\r\nX-Kept: yes\r\n\
         Proxy-Authenticate: Basic\r\nContent-Length: 2\r\n\r\nok",
        Ending::Hold,
    )
    .await;
    let answer = web.get("/").await;
    let cookies: Vec<_> =
        answer.headers.get_all("set-cookie").iter().map(|value| value.to_str().unwrap()).collect();
    assert_eq!(cookies, ["a=1", "b=2"]);
    assert_eq!(answer.field("x-kept"), "yes");
    assert_eq!((answer.field("x-hop"), answer.field("proxy-authenticate")), ("", ""));
    assert_eq!(answer.text(), "ok");
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
async fn names_are_canonical() {
    let web = Web::up().await;
    for host in ["demo.localhost", "DEMO.Localhost", "demo.localhost.", "demo.localhost:8080"] {
        assert_eq!(web.server.visit(host, "/").await, 200, "{host}");
    }
    let stranger = visitor::get(web.door(), "nobody.localhost", "/").await;
    assert_eq!((stranger.status, stranger.field("x-tunnel-error")), (404, "no-route"));
    let mut raw = Raw::open(web.door()).await;
    raw.send("GET / HTTP/1.1\r\n\r\n").await;
    assert!(raw.head().await.starts_with("HTTP/1.1 400"), "a request without a host");
    assert_eq!(web.service.tally().get(|tally| &tally.requests), 4);
}

#[tokio::test]
async fn many_requests_at_once_and_none_waits_for_another() {
    let web = Web::up().await;
    let slow = async {
        let visitors = (0..50).map(|_| visitor::get(web.door(), HOST, "/slow?ms=3000"));
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
        within("ten fast requests while fifty slow ones wait", Duration::from_secs(2), ten).await;
        assert_eq!(web.service.tally().get(|tally| &tally.waiting), 50, "none of the slow ones was over");
    };
    let (slow, ()) = tokio::join!(slow, fast);
    assert!(slow.iter().all(|answer| answer.status == 200));
    assert_eq!(web.server.health().await["sessions"], SESSIONS, "no session of its own for any of them");
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
async fn expect_continue_is_the_services_to_answer() {
    let web = Web::up().await;
    let mut raw = Raw::open(web.door()).await;
    raw.send(format!(
        "POST /sink HTTP/1.1\r\nHost: {HOST}\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\n"
    ))
    .await;
    assert!(raw.head().await.starts_with("HTTP/1.1 100"));
    raw.send("hello").await;
    assert!(raw.head().await.starts_with("HTTP/1.1 200"));

    let mut raw = Raw::open(web.door()).await;
    raw.send(format!(
        "POST /early HTTP/1.1\r\nHost: {HOST}\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\n"
    ))
    .await;
    assert!(raw.head().await.starts_with("HTTP/1.1 413"), "no 100 when the service does not want the body");
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
    let answer = visitor.send(request("GET", HOST, "/sse?n=3&ms=700", empty())).await.unwrap();
    assert_eq!(answer.headers()["content-type"], "text/event-stream");
    let began = std::time::Instant::now();
    let mut body = answer.into_body();
    let first = body.frame().await.unwrap().unwrap().into_data().unwrap();
    assert!(first.starts_with(b"id: 0"), "{first:?}");
    assert!(began.elapsed() < Duration::from_millis(600), "the first event waited for the others");
    let rest = body.collect().await.unwrap().to_bytes();
    assert!(rest.ends_with(b"data: event 2\n\n"), "{rest:?}");
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
async fn smuggling_never_becomes_a_second_request() {
    let web = Web::up().await;
    let hidden = "GET /hidden HTTP/1.1\r\nHost: demo.localhost\r\n\r\n";
    for (what, head) in [
        (
            "two framings",
            "POST /sink HTTP/1.1\r\nHost: demo.localhost\r\nContent-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        ),
        (
            "two lengths",
            "POST /sink HTTP/1.1\r\nHost: demo.localhost\r\nContent-Length: 0\r\nContent-Length: 50\r\n\r\n",
        ),
        (
            "a foreign coding",
            "POST /sink HTTP/1.1\r\nHost: demo.localhost\r\nTransfer-Encoding: xchunked\r\n\r\n0\r\n\r\n",
        ),
        ("two hosts", "GET / HTTP/1.1\r\nHost: demo.localhost\r\nHost: other.localhost\r\n\r\n"),
        (
            "a bad chunk",
            "POST /sink HTTP/1.1\r\nHost: demo.localhost\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n\r\n",
        ),
    ] {
        let mut raw = Raw::open(web.door()).await;
        raw.send(head).await;
        raw.send(hidden).await;
        let (answer, _) = raw.rest(Duration::from_secs(2)).await;
        let answer = String::from_utf8_lossy(&answer).into_owned();
        assert!(!answer.contains("no such route at the service"), "{what}: the hidden request ran: {answer}");
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
