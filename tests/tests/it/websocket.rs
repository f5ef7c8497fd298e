//! WebSocket and other upgrades.

use futures_util::{SinkExt, StreamExt};
use tests::pattern;
use tests::visitor::{End, Raw, websocket};
use tests::wait::{SOON, within};
use tokio_tungstenite::tungstenite::Message;

use crate::stage::{HOST, Web};

#[tokio::test]
async fn messages_of_every_kind_come_back() {
    let web = Web::up().await;
    let mut socket = websocket(web.door(), HOST, "/ws").await.unwrap();
    for message in [
        Message::text("hello"),
        Message::text(""),
        Message::binary(pattern::all(1_000_000)),
        Message::binary(Vec::new()),
    ] {
        socket.send(message.clone()).await.unwrap();
        let back = within("the echo", SOON, socket.next()).await.unwrap().unwrap();
        assert!(back == message, "{} bytes came back", back.len());
    }
    socket.send(Message::Ping("are you there".into())).await.unwrap();
    let pong = within("the pong", SOON, socket.next()).await.unwrap().unwrap();
    assert_eq!(pong, Message::Pong("are you there".into()));
    socket.close(None).await.unwrap();
    let close = within("the close", SOON, socket.next()).await.unwrap().unwrap();
    assert!(close.is_close());
}

#[tokio::test]
async fn many_sockets_live_side_by_side() {
    let web = Web::up().await;
    let mut sockets = Vec::new();
    for n in 0..50 {
        let mut socket = websocket(web.door(), HOST, "/ws").await.unwrap();
        socket.send(Message::text(format!("socket {n}"))).await.unwrap();
        sockets.push(socket);
    }
    for (n, socket) in sockets.iter_mut().enumerate() {
        let back = within("the echo", SOON, socket.next()).await.unwrap().unwrap();
        assert_eq!(back, Message::text(format!("socket {n}")));
    }
}

#[tokio::test]
async fn any_protocol_can_be_upgraded_to() {
    let web = Web::up().await;
    let mut raw = Raw::open(web.door()).await;
    // Bytes of the new protocol may follow the head at once.
    raw.send(format!(
        "GET /upgrade HTTP/1.1\r\nHost: {HOST}\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n"
    ))
    .await;
    let head = raw.head().await;
    assert!(head.starts_with("HTTP/1.1 101"), "{head}");
    assert!(head.to_lowercase().contains("upgrade: echo"), "{head}");
    let sent = pattern::all(300_000);
    raw.send(&sent).await;
    assert!(raw.exactly(sent.len()).await == sent);
    raw.finish().await;
    assert_eq!(raw.rest(SOON).await, (Vec::new(), End::Fin));
}

#[tokio::test]
async fn a_refused_upgrade_is_a_plain_answer() {
    let web = Web::up().await;
    let mut raw = Raw::open(web.door()).await;
    raw.send(format!("GET /ws HTTP/1.1\r\nHost: {HOST}\r\nConnection: Upgrade\r\nUpgrade: other\r\n\r\n"))
        .await;
    assert!(raw.head().await.starts_with("HTTP/1.1 426"));
}
