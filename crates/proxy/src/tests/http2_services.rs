//! Services that speak HTTP/2, behind visitors of HTTP/1.1.

use std::time::{Duration, Instant};

use bytes::Bytes;
use h2::Reason;
use http::{HeaderMap, HeaderValue, Method, Response, StatusCode};
use ops::error_kind::ErrorKind;
use protocol::exchange::Message;
use protocol::request::{Kind, Status};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio::time::timeout;

use super::fixture::*;
use super::hostile;
use super::service::*;

const GET: &str = "GET /a?b=c HTTP/1.1\r\nHost: app.test\r\n\r\n";
const POST: &str = "POST / HTTP/1.1\r\nHost: app.test\r\nContent-Length: 3\r\n\r\nabc";

fn h2c(service: &ByHand) -> policy::part::ServicePart {
    part([server(format!("h2c://{}", service.addr()))])
}

async fn streams(listener: &TcpListener) -> Streams<TcpStream> {
    Streams::new(Peer::accept(listener).await.0).await
}

#[test]
fn bodies_and_trailers_pass_both_ways() {
    let service = ByHand::new();
    run_part(h2c(&service), |world| async move {
        let service = service.listen();
        let mut visitor = Peer::connect(world.http).await;
        visitor
            .say(
                "POST /a?b=c HTTP/1.1\r\nHost: App.test:8080\r\nTransfer-Encoding: chunked\r\nTE: trailers\r\n\
                 Connection: TE\r\nX-One: 1\r\nTrailer: x-sum\r\n\r\n3\r\nabc\r\n0\r\nx-sum: 7\r\n\r\n",
            )
            .await;
        let mut streams = streams(&service).await;
        let (request, mut respond) = streams.asked().await;
        assert_eq!(request.method(), Method::POST);
        assert_eq!(request.uri(), "http://App.test:8080/a?b=c");
        let headers = request.headers();
        assert!(headers["te"] == "trailers" && headers["x-one"] == "1");
        assert!(!headers.contains_key("host") && !headers.contains_key("transfer-encoding"));
        let answering = async {
            let (body, trailers) = whole(request.into_body()).await.unwrap();
            assert_eq!((body.as_slice(), &trailers.unwrap()["x-sum"]), (&b"abc"[..], &HeaderValue::from(7)));
            let mut response = Response::new(());
            response.headers_mut().insert("x-two", HeaderValue::from_static("2"));
            response.headers_mut().insert("trailer", HeaderValue::from_static("grpc-status"));
            let mut stream = respond.send_response(response, false).unwrap();
            stream.send_data(Bytes::from_static(b"hello"), false).unwrap();
            let trailers = HeaderMap::from_iter([(
                http::HeaderName::from_static("grpc-status"),
                HeaderValue::from_static("0"),
            )]);
            stream.send_trailers(trailers).unwrap();
            let head = visitor.head().await;
            assert!(head.starts_with("HTTP/1.1 200 OK\r\n") && head.contains("x-two: 2\r\n"), "{head}");
            visitor.hear("0\r\ngrpc-status: 0\r\n\r\n").await
        };
        let body = streams.during(answering).await;
        assert!(body.starts_with("5\r\nhello\r\n"), "{body}");
        let line = world.client_lines.line(0).await;
        assert_eq!((line.status, line.bytes_up, line.bytes_down, line.error), (Some(200), 3, 5, None));
    });
}

#[test]
fn requests_share_a_connection_until_the_service_takes_no_more() {
    let service = ByHand::new();
    run_part(h2c(&service), |world| async move {
        let service = service.listen();
        let mut visitors = Vec::new();
        for _ in 0..3 {
            let mut visitor = Peer::connect(world.http).await;
            visitor.say(GET).await;
            visitors.push(visitor);
        }
        let mut two = h2::server::Builder::new();
        two.max_concurrent_streams(2);
        let mut first = Streams::with(Peer::accept(&service).await.0, &mut two).await;
        let asked = (first.asked().await, first.asked().await);
        let second = first.during(async {
            let mut second = streams(&service).await;
            let asked = second.asked().await;
            (second, asked)
        });
        let (mut second, third) = second.await;
        answer(third.1, "third");
        answer(asked.0.1, "one of two");
        answer(asked.1.1, "two of two");
        let mut answers = Vec::new();
        first
            .during(second.during(async {
                for visitor in &mut visitors {
                    visitor.head().await;
                    answers.push(visitor.hear("\r\n0\r\n\r\n").await);
                }
            }))
            .await;
        answers.sort();
        assert!(answers[0].contains("third") && answers[1].contains("one of two"), "{answers:?}");
        // And when there is room again, the next one goes where there is most.
        let no_more = timeout(Duration::from_millis(20), service.accept()).await;
        assert!(no_more.is_err());
    });
}

#[test]
fn a_refused_stream_is_sent_again_with_its_body() {
    let service = ByHand::new();
    run_part(h2c(&service), |world| async move {
        let service = service.listen();
        let mut visitor = Peer::connect(world.http).await;
        visitor.say(POST).await;
        let mut first = streams(&service).await;
        let (request, mut refuse) = first.asked().await;
        first.during(async { assert_eq!(whole(request.into_body()).await.unwrap().0, b"abc") }).await;
        refuse.send_reset(Reason::REFUSED_STREAM);
        let mut second = first.during(streams(&service)).await;
        let (request, respond) = second.asked().await;
        second
            .during(async {
                assert_eq!(whole(request.into_body()).await.unwrap().0, b"abc");
                answer(respond, "done");
                assert!(visitor.head().await.starts_with("HTTP/1.1 200"));
            })
            .await;
    });
}

#[test]
fn a_refused_stream_leaves_the_others_of_its_connection_alone() {
    let service = ByHand::new();
    run_part(h2c(&service), |world| async move {
        let service = service.listen();
        let mut kept = Peer::connect(world.http).await;
        kept.say(GET).await;
        let mut first = streams(&service).await;
        let (_request, keep) = first.asked().await;
        let mut refused = Peer::connect(world.http).await;
        refused.say(POST).await;
        let (_request, mut refuse) = first.asked().await;
        refuse.send_reset(Reason::REFUSED_STREAM);
        let mut second = first.during(streams(&service)).await;
        let (_request, respond) = second.asked().await;
        answer(respond, "elsewhere");
        second.during(first.during(async { refused.hear("elsewhere\r\n0\r\n\r\n").await })).await;
        // What was under way is answered, and then the connection is as good as the other.
        answer(keep, "kept");
        first.during(second.during(async { kept.hear("kept\r\n0\r\n\r\n").await })).await;
        let more = timeout(Duration::from_millis(20), first.during(second.during(service.accept()))).await;
        assert!(more.is_err());
    });
}

#[test]
fn a_stream_that_is_refused_everywhere_was_not_processed() {
    let service = ByHand::new();
    run_part(h2c(&service), |world| async move {
        let service = service.listen();
        let mut visitor = Peer::connect(world.http).await;
        visitor.say(POST).await;
        let mut before = JoinSet::new();
        for _ in 0..crate::service::TRIES_MAX {
            let mut connection = streams(&service).await;
            let (_request, mut refuse) = connection.asked().await;
            refuse.send_reset(Reason::REFUSED_STREAM);
            before.spawn(async move { connection.during(std::future::pending::<()>()).await });
        }
        let head = visitor.head().await;
        assert!(head.starts_with("HTTP/1.1 502") && head.contains("service-refused"), "{head}");
    });
}

#[test]
fn a_stream_above_a_farewell_is_sent_again_and_one_below_it_is_not() {
    let service = ByHand::new();
    run_part(h2c(&service), |world| async move {
        let service = service.listen();
        let mut below = Peer::connect(world.http).await;
        below.say(POST).await;
        let mut first = streams(&service).await;
        let (_request, mut respond) = first.asked().await;
        // It is looked at, and the connection takes no more.
        first.0.graceful_shutdown();
        let mut above = Peer::connect(world.http).await;
        above.say(POST).await;
        let mut second = first.during(streams(&service)).await;
        let (_request, other) = second.asked().await;
        answer(other, "above");
        second.during(async { assert!(above.head().await.starts_with("HTTP/1.1 200")) }).await;
        // What was looked at, and is not answered, is never sent again.
        respond.send_reset(Reason::INTERNAL_ERROR);
        let head = first.during(second.during(below.head())).await;
        assert!(head.starts_with("HTTP/1.1 502") && head.contains("service-cut"), "{head}");
        assert!(timeout(Duration::from_millis(50), service.accept()).await.is_err());
    });
}

#[test]
fn a_response_that_is_reset_never_looks_complete() {
    let service = ByHand::new();
    run_part(h2c(&service), |world| async move {
        let service = service.listen();
        let mut visitor = Peer::connect(world.http).await;
        visitor.say(GET).await;
        let mut streams = streams(&service).await;
        for (index, reason) in
            [Reason::INTERNAL_ERROR, Reason::CANCEL, Reason::NO_ERROR].into_iter().enumerate()
        {
            let (_request, mut respond) = streams.asked().await;
            let mut stream = respond.send_response(Response::new(()), false).unwrap();
            stream.send_data(Bytes::from_static(b"half"), false).unwrap();
            streams.during(visitor.hear("half\r\n")).await;
            stream.send_reset(reason);
            let (rest, end) = streams.during(visitor.rest()).await;
            assert!(rest.is_empty() && end == End::Reset, "{reason:?}: {rest:?} {end:?}");
            assert_eq!(world.client_lines.line(index).await.error, Some(ErrorKind::ServiceCut), "{reason:?}");
            visitor = Peer::connect(world.http).await;
            visitor.say(GET).await;
        }
    });
}

#[test]
fn a_whole_response_before_the_whole_request_is_complete() {
    let service = ByHand::new();
    run_part(h2c(&service), |world| async move {
        let service = service.listen();
        let mut visitor = Peer::connect(world.http).await;
        visitor.say("POST / HTTP/1.1\r\nHost: app.test\r\nContent-Length: 100\r\n\r\nstart").await;
        let mut streams = streams(&service).await;
        let (_request, mut respond) = streams.asked().await;
        let mut response = Response::new(());
        *response.status_mut() = StatusCode::PAYLOAD_TOO_LARGE;
        response.headers_mut().insert("content-length", HeaderValue::from_static("3"));
        let mut stream = respond.send_response(response, false).unwrap();
        stream.send_data(Bytes::from_static(b"no\n"), true).unwrap();
        // A reset would overtake what is not written.
        streams.during(tokio::task::yield_now()).await;
        stream.send_reset(Reason::NO_ERROR);
        streams
            .during(async {
                assert!(visitor.head().await.starts_with("HTTP/1.1 413"));
                visitor.hear("no\n").await;
            })
            .await;
        assert_eq!(world.client_lines.line(0).await.error, None);
    });
}

#[test]
fn a_response_of_trailers_only_stays_one_head_on_the_wire() {
    let service = ByHand::new();
    run_part(h2c(&service), |world| async move {
        let service = service.listen();
        let mut first = hostile::head(Kind::Exchange, 1);
        hostile::request(&mut first, true);
        protocol::exchange::encode_end(&mut first).unwrap();
        let mut channel = hostile::opened(&world, first, hostile::responses()).await;
        let mut streams = streams(&service).await;
        let (_request, mut respond) = streams.asked().await;
        let mut response = Response::new(());
        response.headers_mut().insert("grpc-status", HeaderValue::from_static("12"));
        respond.send_response(response, true).unwrap();
        streams
            .during(async {
                let accepted = timeout(LIMIT, channel.message()).await.unwrap().unwrap();
                assert_eq!(accepted, Message::Status(Status::Accepted));
                let Message::Response(head) = timeout(LIMIT, channel.message()).await.unwrap().unwrap()
                else {
                    panic!("no head");
                };
                assert!(head.bodyless && head.fields.iter().any(|field| field.name == "grpc-status"));
                assert_eq!(timeout(LIMIT, channel.message()).await.unwrap().unwrap(), Message::End);
            })
            .await;
    });
}

#[test]
fn a_visitor_that_goes_away_cancels_the_stream_within_a_second() {
    let service = ByHand::new();
    run_part(h2c(&service), |world| async move {
        let service = service.listen();
        let uploading = "POST / HTTP/1.1\r\nHost: app.test\r\nContent-Length: 9\r\n\r\nabc";
        let mut accepted = None;
        for (request, answered) in [(GET, false), (GET, true), (uploading, false)] {
            let mut visitor = Peer::connect(world.http).await;
            visitor.say(request).await;
            if accepted.is_none() {
                accepted = Some(streams(&service).await);
            }
            let streams = accepted.as_mut().unwrap();
            let (_request, mut respond) = streams.asked().await;
            let mut stream = None;
            if answered {
                let mut sent = respond.send_response(Response::new(()), false).unwrap();
                sent.send_data(Bytes::from_static(b"half"), false).unwrap();
                streams.during(visitor.hear("half\r\n")).await;
                stream = Some(sent);
            }
            drop(visitor);
            let gone = Instant::now();
            let reset = streams.during(std::future::poll_fn(|cx| match &mut stream {
                Some(stream) => stream.poll_reset(cx),
                None => respond.poll_reset(cx),
            }));
            assert_eq!(timeout(LIMIT, reset).await.unwrap().unwrap(), Reason::CANCEL, "{request}");
            assert!(gone.elapsed() < A_SECOND, "{:?}", gone.elapsed());
        }
    });
}

#[test]
fn a_websocket_reaches_a_service_that_offers_extended_connect() {
    let service = ByHand::new();
    run_part(h2c(&service), |world| async move {
        let service = service.listen();
        let mut visitor = Peer::connect(world.http).await;
        visitor
            .say(
                "GET /ws HTTP/1.1\r\nHost: app.test\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
                 Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
            )
            .await;
        let mut extended = h2::server::Builder::new();
        extended.enable_connect_protocol();
        let mut streams = Streams::with(Peer::accept(&service).await.0, &mut extended).await;
        let (request, mut respond) = streams.asked().await;
        assert_eq!(request.method(), Method::CONNECT);
        assert_eq!(request.extensions().get::<h2::ext::Protocol>().unwrap().as_str(), "websocket");
        assert_eq!(request.uri(), "http://app.test/ws");
        let mut stream = respond.send_response(Response::new(()), false).unwrap();
        stream.send_data(Bytes::from_static(b"hi"), false).unwrap();
        let mut body = request.into_body();
        streams
            .during(async {
                let head = visitor.head().await;
                assert!(head.starts_with("HTTP/1.1 101 "), "{head}");
                assert!(head.contains("sec-websocket-accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n"), "{head}");
                visitor.hear("hi").await;
                visitor.say("ping").await;
                assert_eq!(timeout(LIMIT, body.data()).await.unwrap().unwrap().unwrap(), "ping");
                stream.send_data(Bytes::from_static(b"bye"), true).unwrap();
                visitor.hear("bye").await;
            })
            .await;
    });
}

#[test]
fn a_service_that_resets_a_websocket_has_not_ended_it() {
    let service = ByHand::new();
    run_part(h2c(&service), |world| async move {
        let service = service.listen();
        let mut extended = h2::server::Builder::new();
        extended.enable_connect_protocol();
        let mut accepted = None;
        for reason in [Reason::CANCEL, Reason::NO_ERROR] {
            let mut visitor = Peer::connect(world.http).await;
            visitor
                .say(
                    "GET /ws HTTP/1.1\r\nHost: app.test\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
                     Sec-WebSocket-Key: x\r\n\r\n",
                )
                .await;
            if accepted.is_none() {
                let io = Peer::accept(&service).await.0;
                accepted = Some(Streams::with(io, &mut extended).await);
            }
            let streams = accepted.as_mut().unwrap();
            let (_request, mut respond) = streams.asked().await;
            let mut stream = respond.send_response(Response::new(()), false).unwrap();
            stream.send_data(Bytes::from_static(b"hi"), false).unwrap();
            streams.during(async { drop((visitor.head().await, visitor.hear("hi").await)) }).await;
            stream.send_reset(reason);
            let (rest, end) = streams.during(visitor.rest()).await;
            assert!(rest.is_empty() && end == End::Reset, "{reason:?}: {rest:?} {end:?}");
        }
    });
}

#[test]
fn a_body_waits_for_its_turn_at_a_service_that_is_full() {
    let service = ByHand::new();
    run_part(h2c(&service), |world| async move {
        let service = service.listen();
        let mut one = h2::server::Builder::new();
        one.max_concurrent_streams(1);
        let post = |path: usize| {
            let head = format!("POST /{path} HTTP/1.1\r\nHost: app.test\r\nContent-Length: 200000\r\n\r\n");
            [head.into_bytes(), vec![b'x'; 200_000]].concat()
        };
        // As many connections as there may be, and a request more than they take.
        let (mut visitors, mut connections) = (Vec::new(), Vec::new());
        for path in 0..5 {
            let mut visitor = Peer::connect(world.http).await;
            visitor.say(post(path)).await;
            visitors.push(visitor);
            if path < 4 {
                connections.push(Streams::with(Peer::accept(&service).await.0, &mut one).await);
            }
        }
        let mut served = 0;
        while served < 5 {
            for streams in &mut connections {
                let Ok(Some(Ok((request, respond)))) =
                    timeout(Duration::from_millis(100), streams.0.accept()).await
                else {
                    continue;
                };
                let body = streams.during(whole(request.into_body())).await.unwrap().0;
                assert_eq!(body.len(), 200_000);
                answer(respond, "done");
                streams.during(tokio::task::yield_now()).await;
                served += 1;
            }
        }
        for visitor in &mut visitors {
            assert!(visitor.head().await.starts_with("HTTP/1.1 200"));
        }
    });
}

#[test]
fn a_websocket_falls_back_to_http_1_1() {
    let service = ByHand::new();
    run_part(h2c(&service), |world| async move {
        let service = service.listen();
        let mut visitor = Peer::connect(world.http).await;
        visitor
            .say(
                "GET /ws HTTP/1.1\r\nHost: app.test\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
                 Sec-WebSocket-Key: x\r\n\r\n",
            )
            .await;
        let mut streams = streams(&service).await;
        let mut connection = streams.during(Peer::accept(&service)).await;
        let head = connection.head().await;
        assert!(head.contains("upgrade: websocket\r\n") && head.contains("host: app.test\r\n"), "{head}");
        connection
            .say("HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n")
            .await;
        assert!(visitor.head().await.starts_with("HTTP/1.1 101"));
    });
}

#[test]
fn a_service_that_speaks_no_http2_is_found_out_before_a_request() {
    let service = ByHand::new();
    run_part(h2c(&service), |world| async move {
        let service = service.listen();
        let mut visitor = Peer::connect(world.http).await;
        visitor.say(POST).await;
        let mut connection = Peer::accept(&service).await;
        connection.hear("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").await;
        connection.say("HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n").await;
        let head = visitor.head().await;
        assert!(head.starts_with("HTTP/1.1 502") && head.contains("service-cut"), "{head}");
    });
}
