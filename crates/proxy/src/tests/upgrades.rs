use std::time::Duration;

use tokio::io::AsyncWriteExt;

use super::fixture::*;
use crate::access::AccessKind;

const UPGRADE: &str = "GET /ws HTTP/1.1\r\nHost: app.test\r\nConnection: keep-alive, Upgrade\r\nUpgrade: websocket\r\n\
     Sec-WebSocket-Key: x\r\n\r\n";

async fn upgraded(world: &World, service: &tokio::net::TcpListener) -> (Peer, Peer) {
    let mut visitor = Peer::connect(world.http).await;
    visitor.say(UPGRADE).await;
    let mut connection = Peer::accept(service).await;
    let head = connection.head().await;
    assert!(head.contains("upgrade: websocket\r\n") && head.contains("connection: upgrade\r\n"), "{head}");
    assert!(head.contains("sec-websocket-key: x\r\n"), "{head}");
    // The first bytes behind the head come with it.
    connection
        .say("HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: WebSocket\r\nX-Accept: y\r\n\r\nhi")
        .await;
    let head = visitor.head().await;
    assert!(head.starts_with("HTTP/1.1 101 Switching Protocols\r\n"), "{head}");
    assert!(head.contains("upgrade: WebSocket\r\n") && head.contains("connection: upgrade\r\n"), "{head}");
    assert!(head.contains("x-accept: y\r\n"), "{head}");
    assert_eq!(visitor.hear("hi").await, "hi");
    (visitor, connection)
}

#[test]
fn an_upgrade_carries_bytes_and_ends() {
    let service = ByHand::new();
    run(service.addr(), |world| async move {
        let service = service.listen();
        let (mut visitor, mut connection) = upgraded(&world, &service).await;
        visitor.say("ping").await;
        connection.hear("ping").await;
        let bulk = vec![7; 4 << 20];
        let (_, (rest, end)) = tokio::join!(
            async {
                connection.say(&bulk).await;
                connection.0.shutdown().await.unwrap();
            },
            visitor.rest()
        );
        assert!(rest == bulk && end == End::Fin);
        // The other way is still open.
        visitor.say("bye").await;
        visitor.0.shutdown().await.unwrap();
        assert_eq!(connection.rest().await, (b"bye".to_vec(), End::Fin));
        let line = world.server_lines.line(0).await;
        assert_eq!((line.kind, line.status, line.error), (AccessKind::Upgrade, Some(101), None));
        assert_eq!((line.bytes_up, line.bytes_down), (7, 2 + (4 << 20)));
        assert_eq!(world.client_lines.line(0).await.kind, AccessKind::Upgrade);
    });
}

#[test]
fn a_reset_passes_through_an_upgrade_either_way() {
    let service = ByHand::new();
    run(service.addr(), |world| async move {
        let service = service.listen();
        let (visitor, mut connection) = upgraded(&world, &service).await;
        visitor.0.set_zero_linger().unwrap();
        drop(visitor);
        assert_eq!(connection.rest().await.1, End::Reset);

        let (mut visitor, connection) = upgraded(&world, &service).await;
        connection.0.set_zero_linger().unwrap();
        drop(connection);
        assert_eq!(visitor.rest().await.1, End::Reset);

        let (mut visitor, mut connection) = upgraded(&world, &service).await;
        world.client_session.close();
        assert_eq!(visitor.rest().await.1, End::Reset);
        assert_eq!(connection.rest().await.1, End::Reset);
    });
}

/// Writes until the other side takes nothing more.
async fn fill(peer: &Peer) {
    let block = [0; 1 << 16];
    let stuck = async {
        loop {
            peer.0.writable().await.unwrap();
            // Whether it was room enough is found out by the next one.
            let _ = peer.0.try_write(&block);
        }
    };
    // There is no other sign of a path that is full at every place than that it stays so.
    let _ = tokio::time::timeout(Duration::from_millis(500), stuck).await;
}

#[test]
fn the_death_of_a_session_ends_upgrades_that_nobody_reads() {
    let service = ByHand::new();
    run(service.addr(), |world| async move {
        let service = service.listen();
        let (up, unread) = upgraded(&world, &service).await;
        let (unwritten, down) = upgraded(&world, &service).await;
        tokio::join!(fill(&up), fill(&down));
        world.client_session.close();
        for peer in [up, unread, unwritten, down] {
            peer.broken().await;
        }
    });
}

#[test]
fn a_visitor_that_resets_what_nobody_takes_is_noticed() {
    let service = ByHand::new();
    run(service.addr(), |world| async move {
        let service = service.listen();
        let (visitor, unread) = upgraded(&world, &service).await;
        fill(&visitor).await;
        visitor.0.set_zero_linger().unwrap();
        drop(visitor);
        unread.broken().await;
    });
}

#[test]
fn a_service_may_decline() {
    let service = ByHand::new();
    run(service.addr(), |world| async move {
        let service = service.listen();
        let mut visitor = Peer::connect(world.http).await;
        visitor.say(UPGRADE).await;
        visitor.say("GET /smuggled HTTP/1.1\r\nHost: app.test\r\n\r\n").await;
        let mut connection = Peer::accept(&service).await;
        connection.head().await;
        connection.say("HTTP/1.1 403 Forbidden\r\nContent-Length: 2\r\n\r\nno").await;
        let (response, _) = visitor.rest().await;
        let response = String::from_utf8(response).unwrap();
        assert!(response.starts_with("HTTP/1.1 403 Forbidden\r\n") && response.ends_with("no"), "{response}");
        assert!(response.contains("connection: close\r\n"), "{response}");
    });
}

#[test]
fn an_upgrade_that_nobody_asked_for_is_a_failure() {
    let service = ByHand::new();
    run(service.addr(), |world| async move {
        let service = service.listen();
        let mut visitor = Peer::connect(world.http).await;
        visitor.say("POST / HTTP/1.1\r\nHost: app.test\r\nConnection: upgrade\r\nUpgrade: x\r\nContent-Length: 3\r\n\r\nabc").await;
        let mut connection = Peer::accept(&service).await;
        let request = connection.hear("abc").await;
        assert!(!request.contains("upgrade"), "{request}");
        connection.say("HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n").await;
        let head = visitor.head().await;
        assert!(head.starts_with("HTTP/1.1 502") && head.contains("service-cut"), "{head}");
    });
}
