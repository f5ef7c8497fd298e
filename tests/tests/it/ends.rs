//! The failure table of the design: an end is the truth, in every cell.

use std::time::Duration;

use http_body_util::BodyExt;
use tests::fixture::{Ending, HttpService, Seen, TcpService};
use tests::place::nobody;
use tests::tunnelc::{Home, SESSIONS};
use tests::tunneld::Tunneld;
use tests::visitor::{self, End, Raw, empty, request};
use tests::wait::{SOON, promised, until, within};

use crate::stage::{HOST, Web, Wire};

/// Reads an answer raw: the head, the bytes of the body as framed, and how it ended.
async fn raw_get(web: &Web<impl Sized>, path: &str, version: &str) -> (String, Vec<u8>, End) {
    let mut raw = Raw::open(web.door()).await;
    raw.send(format!("GET {path} {version}\r\nHost: {HOST}\r\n\r\n")).await;
    let head = raw.head().await;
    let (body, end) = raw.rest(SOON).await;
    (head, body, end)
}

#[tokio::test]
async fn a_cut_body_of_known_length_stays_short() {
    let web = Web::up().await;
    let (head, body, end) = raw_get(&web, "/cut?n=200000&after=100000", "HTTP/1.1").await;
    assert!(head.contains("200000"), "{head}");
    assert!(body.len() <= 100_000, "{}", body.len());
    assert_ne!(end, End::Open);
    let whole = visitor::try_get(web.door(), HOST, "/cut?n=200000&after=100000").await;
    assert!(whole.is_err(), "it looked complete");
}

#[tokio::test]
async fn a_cut_chunked_body_never_gets_its_last_chunk() {
    let web = Web::up().await;
    let (_, body, end) = raw_get(&web, "/chunked-cut?n=200000&after=100000", "HTTP/1.1").await;
    assert!(!body.ends_with(b"0\r\n\r\n"));
    assert!(!body.is_empty(), "what came before the cut arrives");
    assert_ne!(end, End::Open);
    let whole = visitor::try_get(web.door(), HOST, "/chunked-cut?n=200000&after=100000").await;
    assert!(whole.is_err(), "it looked complete");
}

#[tokio::test]
async fn a_cut_body_that_only_its_end_delimits_is_reset() {
    let web = Web::up().await;
    let (head, body, end) = raw_get(&web, "/chunked-cut?n=200000&after=100000", "HTTP/1.0").await;
    assert!(!head.to_lowercase().contains("content-length"), "{head}");
    assert!(body.len() <= 100_000);
    assert_eq!(end, End::Reset, "a FIN would make it look complete");
}

#[tokio::test]
async fn a_service_that_delimits_by_its_end_is_believed_only_if_it_ends_well() {
    let answer = "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nall of it";
    let web = Web::scripted(answer, Ending::Fin).await;
    let whole = visitor::get(web.door(), HOST, "/").await;
    assert_eq!((whole.status, whole.text().as_str()), (200, "all of it"));

    let web = Web::scripted(answer, Ending::Reset).await;
    let cut = visitor::try_get(web.door(), HOST, "/").await;
    assert!(
        cut.is_err() || cut.as_ref().is_ok_and(|answer| answer.status == 502),
        "it looked complete: {cut:?}"
    );
    // A reset that has overtaken the bytes before it is a page, as above.
    let cut = async || Some(raw_get(&web, "/", "HTTP/1.0").await).filter(|(head, ..)| head.contains(" 200 "));
    let ((_, _, end), _) = until("an answer is cut", SOON, cut).await;
    assert_eq!(end, End::Reset);
}

#[tokio::test]
async fn a_reset_within_a_body_never_looks_complete() {
    for answer in [
        "HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\nshort",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nshort\r\n",
    ] {
        for ending in [Ending::Reset, Ending::Fin] {
            let web = Web::scripted(answer, ending).await;
            let whole = visitor::try_get(web.door(), HOST, "/").await;
            // The reset may overtake the head of the answer as well.
            let page = ending == Ending::Reset && whole.as_ref().is_ok_and(|answer| answer.status == 502);
            assert!(whole.is_err() || page, "{answer:?} ended by {ending:?} looked complete: {whole:?}");
        }
    }
}

#[tokio::test]
async fn a_service_that_refuses_is_502_and_says_so() {
    let (server, home) = (Tunneld::start().await, Home::new());
    let _tunnel = home.http(&server.join(), nobody(), &["--host", "demo"]).await;
    let answer = visitor::get(server.listen().http, HOST, "/").await;
    assert_eq!((answer.status, answer.field("x-tunnel-error")), (502, "service-refused"));
    assert!(answer.text().to_lowercase().contains("service"), "the page says which hop: {}", answer.text());
    server.counts("tunnel_errors_total", &[], |count| count >= 1.0).await;
}

#[tokio::test]
async fn a_service_that_hangs_up_without_an_answer_is_502() {
    for ending in [Ending::Fin, Ending::Reset] {
        let web = Web::scripted("", ending).await;
        let post =
            visitor::try_send(web.door(), request("POST", HOST, "/", visitor::full("x"))).await.unwrap();
        assert_eq!((post.status, post.field("x-tunnel-error")), (502, "service-cut"), "{ending:?}");
        let hits = (0..web.service.connections()).filter(|n| !web.service.received(*n).is_empty()).count();
        assert_eq!(hits, 1, "a POST reaches a service at most once");
    }
}

#[tokio::test]
async fn a_service_that_talks_nonsense_is_502() {
    let web = Web::scripted("this is not HTTP\r\n\r\n", Ending::Fin).await;
    let answer = visitor::get(web.door(), HOST, "/").await;
    assert_eq!(answer.status, 502);
    assert_ne!(answer.field("x-tunnel-error"), "");
}

#[tokio::test]
async fn a_refused_tcp_service_is_a_reset() {
    let (server, home) = (Tunneld::start().await, Home::new());
    let tunnel = home.tcp(&server.join(), nobody(), &[]).await;
    assert_eq!(Raw::knock(tunnel.tcp(), SOON).await, (Vec::new(), End::Reset));
}

#[tokio::test]
async fn an_unknown_name_is_404() {
    let server = Tunneld::start().await;
    let answer = visitor::get(server.listen().http, "nobody.localhost", "/").await;
    assert_eq!((answer.status, answer.field("x-tunnel-error")), (404, "no-route"));
}

#[tokio::test]
async fn a_lost_session_aborts_a_started_body_at_once() {
    let mut web = Web::up().await;
    let mut chunked = Raw::open(web.door()).await;
    chunked.send(format!("GET /chunked?n=1000000000 HTTP/1.1\r\nHost: {HOST}\r\n\r\n")).await;
    let mut old = Raw::open(web.door()).await;
    old.send(format!("GET /chunked?n=1000000000 HTTP/1.0\r\nHost: {HOST}\r\n\r\n")).await;
    for raw in [&mut chunked, &mut old] {
        assert!(raw.head().await.contains(" 200"));
        raw.exactly(100_000).await;
    }
    web.tunnel.program.kill();
    let (body, end) = chunked.rest(promised(Duration::from_secs(5))).await;
    assert_ne!(end, End::Open);
    assert!(!body.ends_with(b"0\r\n\r\n"), "an abort, not a clean end");
    assert_eq!(old.rest(promised(Duration::from_secs(5))).await.1, End::Reset);
}

#[tokio::test]
async fn a_lost_session_before_the_answer_is_an_error_page() {
    let mut web = Web::up().await;
    let door = web.door();
    let ask = visitor::try_send(door, request("POST", HOST, "/slow?ms=60000", visitor::full("x")));
    let kill = async {
        let waits = async || (web.service.tally().get(|tally| &tally.waiting) == 1).then_some(());
        until("the request is at the service", SOON, waits).await;
        web.tunnel.program.kill();
    };
    let (answer, ()) =
        within("an answer after the session died", SOON, async { tokio::join!(ask, kill) }).await;
    let answer = answer.unwrap();
    assert_eq!((answer.status, answer.field("x-tunnel-error")), (502, "session-lost"));
}

#[tokio::test]
async fn a_lost_session_resets_tcp_visitors() {
    let wire = Wire::to_tcp(TcpService::echo().await).await;
    let mut raw = Raw::open(wire.door()).await;
    raw.send("hello").await;
    raw.exactly(5).await;
    let Wire { mut tunnel, .. } = wire;
    tunnel.program.kill();
    assert_eq!(raw.rest(promised(Duration::from_secs(5))).await, (Vec::new(), End::Reset));
}

#[tokio::test]
async fn a_name_whose_owner_is_away_waits_and_then_is_503() {
    let mut web = Web::up().await;
    web.tunnel.program.kill();
    web.server.has_sessions(0, SOON).await;
    let began = std::time::Instant::now();
    let answer = web.get("/").await;
    assert_eq!((answer.status, answer.field("x-tunnel-error")), (503, "no-member"));
    assert_ne!(answer.field("retry-after"), "");
    let waited = began.elapsed();
    assert!(waited > Duration::from_secs(1) && waited < promised(Duration::from_secs(5)), "{waited:?}");
}

#[tokio::test]
async fn a_request_waits_for_a_client_that_comes_back() {
    let mut web = Web::up().await;
    web.tunnel.program.kill();
    web.server.has_sessions(0, SOON).await;
    let join = web.server.join();
    let (answer, _back) = tokio::join!(
        visitor::try_get(web.door(), HOST, "/"),
        web.home.http(&join, web.service.addr(), &["--host", "demo"])
    );
    assert_eq!(answer.unwrap().status, 200);
}

#[tokio::test]
async fn a_visitor_that_leaves_is_gone_at_the_service_within_a_second() {
    let web = Web::scripted("HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\nstart", Ending::Hold).await;
    let mut raw = Raw::open(web.door()).await;
    raw.send(format!("GET / HTTP/1.1\r\nHost: {HOST}\r\n\r\n")).await;
    raw.head().await;
    let number = web.service.connections() - 1;
    assert_eq!(web.service.seen(number), Some(Seen::Open));
    raw.reset();
    let gone = async || (web.service.seen(number) != Some(Seen::Open)).then_some(());
    until("the service sees the visitor go", promised(Duration::from_secs(1)), gone).await;
}

#[tokio::test]
async fn a_visitor_that_leaves_is_a_reset_at_the_service() {
    for answer in ["", "HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\nstart"] {
        let web = Web::scripted(answer, Ending::Hold).await;
        let mut raw = Raw::open(web.door()).await;
        raw.send(format!("POST / HTTP/1.1\r\nHost: {HOST}\r\nContent-Length: 1000\r\n\r\npart of it")).await;
        let asked = async || {
            (0..web.service.connections()).find(|n| web.service.received(*n).ends_with(b"part of it"))
        };
        let (number, _) = until("the request is at the service", SOON, asked).await;
        raw.reset();
        let gone = async || web.service.seen(number).filter(|seen| *seen != Seen::Open);
        let (seen, _) =
            until("the service sees the visitor go", promised(Duration::from_secs(1)), gone).await;
        assert_eq!(seen, Seen::Reset, "a FIN is for what is complete (the answer so far: {answer:?})");
    }
}

#[tokio::test]
async fn a_visitor_that_leaves_before_the_answer_is_noticed_too() {
    let web = Web::up().await;
    let mut raw = Raw::open(web.door()).await;
    raw.send(format!("GET /slow?ms=60000 HTTP/1.1\r\nHost: {HOST}\r\n\r\n")).await;
    let waiting = || web.service.tally().get(|tally| &tally.waiting);
    until("the request is at the service", SOON, async || (waiting() == 1).then_some(())).await;
    raw.reset();
    until("the service sees the visitor go", promised(Duration::from_secs(1)), async || {
        (waiting() == 0).then_some(())
    })
    .await;
}

#[tokio::test]
async fn an_upload_that_breaks_off_never_looks_complete() {
    let web = Web::up().await;
    for framing in
        ["Content-Length: 100000\r\n\r\nonly this", "Transfer-Encoding: chunked\r\n\r\n9\r\nonly this\r\n"]
    {
        let broken = web.service.tally().get(|tally| &tally.broken_uploads);
        let mut raw = Raw::open(web.door()).await;
        raw.send(format!("POST /sink HTTP/1.1\r\nHost: {HOST}\r\n{framing}")).await;
        let there = async || (web.service.tally().get(|tally| &tally.requests) > broken).then_some(());
        until("the request is at the service", SOON, there).await;
        raw.reset();
        let noticed =
            async || (web.service.tally().get(|tally| &tally.broken_uploads) > broken).then_some(());
        until("the service sees the upload break", promised(Duration::from_secs(2)), noticed).await;
    }
    assert_eq!(web.service.tally().get(|tally| &tally.whole_uploads), 0);
}

#[tokio::test]
async fn a_tcp_visitor_that_resets_is_reset_at_the_service() {
    let wire = Wire::scripted("hello", Ending::Hold).await;
    let mut raw = Raw::open(wire.door()).await;
    raw.exactly(5).await;
    let number = wire.service.connections() - 1;
    raw.reset();
    let gone = async || (wire.service.seen(number) != Some(Seen::Open)).then_some(());
    until("the service sees the visitor go", promised(Duration::from_secs(1)), gone).await;
}

#[tokio::test]
async fn the_bytes_before_a_services_end_arrive_first() {
    let wire = Wire::scripted("these first", Ending::Fin).await;
    let mut raw = Raw::open(wire.door()).await;
    let (bytes, end) = raw.rest(SOON).await;
    assert_eq!((bytes.as_slice(), end), (b"these first".as_slice(), End::Fin));
}

#[tokio::test]
async fn one_broken_exchange_breaks_no_other() {
    let web = Web::up().await;
    let mut whole = web.visitor().await;
    let answer = whole.send(request("GET", HOST, "/sse?n=5&ms=300", empty())).await.unwrap();
    for _ in 0..10 {
        assert!(visitor::try_get(web.door(), HOST, "/cut?n=200000&after=1000").await.is_err());
    }
    let events = answer.into_body().collect().await.unwrap().to_bytes();
    assert!(events.ends_with(b"data: event 4\n\n"));
    web.server.has_sessions(SESSIONS, SOON).await;
}

#[tokio::test]
async fn failed_visits_leave_nothing_behind() {
    let web = Web::to(HttpService::start().await, HttpService::addr).await;
    web.get("/").await;
    let open = async || web.server.metric("tunnel_substreams_open").await;
    let settled =
        until("warm-up is over", SOON, async || (open().await <= 1.0).then_some(open().await)).await.0;
    let (tasks, files) = (web.server.metric("tunnel_tasks_alive").await, web.server.program.descriptors());
    for n in 0..40 {
        let mut raw = Raw::open(web.door()).await;
        let path =
            ["/bytes?n=100000000", "/slow?ms=60000", "/cut?n=9&after=1", "/chunked?n=100000000"][n % 4];
        raw.send(format!("GET {path} HTTP/1.1\r\nHost: {HOST}\r\n\r\n")).await;
        if n % 4 != 1 {
            raw.head().await;
        }
        raw.reset();
    }
    let back = async || {
        let tasks_now = web.server.metric("tunnel_tasks_alive").await;
        let back = open().await <= settled && tasks_now <= tasks + 2.0;
        (back && web.server.program.descriptors() <= files + 2).then_some(())
    };
    until("substreams, tasks and descriptors are back where they were", SOON, back).await;
    let idle = async || (web.service.tally().get(|tally| &tally.waiting) == 0).then_some(());
    until("the service is idle", SOON, idle).await;
}
