use tokio::io::AsyncWriteExt;

use super::fixture::*;
use super::visitor_h2::*;

#[test]
fn malformed_requests_end_their_stream_only() {
    let service = ByHand::new();
    run(service.addr(), |world| async move {
        let service = service.listen();
        let mut visitor = Framer::connect(&world).await;
        let fields = [
            ("connection", "close"),
            ("transfer-encoding", "chunked"),
            ("upgrade", "h2c"),
            ("keep-alive", "1"),
            ("te", "gzip"),
        ];
        let mut id = 1;
        for field in fields {
            let request = block(&[&PSEUDO[..], &[field]].concat());
            visitor.0.say(frame(HEADERS, END_HEADERS | END_STREAM, id, &request)).await;
            let (kind, _, reason) = visitor.hear(id).await.unwrap();
            assert_eq!((kind, &reason[..]), (RST_STREAM, &[0, 0, 0, 1][..]), "{field:?}");
            id += 2;
        }
        for pseudo in [
            &[(":method", "GET"), (":scheme", "http"), (":authority", HOST), (":path", "/a b")][..],
            &[(":method", "GET"), (":scheme", "http"), (":authority", "a b"), (":path", "/")],
            &[(":method", "GET"), (":scheme", "http"), (":authority", HOST)],
            &[(":method", "GET"), (":authority", HOST), (":path", "/")],
            &[(":scheme", "http"), (":authority", HOST), (":path", "/")],
            &[("a", "b"), (":method", "GET"), (":scheme", "http"), (":authority", HOST), (":path", "/")],
        ] {
            visitor.0.say(frame(HEADERS, END_HEADERS | END_STREAM, id, &block(pseudo))).await;
            let (kind, _, reason) = visitor.hear(id).await.unwrap();
            assert_eq!((kind, &reason[..]), (RST_STREAM, &[0, 0, 0, 1][..]), "{pseudo:?}");
            id += 2;
        }
        // A body that is shorter than it says never looks complete.
        let request = block(&[&PSEUDO[..], &[("content-length", "5")]].concat());
        visitor.0.say(frame(HEADERS, END_HEADERS, id, &request)).await;
        visitor.0.say(frame(0, 0, id, b"abc")).await;
        let mut connection = Peer::accept(&service).await;
        connection.hear("abc").await;
        visitor.0.say(frame(0, END_STREAM, id, b"")).await;
        let (kind, _, reason) = visitor.hear(id).await.unwrap();
        assert_eq!((kind, &reason[..]), (RST_STREAM, &[0, 0, 0, 1][..]));
        assert_eq!(connection.rest().await.1, End::Reset);
        // The connection goes on.
        visitor.0.say(frame(HEADERS, END_HEADERS | END_STREAM, id + 2, &block(&PSEUDO))).await;
        let mut connection = Peer::accept(&service).await;
        connection.head().await;
        connection.say("HTTP/1.1 204 No Content\r\n\r\n").await;
        let (kind, flags, _) = visitor.hear(id + 2).await.unwrap();
        assert_eq!((kind, flags & END_STREAM), (HEADERS, END_STREAM));
    });
}

#[test]
fn fields_that_are_none_end_their_connection() {
    let service = ByHand::new();
    run(service.addr(), |world| async move {
        for field in
            [("X-Upper", "1"), ("x-split", "a\r\nb: c"), ("x-nul", "a\0b"), ("x space", "1"), ("", "1")]
        {
            let mut visitor = Framer::connect(&world).await;
            let request = block(&[&PSEUDO[..], &[field]].concat());
            visitor.0.say(frame(HEADERS, END_HEADERS | END_STREAM, 1, &request)).await;
            let (kind, _, reason) = visitor.hear(1).await.unwrap();
            assert_eq!((kind, &reason[4..8]), (GOAWAY, &[0, 0, 0, 1][..]), "{field:?}");
        }
        drop(service);
    });
}

#[test]
fn an_answer_without_a_body_is_one_frame() {
    let service = ByHand::new();
    run(service.addr(), |world| async move {
        let service = service.listen();
        let mut visitor = Framer::connect(&world).await;
        let call =
            block(&[&PSEUDO[..], &[("content-type", "application/grpc"), ("te", "trailers")]].concat());
        visitor.0.say(frame(HEADERS, END_HEADERS | END_STREAM, 1, &call)).await;
        let mut connection = Peer::accept(&service).await;
        connection.head().await;
        connection.say("HTTP/1.1 200 OK\r\nContent-Type: application/grpc\r\nGrpc-Status: 5\r\nContent-Length: 0\r\n\r\n").await;
        let (kind, flags, _) = visitor.hear(1).await.unwrap();
        assert_eq!((kind, flags), (HEADERS, END_HEADERS | END_STREAM));
        // And so is one of ours.
        world.client_session.close();
        world.client_session.closed().await;
        world.names.set(HOST, crate::directory::Lookup::Unknown);
        visitor.0.say(frame(HEADERS, END_HEADERS | END_STREAM, 3, &call)).await;
        let (kind, flags, _) = visitor.hear(3).await.unwrap();
        assert_eq!((kind, flags), (HEADERS, END_HEADERS | END_STREAM));
    });
}

/// A connection that is done with: it hears a farewell that says ENHANCE_YOUR_CALM.
async fn is_told_to_calm_down(visitor: &mut Framer) {
    let (kind, _, farewell) = visitor.hear(u32::MAX).await.unwrap();
    assert_eq!((kind, &farewell[4..8]), (GOAWAY, &[0, 0, 0, 11][..]));
}

#[test]
fn rapid_resets_and_continuations_without_end_end_their_connection_and_no_other() {
    let service = ByHand::new();
    run(service.addr(), |world| async move {
        let service = service.listen();
        let mut other = Visitor::connect(&world).await;
        let (response, _) = other.send(get("/"), true).await;
        let mut connection = Peer::accept(&service).await;
        connection.head().await;

        // Streams that are reset before anybody looks at them.
        let mut rapid = Framer::connect(&world).await;
        let request = block(&PSEUDO);
        let pair = |id| {
            [frame(HEADERS, END_HEADERS | END_STREAM, id, &request), frame(RST_STREAM, 0, id, &[0, 0, 0, 8])]
        };
        let flood: Vec<u8> = (0..2_000).flat_map(|index| pair(2 * index + 1).concat()).collect();
        rapid.0.say(&flood).await;
        is_told_to_calm_down(&mut rapid).await;

        // A head that never ends.
        let mut endless = Framer::connect(&world).await;
        endless.0.say(frame(HEADERS, 0, 1, &request)).await;
        let more = frame(CONTINUATION, 0, 1, &block(&[("x-a", "b")]));
        let flood: Vec<u8> = more.iter().copied().cycle().take(more.len() * 2_000).collect();
        endless.0.say(&flood).await;
        is_told_to_calm_down(&mut endless).await;

        connection.say("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok").await;
        assert_eq!(whole(head(response).await.body_mut()).await.unwrap().0, b"ok");
    });
}

#[test]
fn made_you_reset_ends_its_connection_and_no_other() {
    let service = ByHand::new();
    run(service.addr(), |world| async move {
        let service = service.listen();
        let mut other = Visitor::connect(&world).await;
        let (response, _) = other.send(get("/"), true).await;
        let mut connection = Peer::accept(&service).await;
        connection.head().await;
        // Heads that make this end reset their streams, none of which the visitor resets itself.
        let mut visitor = Framer::connect(&world).await;
        let request = block(&PSEUDO[..3]);
        let flood: Vec<u8> = (0..2_000)
            .flat_map(|index| frame(HEADERS, END_HEADERS | END_STREAM, 2 * index + 1, &request))
            .collect();
        visitor.0.say(&flood).await;
        is_told_to_calm_down(&mut visitor).await;
        // Requests that were taken in, and whose window is made to overflow (CVE-2025-8671).
        let mut visitor = Framer::connect(&world).await;
        let request = block(&PSEUDO);
        let pair = |id| {
            let overflow = frame(WINDOW_UPDATE, 0, id, &[0x7F, 0xFF, 0xFF, 0xFF]);
            [frame(HEADERS, END_HEADERS | END_STREAM, id, &request), overflow].concat()
        };
        let flood: Vec<u8> = (0..2_000).flat_map(|index| pair(2 * index + 1)).collect();
        visitor.0.say(&flood).await;
        is_told_to_calm_down(&mut visitor).await;
        connection.say("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok").await;
        assert_eq!(whole(head(response).await.body_mut()).await.unwrap().0, b"ok");
    });
}

#[test]
fn a_flood_of_empty_data_ends_its_connection_and_no_other() {
    let service = ByHand::new();
    run(service.addr(), |world| async move {
        let service = service.listen();
        let mut visitor = Framer::connect(&world).await;
        visitor.0.say(frame(HEADERS, END_HEADERS, 1, &block(&PSEUDO))).await;
        let mut connection = Peer::accept(&service).await;
        connection.head().await;
        let flood: Vec<u8> = frame(0, 0, 1, b"").into_iter().cycle().take(9 * 100_000).collect();
        // Whoever is sent away does not get rid of all of it.
        let _ = visitor.0.0.write_all(&flood).await;
        let mut other = Visitor::connect(&world).await;
        let (response, _) = other.send(get("/"), true).await;
        let mut beside = Peer::accept(&service).await;
        beside.head().await;
        beside.say("HTTP/1.1 204 No Content\r\n\r\n").await;
        assert_eq!(head(response).await.status(), 204);
        // In chunks an empty piece would be the end of the body: the service saw none.
        assert_eq!(connection.rest().await, (Vec::new(), End::Reset));
    });
}
