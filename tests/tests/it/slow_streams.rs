//! Many slow streams at once: what both programs hold for them is bounded, and nobody else waits for them.

use std::time::Duration;

use bytes::Bytes;
use futures_util::future::join_all;
use h2::{RecvStream, SendStream};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tests::fixture::HttpService;
use tests::http2::{self, Http2Visitor};
use tests::pattern::{self, Checker};
use tests::visitor::Raw;
use tests::wait::{SOON, promised, within};
use tokio::net::{TcpListener, TcpSocket, TcpStream};

use crate::stage::{HOST, Web};

/// What a slow stream may cost either program, in bytes.
const EACH: u64 = 512 * 1024;
/// What many streams may cost it once.
const ONCE: u64 = 16 << 20;
/// What was read or written by every stream when the figures are taken.
const ENOUGH: u64 = 128 * 1024;
/// How much a slow one takes or gives at a time.
const PIECE: u64 = 4 * 1024;
/// Streams of a connection of HTTP/2: what its server allows.
const TOGETHER: usize = 100;
/// What a slow reader lets the other side send ahead, in bytes.
const READ_AHEAD: u32 = 64 * 1024;
const LARGE: u64 = 1 << 30;

fn count() -> usize {
    if std::env::var_os("TUNNEL_FULL").is_some() { 1000 } else { 100 }
}

/// Every stream has descriptors at both of its ends, which are this process.
fn allow_many_descriptors() {
    let limits = getrlimit(Resource::Nofile);
    setrlimit(Resource::Nofile, Rlimit { current: limits.maximum, ..limits }).unwrap();
}

/// A service's listener. What its kernel holds for a thousand answers would else be more than the machine has for TCP.
fn modest_listener() -> TcpListener {
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_send_buffer_size(READ_AHEAD).unwrap();
    socket.set_recv_buffer_size(READ_AHEAD).unwrap();
    socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    socket.listen(1024).unwrap()
}

/// A tunnel, and what its programs hold before the load.
struct Measured {
    web: Web,
    before: [u64; 2],
}

impl Measured {
    async fn up() -> Self {
        allow_many_descriptors();
        let web = Web::to(HttpService::start_on(modest_listener()), HttpService::addr).await;
        assert_eq!(web.get("/bytes?n=1000000").await.status, 200);
        let before = [web.server.program.memory(), web.tunnel.program.memory()];
        Self { web, before }
    }

    /// A visitor whose kernel does not read ahead for it.
    async fn slow_reader(&self) -> Raw {
        let socket = TcpSocket::new_v4().unwrap();
        socket.set_recv_buffer_size(READ_AHEAD).unwrap();
        Raw::of(within("a connection", SOON, socket.connect(self.web.door())).await.unwrap())
    }

    /// The figures, while the load is there.
    async fn tell(&self, what: &str) {
        let one =
            within("a request beside the slow ones", promised(Duration::from_secs(2)), self.web.get("/"))
                .await;
        assert_eq!(one.status, 200);
        let programs = [&self.web.server.program, &self.web.tunnel.program];
        let [server, client] =
            [0, 1].map(|n: usize| programs[n].peak_memory().saturating_sub(self.before[n]));
        let buffered = self.web.server.metric("tunnel_buffered_bytes").await as u64;
        let each = |bytes: u64| bytes / count() as u64 / 1024;
        println!(
            "{} {what}: tunneld {} + {} KiB, {} a stream; tunnelc {} + {} KiB, {} a stream; {} KiB in windows",
            count(),
            self.before[0] / 1024,
            server / 1024,
            each(server),
            self.before[1] / 1024,
            client / 1024,
            each(client),
            buffered / 1024,
        );
        let most = EACH * count() as u64 + ONCE;
        assert!(server <= most && client <= most);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn slow_readers_over_http1() {
    let measured = Measured::up().await;
    let mut readers = Vec::new();
    for _ in 0..count() {
        let mut raw = measured.slow_reader().await;
        raw.send(format!("GET /bytes?n={LARGE} HTTP/1.1\r\nHost: {HOST}\r\n\r\n")).await;
        readers.push((raw, Checker::default()));
    }
    for (raw, _) in &mut readers {
        assert!(raw.head().await.starts_with("HTTP/1.1 200"));
    }
    for _ in 0..ENOUGH / PIECE {
        for (raw, checker) in &mut readers {
            checker.feed(&raw.exactly(PIECE as usize).await);
        }
    }
    readers.iter().for_each(|(_, checker)| checker.expect(ENOUGH));
    measured.tell("slow readers over HTTP/1.1").await;
}

/// Streams of HTTP/2, on as many connections as it takes.
async fn streams(
    measured: &Measured,
    method: &str,
    path: &str,
) -> (Vec<Http2Visitor>, Vec<(h2::client::ResponseFuture, SendStream<Bytes>)>) {
    let (mut visitors, mut streams) = (Vec::new(), Vec::new());
    while streams.len() < count() {
        let stream = TcpStream::connect(measured.web.door()).await.unwrap();
        stream.set_nodelay(true).unwrap();
        let mut visitor = Http2Visitor::over(stream, READ_AHEAD).await.unwrap();
        for _ in 0..TOGETHER.min(count()) {
            let asked = http2::request(method, HOST, path, &[]);
            streams.push(visitor.send(asked, method == "GET").await.unwrap());
        }
        visitors.push(visitor);
    }
    (visitors, streams)
}

/// Takes a piece, and makes room for no more than that.
async fn take(body: &mut RecvStream, checker: &mut Checker) {
    let data = within("more of the body", SOON, body.data()).await.unwrap().unwrap();
    body.flow_control().release_capacity(data.len()).unwrap();
    checker.feed(&data);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn slow_readers_over_http2() {
    let measured = Measured::up().await;
    let (_visitors, streams) = streams(&measured, "GET", &format!("/bytes?n={LARGE}")).await;
    let heads =
        streams.into_iter().map(async |(response, _)| within("a head", SOON, response).await.unwrap());
    let mut readers: Vec<_> =
        join_all(heads).await.into_iter().map(|head| (head.into_body(), Checker::default())).collect();
    while readers.iter().any(|(_, checker)| checker.seen() < ENOUGH) {
        for (body, checker) in readers.iter_mut().filter(|(_, checker)| checker.seen() < ENOUGH) {
            take(body, checker).await;
        }
    }
    assert!(readers.iter().all(|(_, checker)| checker.intact()));
    measured.tell("slow readers over HTTP/2").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn slow_uploads_over_http1() {
    let measured = Measured::up().await;
    let mut writers = Vec::new();
    for _ in 0..count() {
        let mut raw = Raw::open(measured.web.door()).await;
        raw.send(format!("POST /sink HTTP/1.1\r\nHost: {HOST}\r\nContent-Length: {ENOUGH}\r\n\r\n")).await;
        writers.push(raw);
    }
    for sent in (0..ENOUGH).step_by(PIECE as usize) {
        if sent + PIECE == ENOUGH {
            measured.tell("slow uploads over HTTP/1.1").await;
        }
        for raw in &mut writers {
            raw.send(pattern::at(sent, PIECE)).await;
        }
    }
    for raw in &mut writers {
        assert!(raw.head().await.starts_with("HTTP/1.1 200"));
    }
    let whole = measured.web.service.tally().get(|tally| &tally.whole_uploads);
    assert_eq!(whole, count() as u64);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn slow_uploads_over_http2() {
    let measured = Measured::up().await;
    let (_visitors, mut streams) = streams(&measured, "POST", "/sink").await;
    for sent in (0..ENOUGH).step_by(PIECE as usize) {
        if sent + PIECE == ENOUGH {
            measured.tell("slow uploads over HTTP/2").await;
        }
        for (_, body) in &mut streams {
            within("room", SOON, http2::write(body, pattern::at(sent, PIECE))).await;
        }
    }
    for (_, body) in &mut streams {
        body.send_data(Bytes::new(), true).unwrap();
    }
    let ends = streams.into_iter().map(async |(response, _)| {
        let answer = within("an answer", SOON, response).await.unwrap();
        let (body, _) = http2::whole(&mut answer.into_body()).await;
        let counted: serde_json::Value = serde_json::from_slice(&body).unwrap();
        assert_eq!((&counted["bytes"], &counted["intact"]), (&ENOUGH.into(), &true.into()));
    });
    join_all(ends).await;
}
