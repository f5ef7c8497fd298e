//! Visitors over TLS: certificates by name, redirects, PROXY headers, and clients at the same port.

use std::net::SocketAddr;
use std::path::Path;

use tests::fixture::HttpService;
use tests::tls;
use tests::tunnelc::{Home, Tunnelc};
use tests::tunneld::Tunneld;
use tests::visitor::{self, Answer, End, Raw, Visitor, empty, request};
use tests::wait::{SOON, until};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;

const CERTIFICATES: &str = r#"
domain = "t.localhost"
certificate = [{ cert = "wild.pem", key = "wild.key" }, { cert = "app.pem", key = "app.key" }]
"#;
const HTTPS: [&str; 2] = ["--https", "127.0.0.1:0"];

fn two_certificates(home: &Path) {
    tls::certificate(home, "wild", &["*.t.localhost"]);
    tls::certificate(home, "app", &["app.t.localhost"]);
}

/// A server with two certificates and a tunnel named `HOST`.
struct Secure {
    server: Tunneld,
    _tunnel: Tunnelc,
    home: Home,
    service: HttpService,
}

impl Secure {
    async fn up(config: &str, host: &str) -> Self {
        let write = |home: &Path| {
            two_certificates(home);
            format!("{CERTIFICATES}{config}")
        };
        let server = Tunneld::configured(write, &HTTPS).await;
        let (service, home) = (HttpService::start().await, Home::new());
        let tunnel = home.http(&server.join(), service.addr(), &["--host", host]).await;
        Self { server, _tunnel: tunnel, home, service }
    }

    fn door(&self) -> SocketAddr {
        self.server.listen().https.unwrap()
    }

    /// A GET over a connection made for `sni`, which must show the certificate `file`.
    async fn get(&self, sni: &str, file: &str, host: &str, path: &str) -> Answer {
        let root = tls::read(self.server.home(), file);
        let stream = tls::connect(self.door(), sni, &root).await.unwrap();
        Visitor::over(stream).await.unwrap().whole(request("GET", host, path, empty())).await.unwrap()
    }
}

fn field(seen: &Answer, name: &str) -> String {
    let seen = seen.json();
    let pairs = seen["headers"].as_array().unwrap();
    let pair = pairs.iter().find(|pair| pair[0] == name);
    pair.and_then(|pair| pair[1].as_str()).unwrap_or_default().to_owned()
}

#[tokio::test]
async fn the_certificate_is_that_of_the_name() {
    let secure = Secure::up("", "app").await;
    let url = secure.server.status().await["names"][0]["url"].as_str().unwrap().to_owned();
    assert_eq!(url, format!("https://app.t.localhost:{}", secure.door().port()));
    let seen = secure.get("app.t.localhost", "app", "app.t.localhost", "/headers").await;
    assert_eq!((seen.status, field(&seen, "x-forwarded-proto").as_str()), (200, "https"));
    assert_eq!(secure.get("wiki.t.localhost", "wild", "wiki.t.localhost", "/").await.status, 404);

    // Each only with its own certificate.
    let wild = tls::read(secure.server.home(), "wild");
    assert!(tls::connect(secure.door(), "app.t.localhost", &wild).await.is_err());
    // Made for a name with another certificate: ask again.
    assert_eq!(secure.get("wiki.t.localhost", "wild", "app.t.localhost", "/").await.status, 421);
    // TLS 1.2 is spoken too.
    let stream = TcpStream::connect(secure.door()).await.unwrap();
    let app = tls::read(secure.server.home(), "app");
    assert!(tls::over(stream, "app.t.localhost", &app, true).await.is_ok());
    assert!(secure.server.metric("tunnel_certificate_expiry_seconds").await > 0.0);
}

#[tokio::test]
async fn large_bodies_pass_over_tls_both_ways() {
    let secure = Secure::up("", "app").await;
    let body = tests::pattern::all(3_000_000);
    let root = tls::read(secure.server.home(), "app");
    let stream = tls::connect(secure.door(), "app.t.localhost", &root).await.unwrap();
    let mut visitor = Visitor::over(stream).await.unwrap();
    let echoed =
        visitor.whole(request("POST", "app.t.localhost", "/echo", visitor::full(body.clone()))).await;
    assert!(echoed.unwrap().body == body);
    assert_eq!(visitor.whole(request("GET", "app.t.localhost", "/", empty())).await.unwrap().status, 200);
}

#[tokio::test]
async fn a_changed_certificate_is_shown_and_a_broken_one_is_not() {
    let secure = Secure::up("", "app").await;
    let home = secure.server.home();
    std::fs::write(home.join("app.key"), "broken").unwrap();
    let failed = async || {
        let done = secure.server.metric("tunnel_reload_total").await;
        (done > 0.0).then_some(())
    };
    until("the broken key is seen", SOON, failed).await;
    let before = secure.get("app.t.localhost", "app", "app.t.localhost", "/").await;
    assert_eq!(before.status, 200);

    let new = tls::certificate(home, "app", &["app.t.localhost"]);
    let shown = async || tls::connect(secure.door(), "app.t.localhost", &new).await.ok().map(drop);
    until("the new certificate is shown", SOON, shown).await;
}

#[tokio::test]
async fn http_sends_visitors_to_https() {
    let secure =
        Secure::up("listen = { http = { address = \"127.0.0.1:1\", redirect = \"https\" } }", "app").await;
    let http = secure.server.listen().http;
    let answer = visitor::get(http, "app.t.localhost", "/a/b?c=d").await;
    let https = format!("https://app.t.localhost:{}/a/b?c=d", secure.door().port());
    assert_eq!((answer.status, answer.field("location")), (308, https.as_str()));
    assert_eq!(visitor::get(http, "a b", "/").await.status, 400);
}

#[tokio::test]
async fn clients_come_to_the_https_port_too() {
    let secure = Secure::up("", "app").await;
    let tunnel = format!(":{}?", secure.server.listen().tunnel.port());
    let join = secure.server.join().replace(&tunnel, &format!(":{}?", secure.door().port()));
    assert_ne!(join, secure.server.join());
    let home = Home::new();
    let _tunnel = home.http(&join, secure.service.addr(), &["--host", "wiki"]).await;
    assert_eq!(secure.get("wiki.t.localhost", "wild", "wiki.t.localhost", "/").await.status, 200);
    drop(secure.home);
}

#[tokio::test]
async fn a_proxy_header_of_a_trusted_peer_names_the_visitor() {
    let config = "trusted_proxies = [\"127.0.0.1\"]\n[listen]\nhttps = { address = \"127.0.0.1:1\", proxy_protocol = true }";
    let secure = Secure::up(config, "app").await;
    let root = tls::read(secure.server.home(), "app");
    let mut v2 = b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c".to_vec();
    v2.extend_from_slice(&[192, 0, 2, 7, 198, 51, 100, 1, 0x13, 0x88, 1, 0xbb]);
    for header in [b"PROXY TCP4 192.0.2.7 198.51.100.1 5000 443\r\n".to_vec(), v2] {
        let mut stream = TcpStream::connect(secure.door()).await.unwrap();
        stream.set_nodelay(true).unwrap();
        // A header may come in pieces.
        for piece in header.chunks(5) {
            stream.write_all(piece).await.unwrap();
        }
        let stream = tls::over(stream, "app.t.localhost", &root, false).await.unwrap();
        let asked = request("GET", "app.t.localhost", "/headers", empty());
        let seen = Visitor::over(stream).await.unwrap().whole(asked).await.unwrap();
        assert_eq!(field(&seen, "x-forwarded-for"), "192.0.2.7");
    }
    // A trusted peer that sends none is no visitor.
    assert!(tls::connect(secure.door(), "app.t.localhost", &root).await.is_err());
}

#[tokio::test]
async fn a_proxy_header_of_anybody_else_is_no_request() {
    let config = "trusted_proxies = [\"10.0.0.0/8\"]\n\
                  [listen]\nhttp = { address = \"127.0.0.1:1\", proxy_protocol = true }\n";
    let server = Tunneld::configured(|_| config.to_owned(), &[]).await;
    let (service, home) = (HttpService::start().await, Home::new());
    let _tunnel = home.http(&server.join(), service.addr(), &["--host", "demo"]).await;
    let own = visitor::get(server.listen().http, "demo.localhost", "/headers").await;
    assert_eq!(field(&own, "x-forwarded-for"), "127.0.0.1");
    let before = service.tally().get(|tally| &tally.requests);
    let mut raw = Raw::open(server.listen().http).await;
    let request = "GET / HTTP/1.1\r\nHost: demo.localhost\r\n\r\n";
    raw.send(format!("PROXY TCP4 192.0.2.7 198.51.100.1 5000 80\r\n{request}")).await;
    assert!(raw.head().await.starts_with("HTTP/1.1 400 "));
    assert_eq!(raw.rest(SOON).await.1, End::Fin);
    assert_eq!(service.tally().get(|tally| &tally.requests), before);
}
