//! D19: nobody speaks past a request for an upgrade. Bytes are raw only behind a 101 of the service.

use std::time::Duration;

use tests::fixture::Played;
use tests::leak::Baseline;
use tests::visitor::{End, Raw};
use tests::wait::{SOON, within};

use crate::stage::{HOST, Web};

/// What follows a request for an upgrade on the same connection.
const SECOND: &str = "GET /smuggled HTTP/1.1\r\nHost: demo.localhost\r\n\r\n";
/// Nothing comes for so long: nothing comes.
const A_WHILE: Duration = Duration::from_millis(300);

fn upgrade(version: &str, to: &str, more: &str) -> String {
    format!("GET /first HTTP/{version}\r\nHost: {HOST}\r\nConnection: Upgrade\r\nUpgrade: {to}\r\n{more}\r\n")
}

async fn stage() -> Web<Played> {
    Web::to(Played::start().await, Played::addr).await
}

impl Web<Played> {
    /// A connection on which the bytes were said at once.
    async fn saying(&self, bytes: String) -> Raw {
        let mut visitor = Raw::open(self.door()).await;
        visitor.send(bytes).await;
        visitor
    }

    /// The service has heard nothing but what was taken from `connection`.
    async fn is_silent(&self, mut connection: Raw) {
        let (more, _) = connection.rest(A_WHILE).await;
        assert_eq!(String::from_utf8_lossy(&more), "");
        assert!(self.service.waiting().await.is_none(), "a second request has come by itself");
    }

    async fn leaves_nothing(self, baseline: &Baseline) {
        let Self { server, tunnel, service, .. } = self;
        drop(service);
        baseline.holds(&server, &tunnel.program).await;
    }

    /// One plain request, and what is there then.
    async fn warm(&self) -> Baseline {
        let mut visitor =
            self.saying(format!("GET / HTTP/1.1\r\nHost: {HOST}\r\nConnection: close\r\n\r\n")).await;
        let mut service = self.service.accept().await;
        service.head().await;
        service.send("HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n").await;
        assert!(visitor.head().await.starts_with("HTTP/1.1 204"));
        Baseline::of(&self.server, &self.tunnel.program).await
    }
}

#[tokio::test]
async fn d19_behind_a_declined_upgrade_the_connection_ends() {
    let web = stage().await;
    let baseline = web.warm().await;
    for answer in ["200 OK", "403 Forbidden", "426 Upgrade Required"] {
        let mut visitor = web.saying(upgrade("1.1", "websocket", "") + SECOND).await;
        let mut service = web.service.accept().await;
        assert!(service.head().await.starts_with("GET /first HTTP/1.1\r\n"));
        service.send(format!("HTTP/1.1 {answer}\r\nContent-Length: 2\r\n\r\nno")).await;
        let head = visitor.head().await;
        assert!(head.starts_with(&format!("HTTP/1.1 {answer}")), "{head}");
        let (body, end) = visitor.rest(SOON).await;
        assert_eq!((String::from_utf8_lossy(&body).as_ref(), end), ("no", End::Fin), "{answer}");
        web.is_silent(service).await;
    }
    web.leaves_nothing(&baseline).await;
}

#[tokio::test]
async fn d19_nothing_is_raw_before_a_101() {
    let web = stage().await;
    let baseline = web.warm().await;
    let mut visitor = web.saying(upgrade("1.1", "websocket", "") + SECOND).await;
    let mut service = web.service.accept().await;
    let head = service.head().await.to_lowercase();
    assert!(head.contains("upgrade: websocket\r\n"), "{head}");
    assert_eq!(service.rest(A_WHILE).await, (Vec::new(), End::Open), "raw before the 101");
    service
        .send("HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n")
        .await;
    // Now they are the other protocol's, and no request.
    assert_eq!(service.exactly(SECOND.len()).await, SECOND.as_bytes());
    assert!(visitor.head().await.starts_with("HTTP/1.1 101"));
    service.send("raw").await;
    assert_eq!(visitor.exactly(3).await, b"raw");
    visitor.finish().await;
    service.finish().await;
    assert_eq!(visitor.rest(SOON).await, (Vec::new(), End::Fin));
    web.is_silent(service).await;
    web.leaves_nothing(&baseline).await;
}

#[tokio::test]
async fn d19_a_101_that_nobody_asked_for_is_a_failure() {
    let web = stage().await;
    for (asked, said, goes_on) in [
        (format!("GET /first HTTP/1.1\r\nHost: {HOST}\r\n\r\n"), "websocket", true),
        (upgrade("1.0", "websocket", ""), "websocket", false),
        // Asked for, but not this one.
        (upgrade("1.1", "websocket", ""), "other", false),
        (upgrade("1.1", "websocket", "Content-Length: 0\r\n").replace("GET", "POST"), "h2c", false),
    ] {
        let mut visitor = web.saying(asked.clone() + SECOND).await;
        let mut service = web.service.accept().await;
        let head = service.head().await;
        assert!(head.contains(" /first "), "{head}");
        let switch = "HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\n";
        service.send(format!("{switch}Upgrade: {said}\r\n\r\nraw")).await;
        let answer = visitor.head().await;
        assert!(
            answer.contains(" 502 ") && answer.contains("x-tunnel-error: service-cut"),
            "{asked}: {answer}"
        );
        let (more, _) = service.rest(A_WHILE).await;
        assert_eq!(String::from_utf8_lossy(&more), "", "{asked}");
        if goes_on {
            // Without an upgrade the second one is a request as any other.
            let mut next = web.service.accept().await;
            assert!(next.head().await.starts_with("GET /smuggled HTTP/1.1\r\n"));
            next.send("HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n").await;
            let mut heard = Vec::new();
            while !heard.windows(5).any(|bytes| bytes == b" 204 ") {
                heard.extend(within("an answer", SOON, visitor.some()).await.unwrap());
            }
        } else {
            assert_eq!(visitor.rest(SOON).await.1, End::Fin, "{asked}");
            assert!(web.service.waiting().await.is_none(), "{asked}");
        }
    }
}

#[tokio::test]
async fn d19_an_upgrade_with_a_body_is_none() {
    let web = stage().await;
    let baseline = web.warm().await;
    for (framing, body) in
        [("Content-Length: 3\r\n", "abc"), ("Transfer-Encoding: chunked\r\n", "3\r\nabc\r\n0\r\n\r\n")]
    {
        for method in ["GET", "POST"] {
            let asked = upgrade("1.1", "websocket", framing).replacen("GET", method, 1);
            let mut visitor = web.saying(asked + body + SECOND).await;
            let mut service = web.service.accept().await;
            let head = service.head().await.to_lowercase();
            assert!(!head.contains("upgrade") && head.contains(" /first "), "{head}");
            service.exactly(body.len()).await;
            service.send("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok").await;
            assert!(visitor.head().await.starts_with("HTTP/1.1 200"));
            let (rest, end) = visitor.rest(SOON).await;
            assert_eq!(
                (String::from_utf8_lossy(&rest).as_ref(), end),
                ("ok", End::Fin),
                "{method} {framing}"
            );
            web.is_silent(service).await;
        }
    }
    web.leaves_nothing(&baseline).await;
}

#[tokio::test]
async fn d19_http_1_0_knows_no_upgrade() {
    let web = stage().await;
    let mut visitor = web.saying(upgrade("1.0", "websocket", "") + SECOND).await;
    let mut service = web.service.accept().await;
    let head = service.head().await.to_lowercase();
    assert!(!head.contains("upgrade"), "{head}");
    service.send("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok").await;
    assert!(visitor.head().await.contains(" 200 "));
    let (rest, end) = visitor.rest(SOON).await;
    assert_eq!((String::from_utf8_lossy(&rest).as_ref(), end), ("ok", End::Fin));
    web.is_silent(service).await;
}

#[tokio::test]
async fn d19_h2c_is_not_offered() {
    let web = stage().await;
    let settings = "HTTP2-Settings: AAMAAABkAAQAoAAAAAIAAAAA\r\n";
    let asked =
        upgrade("1.1", "h2c", settings).replace("Connection: Upgrade", "Connection: Upgrade, HTTP2-Settings");
    let mut visitor = web.saying(asked).await;
    let mut service = web.service.accept().await;
    let head = service.head().await.to_lowercase();
    assert!(!head.contains("h2c") && !head.contains("http2-settings"), "{head}");
    service.send("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok").await;
    let head = visitor.head().await;
    assert!(head.starts_with("HTTP/1.1 200") && !head.to_lowercase().contains("upgrade"), "{head}");
}
