//! Services that speak TLS and HTTP/2.

use tests::fixture::Http2Service;
use tests::pattern;
use tests::program::Program;
use tests::tunnelc::Home;
use tests::tunneld::Tunneld;
use tests::visitor::{self, Visitor, full, request};
use tests::wait::SOON;

use crate::stage::HOST;

/// Bodies both ways, over a connection that is used again.
async fn is_served(server: &Tunneld, service: &Http2Service) {
    server.serves(HOST, SOON).await;
    let mut visitor = Visitor::connect(server.listen().http).await.unwrap();
    let sent = pattern::all(1_000_000);
    let echoed = visitor.whole(request("POST", HOST, "/echo", full(sent.clone()))).await.unwrap();
    assert!(echoed.status == 200 && echoed.body == sent);
    let answer = visitor::get(server.listen().http, HOST, "/chunked?n=1000000").await;
    assert!(answer.body == pattern::all(1_000_000), "{} bytes", answer.body.len());
    assert!(service.tally().get(|tally| &tally.requests) >= 2);
}

#[tokio::test]
async fn an_http2_service_is_served() {
    let (server, service, home) = (Tunneld::start().await, Http2Service::h2c().await, Home::new());
    let target = format!("h2c://{}", service.addr());
    let _tunnel = home.http(&server.join(), target, &["--host", "demo"]).await;
    is_served(&server, &service).await;
}

#[tokio::test]
async fn an_https_service_is_served_if_the_system_trusts_it() {
    let (server, home) = (Tunneld::start().await, Home::new());
    let (service, authority) = Http2Service::https().await;
    let (_other, stranger) = Http2Service::https().await;
    let target = format!("https://localhost:{}", service.addr().port());
    let join = server.join();
    let tunnel = |roots: &str| {
        let mut tunnelc = home.prepare(&["http", &target, "--host", "demo", "--join", &join]);
        // Where the library looks for the roots of the system.
        tunnelc.env("SSL_CERT_FILE", home.write("roots.pem", roots));
        Program::start(tunnelc)
    };
    let trusting = tunnel(&authority);
    is_served(&server, &service).await;
    drop(trusting);
    let _doubting = tunnel(&stranger);
    let refused = async || {
        let answer = visitor::get(server.listen().http, HOST, "/").await;
        (answer.field("x-tunnel-error") == "service-tls").then_some(answer.status)
    };
    let (status, _) = tests::wait::until("the service is not trusted", SOON, refused).await;
    assert_eq!(status, 502);
}

#[tokio::test]
async fn targets_stand_in_the_file_too() {
    let (server, service, home) = (Tunneld::start().await, Http2Service::h2c().await, Home::new());
    let tunnel =
        format!("{{ name = \"a\", kind = \"http\", host = \"demo\", to = \"h2c://{}\" }}", service.addr());
    let _client = home.run(&server.join(), &format!("tunnel = [{tunnel}]\n"));
    is_served(&server, &service).await;
}
