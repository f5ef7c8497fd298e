use std::time::Duration;

use bytes::Bytes;
use tokio::time::timeout;

use super::fixture::*;
use super::visitor_h2::*;
use crate::context::Timeouts;
use crate::directory::Lookup;
use crate::plugin::Chain;

const CALL: [(&str, &str); 2] = [("content-type", "application/grpc+proto"), ("te", "trailers")];

#[test]
fn a_call_streams_both_ways_and_ends_with_its_status() {
    let service = ByHand::new();
    // A call may be silent for longer than an upload.
    let stalled = Duration::from_millis(100);
    let timeouts = Timeouts { stalled, ..Timeouts::default() };
    run_with(timeouts, service.addr(), |world| async move {
        let service = service.listen();
        let mut visitor = Visitor::connect(&world).await;
        let (response, mut sender) = visitor.send(post("/pkg.Service/Method", &CALL), false).await;
        sender.send_data(Bytes::from_static(b"first"), false).unwrap();
        let mut connection = Peer::accept(&service).await;
        let received = connection.hear("first\r\n").await;
        assert!(received.starts_with("POST /pkg.Service/Method HTTP/1.1\r\n"), "{received}");
        assert!(received.contains("te: trailers\r\n"), "{received}");
        connection
            .say("HTTP/1.1 200 OK\r\nContent-Type: application/grpc\r\nTrailer: grpc-status\r\nTransfer-Encoding: chunked\r\n\r\n")
            .await;
        let mut response = head(response).await;
        for round in 0..3 {
            let ended = timeout(2 * stalled, data(response.body_mut())).await;
            assert!(ended.is_err(), "round {round}: {ended:?}");
            sender.send_data(Bytes::from(format!("up{round}")), false).unwrap();
            connection.hear(&format!("up{round}\r\n")).await;
            connection.say(format!("5\r\ndown{round}\r\n")).await;
            assert_eq!(data(response.body_mut()).await.unwrap().unwrap(), format!("down{round}"));
        }
        sender.send_data(Bytes::new(), true).unwrap();
        connection.hear("0\r\n\r\n").await;
        connection.say("0\r\nGrpc-Status: 7\r\nGrpc-Message: no\r\n\r\n").await;
        let (rest, trailers) = whole(response.body_mut()).await.unwrap();
        assert!(rest.is_empty());
        let trailers = trailers.unwrap();
        assert_eq!(
            (&trailers["grpc-status"], &trailers["grpc-message"]),
            (&"7".parse().unwrap(), &"no".parse().unwrap())
        );
    });
}

#[test]
fn our_errors_are_statuses_of_grpc() {
    let timeouts = Timeouts {
        member: Duration::from_millis(50),
        request: Duration::from_millis(300),
        ..Timeouts::default()
    };
    let service = ByHand::new();
    run_with(timeouts, service.addr(), |world| async move {
        let _service = service.listen();
        world.names.set("reserved.test", Lookup::Reserved(labels(&world.server), Chain::default()));
        let mut visitor = Visitor::connect(&world).await;
        for (host, status, kind) in [
            ("nobody.test", "12", "no-route"),
            ("reserved.test", "14", "no-member"),
            (HOST, "4", "service-timeout"),
        ] {
            let mut request = post("/", &CALL);
            *request.uri_mut() = format!("http://{host}/").parse().unwrap();
            let (response, _) = visitor.send(request, true).await;
            let response = head(response).await;
            assert!(response.body().is_end_stream(), "{host}");
            assert_eq!(response.status(), 200, "{host}");
            let fields = response.headers();
            assert_eq!(fields["content-type"], "application/grpc");
            assert_eq!(
                (&fields["grpc-status"], &fields["x-tunnel-error"]),
                (&status.parse().unwrap(), &kind.parse().unwrap())
            );
            assert!(fields["grpc-message"].to_str().unwrap().ends_with('.'));
        }
        assert_eq!(world.server_lines.line(0).await.status, Some(200));
    });
}
