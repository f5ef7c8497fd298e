//! A page in Chromium: HTTP/2 over TLS, a WebSocket over it, and events that come while their response is open.

use std::time::Duration;

use aws_lc_rs::digest::{SHA256, digest};
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use rcgen::{KeyPair, PublicKeyData};
use serde_json::json;
use tests::browser::Browser;
use tests::fixture::PageService;
use tests::peer::Peer;
use tests::wait::{SOON, until};

use crate::front::{Front, HOST};

#[tokio::test]
async fn a_page_talks_and_listens_over_one_connection_of_http2() {
    let (service, other) = (PageService::start().await, Peer::python("ws_server.py", &[]).await);
    let front = Front::to(service.addr()).await;
    let _second = front.also("other", other.addr()).await;
    let key = std::fs::read_to_string(front.certificate().with_extension("key")).unwrap();
    let key = digest(&SHA256, &KeyPair::from_pem(&key).unwrap().subject_public_key_info());
    let mut browser = Browser::start(&BASE64_STANDARD.encode(key)).await;

    let port = front.https().port();
    browser.open(&format!("https://{HOST}:{port}/?other=wss://other.t.localhost:{port}/echo")).await;
    let done = async || (browser.value("document.title").await == "done").then_some(());
    until("the page is done", Duration::from_secs(20), done).await;
    let told = browser.value("document.getElementById('result').textContent").await;
    let result: serde_json::Value = serde_json::from_str(told.as_str().unwrap()).unwrap();
    let events: Vec<String> = (0..20).map(|n| n.to_string()).collect();
    let deflate = result["extensions"].as_str().unwrap_or_default().to_owned();
    assert_eq!(
        result,
        json!({
            "page": "h2", "posted": true, "echoed": true, "text": true, "events": events, "open": true,
            "extensions": deflate, "subprotocol": "chat.v2", "compressed": true,
            "closed": { "code": 4001, "reason": "bye", "wasClean": true },
        })
    );
    assert!(deflate.starts_with("permessage-deflate"), "{result}");
    assert!(service.has_listener(), "the events are not over");

    // Over HTTP/2 there is no 101: the socket is a stream of the connection that the page came by.
    let sockets = browser.events("Network.webSocketHandshakeResponseReceived");
    assert_eq!((sockets.len(), &sockets[0]["response"]["status"]), (2, &json!(200)), "{sockets:?}");
    let answers = browser.events("Network.responseReceived");
    for answer in &answers {
        assert_eq!(answer["response"]["protocol"], "h2", "{answer}");
    }
    assert!(answers.len() >= 3, "{answers:?}");

    // A browser that goes away is gone at the service.
    browser.program.kill();
    until("nobody listens any more", SOON, async || (!service.has_listener()).then_some(())).await;
}
