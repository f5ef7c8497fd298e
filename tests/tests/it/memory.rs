//! Bodies stream: memory stays small whatever passes.

use http_body_util::{BodyExt, StreamBody};
use hyper::body::Frame;
use std::io;
use std::time::Duration;

use tests::pattern::{self, Checker};
use tests::visitor::{empty, request};
use tests::wait::within;

use crate::stage::{HOST, Web};

const MIB: u64 = 1024 * 1024;
const BOUND: u64 = 64 * MIB;

fn size() -> u64 {
    if std::env::var_os("TUNNEL_FULL").is_some() { 2048 * MIB } else { 256 * MIB }
}

fn hold(web: &Web) {
    for program in [&web.server.program, &web.tunnel.program] {
        let peak = program.peak_memory();
        assert!(peak <= BOUND, "{} MiB", peak / MIB);
    }
}

#[tokio::test]
async fn a_large_download_passes_within_64_mib() {
    let web = Web::up().await;
    let mut visitor = web.visitor().await;
    let path = format!("/bytes?n={}", size());
    let answer = visitor.send(request("GET", HOST, &path, empty())).await.unwrap();
    let mut body = answer.into_body();
    let mut checker = Checker::default();
    let read = async {
        while let Some(frame) = body.frame().await {
            checker.feed(&frame.unwrap().into_data().unwrap());
        }
    };
    within("the download", Duration::from_secs(200), read).await;
    checker.expect(size());
    hold(&web);
}

#[tokio::test]
async fn a_large_upload_passes_within_64_mib() {
    let web = Web::up().await;
    let mut visitor = web.visitor().await;
    let pieces = futures_util::stream::unfold(0, |offset| async move {
        let left = size() - offset;
        (left > 0).then(|| {
            let piece = pattern::at(offset, left);
            let next = offset + piece.len() as u64;
            (io::Result::Ok(Frame::data(piece)), next)
        })
    });
    let upload = visitor.whole(request("POST", HOST, "/sink", StreamBody::new(pieces).boxed_unsync()));
    let counted = within("the upload", Duration::from_secs(200), upload).await.unwrap().json();
    assert_eq!((&counted["bytes"], &counted["intact"]), (&size().into(), &true.into()));
    hold(&web);
}

#[tokio::test]
async fn stuck_readers_hold_little() {
    let web = Web::up().await;
    let mut stuck = Vec::new();
    for _ in 0..32 {
        let mut raw = tests::visitor::Raw::open(web.door()).await;
        raw.send(format!("GET /bytes?n=1000000000 HTTP/1.1\r\nHost: {HOST}\r\n\r\n")).await;
        assert!(raw.head().await.starts_with("HTTP/1.1 200"));
        stuck.push(raw);
    }
    let mut last = 0;
    let settled = async || {
        let now = web.server.metric("tunnel_bytes_total").await as u64;
        (std::mem::replace(&mut last, now) == now).then_some(())
    };
    tests::wait::until("the flow has stopped", Duration::from_secs(20), settled).await;
    hold(&web);
    assert_eq!(web.get("/").await.status, 200);
}
