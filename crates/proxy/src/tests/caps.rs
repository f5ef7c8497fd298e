//! How long a body may be, and how much may be worked on at once.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use ops::error_kind::ErrorKind;
use policy::rule;
use protocol::id::InstanceId;
use tokio::time::timeout;

use super::fixture::*;
use super::visitor_h2::{Visitor, head, post};
use crate::concurrency::Limits;
use crate::context::{Context, Timeouts};
use crate::directory::{Lookup, Route, Target};
use crate::treatment::Treatment;

const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n";
const FIVE: Limits = Limits {
    requests: 100,
    requests_per_visitor: None,
    requests_per_route: None,
    requests_per_client: None,
    max_body: Some(5),
    queue: 1,
    wait: Duration::from_millis(50),
};

fn treated(context: &Context, targets: Vec<Target>, written: &rule::Treatment) -> Lookup {
    let Lookup::Found(route) = found(context, targets) else { panic!() };
    Lookup::Found(Route { treatment: Some(Arc::new(Treatment::of(written).unwrap())), ..route })
}

fn sized(length: usize) -> String {
    format!("POST / HTTP/1.1\r\nHost: app.test\r\nContent-Length: {length}\r\n\r\n")
}

#[test]
fn a_body_that_says_it_is_too_long_is_refused_before_anybody_is_asked() {
    let service = ByHand::new();
    run_limited(Timeouts::default(), FIVE, service.addr(), |world| async move {
        let service = service.listen();
        for request in [
            sized(6),
            sized(6).replace("\r\n\r\n", "\r\nExpect: 100-continue\r\n\r\n"),
            sized(6).replace("\r\n\r\n", "\r\n\r\nabcdef"),
        ] {
            let mut visitor = Peer::connect(world.http).await;
            visitor.say(request).await;
            let head = visitor.head().await;
            assert!(head.starts_with("HTTP/1.1 413 "), "{head}");
            assert!(head.contains("connection: close\r\n") && head.contains("bad-request"), "{head}");
        }
        assert!(timeout(Duration::from_millis(20), service.accept()).await.is_err());
        let mut visitor = Peer::connect(world.http).await;
        visitor.say(format!("{}abcde", sized(5))).await;
        let mut connection = Peer::accept(&service).await;
        connection.hear("abcde").await;
        connection.say(OK).await;
        assert!(visitor.head().await.starts_with("HTTP/1.1 200 "));
        assert_eq!(world.server_lines.line(0).await.error, Some(ErrorKind::BadRequest));
    });
}

#[test]
fn a_body_that_turns_out_to_be_too_long_is_broken_off_on_its_way() {
    let service = ByHand::new();
    run_limited(Timeouts::default(), FIVE, service.addr(), |world| async move {
        let service = service.listen();
        let mut visitor = Peer::connect(world.http).await;
        visitor
            .say("POST / HTTP/1.1\r\nHost: app.test\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n")
            .await;
        let mut connection = Peer::accept(&service).await;
        connection.hear("abc\r\n").await;
        visitor.say("3\r\ndef\r\n").await;
        let head = visitor.head().await;
        assert!(head.starts_with("HTTP/1.1 413 "), "{head}");
        connection.broken().await;
        let (seen, _) = connection.rest().await;
        assert!(!String::from_utf8_lossy(&seen).contains("def"), "what is too much does not get there");
    });
}

#[test]
fn over_http2_it_is_the_same_and_the_connection_goes_on() {
    let service = ByHand::new();
    run_limited(Timeouts::default(), FIVE, service.addr(), |world| async move {
        let service = service.listen();
        let mut visitor = Visitor::connect(&world).await;
        let (response, _body) = visitor.send(post("/", &[("content-length", "6")]), false).await;
        assert_eq!(head(response).await.status(), 413);
        let (response, mut body) = visitor.send(post("/", &[]), false).await;
        body.send_data(Bytes::from_static(b"abc"), false).unwrap();
        let mut connection = Peer::accept(&service).await;
        connection.hear("abc\r\n").await;
        body.send_data(Bytes::from_static(b"def"), false).unwrap();
        assert_eq!(head(response).await.status(), 413);
        connection.broken().await;
        let (response, mut body) = visitor.send(post("/", &[]), false).await;
        body.send_data(Bytes::from_static(b"abcde"), true).unwrap();
        let mut connection = Peer::accept(&service).await;
        connection.hear("0\r\n\r\n").await;
        connection.say(OK).await;
        assert_eq!(head(response).await.status(), 200);
    });
}

/// The answer has begun: there is no other way to say it than to break that off.
#[test]
fn a_body_that_becomes_too_long_while_it_is_answered_ends_the_answer() {
    const BEGUN: &str = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nbegun\r\n";
    let service = ByHand::new();
    run_limited(Timeouts::default(), FIVE, service.addr(), |world| async move {
        let service = service.listen();
        let mut visitor = Peer::connect(world.http).await;
        visitor
            .say("POST / HTTP/1.1\r\nHost: app.test\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n")
            .await;
        let mut connection = Peer::accept(&service).await;
        connection.hear("abc\r\n").await;
        connection.say(BEGUN).await;
        visitor.hear("5\r\nbegun\r\n").await;
        visitor.say("3\r\ndef\r\n").await;
        assert_eq!(visitor.rest().await, (Vec::new(), End::Reset), "and no last chunk");
        connection.broken().await;
        let line = world.server_lines.line(0).await;
        assert_eq!((line.status, line.error), (Some(200), Some(ErrorKind::BadRequest)));

        let mut visitor = Visitor::connect(&world).await;
        let (response, mut body) = visitor.send(post("/", &[]), false).await;
        body.send_data(Bytes::from_static(b"abc"), false).unwrap();
        let mut connection = Peer::accept(&service).await;
        connection.hear("abc\r\n").await;
        connection.say(BEGUN).await;
        let mut response = head(response).await;
        let begun = timeout(LIMIT, response.body_mut().data()).await.unwrap();
        assert_eq!(begun.unwrap().unwrap(), "begun");
        body.send_data(Bytes::from_static(b"def"), false).unwrap();
        let end = timeout(LIMIT, response.body_mut().data()).await.unwrap();
        assert!(end.unwrap().unwrap_err().is_reset());
        connection.broken().await;
        assert_eq!(world.server_lines.line(1).await.error, Some(ErrorKind::BadRequest));
    });
}

#[test]
fn a_rule_has_caps_of_its_own() {
    let service = ByHand::new();
    run_limited(Timeouts::default(), FIVE, service.addr(), |world| async move {
        let service = service.listen();
        let written =
            rule::Treatment { max_body: Some(0), max_concurrent_requests: Some(1), ..Default::default() };
        world.names.set(HOST, treated(&world.server, vec![target(&world.session, 1)], &written));
        let mut first = Peer::connect(world.http).await;
        first.say(format!("{}abcdef", sized(6))).await;
        let mut connection = Peer::accept(&service).await;
        connection.hear("abcdef").await;
        let mut second = Peer::connect(world.http).await;
        second.say(sized(0)).await;
        let head = second.head().await;
        assert!(head.starts_with("HTTP/1.1 503 ") && head.contains("over-limit"), "{head}");
        connection.say(OK).await;
        assert!(first.head().await.starts_with("HTTP/1.1 200 "));
    });
}

#[test]
fn a_client_that_has_enough_to_do_is_passed_over() {
    let service = ByHand::new();
    let limits = Limits { requests_per_client: Some(1), max_body: None, ..FIVE };
    run_limited(Timeouts::default(), limits, service.addr(), |world| async move {
        let service = service.listen();
        let other =
            Target { member: InstanceId([2; 16]), member_name: "edge-2".into(), ..target(&world.session, 1) };
        world.names.set(HOST, found(&world.server, vec![target(&world.session, 1), other]));
        let mut visitors = Vec::new();
        let mut connections = Vec::new();
        for _ in 0..2 {
            let mut visitor = Peer::connect(world.http).await;
            visitor.say(sized(0)).await;
            let mut connection = Peer::accept(&service).await;
            connection.head().await;
            visitors.push(visitor);
            connections.push(connection);
        }
        let mut third = Peer::connect(world.http).await;
        third.say(sized(0)).await;
        assert!(third.head().await.contains("over-limit"));
        for (visitor, connection) in visitors.iter_mut().zip(&mut connections) {
            connection.say(OK).await;
            assert!(visitor.head().await.starts_with("HTTP/1.1 200 "));
        }
        let members = [1, 2].map(|line| world.server_lines.line(line));
        let [first, second] = members;
        let mut members = [first.await.member, second.await.member].map(|member| member.unwrap().to_string());
        members.sort();
        assert_eq!(members, ["edge-1", "edge-2"]);
    });
}
