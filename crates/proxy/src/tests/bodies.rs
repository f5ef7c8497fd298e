use std::time::Duration;

use ops::error_kind::ErrorKind;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::timeout;

use super::fixture::*;
use crate::context::Timeouts;

const GET: &str = "GET / HTTP/1.1\r\nHost: app.test\r\n\r\n";

#[test]
fn a_cut_body_never_looks_complete() {
    let service = ByHand::new();
    run(service.addr(), |world| async move {
        let service = service.listen();
        let old = "GET / HTTP/1.0\r\nHost: app.test\r\n\r\n";
        let cut = [
            (GET, "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\npart", false),
            (GET, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\npart\r\n", false),
            (old, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\npart\r\n", false),
            (GET, "HTTP/1.1 200 OK\r\n\r\npart", true),
            (old, "HTTP/1.1 200 OK\r\n\r\npart", true),
        ];
        for (request, response, reset) in cut {
            let mut visitor = Peer::connect(world.http).await;
            visitor.say(request).await;
            let mut connection = Peer::accept(&service).await;
            connection.head().await;
            connection.say(response).await;
            visitor.hear("part").await;
            if reset {
                connection.0.set_zero_linger().unwrap();
            }
            drop(connection);
            assert_eq!(visitor.rest().await.1, End::Reset, "{response:?}");
        }
        assert_eq!(world.server_lines.line(4).await.error, Some(ErrorKind::ServiceCut));
        assert_eq!(world.client_lines.line(4).await.error, Some(ErrorKind::ServiceCut));
    });
}

#[test]
fn a_body_without_a_length_ends_with_its_service() {
    let service = ByHand::new();
    run(service.addr(), |world| async move {
        let service = service.listen();
        for (version, expected) in [("1.0", "part"), ("1.1", "4\r\npart\r\n0\r\n\r\n")] {
            let mut visitor = Peer::connect(world.http).await;
            visitor.say(format!("GET / HTTP/{version}\r\nHost: app.test\r\nConnection: close\r\n\r\n")).await;
            let mut connection = Peer::accept(&service).await;
            connection.head().await;
            connection.say("HTTP/1.1 200 OK\r\n\r\npart").await;
            drop(connection);
            let head = visitor.head().await;
            assert_eq!(head.contains("transfer-encoding: chunked"), version == "1.1", "{head}");
            assert_eq!(visitor.rest().await, (expected.into(), End::Fin));
        }
    });
}

#[test]
fn responses_without_a_body_keep_what_they_say_about_it() {
    let service = ByHand::new();
    run(service.addr(), |world| async move {
        let service = service.listen();
        let mut visitor = Peer::connect(world.http).await;
        let mut connection = None;
        for (method, response, length) in [
            ("HEAD", "HTTP/1.1 200 OK\r\nContent-Length: 7\r\n\r\n", Some("content-length: 7")),
            ("GET", "HTTP/1.1 304 Not Modified\r\nContent-Length: 7\r\n\r\n", Some("content-length: 7")),
            ("GET", "HTTP/1.1 204 No Content\r\n\r\n", None),
            ("GET", "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", Some("content-length: 0")),
            ("HEAD", "HTTP/1.1 200 OK\r\n\r\n", None),
        ] {
            visitor.say(format!("{method} / HTTP/1.1\r\nHost: app.test\r\n\r\n")).await;
            // One connection carries them all: none of them looked broken off.
            let connection = match &mut connection {
                Some(connection) => connection,
                none => none.insert(Peer::accept(&service).await),
            };
            connection.head().await;
            connection.say(response).await;
            let head = visitor.head().await;
            assert!(head.starts_with(&response[..12]), "{head}");
            match length {
                Some(length) => assert!(head.contains(length), "{head}"),
                None => assert!(!head.contains("content-length") && !head.contains("chunked"), "{head}"),
            }
        }
    });
}

#[test]
fn large_bodies_pass_both_ways_at_once() {
    const SIZE: usize = 24 << 20;
    let service = ByHand::new();
    run(service.addr(), |world| async move {
        let service = service.listen();
        let visitor = Peer::connect(world.http).await;
        let (mut reader, mut writer) = visitor.0.into_split();
        let sending = async {
            let head = format!("PUT / HTTP/1.1\r\nHost: app.test\r\nContent-Length: {SIZE}\r\n\r\n");
            writer.write_all(head.as_bytes()).await.unwrap();
            for index in 0..SIZE / 4096 {
                writer.write_all(&[u8::try_from(index % 251).unwrap(); 4096]).await.unwrap();
            }
        };
        let echoing = async {
            let mut connection = Peer::accept(&service).await;
            connection.head().await;
            let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {SIZE}\r\n\r\n");
            connection.say(head).await;
            let (mut from, mut to) = connection.0.split();
            tokio::io::copy(&mut (&mut from).take(SIZE.try_into().unwrap()), &mut to).await.unwrap();
        };
        let receiving = async {
            let mut head = Vec::new();
            while !head.ends_with(b"\r\n\r\n") {
                head.push(reader.read_u8().await.unwrap());
            }
            let mut block = [0; 4096];
            for index in 0..SIZE / 4096 {
                reader.read_exact(&mut block).await.unwrap();
                assert_eq!(block, [u8::try_from(index % 251).unwrap(); 4096]);
            }
        };
        tokio::join!(sending, echoing, receiving);
        let size = SIZE.try_into().unwrap();
        drop((reader, writer));
        let line = world.server_lines.line(0).await;
        assert_eq!((line.bytes_up, line.bytes_down, line.error), (size, size, None));
    });
}

#[test]
fn chunks_and_trailers_pass_both_ways() {
    let service = ByHand::new();
    run(service.addr(), |world| async move {
        let service = service.listen();
        let mut visitor = Peer::connect(world.http).await;
        visitor
            .say(
                "POST / HTTP/1.1\r\nHost: app.test\r\nTE: trailers\r\nTrailer: x-sum\r\nTransfer-Encoding: chunked\r\n\r\n\
                 3\r\nabc\r\n0\r\nX-Sum: 1\r\n\r\n",
            )
            .await;
        let mut connection = Peer::accept(&service).await;
        let request = connection.hear("0\r\nx-sum: 1\r\n\r\n").await;
        assert!(
            request.contains("transfer-encoding: chunked\r\n") && request.contains("te: trailers\r\n"),
            "{request}"
        );
        assert!(request.contains("3\r\nabc\r\n"), "{request}");
        connection
            .say(
                "HTTP/1.1 200 OK\r\nTrailer: x-sum\r\nTransfer-Encoding: chunked\r\n\r\n\
                 2\r\nde\r\n0\r\nX-Sum: 2\r\n\r\n",
            )
            .await;
        let response = visitor.hear("x-sum: 2\r\n\r\n").await;
        assert!(response.contains("2\r\nde\r\n"), "{response}");
    });
}

#[test]
fn a_get_with_a_body_keeps_it() {
    let service = ByHand::new();
    run(service.addr(), |world| async move {
        let service = service.listen();
        let mut visitor = Peer::connect(world.http).await;
        visitor
            .say(
                "GET / HTTP/1.1\r\nHost: app.test\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n",
            )
            .await;
        let mut connection = Peer::accept(&service).await;
        assert!(connection.hear("0\r\n\r\n").await.contains("abc"));
    });
}

#[test]
fn an_early_response_arrives_although_the_request_goes_on() {
    let service = ByHand::new();
    run(service.addr(), |world| async move {
        let service = service.listen();
        let mut visitor = Peer::connect(world.http).await;
        visitor.say("POST / HTTP/1.1\r\nHost: app.test\r\nContent-Length: 100000000\r\n\r\n").await;
        let mut connection = Peer::accept(&service).await;
        connection.head().await;
        connection
            .say("HTTP/1.1 413 Content Too Large\r\nContent-Length: 3\r\nConnection: close\r\n\r\nno!")
            .await;
        // Far more than any buffer on the way.
        let (mut reader, mut writer) = visitor.0.into_split();
        let sending = async move {
            let block = vec![0; 1 << 16];
            while writer.write_all(&block).await.is_ok() {}
        };
        let reading = async {
            let mut response = Vec::new();
            while !response.ends_with(b"no!") {
                response.push(reader.read_u8().await.unwrap());
            }
            String::from_utf8(response).unwrap()
        };
        tokio::select! {
            response = reading => assert!(response.starts_with("HTTP/1.1 413"), "{response}"),
            () = sending => panic!("the connection was closed before the response was read"),
        }
        let line = world.server_lines.line(0).await;
        assert_eq!((line.status, line.error), (Some(413), None));
    });
}

#[test]
fn an_early_response_arrives_although_the_service_closes_behind_it() {
    let service = ByHand::new();
    run(service.addr(), |world| async move {
        let service = service.listen();
        for _ in 0..20 {
            let mut visitor = Peer::connect(world.http).await;
            visitor.say("POST / HTTP/1.1\r\nHost: app.test\r\nContent-Length: 100000000\r\n\r\n").await;
            let mut connection = Peer::accept(&service).await;
            connection.head().await;
            let (mut reader, mut writer) = visitor.0.into_split();
            let sending = async move {
                let block = vec![0; 1 << 16];
                while writer.write_all(&block).await.is_ok() {}
                std::future::pending::<()>().await;
            };
            let answering = async {
                // Bytes of the request wait here when it closes: the tunnel hears of a reset behind the answer.
                connection.0.readable().await.unwrap();
                connection.say("HTTP/1.1 413 Content Too Large\r\nContent-Length: 3\r\n\r\nno!").await;
                drop(connection);
                let mut response = Vec::new();
                while !response.ends_with(b"no!") {
                    response.push(reader.read_u8().await.unwrap());
                }
                String::from_utf8(response).unwrap()
            };
            tokio::select! {
                response = answering => assert!(response.starts_with("HTTP/1.1 413"), "{response}"),
                () = sending => {}
            }
        }
    });
}

#[test]
fn a_request_that_is_cut_is_never_complete_at_the_service() {
    let service = ByHand::new();
    run(service.addr(), |world| async move {
        let service = service.listen();
        for framing in ["Content-Length: 100\r\n\r\npart", "Transfer-Encoding: chunked\r\n\r\n4\r\npart\r\n"]
        {
            let mut visitor = Peer::connect(world.http).await;
            visitor.say(format!("POST / HTTP/1.1\r\nHost: app.test\r\n{framing}")).await;
            let mut connection = Peer::accept(&service).await;
            connection.hear("part").await;
            drop(visitor);
            let (rest, end) = connection.rest().await;
            assert_eq!(end, End::Reset);
            assert!(!rest.ends_with(b"0\r\n\r\n"));
        }
    });
}

#[test]
fn a_service_is_asked_whether_it_wants_the_body() {
    let request = "POST / HTTP/1.1\r\nHost: app.test\r\nExpect: 100-continue\r\nContent-Length: 3\r\n\r\n";
    let service = ByHand::new();
    run(service.addr(), |world| async move {
        let service = service.listen();
        // It does.
        let mut visitor = Peer::connect(world.http).await;
        visitor.say(request).await;
        let mut connection = Peer::accept(&service).await;
        assert!(connection.head().await.contains("expect: 100-continue\r\n"));
        connection.say("HTTP/1.1 100 Continue\r\n\r\n").await;
        assert_eq!(visitor.head().await, "HTTP/1.1 100 Continue\r\n\r\n");
        visitor.say("abc").await;
        connection.hear("abc").await;
        connection.say("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n").await;
        assert!(visitor.head().await.starts_with("HTTP/1.1 200"));
        drop((connection, visitor));

        // It does not.
        let mut visitor = Peer::connect(world.http).await;
        visitor.say(request).await;
        let mut connection = Peer::accept(&service).await;
        connection.head().await;
        connection.say("HTTP/1.1 401 Unauthorized\r\nContent-Length: 0\r\n\r\n").await;
        assert!(visitor.head().await.starts_with("HTTP/1.1 401"));
        assert!(visitor.rest().await.0.is_empty());

        // It does not know the question.
        let mut visitor = Peer::connect(world.http).await;
        visitor.say(request).await;
        let mut connection = Peer::accept(&service).await;
        connection.head().await;
        assert_eq!(visitor.head().await, "HTTP/1.1 100 Continue\r\n\r\n");
        visitor.say("abc").await;
        connection.hear("abc").await;
    });
}

#[test]
fn a_slow_reader_holds_back_the_service_and_nobody_else() {
    let service = ByHand::new();
    run(service.addr(), |world| async move {
        let service = service.listen();
        let mut slow = Peer::connect(world.http).await;
        slow.say(GET).await;
        let mut bulk = Peer::accept(&service).await;
        bulk.head().await;
        bulk.say("HTTP/1.1 200 OK\r\nContent-Length: 1000000000\r\n\r\n").await;
        let block = vec![0; 1 << 16];
        let mut sent: usize = 0;
        // Until nobody takes more.
        while let Ok(written) = timeout(Duration::from_millis(500), bulk.0.write(&block)).await {
            sent += written.unwrap();
            assert!(sent < 64 << 20, "nobody holds the service back");
        }
        let mut other = Peer::connect(world.http).await;
        other.say(GET).await;
        let mut connection = Peer::accept(&service).await;
        connection.head().await;
        connection.say("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok").await;
        other.hear("ok").await;
    });
}

#[test]
fn a_visitor_that_neither_reads_nor_sends_is_given_up() {
    let service = ByHand::new();
    let timeouts = Timeouts { stalled: Duration::from_millis(300), ..Timeouts::default() };
    run_with(timeouts, service.addr(), |world| async move {
        let service = service.listen();
        let mut visitor = Peer::connect(world.http).await;
        visitor.say("POST / HTTP/1.1\r\nHost: app.test\r\nContent-Length: 10\r\n\r\nabc").await;
        let mut connection = Peer::accept(&service).await;
        connection.hear("abc").await;
        assert!(visitor.head().await.starts_with("HTTP/1.1 408"));
        assert_eq!(connection.rest().await.1, End::Reset);

        let mut visitor = Peer::connect(world.http).await;
        visitor.say(GET).await;
        let mut connection = Peer::accept(&service).await;
        connection.head().await;
        connection.say("HTTP/1.1 200 OK\r\nContent-Length: 1000000000\r\n\r\n").await;
        let block = vec![0; 1 << 16];
        let ended = async { while connection.0.write_all(&block).await.is_ok() {} };
        timeout(LIMIT, ended).await.unwrap();
        drop(visitor);
    });
}
