//! D23: `Expect: 100-continue` is the service's to answer.

use std::time::Duration;

use tests::fixture::Played;
use tests::http2::{self, Http2Visitor};
use tests::leak::Baseline;
use tests::visitor::{End, Raw};
use tests::wait::{SOON, within};

use crate::stage::{HOST, Web};

const BODY: &str = "hello";
/// A service's last word on a connection: the next request comes on another one.
const OK: &str = "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok";
/// Nothing comes for so long: nothing comes.
const A_WHILE: Duration = Duration::from_millis(300);

fn head(version: &str, expect: &str, more: &str) -> String {
    format!(
        "POST /first HTTP/{version}\r\nHost: {HOST}\r\nExpect: {expect}\r\n{more}Content-Length: 5\r\n\r\n"
    )
}

async fn stage() -> Web<Played> {
    Web::to(Played::start().await, Played::addr).await
}

impl Web<Played> {
    /// Asks, and hears at the service that it was asked.
    async fn asked(&self, head: &str) -> (Raw, Raw) {
        let mut visitor = Raw::open(self.door()).await;
        visitor.send(head).await;
        let mut service = self.service.accept().await;
        let heard = service.head().await.to_lowercase();
        assert!(heard.contains("content-length: 5\r\n"), "{heard}");
        assert_eq!(heard.contains("expect: 100-continue\r\n"), head.contains("1.1\r\n"), "{heard}");
        (visitor, service)
    }
}

#[tokio::test]
async fn d23_an_early_answer_goes_without_a_100() {
    let web = stage().await;
    let mut baseline = None;
    for answer in ["401 Unauthorized", "413 Payload Too Large", "401 Unauthorized"] {
        for close in ["", "Connection: close\r\n"] {
            let (mut visitor, mut service) = web.asked(&head("1.1", "100-continue", "")).await;
            service.send(format!("HTTP/1.1 {answer}\r\n{close}Content-Length: 2\r\n\r\nno")).await;
            let said = visitor.head().await;
            assert!(said.starts_with(&format!("HTTP/1.1 {answer}")), "the first answer is the last: {said}");
            assert_eq!(visitor.exactly(2).await, b"no");
            assert!(said.to_lowercase().contains("connection: close\r\n"), "{said}");
            // A visitor may send the body all the same, and a request behind it: nobody takes it for anything.
            visitor.send(format!("{BODY}GET /second HTTP/1.1\r\nHost: {HOST}\r\n\r\n")).await;
            let (more, end) = visitor.rest(SOON).await;
            assert!(more.is_empty() && end != End::Open, "{}", String::from_utf8_lossy(&more));
            assert!(web.service.waiting().await.is_none());
            // Nothing of the body has reached the service, which had not asked for it.
            let (more, _) = service.rest(A_WHILE).await;
            assert_eq!(String::from_utf8_lossy(&more), "");
        }
        if baseline.is_none() {
            baseline = Some(Baseline::of(&web.server, &web.tunnel.program).await);
        }
    }
    let Web { server, tunnel, service, .. } = web;
    drop(service);
    baseline.unwrap().holds(&server, &tunnel.program).await;
}

#[tokio::test]
async fn d23_a_slow_service_is_waited_for() {
    let web = stage().await;
    let (mut visitor, mut service) = web.asked(&head("1.1", "100-continue", "")).await;
    assert_eq!(visitor.rest(A_WHILE).await, (Vec::new(), End::Open), "a 100 that the service did not say");
    service.send("HTTP/1.1 100 Continue\r\n\r\n").await;
    assert!(visitor.head().await.starts_with("HTTP/1.1 100"));
    visitor.send(BODY).await;
    assert_eq!(service.exactly(5).await, BODY.as_bytes());
    service.send(OK).await;
    assert!(visitor.head().await.starts_with("HTTP/1.1 200"));
    assert_eq!(visitor.exactly(2).await, b"ok");

    // One that waits for the body without a word gets it in the end.
    let (mut visitor, mut service) = web.asked(&head("1.1", "100-continue", "")).await;
    assert!(visitor.head().await.starts_with("HTTP/1.1 100"));
    visitor.send(BODY).await;
    assert_eq!(service.exactly(5).await, BODY.as_bytes());
    service.send(OK).await;
    assert!(visitor.head().await.starts_with("HTTP/1.1 200"));

    // A service may have its reasons when it has asked.
    let (mut visitor, mut service) = web.asked(&head("1.1", "100-continue", "")).await;
    service.send("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n").await;
    let first = visitor.head().await;
    let last = if first.contains(" 100 ") { visitor.head().await } else { first };
    assert!(last.starts_with("HTTP/1.1 403"), "{last}");
}

#[tokio::test]
async fn d23_a_visitor_that_does_not_wait_is_not_made_to() {
    let web = stage().await;
    let (mut visitor, mut service) = web.asked(&(head("1.1", "100-continue", "") + BODY)).await;
    service.send("HTTP/1.1 100 Continue\r\n\r\n").await;
    assert_eq!(service.exactly(5).await, BODY.as_bytes());
    service.send("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok").await;
    let first = visitor.head().await;
    let last = if first.contains(" 100 ") { visitor.head().await } else { first };
    assert!(last.starts_with("HTTP/1.1 200"), "{last}");
}

#[tokio::test]
async fn d23_http_1_0_knows_no_100() {
    let web = stage().await;
    let (mut visitor, mut service) = web.asked(&(head("1.0", "100-continue", "") + BODY)).await;
    assert_eq!(service.exactly(5).await, BODY.as_bytes());
    service.send("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok").await;
    let said = visitor.head().await;
    assert!(said.contains(" 200 "), "{said}");
    assert_eq!(visitor.rest(SOON).await, (b"ok".to_vec(), End::Fin));
}

#[tokio::test]
async fn d23_other_expectations_are_refused() {
    let web = stage().await;
    for (expect, more) in
        [("200-maybe", ""), ("100-continue, x", ""), ("100-continue", "Expect: 100-continue\r\n")]
    {
        let mut visitor = Raw::open(web.door()).await;
        visitor.send(head("1.1", expect, more)).await;
        let said = visitor.head().await;
        assert!(said.starts_with("HTTP/1.1 417"), "{expect}: {said}");
        assert!(web.service.waiting().await.is_none(), "{expect}");
    }
}

#[tokio::test]
async fn d23_http2_waits_for_the_service_too() {
    let web = stage().await;
    let expecting = [("expect", "100-continue"), ("content-length", "5")];
    let mut visitor = Http2Visitor::connect(web.door()).await.unwrap();
    let (answer, _body) = visitor.send(http2::request("POST", HOST, "/", &expecting), false).await.unwrap();
    let mut service = web.service.accept().await;
    assert!(service.head().await.to_lowercase().contains("expect: 100-continue\r\n"));
    service.send("HTTP/1.1 401 Unauthorized\r\nContent-Length: 2\r\n\r\nno").await;
    let answer = within("an answer before the body", SOON, answer).await.unwrap();
    assert_eq!(answer.status(), 401);
    assert_eq!(http2::whole(&mut answer.into_body()).await.0, b"no");
}
