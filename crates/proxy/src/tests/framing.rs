use std::time::Duration;

use bytes::BytesMut;
use ops::error_kind::ErrorKind;
use protocol::code::Code;
use protocol::exchange::{ResponseLine, encode_data, encode_end, encode_stop};
use protocol::request::Status;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::{Instant, timeout};

use super::fixture::*;
use crate::context::Timeouts;

const GET: &str = "GET / HTTP/1.1\r\nHost: app.test\r\n\r\n";
const CHUNKED: &str = "POST / HTTP/1.1\r\nHost: app.test\r\nTransfer-Encoding: chunked\r\n\r\n";

#[test]
fn a_response_with_trailers_is_over_after_them() {
    let service = ByHand::new();
    let timeouts = Timeouts { keep_alive: Duration::from_millis(100), ..Timeouts::default() };
    run_with(timeouts, service.addr(), |world| async move {
        let service = service.listen();
        for fields in
            ["TE: trailers\r\n", "TE: trailers\r\nConnection: close\r\n", "", "Connection: close\r\n"]
        {
            let mut visitor = Peer::connect(world.http).await;
            visitor.say(format!("GET / HTTP/1.1\r\nHost: app.test\r\n{fields}\r\n")).await;
            let mut connection = Peer::accept(&service).await;
            connection.head().await;
            connection
                .say(
                    "HTTP/1.1 200 OK\r\nTrailer: x-sum\r\nTransfer-Encoding: chunked\r\n\r\n\
                     2\r\nhi\r\n0\r\nX-Sum: 1\r\n\r\n",
                )
                .await;
            let (response, end) = visitor.rest().await;
            let response = String::from_utf8(response).unwrap();
            assert_eq!(end, End::Fin, "{fields:?}");
            assert!(response.ends_with("\r\n\r\n") && response.contains("2\r\nhi\r\n0\r\n"), "{response}");
            assert_eq!(response.contains("x-sum: 1"), fields.contains("TE"), "{response}");
        }
        assert_eq!(world.server_lines.line(3).await.error, None);
    });
}

#[test]
fn trailers_that_nobody_announced_pass_both_ways() {
    let service = ByHand::new();
    run(service.addr(), |world| async move {
        let service = service.listen();
        let mut visitor = Peer::connect(world.http).await;
        visitor
            .say(
                "POST / HTTP/1.1\r\nHost: app.test\r\nTE: trailers\r\nTransfer-Encoding: chunked\r\n\r\n\
                 3\r\nabc\r\n0\r\nX-Up: 1\r\nContent-Length: 9\r\nX-Up: 2\r\n\r\n",
            )
            .await;
        let mut connection = Peer::accept(&service).await;
        connection.head().await;
        assert_eq!(connection.hear("2\r\n\r\n").await, "3\r\nabc\r\n0\r\nx-up: 1\r\nx-up: 2\r\n\r\n");
        connection
            .say(
                "HTTP/1.1 200 OK\r\nTrailer: x-known\r\nTransfer-Encoding: chunked\r\n\r\n\
                 5\r\n0\r\n\r\n\r\n0\r\nX-Down: 3\r\nSet-Cookie: a=b\r\nX-Known: 4\r\n\r\n",
            )
            .await;
        visitor.head().await;
        assert_eq!(visitor.hear("4\r\n\r\n").await, "5\r\n0\r\n\r\n\r\n0\r\nx-down: 3\r\nx-known: 4\r\n\r\n");
        // The next ones on these connections have none.
        visitor.say(format!("{CHUNKED}1\r\na\r\n0\r\n\r\n")).await;
        connection.head().await;
        assert_eq!(connection.hear("0\r\n\r\n").await, "1\r\na\r\n0\r\n\r\n");
        connection.say("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nb\r\n0\r\n\r\n").await;
        visitor.head().await;
        assert_eq!(visitor.hear("0\r\n\r\n").await, "1\r\nb\r\n0\r\n\r\n");
    });
}

#[test]
fn a_response_is_framed_in_one_way() {
    let service = ByHand::new();
    run(service.addr(), |world| async move {
        let service = service.listen();
        for (response, end) in [
            (
                "200 OK\r\nConnection: close\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n",
                "0\r\n\r\n",
            ),
            ("204 No Content\r\nConnection: close\r\nContent-Length: 5\r\n\r\n", "\r\n\r\n"),
        ] {
            let mut visitor = Peer::connect(world.http).await;
            visitor.say(GET).await;
            let mut connection = Peer::accept(&service).await;
            connection.head().await;
            connection.say(format!("HTTP/1.1 {response}")).await;
            let heard = visitor.hear(end).await;
            assert!(heard.starts_with(&format!("HTTP/1.1 {}", &response[..3])), "{heard}");
            assert!(!heard.contains("content-length"), "{heard}");
        }
        for coding in ["gzip", "gzip, chunked", "chunked, gzip"] {
            let mut visitor = Peer::connect(world.http).await;
            visitor.say(GET).await;
            let mut connection = Peer::accept(&service).await;
            connection.head().await;
            connection
                .say(format!("HTTP/1.1 200 OK\r\nConnection: close\r\nTransfer-Encoding: {coding}\r\n\r\n3\r\nabc\r\n0\r\n\r\n"))
                .await;
            let head = visitor.head().await;
            assert!(head.starts_with("HTTP/1.1 502") && head.contains("service-cut"), "{head}");
        }
    });
}

#[test]
fn a_malformed_chunk_is_answered() {
    let service = ByHand::new();
    run(service.addr(), |world| async move {
        let service = service.listen();
        // At once, and after the service has seen the beginning.
        for seen in ["", "3\r\nabc\r\n"] {
            let mut visitor = Peer::connect(world.http).await;
            visitor.say(CHUNKED).await;
            let connection = if seen.is_empty() {
                None
            } else {
                visitor.say(seen).await;
                let mut connection = Peer::accept(&service).await;
                connection.hear(seen).await;
                Some(connection)
            };
            visitor.say("nonsense\r\n").await;
            let head = visitor.head().await;
            assert!(head.starts_with("HTTP/1.1 400"), "{head}");
            assert!(head.contains("x-tunnel-error: bad-request\r\n"), "{head}");
            assert!(head.contains("connection: close\r\n"), "{head}");
            if let Some(mut connection) = connection {
                let (rest, end) = connection.rest().await;
                assert!(end == End::Reset && !rest.ends_with(b"0\r\n\r\n"));
            } else {
                // Whether the service saw the head depends on how fast the chunk came.
                let _ = timeout(Duration::from_millis(50), service.accept()).await;
            }
        }
        assert_eq!(world.server_lines.line(1).await.error, Some(ErrorKind::BadRequest));
    });
}

#[test]
fn a_visitor_that_resets_behind_bytes_that_nobody_reads_is_noticed() {
    let service = ByHand::new();
    run(service.addr(), |world| async move {
        let service = service.listen();
        let mut visitor = Peer::connect(world.http).await;
        visitor.say("POST / HTTP/1.1\r\nHost: app.test\r\nContent-Length: 1000000000\r\n\r\n").await;
        let mut connection = Peer::accept(&service).await;
        connection.head().await;
        let block = vec![0; 1 << 16];
        while let Ok(written) = timeout(Duration::from_millis(300), visitor.0.write(&block)).await {
            written.unwrap();
        }
        visitor.0.set_zero_linger().unwrap();
        let gone = Instant::now();
        drop(visitor);
        world.server_lines.line(0).await;
        world.client_lines.line(0).await;
        assert!(gone.elapsed() < Duration::from_secs(5), "{:?}", gone.elapsed());
        assert_eq!(connection.rest().await.1, End::Reset);
    });
}

#[test]
fn a_service_that_stops_a_long_upload_has_its_time_to_answer() {
    let service = ByHand::new();
    let timeouts = Timeouts {
        open: Duration::from_millis(600),
        request: Duration::from_millis(600),
        ..Timeouts::default()
    };
    run_with(timeouts, service.addr(), |world| async move {
        let [(_, mut inbound), (session, _)] = sessions(&world.server.spawner);
        world.names.set(HOST, found(&world.server, vec![target(&session, 1)]));
        let mut visitor = Peer::connect(world.http).await;
        visitor.say("POST / HTTP/1.1\r\nHost: app.test\r\nContent-Length: 100\r\n\r\nabc").await;
        let mut substream = timeout(LIMIT, inbound.accept()).await.unwrap().unwrap();
        let mut frames = BytesMut::new();
        Status::Accepted.encode(&mut frames).unwrap();
        substream.write_all(&frames).await.unwrap();
        // The upload takes longer than an answer may.
        assert!(timeout(Duration::from_millis(800), visitor.0.read_u8()).await.is_err());
        frames.clear();
        encode_stop(Code::NOT_WANTED, &mut frames).unwrap();
        substream.write_all(&frames).await.unwrap();
        assert!(timeout(Duration::from_millis(100), visitor.0.read_u8()).await.is_err());
        frames.clear();
        ResponseLine { status: 413, bodyless: false }.encode_with([], &mut frames).unwrap();
        encode_data(b"no", &mut frames).unwrap();
        encode_end(&mut frames).unwrap();
        substream.write_all(&frames).await.unwrap();
        let head = visitor.head().await;
        assert!(head.starts_with("HTTP/1.1 413"), "{head}");
    });
}
