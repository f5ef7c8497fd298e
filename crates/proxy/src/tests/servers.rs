//! Services with several servers: balance, health, who the visitor is.

use std::net::SocketAddr;

use bytes::{BufMut, BytesMut};
use http::{HeaderMap, HeaderValue, Response};
use policy::part::{HealthKind, ProxyVersion, ServerPart, ServicePart};
use tokio::net::TcpListener;
use tokio::time::timeout;

use super::fixture::*;
use super::service::*;

const GET: &str = "GET / HTTP/1.1\r\nHost: app.test\r\n\r\n";
const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n";

/// Answers one request on a connection of its own, and says with what.
async fn answered(listener: &TcpListener, with: &str) -> String {
    let mut connection = Peer::accept(listener).await;
    let head = connection.head().await;
    connection.say(with).await;
    head
}

async fn visit(world: &World, request: &str) -> Peer {
    let mut visitor = Peer::connect(world.http).await;
    visitor.say(request).await;
    visitor
}

fn two(first: impl ToString, second: impl ToString) -> ServicePart {
    part([server(first), server(second)])
}

#[test]
fn requests_take_turns() {
    let (one, two_) = (ByHand::new(), ByHand::new());
    run_part(two(one.addr(), two_.addr()), |world| async move {
        let (one, two) = (one.listen(), two_.listen());
        for listener in [&one, &two, &one] {
            let mut visitor = visit(&world, GET).await;
            answered(listener, &OK.replace("\r\n\r\n", "\r\nConnection: close\r\n\r\n")).await;
            visitor.head().await;
        }
        until_metrics(&world, "tunnel_service_servers{group=\"web\",service=\"app\",state=\"healthy\"} 2")
            .await;
    });
}

#[test]
fn a_server_that_dies_is_passed_over_and_put_off() {
    let (alive, dead) = (ByHand::new(), ByHand::new());
    let gone = dead.addr();
    run_part(two(gone, alive.addr()), |world| async move {
        let alive = alive.listen();
        drop(dead);
        // With its body, which the dead one has not seen.
        for _ in 0..4 {
            let mut visitor =
                visit(&world, "POST / HTTP/1.1\r\nHost: app.test\r\nContent-Length: 3\r\n\r\nabc").await;
            let mut connection = Peer::accept(&alive).await;
            connection.hear("abc").await;
            connection.say("HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n").await;
            assert!(visitor.head().await.starts_with("HTTP/1.1 200"));
        }
        // Connections for raw bytes count as well.
        for _ in 0..2 {
            let _visitor = Peer::connect(world.tcp).await;
            Peer::accept(&alive).await;
        }
        until_metrics(&world, "tunnel_service_servers{group=\"web\",service=\"app\",state=\"ejected\"} 1")
            .await;
        let back = TcpListener::bind(gone).await.unwrap();
        let mut visitor = visit(&world, GET).await;
        answered(&alive, OK).await;
        visitor.head().await;
        let put_off = timeout(std::time::Duration::from_millis(20), back.accept()).await;
        assert!(put_off.is_err());
    });
}

#[test]
fn probes_find_a_sick_server_and_its_recovery() {
    let (probed, other) = (ByHand::new(), ByHand::new());
    let mut part = two(probed.addr(), "127.0.0.1:1");
    part.servers.truncate(1);
    part.servers.push(server(other.addr()));
    let mut health = check(HealthKind::Http);
    health.path = Some("/healthz".to_owned());
    part.health = Some(health);
    run_part(part, |world| async move {
        let (probed, other) = (probed.listen(), other.listen());
        world.server.spawner.spawn(world.server.spawner.here(), "well", async move {
            loop {
                let mut connection = Peer::accept(&other).await;
                let head = connection.head().await;
                let status = if head.starts_with("GET /healthz ") { "204 No Content" } else { "201 Created" };
                connection.say(format!("HTTP/1.1 {status}\r\nContent-Length: 0\r\n\r\n")).await;
            }
        });
        let head = answered(&probed, "HTTP/1.1 503 Busy\r\nContent-Length: 0\r\n\r\n").await;
        assert!(head.starts_with("GET /healthz HTTP/1.1\r\nhost: 127.0.0.1:"), "{head}");
        until_metrics(&world, "tunnel_service_servers{group=\"web\",service=\"app\",state=\"sick\"} 1").await;
        // Whose turn it is does not matter while it is sick.
        let mut visitor = visit(&world, GET).await;
        assert!(visitor.head().await.starts_with("HTTP/1.1 201"));
        answered(&probed, "HTTP/1.1 302 Found\r\nContent-Length: 0\r\n\r\n").await;
        until_metrics(&world, "tunnel_service_servers{group=\"web\",service=\"app\",state=\"sick\"} 0").await;
    });
}

#[test]
fn a_sick_server_is_used_when_nobody_else_is_there() {
    let service = ByHand::new();
    let mut part = part([server(service.addr())]);
    part.health = Some(check(HealthKind::Http));
    run_part(part, |world| async move {
        let service = service.listen();
        answered(&service, "HTTP/1.1 500 Oops\r\nContent-Length: 0\r\n\r\n").await;
        until_metrics(&world, "tunnel_service_servers{group=\"web\",service=\"app\",state=\"sick\"} 1").await;
        let mut visitor = visit(&world, "GET /visited HTTP/1.1\r\nHost: app.test\r\n\r\n").await;
        loop {
            let bad = "HTTP/1.1 500 Oops\r\nContent-Length: 0\r\n\r\n";
            if answered(&service, bad).await.starts_with("GET /visited ") {
                break;
            }
        }
        assert!(visitor.head().await.starts_with("HTTP/1.1 500"));
    });
}

#[test]
fn a_connection_is_a_probe() {
    let service = ByHand::new();
    let address = service.addr();
    let mut part = part([server(address)]);
    part.health = Some(check(HealthKind::Tcp));
    run_part(part, |world| async move {
        drop(service);
        until_metrics(&world, "tunnel_service_servers{group=\"web\",service=\"app\",state=\"sick\"} 1").await;
        let _back = TcpListener::bind(address).await.unwrap();
        until_metrics(&world, "tunnel_service_servers{group=\"web\",service=\"app\",state=\"sick\"} 0").await;
    });
}

#[test]
fn a_grpc_service_says_how_it_is() {
    let service = ByHand::new();
    let mut part = part([server(format!("h2c://{}", service.addr()))]);
    let mut health = check(HealthKind::Grpc);
    health.path = Some("pkg.Greeter".to_owned());
    part.health = Some(health);
    run_part(part, |world| async move {
        let service = service.listen();
        for (serving, line) in [(2, "1"), (1, "0")] {
            let mut streams = Streams::new(Peer::accept(&service).await.0).await;
            let (request, mut respond) = streams.asked().await;
            assert_eq!(request.uri().path(), "/grpc.health.v1.Health/Check");
            assert_eq!(request.headers()["content-type"], "application/grpc");
            let said =
                format!("tunnel_service_servers{{group=\"web\",service=\"app\",state=\"sick\"}} {line}");
            streams
                .during(async {
                    let (asked, _) = whole(request.into_body()).await.unwrap();
                    assert!(asked.ends_with(b"\x0a\x0bpkg.Greeter"), "{asked:?}");
                    let mut message = BytesMut::from(&[0, 0, 0, 0, 2, 8][..]);
                    message.put_u8(serving);
                    let mut stream = respond.send_response(Response::new(()), false).unwrap();
                    stream.send_data(message.freeze(), false).unwrap();
                    let name = http::HeaderName::from_static("grpc-status");
                    stream
                        .send_trailers(HeaderMap::from_iter([(name, HeaderValue::from_static("0"))]))
                        .unwrap();
                    until_metrics(&world, &said).await;
                })
                .await;
        }
    });
}

#[test]
fn probes_end_with_the_service() {
    let service = ByHand::new();
    let mut part = part([server(service.addr())]);
    part.health = Some(check(HealthKind::Tcp));
    run_part(part, |world| async move {
        let service = service.listen();
        Peer::accept(&service).await;
        world.table.clear();
        until_metrics(&world, "tunnel_service_servers{group=\"web\",service=\"app\",state=\"healthy\"} 0")
            .await;
    });
}

fn proxied(version: ProxyVersion, address: SocketAddr) -> ServicePart {
    part([ServerPart { send_proxy: Some(version), ..server(address) }])
}

#[test]
fn a_tcp_service_is_told_who_the_visitor_is() {
    let service = ByHand::new();
    let address = service.addr();
    run_part(proxied(ProxyVersion::V1, address), |world| async move {
        let service = service.listen();
        let mut visitor = Peer::connect(world.tcp).await;
        let own = visitor.0.local_addr().unwrap();
        visitor.say("hello").await;
        let mut connection = Peer::accept(&service).await;
        let line = connection.hear("\r\n").await;
        let ports = format!("{} {}", own.port(), address.port());
        assert_eq!(line, format!("PROXY TCP4 127.0.0.1 127.0.0.1 {ports}\r\n"));
        connection.hear("hello").await;
    });
}

#[test]
fn an_http_service_is_told_on_a_connection_for_each_request() {
    let service = ByHand::new();
    let address = service.addr();
    run_part(proxied(ProxyVersion::V1, address), |world| async move {
        let service = service.listen();
        let mut visitor = Peer::connect(world.http).await;
        let own = visitor.0.local_addr().unwrap();
        for _ in 0..2 {
            visitor.say(GET).await;
            let mut connection = Peer::accept(&service).await;
            let line = connection.hear("\r\n").await;
            assert!(line.starts_with(&format!("PROXY TCP4 127.0.0.1 127.0.0.1 {} ", own.port())), "{line}");
            let head = connection.head().await;
            assert!(head.starts_with("GET / HTTP/1.1\r\nhost: app.test\r\n"), "{head}");
            connection.say(OK).await;
            visitor.head().await;
        }
    });
}
