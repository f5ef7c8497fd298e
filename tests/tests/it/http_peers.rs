//! curl in every version of HTTP, through to nginx and to Python's own server.

use std::path::Path;

use tests::nginx::{FILE, Nginx};
use tests::pattern;
use tests::peer::Peer;
use tests::wait::SOON;

use crate::front::{ALL, Front, Speaks};

/// What a service with files and every curl must see of each other.
async fn serves_files(front: &Front, service: &str) {
    for speaks in ALL {
        let whole = front.curl(speaks, "/file.bin", &[]).await;
        assert_eq!((whole.status(), whole.field("x-service-speaks")), (200, service), "{speaks:?}");
        assert!(whole.body == pattern::all(FILE), "{speaks:?}: {} bytes", whole.body.len());
        let etag = whole.field("etag").to_owned();

        let head = front.curl(speaks, "/file.bin", &["--head"]).await;
        assert_eq!((head.status(), head.field("content-length")), (200, "1000000"));
        assert_eq!((head.field("etag"), head.number("size_download")), (etag.as_str(), 0));

        let known = front.curl(speaks, "/file.bin", &["-H", &format!("If-None-Match: {etag}")]).await;
        assert_eq!((known.status(), known.body.len(), known.field("etag")), (304, 0, etag.as_str()));

        let part = front.curl(speaks, "/file.bin", &["--range", "1000-70999"]).await;
        assert_eq!((part.status(), part.field("content-range")), (206, "bytes 1000-70999/1000000"));
        assert!(part.body == pattern::all(FILE)[1000..71_000]);
        let tail = front.curl(speaks, "/file.bin", &["--range", "-5"]).await;
        assert!(tail.status() == 206 && tail.body == pattern::all(FILE)[FILE - 5..]);
        let parts = front.curl(speaks, "/file.bin", &["--range", "0-9,20-29"]).await;
        assert_eq!(parts.status(), 206);
        assert!(parts.field("content-type").starts_with("multipart/byteranges"), "{}", parts.head);
        assert_eq!(front.curl(speaks, "/file.bin", &["--range", "2000000-"]).await.status(), 416);

        // Compressed on the fly, so of no known length; to be unpacked by curl and by nobody before it.
        let plain = front.curl(speaks, "/page.txt", &[]).await;
        assert!(plain.fields("content-encoding").is_empty(), "{}", plain.head);
        let packed = front.curl(speaks, "/page.txt", &["-H", "Accept-Encoding: gzip"]).await;
        assert_eq!((packed.status(), packed.field("content-encoding")), (200, "gzip"));
        assert!(packed.body.starts_with(&[0x1f, 0x8b]) && packed.body.len() < plain.body.len() / 5);
        assert!(packed.fields("content-length").is_empty(), "{}", packed.head);
        let unpacked = front.curl(speaks, "/page.txt", &["--compressed"]).await;
        assert!(unpacked.status() == 200 && unpacked.body == plain.body);

        let value = "v".repeat(30_000);
        let big = front.curl(speaks, "/big", &["-H", &format!("X-Big: {value}")]).await;
        assert_eq!((big.status(), big.field("x-seen")), (200, value.as_str()));
        assert_eq!(big.field("x-big-4").len(), 4_000);

        let moved = front.curl(speaks, "/gone", &[]).await;
        assert_eq!((moved.status(), moved.field("location")), (301, "/page.txt"));
        // This curl breaks a connection with prior knowledge by using it again, whoever serves it.
        if speaks != Speaks::Http2 {
            let moved = front.curl(speaks, "/gone", &["--location"]).await;
            assert_eq!((moved.status(), moved.number("num_redirects")), (200, 1), "{}", moved.head);
        }
        // An answer of nginx to a body that it never wanted.
        let refused = front.curl(speaks, "/file.bin", &["-X", "POST", "--data-binary", &value]).await;
        assert_eq!(refused.status(), 405);
        assert!(refused.text().contains("nginx") && refused.fields("x-tunnel-error").is_empty());
        assert_eq!(front.curl(speaks, "/none", &[]).await.status(), 404);
    }
}

#[tokio::test]
async fn curl_and_nginx_over_a_unix_socket() {
    let nginx = Nginx::start().await;
    let front = Front::to(format!("unix:{}", nginx.socket().display())).await;
    serves_files(&front, "HTTP/1.1").await;
}

#[tokio::test]
async fn curl_and_nginx_over_http2() {
    let nginx = Nginx::start().await;
    let front = Front::to(format!("h2c://{}", nginx.http2())).await;
    serves_files(&front, "HTTP/2.0").await;
}

#[tokio::test]
async fn curl_and_nginx_over_tls() {
    let nginx = Nginx::start().await;
    let target = format!("https://localhost:{}", nginx.https().port());
    let front = Front::trusting(target, Some(nginx.authority())).await;
    serves_files(&front, "HTTP/2.0").await;
}

#[tokio::test]
async fn curl_and_python_exchange_bodies() {
    let service = Peer::python("http_service.py", &[]).await;
    let front = Front::to(service.addr()).await;
    let folder = tempfile::tempdir().unwrap();
    let sent = pattern::all(2_000_000);
    let file = folder.path().join("sent");
    std::fs::write(&file, &sent).unwrap();
    let data = format!("@{}", file.display());
    for speaks in ALL {
        let hello = front.curl(speaks, "/hello", &[]).await;
        assert_eq!((hello.status(), hello.text().as_str()), (200, "hello from Python\n"));
        assert_eq!(hello.fields("set-cookie"), ["a=1; Path=/", "b=2"]);

        let echoed = front.curl(speaks, "/echo", &["--data-binary", &data]).await;
        assert_eq!((echoed.status(), echoed.field("x-framing")), (200, "length"));
        assert!(echoed.body == sent, "{speaks:?}: {} bytes", echoed.body.len());

        // From standard input, which has no length.
        let unknown = ["-X", "POST", "-H", "Expect:", "-T", file.to_str().unwrap(), "-H", "Content-Length:"];
        let one = ["-H", "Transfer-Encoding: chunked"];
        let is_1 = matches!(speaks, Speaks::Http1 | Speaks::Https1);
        let arguments = if is_1 { [&unknown[..], &one].concat() } else { unknown.to_vec() };
        let echoed = front.curl(speaks, "/echo", &arguments).await;
        assert_eq!((echoed.status(), echoed.field("x-framing")), (200, "chunked"), "{speaks:?}");
        assert!(echoed.body == sent, "{speaks:?}: {} bytes", echoed.body.len());

        let chunks = front.curl(speaks, "/chunks", &[]).await;
        assert_eq!((chunks.status(), chunks.body.len()), (200, 1_000_000));
        assert!(chunks.fields("content-length").is_empty(), "{}", chunks.head);
        let none = front.curl(speaks, "/chunks", &["--head"]).await;
        assert_eq!((none.status(), none.number("size_download")), (200, 0));
        let missing = front.curl(speaks, "/none", &[]).await;
        assert_eq!((missing.status(), missing.text().as_str()), (404, "no such page\n"));
    }
}

#[tokio::test]
async fn curl_waits_until_python_asks_for_the_body() {
    let service = Peer::python("http_service.py", &[]).await;
    let front = Front::to(service.addr()).await;
    let folder = tempfile::tempdir().unwrap();
    let patient = patient(folder.path());
    let patient: Vec<&str> = patient.iter().map(String::as_str).collect();
    for speaks in [Speaks::Http1, Speaks::Https1] {
        let refused = front.curl(speaks, "/refuse", &patient).await;
        assert_eq!((refused.status(), refused.text().as_str()), (413, "too much\n"), "{speaks:?}");
        assert!(!refused.head.contains(" 100"), "{speaks:?}: {}", refused.head);
        assert_eq!(refused.number("size_upload"), 0, "{speaks:?}");
        is_asked(&front, &service, speaks, &patient).await;
    }
}

/// What makes curl wait for a 100, so long that a test would not pass if it gave up waiting.
fn patient(folder: &Path) -> [String; 6] {
    let file = folder.join("sent");
    std::fs::write(&file, pattern::all(200_000)).unwrap();
    let data = format!("@{}", file.display());
    ["--expect100-timeout", "60", "-H", "Expect: 100-continue", "--data-binary", &data].map(str::to_owned)
}

async fn is_asked(front: &Front, service: &Peer, speaks: Speaks, patient: &[&str]) {
    let path = format!("/echo?{speaks:?}");
    let asked = front.curl(speaks, &path, patient).await;
    assert_eq!(asked.status(), 200, "{speaks:?}");
    assert!(asked.body == pattern::all(200_000));
    assert!(asked.head.contains(" 100"), "{speaks:?}: {}", asked.head);
    service.program.says(&format!("expected {path}"), SOON).await;
}

#[tokio::test]
async fn curl_waits_over_http2_until_python_asks_for_the_body() {
    let service = Peer::python("http_service.py", &[]).await;
    let front = Front::to(service.addr()).await;
    let folder = tempfile::tempdir().unwrap();
    let patient = patient(folder.path());
    let patient: Vec<&str> = patient.iter().map(String::as_str).collect();
    // Of a refusal this curl makes an empty reply, whoever sends it.
    for speaks in [Speaks::Http2, Speaks::Https2] {
        is_asked(&front, &service, speaks, &patient).await;
    }
}

/// The SHA-256 of `one,two,three`.
const SUM: &str = "ff8c81e61ca276a4f7990af8b0966ed85c8ba791bd0b596b887781146f8e01b7";

#[tokio::test]
async fn curl_gets_the_trailers_of_python() {
    let service = Peer::python("http_service.py", &[]).await;
    let front = Front::to(service.addr()).await;
    for speaks in ALL {
        let answer = front.curl(speaks, "/trailers", &["-H", "TE: trailers"]).await;
        assert_eq!((answer.status(), answer.text().as_str()), (200, "one,two,three"), "{speaks:?}");
        assert_eq!(answer.field("x-sum"), SUM, "{}", answer.head);
    }
}
