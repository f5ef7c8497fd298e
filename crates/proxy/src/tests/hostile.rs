//! The other end of a substream does what it should not.

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use ops::error_kind::ErrorKind;
use protocol::code::Code;
use protocol::exchange::{
    Message, RequestLine, RequestOrder, ResponseLine, ResponseOrder, Scheme, encode_data, encode_end,
    encode_reset,
};
use protocol::request::{Head, Kind, Status};
use protocol::service_name::ServiceName;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::timeout;
use transport::session::{Inbound, Substream};

use super::fixture::*;
use crate::context::Timeouts;
use crate::exchange::{Broken, Channel, Frames, Order};

const GET: &str = "GET / HTTP/1.1\r\nHost: app.test\r\n\r\n";

pub(super) fn head(kind: Kind, service: u32) -> BytesMut {
    let mut out = BytesMut::new();
    let name = ServiceName::Own(service);
    Head { kind, name, visitor: None, ingress: 0, trace: None }.encode(&mut out).unwrap();
    out
}

pub(super) fn request(out: &mut BytesMut, bodyless: bool) {
    let line = RequestLine {
        method: b"POST",
        scheme: Scheme::Http,
        authority: b"app.test",
        path: b"/",
        protocol: None,
        expect_continue: false,
        bodyless,
    };
    line.encode_with([], out).unwrap();
}

pub(super) async fn opened(world: &World, first: BytesMut, order: Order) -> Channel {
    let substream = world.session.open(first.freeze()).unwrap();
    Channel::new(substream, Bytes::new(), order)
}

pub(super) fn responses() -> Order {
    Order::Response(ResponseOrder::new(false))
}

#[test]
fn a_substream_without_a_valid_head_is_refused() {
    let service = ByHand::new();
    let timeouts = Timeouts { open: Duration::from_millis(100), ..Timeouts::default() };
    run_with(timeouts, service.addr(), |world| async move {
        let long = Bytes::from_static(&[0x30, 0xFF, 0xFF, 0xFF]);
        let slow = head(Kind::Tcp, 1).split_to(6).freeze();
        for first in [Bytes::from_static(b"GET / HTTP/1.1\r\n\r\n"), long, slow] {
            let mut channel = opened(&world, first.into(), responses()).await;
            let refused = timeout(LIMIT, channel.message()).await.unwrap().unwrap();
            assert!(
                matches!(refused, Message::Status(Status::Refused { code: Code::BAD_REQUEST, .. })),
                "{refused:?}"
            );
        }
        // Known names, but not in this form; and one that is unknown.
        for first in [head(Kind::Tcp, 1), head(Kind::Exchange, 2), head(Kind::Tcp, 9)] {
            let mut channel = opened(&world, first, responses()).await;
            let refused = timeout(LIMIT, channel.message()).await.unwrap().unwrap();
            assert!(
                matches!(refused, Message::Status(Status::Refused { code: Code::UNKNOWN_SERVICE, .. })),
                "{refused:?}"
            );
        }
    });
}

#[test]
fn an_exchange_that_breaks_the_rules_reaches_no_service() {
    let service = ByHand::new();
    let timeouts = Timeouts { open: Duration::from_millis(200), ..Timeouts::default() };
    run_with(timeouts, service.addr(), |world| async move {
        let service = service.listen();
        let exchange = |write: &dyn Fn(&mut BytesMut)| {
            let mut out = head(Kind::Exchange, 1);
            write(&mut out);
            out
        };
        let data_first = exchange(&|out| encode_data(b"x", out).unwrap());
        let nothing = exchange(&|_| {});
        let unknown = exchange(&|out| out.extend_from_slice(&[0x7F, 0, 0, 0]));
        for first in [data_first, nothing, unknown] {
            let mut channel = opened(&world, first, responses()).await;
            // That it was accepted is told at once only if there is something to wait for.
            let accepted = Ok(Message::Status(Status::Accepted));
            let heard = timeout(LIMIT, channel.message()).await.unwrap();
            let heard =
                if heard == accepted { timeout(LIMIT, channel.message()).await.unwrap() } else { heard };
            assert_eq!(heard.unwrap_err(), Broken::Reset);
        }
        let no_service = timeout(Duration::from_millis(50), service.accept()).await;
        assert!(no_service.is_err());
    });
}

#[test]
fn a_request_that_is_broken_off_is_cut_at_the_service() {
    let service = ByHand::new();
    run(service.addr(), |world| async move {
        let service = service.listen();
        let mut reset = BytesMut::new();
        encode_reset(Code::CANCEL, &"".into(), &mut reset).unwrap();
        let mut misplaced = BytesMut::new();
        request(&mut misplaced, false);
        for last in [reset, misplaced] {
            let mut first = head(Kind::Exchange, 1);
            request(&mut first, false);
            encode_data(b"part", &mut first).unwrap();
            let mut channel = opened(&world, first, responses()).await;
            let mut connection = Peer::accept(&service).await;
            connection.hear("part").await;
            channel.out.buffer().extend_from_slice(&last);
            channel.flush().await.unwrap();
            let (heard, end) = connection.rest().await;
            assert_eq!(end, End::Reset);
            assert!(!heard.ends_with(b"0\r\n\r\n"));
            assert_eq!(channel.message().await, Ok(Message::Status(Status::Accepted)));
            assert_eq!(channel.message().await, Err(Broken::Reset));
        }
    });
}

#[test]
fn an_opener_may_close_its_way_after_its_end() {
    let service = ByHand::new();
    run(service.addr(), |world| async move {
        let service = service.listen();
        let mut first = head(Kind::Exchange, 1);
        request(&mut first, true);
        encode_end(&mut first).unwrap();
        let mut substream = world.session.open(first.freeze()).unwrap();
        substream.shutdown().await.unwrap();
        let mut connection = Peer::accept(&service).await;
        connection.head().await;
        connection.say("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok").await;
        let mut channel = Channel::new(substream, Bytes::new(), responses());
        assert_eq!(channel.message().await, Ok(Message::Status(Status::Accepted)));
        assert!(matches!(channel.message().await, Ok(Message::Response(head)) if head.status == 200));
        assert_eq!(channel.message().await, Ok(Message::Data(Bytes::from_static(b"ok"))));
        assert_eq!(channel.message().await, Ok(Message::End));
    });
}

/// A client of our own making: what it says to requests is up to the test.
async fn played(world: &World) -> Inbound {
    let [(_, inbound), (session, _)] = sessions(&world.server.spawner);
    world.names.set(HOST, found(&world.server, vec![target(&session, 1)]));
    inbound
}

async fn respond(inbound: &mut Inbound, bytes: &[u8]) -> Substream {
    let mut substream = timeout(LIMIT, inbound.accept()).await.unwrap().unwrap();
    let mut heard = Vec::new();
    while !heard.ends_with(&[0x44, 0, 0, 0]) {
        heard.push(substream.read_u8().await.unwrap());
    }
    substream.write_all(bytes).await.unwrap();
    substream
}

fn response(accepted: bool, status: u16, fields: &[(&str, &str)], body: &[&[u8]], end: bool) -> BytesMut {
    let mut out = BytesMut::new();
    if accepted {
        Status::Accepted.encode(&mut out).unwrap();
    }
    let fields = fields.iter().map(|(name, value)| (name.as_bytes(), value.as_bytes()));
    ResponseLine { status, bodyless: false }.encode_with(fields, &mut out).unwrap();
    for data in body {
        encode_data(data, &mut out).unwrap();
    }
    if end {
        encode_end(&mut out).unwrap();
    }
    out
}

#[test]
fn responses_that_lie_about_themselves_are_cut() {
    let service = ByHand::new();
    run(service.addr(), |world| async move {
        let mut inbound = played(&world).await;
        let five = [("content-length", "5")];
        let short = response(true, 200, &five, &[b"abc"], true);
        let long = response(true, 200, &five, &[b"abc", b"def"], true);
        let mut late = response(true, 200, &five, &[b"abc"], false);
        late.extend_from_slice(&response(false, 200, &[], &[], false));
        for bytes in [short, long, late] {
            let mut visitor = Peer::connect(world.http).await;
            visitor.say(GET).await;
            let _substream = respond(&mut inbound, &bytes).await;
            // As much as had left before the lie came out.
            let (_, end) = visitor.rest().await;
            assert_eq!(end, End::Reset);
        }
    });
}

#[test]
fn heads_that_are_none_are_answered_in_their_place() {
    let service = ByHand::new();
    run(service.addr(), |world| async move {
        let mut inbound = played(&world).await;
        let two = response(true, 200, &[("content-length", "5"), ("content-length", "6")], &[], false);
        let switched = response(true, 101, &[("upgrade", "x")], &[], false);
        let unaccepted = response(false, 200, &[], &[], true);
        for (bytes, kind) in [(two, "service-cut"), (switched, "internal"), (unaccepted, "internal")] {
            let mut visitor = Peer::connect(world.http).await;
            visitor.say(GET).await;
            let _substream = respond(&mut inbound, &bytes).await;
            let head = visitor.head().await;
            assert!(head.contains(&format!("x-tunnel-error: {kind}\r\n")), "{head}");
        }
        // What belongs to one connection ends here, and framing is ours.
        let hops =
            [("connection", "close"), ("transfer-encoding", "gzip"), ("keep-alive", "x"), ("upgrade", "h2c")];
        let mut visitor = Peer::connect(world.http).await;
        visitor.say(GET).await;
        let _substream = respond(&mut inbound, &response(true, 200, &hops, &[b"abc"], true)).await;
        let response = visitor.hear("0\r\n\r\n").await;
        assert!(response.contains("transfer-encoding: chunked\r\n"), "{response}");
        assert!(!response.contains("gzip") && !response.contains("h2c"), "{response}");
    });
}

#[test]
fn a_member_that_does_not_answer_is_given_up() {
    let service = ByHand::new();
    let timeouts = Timeouts {
        open: Duration::from_millis(300),
        request: Duration::from_millis(300),
        member: Duration::from_millis(50),
        ..Timeouts::default()
    };
    run_with(timeouts, service.addr(), |world| async move {
        let mut inbound = played(&world).await;
        let post = "POST / HTTP/1.1\r\nHost: app.test\r\nContent-Length: 0\r\n\r\n";
        let mut visitor = Peer::connect(world.http).await;
        visitor.say(post).await;
        let _silent = timeout(LIMIT, inbound.accept()).await.unwrap().unwrap();
        let head = visitor.head().await;
        assert!(head.starts_with("HTTP/1.1 504") && head.contains("open-timeout"), "{head}");

        let mut visitor = Peer::connect(world.http).await;
        visitor.say(post).await;
        let mut accepted = BytesMut::new();
        Status::Accepted.encode(&mut accepted).unwrap();
        let _silent = respond(&mut inbound, &accepted).await;
        let head = visitor.head().await;
        assert!(head.starts_with("HTTP/1.1 504") && head.contains("service-timeout"), "{head}");
        assert_eq!(world.server_lines.line(1).await.error, Some(ErrorKind::ServiceTimeout));
    });
}

#[test]
fn frames_are_read_however_they_are_cut() {
    let service = ByHand::new();
    run(service.addr(), |world| async move {
        let [(_, mut inbound), (session, _)] = sessions(&world.server.spawner);
        let mut bytes = BytesMut::new();
        request(&mut bytes, false);
        encode_data(b"one", &mut bytes).unwrap();
        bytes.extend_from_slice(&[0x90, 0, 0, 2, 1, 2]);
        encode_data(b"two and three", &mut bytes).unwrap();
        encode_end(&mut bytes).unwrap();
        for size in 1..bytes.len() {
            let mut substream = session.open(Bytes::from_static(b"?")).unwrap();
            let mut there = timeout(LIMIT, inbound.accept()).await.unwrap().unwrap();
            assert_eq!(there.read_u8().await.unwrap(), b'?');
            let mut channel = Channel::new(there, Bytes::new(), Order::Request(RequestOrder::new()));
            let writing = async {
                for piece in bytes.chunks(size) {
                    substream.write_all(piece).await.unwrap();
                }
            };
            let reading = async {
                assert!(matches!(channel.message().await, Ok(Message::Request(_))));
                let mut body = Vec::new();
                loop {
                    match channel.message().await.unwrap() {
                        Message::Data(data) => body.extend_from_slice(&data),
                        Message::End => return body,
                        other => panic!("{other:?}"),
                    }
                }
            };
            let ((), body) = timeout(LIMIT, async { tokio::join!(writing, reading) }).await.unwrap();
            assert_eq!(body, b"onetwo and three", "{size}");
        }
    });
}
