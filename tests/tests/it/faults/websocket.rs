//! D26: WebSockets pass byte for byte, live as long as they like, and end at both ends within a second.

use std::time::Duration;

use futures_util::future::join_all;
use futures_util::{SinkExt, StreamExt};
use tests::fixture::{HttpService, Played};
use tests::leak::Baseline;
use tests::pattern::{self, Checker};
use tests::tunnelc::Home;
use tests::tunneld::Tunneld;
use tests::visitor::{End, Raw, websocket};
use tests::wait::{SOON, promised, throughout, until, within};
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::protocol::CloseFrame;

use super::{Linked, long};
use crate::stage::{HOST, Web};

/// How soon an end comes out at the other side.
const AT_ONCE: Duration = Duration::from_secs(1);
const MIB: usize = 1 << 20;
const DEFLATE: &str = "permessage-deflate; client_max_window_bits=12; server_no_context_takeover";

/// A frame (RFC 6455 section 5.2) of a service, or with a mask that of a visitor.
fn frame(first: u8, mask: Option<[u8; 4]>, payload: &[u8]) -> Vec<u8> {
    let masked = if mask.is_some() { 0x80 } else { 0 };
    let mut frame = vec![first];
    match payload.len() {
        len @ 0..126 => frame.push(masked | len as u8),
        len @ 126..65_536 => {
            frame.push(masked | 126);
            frame.extend((len as u16).to_be_bytes());
        }
        len => {
            frame.push(masked | 127);
            frame.extend((len as u64).to_be_bytes());
        }
    }
    match mask {
        None => frame.extend(payload),
        Some(mask) => {
            frame.extend(mask);
            frame.extend(payload.iter().zip(mask.iter().cycle()).map(|(byte, mask)| byte ^ mask));
        }
    }
    frame
}

async fn stage() -> Web<Played> {
    Web::to(Played::start().await, Played::addr).await
}

/// A WebSocket by hand: its visitor and its service, behind the handshake.
async fn opened(web: &Web<Played>) -> (Raw, Raw) {
    let mut visitor = Raw::open(web.door()).await;
    visitor
        .send(format!(
            "GET /ws HTTP/1.1\r\nHost: {HOST}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
             Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
             Sec-WebSocket-Extensions: {DEFLATE}\r\nSec-WebSocket-Protocol: chat, superchat\r\n\r\n"
        ))
        .await;
    let mut service = web.service.accept().await;
    let asked = service.head().await;
    let field = |head: &str, name: &str| {
        let line = head.lines().find(|line| line.to_lowercase().starts_with(&format!("{name}: ")));
        line.map(|line| line[name.len() + 2..].to_owned()).unwrap_or_default()
    };
    assert_eq!(field(&asked, "sec-websocket-extensions"), DEFLATE);
    assert_eq!(field(&asked, "sec-websocket-protocol"), "chat, superchat");
    assert_eq!(field(&asked, "sec-websocket-key"), "dGhlIHNhbXBsZSBub25jZQ==");
    service
        .send(format!(
            "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
             Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\nSec-WebSocket-Extensions: {DEFLATE}\r\n\
             Sec-WebSocket-Protocol: superchat\r\n\r\n"
        ))
        .await;
    let answered = visitor.head().await;
    assert!(answered.starts_with("HTTP/1.1 101"), "{answered}");
    assert_eq!(field(&answered, "sec-websocket-extensions"), DEFLATE);
    assert_eq!(field(&answered, "sec-websocket-protocol"), "superchat");
    assert_eq!(field(&answered, "sec-websocket-accept"), "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
    (visitor, service)
}

#[tokio::test]
async fn d26_frames_pass_as_they_are() {
    let web = stage().await;
    let (mut visitor, mut service) = opened(&web).await;
    let mask = Some([0x12, 0x34, 0x56, 0x78]);
    // A text in three fragments with a ping between them, compressed messages, a pong that nobody asked for, reserved bits
    // and opcodes, and an invalid text: none of it is the tunnel's to judge.
    let frames = |mask| {
        [
            frame(0x01, mask, b"one "),
            frame(0x89, mask, b"ping"),
            frame(0x00, mask, b"two "),
            frame(0x80, mask, b"three"),
            frame(0xC1, mask, &[0xca, 0xc9, 0xc9, 0x07, 0x00]),
            frame(0x42, mask, &pattern::all(70_000)),
            frame(0x8A, mask, b"pong"),
            frame(0x80, mask, b""),
            frame(0xF3, mask, &[0; 300]),
            frame(0x81, mask, b"\xff\xfe"),
        ]
    };
    for (sent, got) in frames(mask).concat().chunks(1000).map(<[u8]>::to_vec).zip(0..) {
        visitor.send(&sent).await;
        assert!(service.exactly(sent.len()).await == sent, "piece {got}");
    }
    for frame in frames(None) {
        service.send(&frame).await;
        assert!(visitor.exactly(frame.len()).await == frame);
    }
}

async fn carry(from: &mut Raw, to: &mut Raw, head: &[u8], size: usize) {
    let sending = async {
        from.send(head).await;
        let mut sent = 0;
        while sent < size {
            let piece = pattern::at(sent as u64, (size - sent) as u64);
            from.send(&piece).await;
            sent += piece.len();
        }
    };
    let hearing = async {
        assert_eq!(to.exactly(head.len()).await, head);
        let mut checker = Checker::default();
        while checker.seen() < size as u64 {
            checker.feed(&within("more of the message", SOON, to.some()).await.unwrap());
        }
        checker.expect(size as u64);
    };
    tokio::join!(sending, hearing);
}

#[tokio::test]
async fn d26_a_message_of_64_mib() {
    let web = stage().await;
    let (mut visitor, mut service) = opened(&web).await;
    let size = 64 * MIB;
    // A mask of zeros leaves the bytes what they are.
    let length = (size as u64).to_be_bytes();
    let masked = [&[0x82, 0x80 | 127][..], &length, &[0; 4]].concat();
    let plain = [&[0x82, 127][..], &length].concat();
    carry(&mut visitor, &mut service, &masked, size).await;
    carry(&mut service, &mut visitor, &plain, size).await;
}

#[tokio::test]
async fn d26_pings_and_closes() {
    let web = Web::up().await;
    let mut baseline = None;
    for (code, reason) in [(1000, "bye"), (1001, ""), (1011, "ü"), (3000, "theirs"), (4999, "ours")] {
        let mut socket = websocket(web.door(), HOST, "/ws").await.unwrap();
        for payload in ["", "are you there"] {
            socket.send(Message::Ping(payload.into())).await.unwrap();
            let pong = within("the pong", SOON, socket.next()).await.unwrap().unwrap();
            assert_eq!(pong, Message::Pong(payload.into()));
        }
        let close = CloseFrame { code: code.into(), reason: reason.into() };
        socket.close(Some(close.clone())).await.unwrap();
        let answer = within("the close", promised(AT_ONCE), socket.next()).await.unwrap().unwrap();
        let Message::Close(Some(answer)) = answer else { panic!("{answer:?}") };
        assert_eq!(u16::from(answer.code), code);
        assert!(within("the end", promised(AT_ONCE), socket.next()).await.is_none());
        let closed = async || (web.service.tally().get(|tally| &tally.sockets) == 0).then_some(());
        until("the service has seen the close", promised(AT_ONCE), closed).await;
        if baseline.is_none() {
            baseline = Some(Baseline::of(&web.server, &web.tunnel.program).await);
        }
    }
    let Web { server, tunnel, service, .. } = web;
    drop(service);
    baseline.unwrap().holds(&server, &tunnel.program).await;

    // The service's close, with its end behind it.
    let web = stage().await;
    let (mut visitor, mut service) = opened(&web).await;
    let close = frame(0x88, None, b"\x03\xe9going");
    service.send(&close).await;
    service.finish().await;
    assert_eq!(visitor.rest(promised(AT_ONCE)).await, (close, End::Fin));
}

#[tokio::test]
async fn d26_idle_sockets_live() {
    // What ends an idle connection of HTTP does not end these. In the long form there are more, for longer, at the usual waits.
    let (count, idle, config) = match long() {
        true => (1000, Duration::from_secs(600), ""),
        false => (
            100,
            Duration::from_millis(2_500),
            "timeouts = { keep_alive = \"1s\", body = \"1s\", head = \"1s\" }\n",
        ),
    };
    let server = Tunneld::configured(|_| config.to_owned(), &[]).await;
    let (service, home) = (HttpService::start().await, Home::new());
    let tunnel = home.http(&server.join(), service.addr(), &["--host", "demo"]).await;
    let mut sockets = Vec::new();
    for _ in 0..count {
        sockets.push(websocket(server.listen().http, HOST, "/ws").await.unwrap());
    }
    let open = || service.tally().get(|tally| &tally.sockets);
    until("all are open", SOON, async || (open() == count).then_some(())).await;
    throughout("none ends", idle, async || open() == count).await;
    let echoes = sockets.iter_mut().enumerate().map(async |(n, socket)| {
        let message = Message::text(format!("socket {n}"));
        socket.send(message.clone()).await.unwrap();
        assert_eq!(within("the echo", SOON, socket.next()).await.unwrap().unwrap(), message);
    });
    join_all(echoes).await;
    println!(
        "{count} idle for {idle:?}: tunneld {} KiB, tunnelc {} KiB",
        server.program.memory() / 1024,
        tunnel.program.memory() / 1024
    );
}

#[tokio::test]
async fn d26_an_abrupt_end_is_seen_by_the_other_side() {
    // Of the service.
    let web = stage().await;
    let (mut visitor, service) = opened(&web).await;
    service.reset();
    assert_eq!(visitor.rest(promised(AT_ONCE)).await, (Vec::new(), End::Reset));
    // Of the visitor.
    let (visitor, mut service) = opened(&web).await;
    visitor.reset();
    assert_eq!(service.rest(promised(AT_ONCE)).await, (Vec::new(), End::Reset));
    // Of the client.
    let (mut visitor, _service) = opened(&web).await;
    let Web { mut tunnel, server, .. } = web;
    tunnel.program.kill();
    assert_eq!(visitor.rest(promised(AT_ONCE)).await, (Vec::new(), End::Reset));
    drop(server);
    // Of the session.
    let service = HttpService::start().await;
    let linked = Linked::http(service.addr()).await;
    let mut socket = websocket(linked.server.listen().http, HOST, "/ws").await.unwrap();
    socket.send(Message::text("hello")).await.unwrap();
    within("the echo", SOON, socket.next()).await.unwrap().unwrap();
    linked.link.cut();
    let gone = async || (service.tally().get(|tally| &tally.sockets) == 0).then_some(());
    let (end, _) = tokio::join!(
        within("the end", promised(AT_ONCE), socket.next()),
        until("the service sees it", promised(AT_ONCE), gone)
    );
    assert!(end.is_none_or(|end| end.is_err()), "a close that nobody sent");
}
