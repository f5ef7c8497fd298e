//! Services behind TLS.

use ops::error_kind::ErrorKind;
use policy::part::{ServerPart, TlsPart};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::fixture::*;
use super::service::*;

const GET: &str = "GET / HTTP/1.1\r\nHost: app.test\r\n\r\n";

fn https(service: &ByHand, tls: TlsPart) -> policy::part::ServicePart {
    let address = format!("https://{}", service.addr());
    part([ServerPart { tls: Some(tls), ..server(address) }])
}

#[test]
fn http2_is_used_where_the_service_has_it() {
    let (authority, service) = (Authority::new(), ByHand::new());
    run_part(https(&service, authority.tls()), |world| async move {
        let service = service.listen();
        let (tls, _) = authority.server("127.0.0.1", &["h2", "http/1.1"]);
        let mut visitor = Peer::connect(world.http).await;
        visitor.say(GET).await;
        let mut streams = Streams::new(accept_tls(&service, &tls).await).await;
        for _ in 0..2 {
            let (request, respond) = streams.asked().await;
            assert_eq!(request.uri(), "https://app.test/");
            answer(respond, "hello");
            streams.during(visitor.hear("hello\r\n0\r\n\r\n")).await;
            visitor.say(GET).await;
        }
    });
}

#[test]
fn http1_is_used_where_it_has_nothing_else_and_the_connection_again() {
    for alpn in [&["http/1.1"][..], &[]] {
        let (authority, service) = (Authority::new(), ByHand::new());
        run_part(https(&service, authority.tls()), |world| async move {
            let service = service.listen();
            let (tls, _) = authority.server("127.0.0.1", alpn);
            let mut visitor = Peer::connect(world.http).await;
            visitor.say("POST / HTTP/1.1\r\nHost: app.test\r\nContent-Length: 3\r\n\r\nabc").await;
            let mut connection = accept_tls(&service, &tls).await;
            let mut heard = Vec::new();
            for (ends, next) in [("abc", GET), ("\r\n\r\n", GET)] {
                heard.clear();
                while !heard.ends_with(ends.as_bytes()) {
                    heard.push(connection.read_u8().await.unwrap());
                }
                connection.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok").await.unwrap();
                connection.flush().await.unwrap();
                visitor.hear("ok").await;
                visitor.say(next).await;
            }
            assert!(String::from_utf8(heard).unwrap().contains("host: app.test\r\n"));
        });
    }
}

#[test]
fn a_service_that_proves_nothing_gets_no_request() {
    let authority = Authority::new();
    let (_, pin_of_another) = authority.server("127.0.0.1", &[]);
    let wrong = [
        // Another authority, the roots of the system, another name, another key.
        (Authority::new().tls(), "127.0.0.1"),
        (TlsPart::default(), "127.0.0.1"),
        (authority.tls(), "other.test"),
        (TlsPart { server_name: Some("right.test".to_owned()), ..authority.tls() }, "127.0.0.1"),
        (TlsPart { pin: Some(pin_of_another), ..TlsPart::default() }, "127.0.0.1"),
    ];
    for (part, name) in wrong {
        let service = ByHand::new();
        let (tls, _) = authority.server(name, &["h2"]);
        run_part(https(&service, part), |world| async move {
            let service = service.listen();
            let mut visitor = Peer::connect(world.http).await;
            visitor.say(GET).await;
            let refused = tls.accept(Peer::accept(&service).await.0).await;
            assert!(refused.is_err());
            let head = visitor.head().await;
            assert!(head.starts_with("HTTP/1.1 502") && head.contains("service-tls"), "{head}");
            assert_eq!(world.client_lines.line(0).await.error, Some(ErrorKind::ServiceTls));
        });
    }
}

#[test]
fn a_key_can_be_pinned_and_a_name_be_configured() {
    let authority = Authority::new();
    let (tls, pin) = authority.server("right.test", &["h2"]);
    for part in [
        TlsPart { pin: Some(pin), ..TlsPart::default() },
        TlsPart { server_name: Some("right.test".to_owned()), ..authority.tls() },
    ] {
        let (service, tls) = (ByHand::new(), tls.clone());
        let named = part.server_name.clone();
        run_part(https(&service, part), |world| async move {
            let service = service.listen();
            let mut visitor = Peer::connect(world.http).await;
            visitor.say(GET).await;
            let stream = accept_tls(&service, &tls).await;
            assert_eq!(stream.get_ref().1.server_name().map(str::to_owned), named);
            let mut streams = Streams::new(stream).await;
            answer(streams.asked().await.1, "hello");
            streams.during(visitor.hear("hello\r\n")).await;
        });
    }
}

#[test]
fn a_websocket_over_tls_has_a_connection_of_http_1_1() {
    let (authority, service) = (Authority::new(), ByHand::new());
    run_part(https(&service, authority.tls()), |world| async move {
        let service = service.listen();
        let (tls, _) = authority.server("127.0.0.1", &["h2", "http/1.1"]);
        let mut visitor = Peer::connect(world.http).await;
        visitor.say("GET / HTTP/1.1\r\nHost: app.test\r\nConnection: Upgrade\r\nUpgrade: chat\r\n\r\n").await;
        let mut streams = Streams::new(accept_tls(&service, &tls).await).await;
        let mut connection = streams.during(accept_tls(&service, &tls)).await;
        assert_eq!(connection.get_ref().1.alpn_protocol(), Some(&b"http/1.1"[..]));
        let mut heard = Vec::new();
        while !heard.ends_with(b"\r\n\r\n") {
            heard.push(connection.read_u8().await.unwrap());
        }
        let switch = b"HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: chat\r\n\r\nhi";
        connection.write_all(switch).await.unwrap();
        connection.flush().await.unwrap();
        visitor.head().await;
        visitor.hear("hi").await;
    });
}
