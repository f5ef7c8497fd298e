use ops::error_kind::ErrorKind;
use tokio::io::AsyncWriteExt;

use super::fixture::*;
use crate::access::AccessKind;

#[test]
fn a_connection_carries_bytes_and_keeps_half_close() {
    let service = ByHand::new();
    run(service.addr(), |world| async move {
        let service = service.listen();
        let mut visitor = Peer::connect(world.tcp).await;
        let mut connection = Peer::accept(&service).await;
        // The service speaks first.
        connection.say("220 hello\r\n").await;
        visitor.hear("220 hello\r\n").await;
        visitor.say("question").await;
        visitor.0.shutdown().await.unwrap();
        assert_eq!(connection.rest().await, (b"question".to_vec(), End::Fin));
        connection.say("answer").await;
        drop(connection);
        assert_eq!(visitor.rest().await, (b"answer".to_vec(), End::Fin));
        let line = world.server_lines.line(0).await;
        assert_eq!((line.kind, line.bytes_up, line.bytes_down, line.error), (AccessKind::Tcp, 8, 17, None));
        assert_eq!(world.client_lines.line(0).await.bytes_up, 8);
    });
}

#[test]
fn what_a_visitor_says_ahead_arrives_whole() {
    let service = ByHand::new();
    run(service.addr(), |world| async move {
        let service = service.listen();
        let bytes: Vec<u8> = (0..300_000_u32).map(|index| u8::try_from(index % 251).unwrap()).collect();
        let mut visitor = Peer::connect(world.tcp).await;
        let mut connection = {
            let (connection, ()) = tokio::join!(Peer::accept(&service), visitor.say(&bytes));
            connection
        };
        visitor.0.shutdown().await.unwrap();
        let (heard, end) = connection.rest().await;
        assert!(heard == bytes && end == End::Fin);
    });
}

#[test]
fn a_service_that_refuses_is_a_reset() {
    let refused = ByHand::new();
    let address = refused.addr();
    drop(refused);
    run(address, |world| async move {
        let mut visitor = Peer::connect(world.tcp).await;
        assert_eq!(visitor.rest().await, (Vec::new(), End::Reset));
        assert_eq!(world.server_lines.line(0).await.error, Some(ErrorKind::ServiceRefused));
        assert_eq!(world.client_lines.line(0).await.error, Some(ErrorKind::ServiceRefused));
    });
}

#[test]
fn resets_pass_both_ways() {
    let service = ByHand::new();
    run(service.addr(), |world| async move {
        let service = service.listen();
        let mut visitor = Peer::connect(world.tcp).await;
        let mut connection = Peer::accept(&service).await;
        connection.say("x").await;
        visitor.hear("x").await;
        visitor.0.set_zero_linger().unwrap();
        drop(visitor);
        assert_eq!(connection.rest().await.1, End::Reset);

        let mut visitor = Peer::connect(world.tcp).await;
        let mut connection = Peer::accept(&service).await;
        connection.say("x").await;
        visitor.hear("x").await;
        connection.0.set_zero_linger().unwrap();
        drop(connection);
        assert_eq!(visitor.rest().await.1, End::Reset);
    });
}

#[test]
fn a_member_without_the_service_leads_to_the_next() {
    let service = ByHand::new();
    run(service.addr(), |world| async move {
        let service = service.listen();
        world.names.set_port(
            PORT,
            found(&world.server, vec![target(&world.session, 77), target(&world.session, 2)]),
        );
        let mut visitor = Peer::connect(world.tcp).await;
        visitor.say("ahead").await;
        let mut connection = Peer::accept(&service).await;
        connection.hear("ahead").await;
    });
}
