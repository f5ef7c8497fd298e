use std::sync::Arc;
use std::time::{Duration, Instant};

use ops::error_kind::ErrorKind;
use protocol::service_name::ServiceName;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::timeout;

use super::fixture::*;
use crate::access::AccessKind;
use crate::context::Timeouts;
use crate::directory::Lookup;
use crate::plugin::Chain;
use crate::service::{Service, ServiceTarget};

const GET: &str = "GET /a?b=c HTTP/1.1\r\nHost: app.test\r\n\r\n";

#[test]
fn a_request_comes_out_at_the_service_and_its_response_at_the_visitor() {
    let service = ByHand::new();
    run(service.addr(), |world| async move {
        let service = service.listen();
        let mut visitor = Peer::connect(world.http).await;
        visitor
            .say("GET /a?b=c HTTP/1.1\r\nHost: App.Test:8080\r\nX-Real-IP: 9.9.9.9\r\nX-One: 1\r\n\r\n")
            .await;
        let mut connection = Peer::accept(&service).await;
        let head = connection.head().await;
        assert!(head.starts_with("GET /a?b=c HTTP/1.1\r\nhost: App.Test:8080\r\nx-one: 1\r\n"), "{head}");
        assert!(head.contains("x-forwarded-for: 127.0.0.1\r\n"), "{head}");
        assert!(head.contains("x-forwarded-host: App.Test:8080\r\n"), "{head}");
        assert!(!head.contains("9.9.9.9") && !head.contains("transfer-encoding"), "{head}");
        connection
            .say("HTTP/1.1 201 Created\r\nContent-Length: 5\r\nX-Two: 2\r\nKeep-Alive: x\r\n\r\nhello")
            .await;
        let head = visitor.head().await;
        assert!(head.starts_with("HTTP/1.1 201 Created\r\ncontent-length: 5\r\nx-two: 2\r\n"), "{head}");
        assert!(!head.contains("keep-alive"), "{head}");
        assert_eq!(visitor.hear("hello").await, "hello");

        // The same connections carry the next request.
        visitor.say("POST / HTTP/1.1\r\nHost: app.test\r\nContent-Length: 3\r\n\r\nabc").await;
        let second = connection.hear("abc").await;
        assert!(second.contains("content-length: 3\r\n"), "{second}");
        connection.say("HTTP/1.1 204 No Content\r\n\r\n").await;
        assert!(visitor.head().await.starts_with("HTTP/1.1 204"));

        let line = world.server_lines.line(0).await;
        assert_eq!((line.status, line.bytes_down, line.error), (Some(201), 5, None));
        assert_eq!((line.route.as_deref(), line.member.as_deref()), (Some("app"), Some("edge-1")));
        assert_eq!(line.host.unwrap().as_str(), "app.test");
        assert_eq!(world.server_lines.line(1).await.bytes_up, 3);
        let there = world.client_lines.line(0).await;
        assert_eq!((there.status, there.trace, there.kind), (Some(201), line.trace, AccessKind::Http));
    });
}

#[test]
fn what_is_not_there_says_why() {
    let timeouts = Timeouts { member: Duration::from_millis(50), ..Timeouts::default() };
    let refused = ByHand::new();
    let address = refused.addr();
    drop(refused);
    run_with(timeouts, address, |world| async move {
        world.names.set("reserved.test", Lookup::Reserved(labels(&world.server), Chain::default()));
        let cases = [
            ("nobody.test", 404, "no-route"),
            ("reserved.test", 503, "no-member"),
            ("app.test", 502, "service-refused"),
            ("127.0.0.1", 404, "no-route"),
            ("a..b", 400, "bad-request"),
        ];
        for (host, status, kind) in cases {
            let mut visitor = Peer::connect(world.http).await;
            visitor.say(format!("GET / HTTP/1.1\r\nHost: {host}\r\n\r\n")).await;
            let head = visitor.head().await;
            assert!(head.starts_with(&format!("HTTP/1.1 {status} ")), "{head}");
            assert!(head.contains(&format!("x-tunnel-error: {kind}\r\n")), "{head}");
            assert_eq!(head.contains("retry-after: 5\r\n"), status == 503, "{head}");
            let page = visitor.hear("\ntrace: ").await;
            assert!(page.contains(kind), "{page}");
        }
        assert_eq!(world.server_lines.line(1).await.error, Some(ErrorKind::NoMember));
        assert_eq!(world.client_lines.line(0).await.error, Some(ErrorKind::ServiceRefused));
    });
}

#[test]
fn a_visitor_waits_a_moment_for_a_member() {
    let service = ByHand::new();
    let timeouts = Timeouts { member: LIMIT, ..Timeouts::default() };
    run_with(timeouts, service.addr(), |world| async move {
        let service = service.listen();
        let [(_, _inbound), (dead, _)] = sessions(&world.server.spawner);
        dead.close();
        dead.closed().await;
        world.names.set(HOST, found(&world.server, vec![target(&dead, 1)]));
        let mut visitor = Peer::connect(world.http).await;
        visitor.say(GET).await;
        world.names.set("other.test", Lookup::Unknown);
        world.names.set(HOST, found(&world.server, vec![target(&world.session, 1)]));
        let mut connection = Peer::accept(&service).await;
        connection.head().await;
        connection.say("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n").await;
        assert!(visitor.head().await.starts_with("HTTP/1.1 200"));
    });
}

#[test]
fn a_refused_service_leads_to_the_next_member() {
    let service = ByHand::new();
    run(service.addr(), |world| async move {
        let service = service.listen();
        // The first member does not know the service any more.
        let targets = vec![target(&world.session, 77), target(&world.session, 1)];
        world.names.set(HOST, found(&world.server, targets));
        let mut visitor = Peer::connect(world.http).await;
        visitor.say("POST / HTTP/1.1\r\nHost: app.test\r\nContent-Length: 3\r\n\r\nabc").await;
        let mut connection = Peer::accept(&service).await;
        assert!(connection.hear("abc").await.starts_with("POST / "));
        connection.say("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n").await;
        assert!(visitor.head().await.starts_with("HTTP/1.1 200"));
        until_counted(&world.server.metrics, "tunnel_retries_total{outcome=\"succeeded\"} 1").await;
    });
}

#[test]
fn a_service_that_refuses_a_long_upload_leads_to_the_next_member() {
    const LENGTH: usize = 1 << 20;
    let (service, gone) = (ByHand::new(), ByHand::new().addr());
    run(service.addr(), move |world| async move {
        let service = service.listen();
        let to: ServiceTarget = gone.to_string().parse().unwrap();
        let refusing = Service::http(labels(&world.client), &to, None, &world.client).unwrap();
        world.table.insert(ServiceName::Own(3), Arc::new(refusing));
        let targets = || vec![target(&world.session, 3), target(&world.session, 1)];
        for framing in ["Content-Length: 1048576\r\n\r\n", "Transfer-Encoding: chunked\r\n\r\n100000\r\n"] {
            // Nobody remembers how the member was.
            world.names.set(HOST, found(&world.server, targets()));
            let mut visitor = Peer::connect(world.http).await;
            visitor.say(format!("POST / HTTP/1.1\r\nHost: app.test\r\n{framing}")).await;
            let uploading = visitor.say(vec![b'x'; LENGTH]);
            let serving = async {
                let mut connection = Peer::accept(&service).await;
                connection.head().await;
                // Chunks have their borders where they have them.
                let (mut heard, mut bytes) = (0, vec![0; LENGTH]);
                while heard < LENGTH {
                    let more = timeout(LIMIT, connection.0.read(&mut bytes)).await.unwrap().unwrap();
                    assert!(more > 0, "it broke off after {heard}");
                    heard += bytes[..more].iter().filter(|byte| **byte == b'x').count();
                }
                connection
            };
            let ((), mut connection) = tokio::join!(uploading, serving);
            if framing.contains("chunked") {
                visitor.say("\r\n0\r\n\r\n").await;
                connection.hear("0\r\n\r\n").await;
            }
            connection.say("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n").await;
            assert!(visitor.head().await.starts_with("HTTP/1.1 200"));
        }
    });
}

#[test]
fn a_session_that_dies_ends_what_it_carried_as_an_error() {
    let service = ByHand::new();
    let timeouts = Timeouts { member: Duration::from_millis(50), ..Timeouts::default() };
    run_with(timeouts, service.addr(), |world| async move {
        let service = service.listen();
        let mut started = Peer::connect(world.http).await;
        started.say(GET).await;
        let mut first = Peer::accept(&service).await;
        first.head().await;
        first.say("HTTP/1.0 200 OK\r\n\r\nhalf of it").await;
        started.hear("half of it").await;

        let mut unanswered = Peer::connect(world.http).await;
        unanswered.say("POST / HTTP/1.1\r\nHost: app.test\r\nContent-Length: 0\r\n\r\n").await;
        let mut second = Peer::accept(&service).await;
        second.head().await;

        world.client_session.close();
        let head = unanswered.head().await;
        assert!(head.starts_with("HTTP/1.1 502"), "{head}");
        assert!(head.contains("x-tunnel-error: session-lost"), "{head}");
        assert_eq!(started.rest().await.1, End::Reset);
        assert_eq!(first.rest().await.1, End::Reset);
        assert_eq!(second.rest().await.1, End::Reset);
    });
}

#[test]
fn a_visitor_that_goes_away_is_noticed_at_the_service_within_a_second() {
    let service = ByHand::new();
    run(service.addr(), |world| async move {
        let service = service.listen();
        for reset in [false, true] {
            let mut visitor = Peer::connect(world.http).await;
            visitor.say(GET).await;
            let mut connection = Peer::accept(&service).await;
            connection.head().await;
            if reset {
                visitor.0.set_zero_linger().unwrap();
            }
            let gone = Instant::now();
            drop(visitor);
            assert_eq!(connection.rest().await.1, End::Reset);
            assert!(gone.elapsed() < A_SECOND, "{:?}", gone.elapsed());
        }
        // Also in the middle of a response that nobody takes.
        let mut visitor = Peer::connect(world.http).await;
        visitor.say(GET).await;
        let mut connection = Peer::accept(&service).await;
        connection.head().await;
        connection.say("HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nfirst").await;
        visitor.hear("first").await;
        drop(visitor);
        assert_eq!(connection.rest().await.1, End::Reset);
        let line = world.server_lines.line(2).await;
        assert_eq!((line.error, line.bytes_down), (None, 5));
    });
}

#[test]
fn a_visitor_that_closes_its_way_gets_its_answer() {
    let service = ByHand::new();
    run(service.addr(), |world| async move {
        let service = service.listen();
        let mut visitor = Peer::connect(world.http).await;
        visitor.say(GET).await;
        visitor.0.shutdown().await.unwrap();
        let mut connection = Peer::accept(&service).await;
        connection.head().await;
        let body = vec![b'x'; 8 << 20];
        connection.say(format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", body.len())).await;
        let (_, (rest, end)) = tokio::join!(connection.say(&body), visitor.rest());
        assert_eq!(end, End::Fin);
        assert!(rest.ends_with(&body));
    });
}

#[test]
fn a_service_that_says_nothing_is_given_up() {
    let service = ByHand::new();
    let timeouts = Timeouts { request: Duration::from_millis(300), ..Timeouts::default() };
    run_with(timeouts, service.addr(), |world| async move {
        let service = service.listen();
        let mut visitor = Peer::connect(world.http).await;
        visitor.say(GET).await;
        let mut connection = Peer::accept(&service).await;
        connection.head().await;
        let head = visitor.head().await;
        assert!(head.starts_with("HTTP/1.1 504"), "{head}");
        assert!(head.contains("x-tunnel-error: service-timeout"), "{head}");
        assert_eq!(connection.rest().await.1, End::Reset);
    });
}

#[test]
fn slow_heads_and_idle_connections_are_closed() {
    let service = ByHand::new();
    let timeouts = Timeouts {
        head: Duration::from_millis(300),
        keep_alive: Duration::from_millis(300),
        ..Timeouts::default()
    };
    run_with(timeouts, service.addr(), |world| async move {
        let service = service.listen();
        let mut silent = Peer::connect(world.http).await;
        assert!(silent.rest().await.0.is_empty());
        let mut slow = Peer::connect(world.http).await;
        slow.say("GET / HTTP/1.1\r\nHo").await;
        assert!(slow.rest().await.0.is_empty());
        let mut idle = Peer::connect(world.http).await;
        idle.say(GET).await;
        let mut connection = Peer::accept(&service).await;
        connection.head().await;
        connection.say("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n").await;
        idle.head().await;
        assert_eq!(idle.rest().await, (Vec::new(), End::Fin));
        until_counted(&world.server.metrics, "tunnel_guard_closed_total{reason=\"slow-head\"} 2").await;
        until_counted(&world.server.metrics, "tunnel_guard_closed_total{reason=\"idle\"} 1").await;
    });
}

#[test]
fn a_drain_finishes_requests_and_closes_what_is_idle() {
    let service = ByHand::new();
    run(service.addr(), |world| async move {
        let service = service.listen();
        let mut idle = Peer::connect(world.http).await;
        let mut busy = Peer::connect(world.http).await;
        busy.say(GET).await;
        let mut connection = Peer::accept(&service).await;
        connection.head().await;
        let drain = world.server.drain.clone();
        let draining = world
            .server
            .spawner
            .spawn(world.server.spawner.here(), "drain", async move { drain.finish(LIMIT).await });
        assert!(idle.rest().await.0.is_empty());
        connection.say("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok").await;
        let (response, end) = busy.rest().await;
        assert!(String::from_utf8(response).unwrap().ends_with("ok"));
        assert_eq!(end, End::Fin);
        assert_eq!(draining.await.unwrap(), ops::drain::Drained::Clean);
    });
}
