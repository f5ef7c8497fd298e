//! Bodies stream: memory stays small whatever passes.

use std::future::poll_fn;
use std::io;
use std::time::{Duration, Instant};

use http_body_util::{BodyExt, StreamBody};
use hyper::body::Frame;
use tests::fixture::Http2Service;
use tests::http2::{self, Http2Visitor, data};
use tests::pattern::{self, Checker};
use tests::tunnelc::Home;
use tests::tunneld::Tunneld;
use tests::visitor::{empty, request};
use tests::wait::within;

use crate::stage::{HOST, Web};

const MIB: u64 = 1024 * 1024;
const BOUND: u64 = 64 * MIB;

fn size() -> u64 {
    if std::env::var_os("TUNNEL_FULL").is_some() { 2048 * MIB } else { 256 * MIB }
}

fn hold<S>(web: &Web<S>) {
    for program in [&web.server.program, &web.tunnel.program] {
        let peak = program.peak_memory();
        assert!(peak <= BOUND, "{} MiB", peak / MIB);
    }
}

/// Prints what it took.
fn tell<S>(what: &str, began: Instant, web: &Web<S>) {
    let (server, client) = (&web.server.program, &web.tunnel.program);
    println!(
        "{what} of {} MiB: {:.1} s; tunneld {} MiB at most, {:.1} s of processor time; tunnelc {} MiB, {:.1} s",
        size() / MIB,
        began.elapsed().as_secs_f64(),
        server.peak_memory() / MIB,
        server.cpu().as_secs_f64(),
        client.peak_memory() / MIB,
        client.cpu().as_secs_f64(),
    );
}

#[tokio::test]
async fn a_large_download_passes_within_64_mib() {
    let web = Web::up().await;
    let mut visitor = web.visitor().await;
    let began = Instant::now();
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
    tell("a download over HTTP/1.1", began, &web);
    hold(&web);
}

#[tokio::test]
async fn a_large_upload_passes_within_64_mib() {
    let web = Web::up().await;
    let mut visitor = web.visitor().await;
    let began = Instant::now();
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
    tell("an upload over HTTP/1.1", began, &web);
    hold(&web);
}

/// A download and an upload over HTTP/2.
async fn over_http2<S>(what: &str, web: &Web<S>) {
    let mut visitor = Http2Visitor::connect(web.door()).await.unwrap();
    let began = Instant::now();
    let asked = http2::request("GET", HOST, &format!("/bytes?n={}", size()), &[]);
    let (answer, _) = visitor.send(asked, true).await.unwrap();
    let mut body = answer.await.unwrap().into_body();
    let mut checker = Checker::default();
    let read = async {
        while let Some(bytes) = data(&mut body).await.unwrap() {
            checker.feed(&bytes);
        }
    };
    within("the download", Duration::from_secs(200), read).await;
    checker.expect(size());
    tell(&format!("a download {what}"), began, web);
    hold(web);

    let began = Instant::now();
    let (answer, mut body) = visitor.send(http2::request("POST", HOST, "/sink", &[]), false).await.unwrap();
    let write = async {
        let mut sent = 0;
        while sent < size() {
            body.reserve_capacity(pattern::PIECE);
            let room = poll_fn(|cx| body.poll_capacity(cx)).await.unwrap().unwrap() as u64;
            let piece = pattern::at(sent, room.min(size() - sent));
            sent += piece.len() as u64;
            body.send_data(piece, sent == size()).unwrap();
        }
    };
    within("the upload", Duration::from_secs(200), write).await;
    let answer = within("an answer", Duration::from_secs(20), answer).await.unwrap();
    let (counted, _) = http2::whole(&mut answer.into_body()).await;
    let counted: serde_json::Value = serde_json::from_slice(&counted).unwrap();
    assert_eq!((&counted["bytes"], &counted["intact"]), (&size().into(), &true.into()));
    tell(&format!("an upload {what}, both"), began, web);
    hold(web);
}

#[tokio::test]
async fn large_bodies_over_http2_pass_within_64_mib() {
    over_http2("over HTTP/2", &Web::up().await).await;
}

#[tokio::test]
async fn large_bodies_over_http2_all_the_way_pass_within_64_mib() {
    let (server, service, home) = (Tunneld::start().await, Http2Service::h2c().await, Home::new());
    let tunnel = home.http(&server.join(), format!("h2c://{}", service.addr()), &["--host", "demo"]).await;
    over_http2("over HTTP/2 to a service of HTTP/2", &Web { tunnel, home, server, service }).await;
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
