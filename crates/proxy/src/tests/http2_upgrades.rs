use std::time::Instant;

use bytes::Bytes;
use h2::ext::Protocol;
use h2::{Reason, RecvStream, SendStream};
use http::{Method, Request};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpListener;
use tokio::time::timeout;

use super::fixture::*;
use super::visitor_h2::*;
use crate::access::AccessKind;

fn connect(protocol: &'static str) -> Request<()> {
    let request = Request::builder().method(Method::CONNECT).uri("http://app.test/ws");
    let request = request.header("sec-websocket-version", "13");
    request.extension(Protocol::from_static(protocol)).body(()).unwrap()
}

/// A visitor that has heard that the server knows extended CONNECT.
async fn visitor(world: &World) -> Visitor {
    let mut visitor = Visitor::connect(world).await;
    let (response, _) =
        visitor.send(Request::builder().uri("http://nobody.test/").body(()).unwrap(), true).await;
    assert_eq!(head(response).await.status(), 404);
    visitor
}

async fn upgraded(visitor: &mut Visitor, service: &TcpListener) -> (SendStream<Bytes>, RecvStream, Peer) {
    let (response, sender) = visitor.send(connect("websocket"), false).await;
    let mut connection = Peer::accept(service).await;
    let received = connection.head().await;
    assert!(received.starts_with("GET /ws HTTP/1.1\r\nhost: app.test\r\n"), "{received}");
    for field in [
        "upgrade: websocket\r\n",
        "connection: upgrade\r\n",
        "sec-websocket-version: 13\r\n",
        "sec-websocket-key: ",
    ] {
        assert!(received.contains(field), "{field} in {received}");
    }
    connection
        .say("HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Accept: y\r\nX-A: b\r\n\r\nhi")
        .await;
    let response = head(response).await;
    assert_eq!((response.status().as_u16(), &response.headers()["x-a"]), (200, &"b".parse().unwrap()));
    for field in ["upgrade", "connection", "sec-websocket-accept", "content-length"] {
        assert!(!response.headers().contains_key(field), "{field}");
    }
    let mut receiver = response.into_body();
    assert_eq!(data(&mut receiver).await.unwrap().unwrap(), "hi");
    (sender, receiver, connection)
}

#[test]
fn a_websocket_over_http2_carries_bytes_and_ends() {
    let service = ByHand::new();
    run(service.addr(), |world| async move {
        let service = service.listen();
        let mut visitor = visitor(&world).await;
        let (mut sender, mut receiver, mut connection) = upgraded(&mut visitor, &service).await;
        sender.send_data(Bytes::from_static(b"ping"), false).unwrap();
        connection.hear("ping").await;
        let bulk = vec![7; 4 << 20];
        let sending = async {
            connection.say(&bulk).await;
            connection.0.shutdown().await.unwrap();
        };
        let (_, received) = tokio::join!(sending, whole(&mut receiver));
        assert!(received.unwrap().0 == bulk);
        // The other way is still open.
        sender.send_data(Bytes::from_static(b"bye"), true).unwrap();
        assert_eq!(connection.rest().await, (b"bye".to_vec(), End::Fin));
        let line = world.server_lines.line(1).await;
        assert_eq!((line.kind, line.status, line.error), (AccessKind::Upgrade, Some(200), None));
        assert_eq!((line.bytes_up, line.bytes_down), (7, 2 + (4 << 20)));

        // The visitor may be the first to end.
        let (mut sender, mut receiver, mut connection) = upgraded(&mut visitor, &service).await;
        sender.send_data(Bytes::from_static(b"bye"), true).unwrap();
        connection.hear("bye").await;
        connection.say("late").await;
        drop(connection);
        assert_eq!(whole(&mut receiver).await.unwrap().0, b"late");
    });
}

#[test]
fn a_reset_passes_through_a_websocket_over_http2_either_way() {
    let service = ByHand::new();
    run(service.addr(), |world| async move {
        let service = service.listen();
        let mut visitor = visitor(&world).await;
        for reason in [Reason::CANCEL, Reason::NO_ERROR, Reason::INTERNAL_ERROR] {
            let (mut sender, _receiver, mut connection) = upgraded(&mut visitor, &service).await;
            sender.send_reset(reason);
            assert_eq!(connection.rest().await.1, End::Reset, "{reason}");
        }
        // Also after an end: nobody is left who reads.
        let (mut sender, _receiver, mut connection) = upgraded(&mut visitor, &service).await;
        sender.send_data(Bytes::from_static(b"bye"), true).unwrap();
        assert_eq!(connection.rest().await, (b"bye".to_vec(), End::Fin));
        let gone = Instant::now();
        sender.send_reset(Reason::CANCEL);
        let broken = async {
            while connection.0.write_all(b"late").await.is_ok() {
                tokio::task::yield_now().await
            }
        };
        timeout(LIMIT, broken).await.unwrap();
        assert!(gone.elapsed() < A_SECOND, "{:?}", gone.elapsed());

        let (_sender, mut receiver, connection) = upgraded(&mut visitor, &service).await;
        connection.0.set_zero_linger().unwrap();
        drop(connection);
        assert_eq!(data(&mut receiver).await, Err(Reason::CANCEL));

        let (_sender, mut receiver, mut connection) = upgraded(&mut visitor, &service).await;
        world.client_session.close();
        assert_eq!(data(&mut receiver).await, Err(Reason::CANCEL));
        assert_eq!(connection.rest().await.1, End::Reset);
    });
}

#[test]
fn a_service_may_decline_a_websocket_over_http2() {
    let service = ByHand::new();
    run(service.addr(), |world| async move {
        let service = service.listen();
        let mut visitor = visitor(&world).await;
        // A success that is no switch must not look like one.
        for (answer, status) in [("403 Forbidden", 403), ("200 OK", 502)] {
            let (response, _sender) = visitor.send(connect("websocket"), false).await;
            let mut connection = Peer::accept(&service).await;
            connection.head().await;
            connection
                .say(format!("HTTP/1.1 {answer}\r\nContent-Length: 2\r\nConnection: close\r\n\r\nno"))
                .await;
            assert_eq!(head(response).await.status(), status);
        }
        let (response, _sender) = visitor.send(connect("h2c"), false).await;
        assert_eq!(head(response).await.status(), 501);
    });
}

#[test]
fn the_end_of_a_drain_resets_a_websocket_over_http2() {
    let service = ByHand::new();
    run(service.addr(), |world| async move {
        let service = service.listen();
        let mut visitor = visitor(&world).await;
        let (_sender, mut receiver, mut connection) = upgraded(&mut visitor, &service).await;
        world.server.drain.now.cancel();
        assert_eq!(connection.rest().await.1, End::Reset);
        let end = timeout(LIMIT, receiver.data()).await.unwrap();
        assert!(!matches!(end, None | Some(Ok(_))), "a clean end");
    });
}
