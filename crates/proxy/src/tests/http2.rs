use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use h2::Reason;
use http::Request;
use ops::error_kind::ErrorKind;
use protocol::exchange::Scheme;
use tokio::io::AsyncWriteExt;
use tokio::net::{TcpListener, TcpStream};
use tokio::time::timeout;

use super::fixture::*;
use super::visitor_h2::*;
use crate::context::Timeouts;
use crate::dispatch::Dispatch;
use crate::ingress::{Arrival, Gate, HttpIngress, Protocol};

const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";

#[test]
fn both_versions_of_http_come_in_at_one_listener() {
    let service = ByHand::new();
    run(service.addr(), |world| async move {
        let service = service.listen();
        let mut visitor = Visitor::connect(&world).await;
        let request = Request::builder()
            .uri("http://App.Test:8080/a?b=c")
            .header("cookie", "a=1")
            .header("cookie", "b=2")
            .header("te", "trailers")
            .header("x-forwarded-proto", "https")
            .body(())
            .unwrap();
        let (response, _) = visitor.send(request, true).await;
        let mut connection = Peer::accept(&service).await;
        let received = connection.head().await;
        assert!(received.starts_with("GET /a?b=c HTTP/1.1\r\nhost: App.Test:8080\r\n"), "{received}");
        for line in
            ["cookie: a=1; b=2", "te: trailers", "x-forwarded-proto: http", "x-forwarded-host: App.Test:8080"]
        {
            assert!(received.contains(&format!("{line}\r\n")), "{line} in {received}");
        }
        assert!(!received.contains("transfer-encoding"), "{received}");
        connection
            .say("HTTP/1.1 201 Created\r\nContent-Length: 5\r\nKeep-Alive: x\r\nX-Two: 2\r\n\r\nhello")
            .await;
        let mut response = head(response).await;
        assert_eq!((response.status().as_u16(), &response.headers()["x-two"]), (201, &"2".parse().unwrap()));
        assert!(!response.headers().contains_key("keep-alive"));
        assert_eq!(whole(response.body_mut()).await.unwrap(), (b"hello".to_vec(), None));
        let line = world.server_lines.line(0).await;
        assert_eq!((line.status, line.bytes_down, line.error), (Some(201), 5, None));

        // A HEAD has no body, but says how long it would be.
        let request = Request::head("http://app.test/").body(()).unwrap();
        let (response, _) = visitor.send(request, true).await;
        connection.head().await;
        connection.say("HTTP/1.1 200 OK\r\nContent-Length: 7\r\n\r\n").await;
        let response = head(response).await;
        assert!(response.body().is_end_stream());
        assert_eq!(response.headers()["content-length"], "7");

        let mut old = Peer::connect(world.http).await;
        old.say("GET / HTTP/1.1\r\nHost: app.test\r\n\r\n").await;
        connection.head().await;
        connection.say(OK).await;
        assert!(old.hear("ok").await.starts_with("HTTP/1.1 200"));
    });
}

#[test]
fn a_stream_that_is_handed_in_says_how_it_came() {
    let service = ByHand::new();
    run(service.addr(), |world| async move {
        let service = service.listen();
        let dispatch =
            Dispatch::new(world.names.clone(), world.server.waits.clone(), world.server.metrics.clone());
        let ingress = HttpIngress::new("https", Arc::new(dispatch), world.server.clone(), Gate::default());
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let spawner = world.server.spawner.clone();
        spawner.spawn(spawner.here(), "ingress", async move {
            let (stream, peer): (TcpStream, _) = listener.accept().await.unwrap();
            let arrival = Arrival { peer, scheme: Scheme::Https, protocol: Some(Protocol::Http2), sni: None };
            ingress.serve(stream, arrival).await;
        });
        let mut visitor = Visitor::connect_to(address, &world).await;
        let (response, _) = visitor.send(get("/"), true).await;
        let mut connection = Peer::accept(&service).await;
        let received = connection.head().await;
        assert!(received.contains("x-forwarded-proto: https\r\n"), "{received}");
        connection.say(OK).await;
        assert_eq!(head(response).await.status(), 200);
    });
}

#[test]
fn authority_and_host_are_one() {
    let service = ByHand::new();
    run(service.addr(), |world| async move {
        let service = service.listen();
        let mut visitor = Visitor::connect(&world).await;
        for (authority, host, status, kind) in [
            ("app.test", Some("other.test"), 400, "bad-request"),
            ("evil@app.test", None, 400, "bad-request"),
            ("nobody.test", None, 404, "no-route"),
            ("127.0.0.1", None, 404, "no-route"),
        ] {
            let mut request = Request::builder().uri(format!("http://{authority}/"));
            if let Some(host) = host {
                request = request.header("host", host);
            }
            let (response, _) = visitor.send(request.body(()).unwrap(), true).await;
            let mut response = head(response).await;
            assert_eq!(response.status(), status, "{authority}");
            assert_eq!(response.headers()["x-tunnel-error"], kind, "{authority}");
            assert!(!whole(response.body_mut()).await.unwrap().0.is_empty());
        }
        let request = Request::builder().uri("http://app.test/").header("host", "APP.test").body(()).unwrap();
        let (response, _) = visitor.send(request, true).await;
        let mut connection = Peer::accept(&service).await;
        connection.head().await;
        connection.say(OK).await;
        assert_eq!(head(response).await.status(), 200);
        // Not a tunnel for anything.
        let request = Request::connect("app.test:443").body(()).unwrap();
        let (response, _) = visitor.send(request, false).await;
        assert_eq!(head(response).await.status(), 501);
    });
}

#[test]
fn a_cut_body_is_a_reset_of_its_stream_and_of_no_other() {
    let service = ByHand::new();
    run(service.addr(), |world| async move {
        let service = service.listen();
        let mut visitor = Visitor::connect(&world).await;
        let (other, _) = visitor.send(get("/other"), true).await;
        let mut patient = Peer::accept(&service).await;
        patient.head().await;
        for answer in [
            "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\npart",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\npart\r\n",
        ] {
            let (response, _) = visitor.send(get("/"), true).await;
            let mut connection = Peer::accept(&service).await;
            connection.head().await;
            connection.say(answer).await;
            let mut response = head(response).await;
            assert_eq!(data(response.body_mut()).await.unwrap().unwrap(), "part");
            drop(connection);
            assert_eq!(data(response.body_mut()).await, Err(Reason::INTERNAL_ERROR), "{answer:?}");
        }
        assert_eq!(world.server_lines.line(1).await.error, Some(ErrorKind::ServiceCut));
        patient.say(OK).await;
        assert_eq!(whole(head(other).await.body_mut()).await.unwrap().0, b"ok");
    });
}

#[test]
fn a_session_that_dies_is_an_answer_or_a_reset() {
    let service = ByHand::new();
    let timeouts = Timeouts { member: Duration::from_millis(50), ..Timeouts::default() };
    run_with(timeouts, service.addr(), |world| async move {
        let service = service.listen();
        let mut visitor = Visitor::connect(&world).await;
        let (started, _) = visitor.send(get("/"), true).await;
        let mut first = Peer::accept(&service).await;
        first.head().await;
        first.say("HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf").await;
        let mut started = head(started).await;
        assert_eq!(data(started.body_mut()).await.unwrap().unwrap(), "half");
        let (unanswered, _) = visitor.send(post("/", &[]), true).await;
        Peer::accept(&service).await.head().await;
        world.client_session.close();
        assert_eq!(data(started.body_mut()).await, Err(Reason::INTERNAL_ERROR));
        let unanswered = head(unanswered).await;
        assert_eq!(unanswered.status(), 502);
        assert_eq!(unanswered.headers()["x-tunnel-error"], "session-lost");
    });
}

#[test]
fn a_visitors_reset_is_noticed_at_the_service_within_a_second() {
    let service = ByHand::new();
    run(service.addr(), |world| async move {
        let service = service.listen();
        let mut visitor = Visitor::connect(&world).await;
        for answer in ["", "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nfirst"] {
            let (response, mut sender) = visitor.send(post("/", &[]), false).await;
            sender.send_data(Bytes::from_static(b"abc"), false).unwrap();
            let mut connection = Peer::accept(&service).await;
            connection.hear("abc").await;
            let mut response = Some(response);
            let mut begun = None;
            if !answer.is_empty() {
                connection.say(answer).await;
                let mut response = head(response.take().unwrap()).await;
                assert_eq!(data(response.body_mut()).await.unwrap().unwrap(), "first");
                begun = Some(response);
            }
            let gone = Instant::now();
            sender.send_reset(Reason::CANCEL);
            assert_eq!(connection.rest().await.1, End::Reset, "{answer:?}");
            assert!(gone.elapsed() < A_SECOND, "{:?}", gone.elapsed());
            drop((response, begun));
        }
    });
}

#[test]
fn bodies_and_trailers_pass_both_ways() {
    const SIZE: usize = 4 << 20;
    let service = ByHand::new();
    run(service.addr(), |world| async move {
        let service = service.listen();
        let mut visitor = Visitor::connect(&world).await;
        let (response, mut sender) = visitor.send(post("/", &[("trailer", "x-sum")]), false).await;
        sender.send_data(vec![b'x'; SIZE].into(), false).unwrap();
        sender
            .send_trailers([("x-sum".parse().unwrap(), "1".parse().unwrap())].into_iter().collect())
            .unwrap();
        let mut connection = Peer::accept(&service).await;
        let received = connection.head().await;
        assert!(received.contains("transfer-encoding: chunked\r\n"), "{received}");
        let chunks = connection.hear("0\r\nx-sum: 1\r\n\r\n").await;
        assert_eq!(chunks.bytes().filter(|byte| *byte == b'x').count(), SIZE + 1);
        let answer = format!("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n{SIZE:x}\r\n");
        connection.say(answer).await;
        let bulk = vec![b'y'; SIZE];
        let mut response = head(response).await;
        let sending = async {
            connection.say(&bulk).await;
            connection.say("\r\n0\r\nX-Sum: 2\r\n\r\n").await;
        };
        let (_, whole) = tokio::join!(sending, whole(response.body_mut()));
        let (body, trailers) = whole.unwrap();
        assert!(body == bulk);
        assert_eq!(trailers.unwrap()["x-sum"], "2");
    });
}

#[test]
fn a_visitor_with_small_windows_gets_all_of_a_body() {
    let service = ByHand::new();
    run(service.addr(), |world| async move {
        let service = service.listen();
        let mut small = h2::client::Builder::new();
        small.initial_window_size(100).initial_connection_window_size(65_535);
        let mut visitor = Visitor::with(&small, &world).await;
        for framing in ["Content-Length: 100000\r\n\r\n", "Transfer-Encoding: chunked\r\n\r\n186A0\r\n"] {
            let (response, _) = visitor.send(get("/"), true).await;
            let mut connection = Peer::accept(&service).await;
            connection.head().await;
            let bulk: Vec<u8> = (0..100_000_u32).map(|index| u8::try_from(index % 251).unwrap()).collect();
            connection.say(format!("HTTP/1.1 200 OK\r\nConnection: close\r\n{framing}")).await;
            connection.say(&bulk).await;
            connection.say(if framing.starts_with('T') { "\r\n0\r\n\r\n" } else { "" }).await;
            assert!(whole(head(response).await.body_mut()).await.unwrap().0 == bulk);
        }
    });
}

#[test]
fn an_early_response_arrives_although_the_upload_goes_on() {
    let service = ByHand::new();
    run(service.addr(), |world| async move {
        let service = service.listen();
        let mut visitor = Visitor::connect(&world).await;
        let (response, mut sender) = visitor.send(post("/", &[("content-length", "100000000")]), false).await;
        sender.send_data(vec![0; 1 << 20].into(), false).unwrap();
        let mut connection = Peer::accept(&service).await;
        connection.head().await;
        connection
            .say("HTTP/1.1 413 Content Too Large\r\nContent-Length: 3\r\nConnection: close\r\n\r\nno!")
            .await;
        let mut response = head(response).await;
        assert_eq!(response.status(), 413);
        assert_eq!(whole(response.body_mut()).await.unwrap().0, b"no!");
        // The rest is not wanted, which is no error (RFC 9113 section 8.1).
        let reason = timeout(LIMIT, std::future::poll_fn(|cx| sender.poll_reset(cx))).await.unwrap();
        assert_eq!(reason.unwrap(), Reason::NO_ERROR);
        assert_eq!(world.server_lines.line(0).await.error, None);
    });
}

#[test]
fn a_slow_stream_holds_back_no_other() {
    let service = ByHand::new();
    run(service.addr(), |world| async move {
        let service = service.listen();
        let mut visitor = Visitor::connect(&world).await;
        let (slow, _) = visitor.send(get("/slow"), true).await;
        let mut bulk = Peer::accept(&service).await;
        bulk.head().await;
        bulk.say("HTTP/1.1 200 OK\r\nContent-Length: 1000000000\r\n\r\n").await;
        let slow = head(slow).await;
        let (stuck, mut sender) = visitor.send(post("/stuck", &[]), false).await;
        sender.send_data(vec![0; 1 << 20].into(), false).unwrap();
        let unread = Peer::accept(&service).await;
        let block = vec![0; 1 << 16];
        while let Ok(written) = timeout(Duration::from_millis(300), bulk.0.write(&block)).await {
            written.unwrap();
        }
        let (quick, _) = visitor.send(get("/quick"), true).await;
        let mut connection = Peer::accept(&service).await;
        connection.head().await;
        connection.say(OK).await;
        // The window of the connection is as full as one stream may make it: the head needs none.
        assert_eq!(head(quick).await.status(), 200);
        drop((slow, stuck, sender, unread));
    });
}

#[test]
fn a_visitor_that_makes_no_room_loses_its_stream() {
    let service = ByHand::new();
    let timeouts = Timeouts { stalled: Duration::from_millis(300), ..Timeouts::default() };
    run_with(timeouts, service.addr(), |world| async move {
        let service = service.listen();
        let mut visitor = Visitor::connect(&world).await;
        let (stalled, _) = visitor.send(get("/"), true).await;
        let mut connection = Peer::accept(&service).await;
        connection.head().await;
        connection.say("HTTP/1.1 200 OK\r\nContent-Length: 1000000000\r\n\r\n").await;
        let mut stalled = head(stalled).await;
        let block = vec![0; 1 << 16];
        let ended = async { while connection.0.write_all(&block).await.is_ok() {} };
        timeout(LIMIT, ended).await.unwrap();
        // The connection lives.
        let (other, _) =
            visitor.send(Request::builder().uri("http://nobody.test/").body(()).unwrap(), true).await;
        assert_eq!(head(other).await.status(), 404);
        let end = async {
            loop {
                match data(stalled.body_mut()).await {
                    Ok(Some(_)) => {}
                    end => return end,
                }
            }
        };
        assert_eq!(end.await, Err(Reason::CANCEL));
    });
}

#[test]
fn idle_connections_and_halves_of_a_preface_are_closed() {
    let service = ByHand::new();
    let timeouts = Timeouts {
        detect: Duration::from_millis(300),
        keep_alive: Duration::from_millis(300),
        // This visitor answers no farewell.
        linger: Duration::from_millis(100),
        ..Timeouts::default()
    };
    run_with(timeouts, service.addr(), |world| async move {
        let mut half = Peer::connect(world.http).await;
        half.say("PRI * HTTP/2.0\r\n").await;
        assert_eq!(half.rest().await.0, b"");
        let mut idle = Framer::connect(&world).await;
        let (kind, _, farewell) = idle.hear(u32::MAX).await.unwrap();
        assert_eq!((kind, &farewell[4..]), (GOAWAY, &[0, 0, 0, 0][..]));
        while idle.hear(u32::MAX).await.is_some() {}
        until_counted(&world.server.metrics, "tunnel_guard_closed_total{reason=\"slow-head\"} 1").await;
        until_counted(&world.server.metrics, "tunnel_guard_closed_total{reason=\"idle\"} 1").await;
        drop(service);
    });
}

#[test]
fn a_drain_says_goodbye_and_finishes_requests() {
    let service = ByHand::new();
    run(service.addr(), |world| async move {
        let service = service.listen();
        let mut visitor = Visitor::connect(&world).await;
        let (response, _) = visitor.send(get("/"), true).await;
        let mut connection = Peer::accept(&service).await;
        connection.head().await;
        let drain = world.server.drain.clone();
        let spawner = &world.server.spawner;
        let draining = spawner.spawn(spawner.here(), "drain", async move { drain.finish(LIMIT).await });
        timeout(LIMIT, async {
            while !visitor.is_refused().await {
                tokio::task::yield_now().await
            }
        })
        .await
        .unwrap();
        connection.say(OK).await;
        assert_eq!(whole(head(response).await.body_mut()).await.unwrap().0, b"ok");
        assert_eq!(draining.await.unwrap(), ops::drain::Drained::Clean);
    });
}

#[test]
fn a_service_may_refuse_a_body_before_it_is_sent() {
    let service = ByHand::new();
    run(service.addr(), |world| async move {
        let service = service.listen();
        let mut visitor = Visitor::connect(&world).await;
        let fields = [("expect", "100-continue"), ("content-length", "3")];
        let (response, _sender) = visitor.send(post("/", &fields), false).await;
        let mut connection = Peer::accept(&service).await;
        assert!(connection.head().await.contains("expect: 100-continue\r\n"));
        connection.say("HTTP/1.1 401 Unauthorized\r\nContent-Length: 0\r\n\r\n").await;
        assert_eq!(head(response).await.status(), 401);
    });
}
