//! D21: which host a request is for, in every form of it, and over connections that were made for another.

use std::net::SocketAddr;
use std::path::Path;

use rustls::pki_types::CertificateDer;
use tests::fixture::HttpService;
use tests::http2::{self, Http2Visitor};
use tests::leak::Baseline;
use tests::tls;
use tests::tunnelc::{Home, Tunnelc};
use tests::tunneld::Tunneld;
use tests::visitor::{Raw, Visitor, empty, request};
use tests::wait::{SOON, within};

use crate::stage::{HOST, Web};

/// The status of the answer to these bytes.
async fn status(door: SocketAddr, head: &str) -> u16 {
    let mut visitor = Raw::open(door).await;
    visitor.send(head).await;
    let answer = visitor.head().await;
    answer.get(9..12).and_then(|status| status.parse().ok()).unwrap_or_else(|| panic!("{head:?}: {answer}"))
}

#[tokio::test]
async fn d21_every_form_of_a_host_has_its_status() {
    let web = Web::up().await;
    web.get("/").await;
    let baseline = Baseline::of(&web.server, &web.tunnel.program).await;
    let long = format!("{}.localhost", "a".repeat(64));
    let longer = format!("{}localhost", "a.".repeat(122));
    let forms = [
        (HOST, 200),
        ("DEMO.LocalHost", 200),
        ("demo.localhost.", 200),
        ("demo.localhost:80", 200),
        ("demo.localhost:65535", 200),
        ("DEMO.localhost.:8080", 200),
        ("demo.localhost:", 200),
        ("demo.localhost:65536", 400),
        ("demo.localhost:x", 400),
        ("demo.localhost:-1", 400),
        ("demo.localhost:80:80", 400),
        ("demo.localhost..", 400),
        (".demo.localhost", 400),
        ("demo..localhost", 400),
        ("", 400),
        (".", 400),
        (":80", 400),
        ("demo.localhost, demo.localhost", 400),
        ("demo.localhost demo.localhost", 400),
        ("evil@demo.localhost", 400),
        ("demo.localhost/evil", 400),
        ("demo.localhost?evil", 400),
        ("demo.localhost#evil", 400),
        ("demo.localhost\\evil", 400),
        ("http://demo.localhost", 400),
        ("demo.localhost%00", 400),
        ("-demo.localhost", 400),
        ("*.localhost", 400),
        ("d\u{e9}mo.localhost", 400),
        // An A-label is a name as any other, here nobody's.
        ("xn--dmo-bma.localhost", 404),
        ("nobody.localhost", 404),
        ("a.demo.localhost", 404),
        ("localhost", 404),
        (&long, 400),
        (&longer, 404),
        // Addresses are hosts, and nobody's.
        ("127.0.0.1", 404),
        ("127.0.0.1:8080", 404),
        ("[::1]", 404),
        ("[::1]:8080", 404),
        ("[2001:db8::1]", 404),
        ("[::ffff:127.0.0.1]", 404),
        ("[::1", 400),
        ("::1", 400),
        ("[::1]x", 400),
        ("[::1]:x", 400),
        ("[demo.localhost]", 400),
        ("[fe80::1%25eth0]", 400),
    ];
    let mut wrong = Vec::new();
    for (form, expected) in forms {
        let got = status(web.door(), &format!("GET / HTTP/1.1\r\nHost: {form}\r\n\r\n")).await;
        if got != expected {
            wrong.push(format!("{form:?}: {got}, not {expected}"));
        }
    }
    for (head, expected) in [
        ("GET / HTTP/1.1\r\n\r\n", 400),
        ("GET / HTTP/1.0\r\n\r\n", 400),
        ("GET / HTTP/1.1\r\nHost: demo.localhost\r\nHost: demo.localhost\r\n\r\n", 400),
        ("GET / HTTP/1.1\r\nHost: demo.localhost\r\nhost: nobody.localhost\r\n\r\n", 400),
        ("GET http://demo.localhost/ HTTP/1.1\r\nHost: demo.localhost\r\n\r\n", 200),
        ("GET http://DEMO.localhost.:80/ HTTP/1.1\r\nHost: demo.localhost\r\n\r\n", 200),
        ("GET http://nobody.localhost/ HTTP/1.1\r\nHost: demo.localhost\r\n\r\n", 400),
        ("GET http://demo.localhost/ HTTP/1.1\r\nHost: nobody.localhost\r\n\r\n", 400),
        ("GET http://demo.localhost/ HTTP/1.1\r\n\r\n", 400),
        ("GET http://evil@demo.localhost/ HTTP/1.1\r\nHost: demo.localhost\r\n\r\n", 400),
        ("GET / HTTP/1.1\r\nHost: nobody.localhost\r\nX-Forwarded-Host: demo.localhost\r\n\r\n", 404),
    ] {
        let got = status(web.door(), head).await;
        if got != expected {
            wrong.push(format!("{head:?}: {got}, not {expected}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    let Web { server, tunnel, service, .. } = web;
    drop(service);
    baseline.holds(&server, &tunnel.program).await;
}

/// Two tunnels under a certificate for all, and one with a certificate of its own.
struct Secure {
    server: Tunneld,
    services: [HttpService; 3],
    _tunnels: Vec<(Home, Tunnelc)>,
}

const NAMES: [&str; 3] = ["wiki", "docs", "app"];

impl Secure {
    async fn up() -> Self {
        let write = |home: &Path| {
            tls::certificate(home, "wild", &["*.t.localhost"]);
            tls::certificate(home, "app", &["app.t.localhost"]);
            "domain = \"t.localhost\"\n\
             certificate = [{ cert = \"wild.pem\", key = \"wild.key\" }, { cert = \"app.pem\", key = \"app.key\" }]\n"
                .to_owned()
        };
        let server = Tunneld::configured(write, &["--https", "127.0.0.1:0"]).await;
        let services = [HttpService::start().await, HttpService::start().await, HttpService::start().await];
        let mut tunnels = Vec::new();
        for (service, name) in services.iter().zip(NAMES) {
            let home = Home::new();
            let tunnel = home.http(&server.join(), service.addr(), &["--host", name]).await;
            tunnels.push((home, tunnel));
        }
        Self { server, services, _tunnels: tunnels }
    }

    fn door(&self) -> SocketAddr {
        self.server.listen().https.unwrap()
    }

    fn root(&self, file: &str) -> CertificateDer<'static> {
        tls::read(self.server.home(), file)
    }

    fn counts(&self) -> [u64; 3] {
        [0, 1, 2].map(|n: usize| self.services[n].tally().get(|tally| &tally.requests))
    }
}

#[tokio::test]
async fn d21_one_connection_of_http2_carries_requests_for_all_its_certificate_names() {
    let secure = Secure::up().await;
    let stream =
        tls::connect_for(secure.door(), "wiki.t.localhost", &secure.root("wild"), b"h2").await.unwrap();
    let mut visitor = Http2Visitor::over(stream, 1 << 20).await.unwrap();
    for _ in 0..3 {
        for name in ["wiki", "docs"] {
            assert_eq!(visitor.get(&format!("{name}.t.localhost"), "/").await.unwrap().status(), 200);
        }
    }
    assert_eq!(secure.counts(), [3, 3, 0], "each went where its authority says");
    for (authority, status) in [
        ("WIKI.t.localhost:443", 200),
        // Shown another certificate: ask again, on a connection made for it.
        ("app.t.localhost", 421),
        ("nobody.t.localhost", 404),
        // Names without a certificate of their own are shown the first one, which this is.
        ("wiki.example.org", 404),
        ("a.wiki.t.localhost", 404),
        ("evil@wiki.t.localhost", 400),
        ("127.0.0.1", 404),
    ] {
        let got = visitor.get(authority, "/").await;
        let refused = got.as_ref().is_err_and(h2::Error::is_reset);
        let got = got.map(|answer| answer.status().as_u16()).unwrap_or_default();
        assert!(got == status || (status == 400 && refused), "{authority}: {got}, not {status}");
    }
    // A host beside the authority has to be the same.
    for (host, status) in [("wiki.t.localhost", 200), ("docs.t.localhost", 400)] {
        let asked = http2::request("GET", "wiki.t.localhost", "/", &[("host", host)]);
        let (answer, _) = visitor.send(asked, true).await.unwrap();
        let answer = within("an answer", SOON, answer).await;
        match answer {
            Ok(answer) => assert_eq!(answer.status(), status, "{host}"),
            Err(error) => assert!(error.is_reset() && status == 400, "{host}: {error}"),
        }
    }
    assert_eq!(secure.counts(), [5, 3, 0]);
}

#[tokio::test]
async fn d21_a_connection_made_for_one_name_is_none_for_a_stricter_one() {
    let secure = Secure::up().await;
    for (sni, file, host, status) in [
        ("wiki.t.localhost", "wild", "wiki.t.localhost", 200),
        ("wiki.t.localhost", "wild", "docs.t.localhost", 200),
        ("wiki.t.localhost", "wild", "app.t.localhost", 421),
        ("app.t.localhost", "app", "app.t.localhost", 200),
        ("app.t.localhost", "app", "wiki.t.localhost", 421),
        ("APP.t.localhost", "app", "app.t.localhost", 200),
    ] {
        let stream = tls::connect(secure.door(), sni, &secure.root(file)).await.unwrap();
        let mut visitor = Visitor::over(stream).await.unwrap();
        let answer = visitor.whole(request("GET", host, "/", empty())).await.unwrap();
        assert_eq!(answer.status, status, "{host} over a connection for {sni}");
    }
}
