//! What a server does with peers that misbehave: a refusal within 5 s, and nobody else notices.

use std::time::{Duration, Instant};

use futures_util::future::join_all;
use protocol::frame::FrameType;
use protocol::handshake::{Features, Hello, RejectCode, ServerReply, VersionRange};
use rustix::process::{Resource, Rlimit, prlimit};
use tests::fixture::HttpService;
use tests::tunnelc::{Home, SESSIONS};
use tests::tunneld::Tunneld;
use tests::visitor::{self, End, Raw};
use tests::wait::{SOON, promised, throughout, until, within};
use tests::wire::{HandMade, Reply, encoded, frame};
use tokio::net::TcpStream;

use crate::stage::{HOST, Web};

/// The server's patience with a handshake, and what it takes to say so.
fn patience() -> Duration {
    promised(Duration::from_millis(6_500))
}

async fn refused(
    server: &Tunneld,
    what: &str,
    code: RejectCode,
    bytes: impl AsyncFnOnce(&HandMade) -> Vec<u8>,
) {
    let mut peer = HandMade::dial(&server.join()).await;
    let bytes = bytes(&peer).await;
    peer.send(bytes).await;
    let began = Instant::now();
    match peer.reply(patience()).await {
        Reply::Said(ServerReply::Reject(reject)) => assert_eq!(reject.code, code, "{what}: {reject:?}"),
        other => panic!("{what}: {other:?}"),
    }
    assert!(
        began.elapsed() < promised(Duration::from_secs(1)),
        "{what}: refused only after {:?}",
        began.elapsed()
    );
    assert_ne!(peer.end(SOON).await, End::Open, "{what}: the connection stays");
}

fn hello_with(peer: &HandMade, change: impl FnOnce(&mut Hello)) -> Vec<u8> {
    let mut hello = peer.hello();
    change(&mut hello);
    encoded(&hello)
}

#[tokio::test]
async fn every_bad_hello_gets_its_reason_at_once() {
    let web = Web::up().await;
    let server = &web.server;
    let malformed = RejectCode::MALFORMED;
    let hello = FrameType::HELLO.0;
    refused(server, "a stated length above the maximum", malformed, async |_| frame(hello, 0x00ff_ffff, b""))
        .await;
    refused(server, "one byte above the maximum", malformed, async |_| frame(hello, 16 * 1024 + 1, b""))
        .await;
    refused(server, "an empty hello", malformed, async |_| frame(hello, 0, b"")).await;
    refused(server, "a hello of zeros", malformed, async |_| frame(hello, 200, &[0; 200])).await;
    refused(server, "a control frame first", malformed, async |_| frame(FrameType::REGISTER.0, 0, b"")).await;
    refused(server, "an unknown frame first", malformed, async |_| frame(0x7f, 3, b"abc")).await;
    refused(server, "a hello with a byte too many", malformed, async |peer| {
        let whole = encoded(&peer.hello());
        let payload = [&whole[4..], b"!"].concat();
        frame(hello, u32::try_from(payload.len()).unwrap(), &payload)
    })
    .await;
    refused(server, "a hello with a byte too few", malformed, async |peer| {
        let whole = encoded(&peer.hello());
        let payload = &whole[4..whole.len() - 1];
        frame(hello, u32::try_from(payload.len()).unwrap(), payload)
    })
    .await;
    refused(server, "a version from the future", RejectCode::VERSION, async |peer| {
        hello_with(peer, |hello| hello.versions = VersionRange { min: 900, max: 901 })
    })
    .await;
    refused(server, "an unknown critical feature", RejectCode::CRITICAL_FEATURE, async |peer| {
        hello_with(peer, |hello| hello.features = Features(1 << 60))
    })
    .await;
    refused(server, "a wrong proof", RejectCode::DENIED, async |peer| {
        hello_with(peer, |hello| hello.proof = [7; 64])
    })
    .await;
    assert_eq!(web.get("/").await.status, 200);
    server.has_sessions(SESSIONS, SOON).await;
}

#[tokio::test]
async fn unknown_features_that_are_not_critical_are_ignored() {
    let server = Tunneld::start().await;
    let mut peer = HandMade::dial(&server.join()).await;
    let bytes = hello_with(&peer, |hello| hello.features = Features(1 << 30));
    peer.send(bytes).await;
    let Reply::Said(ServerReply::Welcome(welcome)) = peer.reply(SOON).await else { panic!("refused") };
    assert_eq!(welcome.features, Features::NONE);
}

#[tokio::test]
async fn whoever_is_slow_is_gone_within_five_seconds() {
    let web = Web::up().await;
    let server = &web.server;
    let door = server.listen().tunnel;
    let gone = async |what: &str, began: Instant, end: End| {
        assert_ne!(end, End::Open, "{what} may stay");
        assert!(began.elapsed() > Duration::from_millis(3_500), "{what} had no time: {:?}", began.elapsed());
    };
    let silent = async {
        let began = Instant::now();
        let end = Raw::open(door).await.rest(patience()).await.1;
        gone("who says nothing", began, end).await;
    };
    let half_tls = async {
        let began = Instant::now();
        let mut raw = Raw::open(door).await;
        raw.send([0x16, 0x03, 0x01, 0x02, 0x00, 0x01, 0x00, 0x01]).await;
        let end = raw.rest(patience()).await.1;
        gone("who sends half a ClientHello", began, end).await;
    };
    let no_hello = async {
        // It counts from when it came.
        let began = Instant::now();
        let mut peer = HandMade::dial(&server.join()).await;
        let end = peer.end(patience()).await;
        gone("who says no hello", began, end).await;
    };
    let byte_by_byte = async {
        let began = Instant::now();
        let mut peer = HandMade::dial(&server.join()).await;
        let bytes = encoded(&peer.hello());
        let mut rest = bytes.iter();
        let end = loop {
            if let Some(byte) = rest.next() {
                peer.send([*byte]).await;
            }
            match peer.end(Duration::from_millis(400)).await {
                End::Open if began.elapsed() < patience() => {}
                end => break end,
            }
        };
        gone("who says a hello byte by byte", began, end).await;
    };
    let half_hello = async {
        let mut peer = HandMade::dial(&server.join()).await;
        let bytes = encoded(&peer.hello());
        peer.send(&bytes[..bytes.len() / 2]).await;
        peer.finish().await;
        assert_ne!(peer.end(patience()).await, End::Open, "who stops in the middle");
    };
    tokio::join!(silent, half_tls, no_hello, byte_by_byte, half_hello);
    assert_eq!(web.get("/").await.status, 200);
}

#[tokio::test]
async fn other_protocols_on_the_tunnel_port_are_shown_out() {
    let web = Web::up().await;
    let door = web.server.listen().tunnel;
    for bytes in [
        b"GET / HTTP/1.1\r\nHost: demo.localhost\r\n\r\n".to_vec(),
        b"SSH-2.0-OpenSSH_9.2\r\n".to_vec(),
        vec![0; 4096],
        vec![0xff; 70_000],
        [&[0x16, 0x03, 0x01, 0xff, 0xff], vec![0x41; 70_000].as_slice()].concat(),
    ] {
        let mut raw = Raw::open(door).await;
        raw.send(&bytes).await;
        assert_ne!(raw.rest(patience()).await.1, End::Open, "{:?}", &bytes[..8]);
    }
    let join = web.server.join();
    for alpn in [&[b"h2".as_slice()][..], &[]] {
        match HandMade::dial_with(&join, alpn).await {
            Err(_) => {}
            Ok(mut peer) => {
                let hello = peer.hello();
                peer.say(&hello).await;
                assert!(
                    !matches!(peer.reply(patience()).await, Reply::Said(ServerReply::Welcome(_))),
                    "{alpn:?}"
                );
            }
        }
    }
    assert_eq!(web.get("/").await.status, 200);
}

#[tokio::test]
async fn two_hundred_silent_connections_delay_no_login() {
    let server = Tunneld::start().await;
    let service = HttpService::start().await;
    let silent = join_all((0..200).map(|_| Raw::open(server.listen().tunnel))).await;
    let home = Home::new();
    let began = Instant::now();
    let _tunnel = home.http(&server.join(), service.addr(), &["--host", "demo"]).await;
    assert!(began.elapsed() < promised(Duration::from_secs(2)), "{:?}", began.elapsed());
    assert_eq!(server.visit(HOST, "/").await, 200);
    drop(silent);
}

#[tokio::test]
async fn bad_frames_inside_a_session_cost_only_that_session() {
    let web = Web::up().await;
    for garbage in
        [vec![0xff; 64], vec![0; 64], b"GET / HTTP/1.1\r\n\r\n".to_vec(), frame(0x20, 0x00ff_ffff, b"")]
    {
        let mut peer = HandMade::dial(&web.server.join()).await;
        let hello = peer.hello();
        peer.say(&hello).await;
        assert!(matches!(peer.reply(SOON).await, Reply::Said(ServerReply::Welcome(_))));
        peer.send(&garbage).await;
        assert_ne!(peer.end(patience()).await, End::Open, "after {garbage:?}");
        assert_eq!(web.get("/").await.status, 200);
    }
    web.server.has_sessions(SESSIONS, SOON).await;
}

#[tokio::test]
async fn bad_requests_on_the_public_port_cost_only_themselves() {
    let web = Web::up().await;
    let long = format!("GET /{} HTTP/1.1\r\nHost: {HOST}\r\n\r\n", "x".repeat(100_000));
    let wide = format!("GET / HTTP/1.1\r\nHost: {HOST}\r\n{}\r\n", "x: y\r\n".repeat(2_000));
    let big = format!("GET / HTTP/1.1\r\nHost: {HOST}\r\nX: {}\r\n\r\n", "y".repeat(1_000_000));
    for bytes in [
        b"\r\n\r\n\r\n".as_slice(),
        b"nonsense\r\n\r\n",
        b"GET / HTTP/9.9\r\nHost: demo.localhost\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: demo.localhost/path\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a@demo.localhost\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost : demo.localhost\r\n\r\n",
        b"CONNECT demo.localhost:80 HTTP/1.1\r\nHost: demo.localhost:80\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00",
        long.as_bytes(),
        wide.as_bytes(),
        big.as_bytes(),
    ] {
        let mut raw = Raw::open(web.door()).await;
        raw.send(bytes).await;
        raw.finish().await;
        let (answer, end) = raw.rest(patience()).await;
        let answer = String::from_utf8_lossy(&answer).into_owned();
        assert_ne!(end, End::Open, "{:?}", String::from_utf8_lossy(&bytes[..bytes.len().min(60)]));
        assert!(
            answer.is_empty() || answer.starts_with("HTTP/1.1 4") || answer.starts_with("HTTP/1.1 5"),
            "{answer}"
        );
    }
    assert_eq!(web.get("/").await.status, 200);
    assert_eq!(web.service.tally().get(|tally| &tally.requests), 1, "none of them reached the service");
}

#[tokio::test]
async fn running_out_of_descriptors_is_survived() {
    let web = Web::up().await;
    assert_eq!(web.get("/").await.status, 200);
    let mut kept = web.visitor().await;
    let pid = web.server.program.pid();
    let few = web.server.program.descriptors() as u64 + 20;
    prlimit(Some(pid), Resource::Nofile, Rlimit { current: Some(few), maximum: Some(few) }).unwrap();

    let flood = join_all((0..100).map(|_| TcpStream::connect(web.door()))).await;
    let counted = async || {
        let exhausted = web.server.program.descriptors() as u64 >= few - 2;
        exhausted.then_some(())
    };
    until("the descriptors are used up", SOON, counted).await;
    let before = web.server.program.cpu();
    let span = Duration::from_secs(2);
    let ask = async || kept.whole(visitor::request("GET", HOST, "/", visitor::empty())).await.is_ok();
    let mut asks = ask;
    throughout("an open connection is served", Duration::from_millis(200), &mut asks).await;
    let idle = Instant::now();
    until("two seconds of it have passed", SOON, async || (idle.elapsed() > span).then_some(())).await;
    let spent = web.server.program.cpu() - before;
    assert!(spent < span / 2, "it spins: {spent:?} of processor time in {span:?}");
    let lines = web.server.program.stderr().len();
    assert!(lines < 200, "it floods its log: {lines} lines");

    drop(flood);
    let again =
        async || visitor::try_get(web.door(), HOST, "/").await.is_ok_and(|it| it.status == 200).then_some(());
    let (_, took) = within("accepting again", SOON, until("it accepts again", SOON, again)).await;
    assert!(took < promised(Duration::from_secs(3)), "{took:?}");
}

#[tokio::test]
async fn a_slow_head_is_cut_off() {
    let web = Web::up().await;
    let mut raw = Raw::open(web.door()).await;
    raw.send(format!("GET / HTTP/1.1\r\nHost: {HOST}\r\nX-Slow: ")).await;
    let began = Instant::now();
    let (_, end) = raw.rest(SOON).await;
    assert_ne!(end, End::Open);
    assert!(began.elapsed() > Duration::from_secs(7), "{:?}", began.elapsed());
}
