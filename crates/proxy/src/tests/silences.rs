//! What is silent for longer than it may be ends, and never as if it were complete.

use std::time::Duration;

use ops::error_kind::ErrorKind;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpListener;

use super::fixture::*;
use super::visitor_h2::{Visitor, data, get, head};
use crate::context::Timeouts;

const SHORT: Duration = Duration::from_millis(300);
const UPGRADE: &str = "GET / HTTP/1.1\r\nHost: app.test\r\nConnection: Upgrade\r\nUpgrade: x\r\n\r\n";
const SWITCHED: &str = "HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n";

#[test]
fn a_response_that_does_not_go_on_is_cut() {
    let service = ByHand::new();
    let timeouts = Timeouts { silence: SHORT, ..Timeouts::default() };
    run_with(timeouts, service.addr(), |world| async move {
        let service = service.listen();
        let begun = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nbegun\r\n";
        let mut visitor = Peer::connect(world.http).await;
        visitor.say("GET / HTTP/1.1\r\nHost: app.test\r\n\r\n").await;
        let mut connection = Peer::accept(&service).await;
        connection.head().await;
        connection.say(begun).await;
        visitor.hear("begun\r\n").await;
        assert_eq!(visitor.rest().await, (Vec::new(), End::Reset));
        connection.broken().await;
        let mut visitor = Visitor::connect(&world).await;
        let (response, _) = visitor.send(get("/"), true).await;
        let mut connection = Peer::accept(&service).await;
        connection.head().await;
        connection.say(begun).await;
        let mut response = head(response).await;
        assert_eq!(data(response.body_mut()).await.unwrap().unwrap(), "begun");
        data(response.body_mut()).await.unwrap_err();
        for line in 0..2 {
            let line = world.server_lines.line(line).await;
            assert_eq!((line.status, line.error), (Some(200), Some(ErrorKind::ServiceTimeout)));
        }
    });
}

async fn switched(world: &World, service: &TcpListener) -> (Peer, Peer) {
    let mut visitor = Peer::connect(world.http).await;
    visitor.say(UPGRADE).await;
    let mut connection = Peer::accept(service).await;
    connection.head().await;
    connection.say(SWITCHED).await;
    visitor.head().await;
    (visitor, connection)
}

async fn connected(world: &World, service: &TcpListener) -> (Peer, Peer) {
    let mut visitor = Peer::connect(world.tcp).await;
    visitor.say("hello").await;
    let mut connection = Peer::accept(service).await;
    connection.hear("hello").await;
    (visitor, connection)
}

/// One way has ended, and what still comes the other way is heard until nothing comes.
async fn is_left(mut ended: Peer, mut other: Peer) {
    ended.0.shutdown().await.unwrap();
    assert_eq!(other.rest().await, (Vec::new(), End::Fin));
    other.say("still here").await;
    ended.hear("still here").await;
    assert_eq!(ended.rest().await, (Vec::new(), End::Reset));
    other.broken().await;
}

#[test]
fn an_upgraded_connection_without_a_byte_is_reset() {
    let service = ByHand::new();
    let timeouts = Timeouts { upgraded: SHORT, ..Timeouts::default() };
    run_with(timeouts, service.addr(), |world| async move {
        let (mut visitor, connection) = switched(&world, &service.listen()).await;
        assert_eq!(visitor.rest().await, (Vec::new(), End::Reset));
        connection.broken().await;
    });
}

#[test]
fn an_upgraded_connection_of_which_one_way_has_ended_has_less_time() {
    let service = ByHand::new();
    let timeouts = Timeouts { half_closed: SHORT, ..Timeouts::default() };
    run_with(timeouts, service.addr(), |world| async move {
        let service = service.listen();
        let (visitor, connection) = switched(&world, &service).await;
        is_left(visitor, connection).await;
        let (visitor, connection) = switched(&world, &service).await;
        is_left(connection, visitor).await;
    });
}

#[test]
fn a_connection_of_which_one_way_has_ended_has_a_time_of_its_own() {
    let service = ByHand::new();
    let timeouts = Timeouts { half_closed_tcp: SHORT, ..Timeouts::default() };
    run_with(timeouts, service.addr(), |world| async move {
        let service = service.listen();
        let (visitor, connection) = connected(&world, &service).await;
        is_left(visitor, connection).await;
        let (visitor, connection) = connected(&world, &service).await;
        is_left(connection, visitor).await;
    });
}
