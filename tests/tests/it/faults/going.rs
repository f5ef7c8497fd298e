//! D08, D11: sessions and programs that come to their end.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use bytes::{BufMut, Bytes, BytesMut};
use futures_util::{SinkExt, StreamExt};
use rustix::process::Signal;
use tests::fixture::{GrpcService, HttpService, TcpService};
use tests::frames::{Framer, GOAWAY};
use tests::http2::{self, Http2Visitor, data};
use tests::program::Program;
use tests::tunnelc::Home;
use tests::tunneld::Tunneld;
use tests::visitor::{self, End, Raw, Visitor, empty, request, websocket};
use tests::wait::{SOON, promised, until, within};
use tokio::task::{JoinSet, LocalSet};
use tokio::time::interval;
use tokio_tungstenite::tungstenite::Message;

use super::long;
use crate::stage::HOST;

/// The name of the service that speaks gRPC.
const CALLS: &str = "calls.localhost";
/// How often who holds a connection says something on it.
const EVERY: Duration = Duration::from_millis(100);

/// A client with services of every kind.
struct Everything {
    client: Program,
    server: Tunneld,
    web: HttpService,
    _calls: GrpcService,
    _raw: TcpService,
    home: Home,
}

impl Everything {
    async fn up() -> Self {
        let (server, home) = (Tunneld::start().await, Home::new());
        let (web, calls, raw) =
            (HttpService::start().await, GrpcService::h2c().await, TcpService::echo().await);
        let config = format!(
            "tunnel = [\n\
             {{ name = \"demo\", kind = \"http\", host = \"demo\", to = \"{}\" }},\n\
             {{ name = \"calls\", kind = \"http\", host = \"calls\", to = \"h2c://{}\" }},\n\
             {{ name = \"raw\", kind = \"tcp\", to = \"{}\" }},\n]\n",
            web.addr(),
            calls.addr(),
            raw.addr()
        );
        let client = home.run(&server.join(), &config);
        server.serves(HOST, SOON).await;
        let everything = Self { client, server, web, _calls: calls, _raw: raw, home };
        until("all names are held", SOON, async || everything.port().await).await;
        everything
    }

    /// Where the public port is, once there is one.
    async fn port(&self) -> Option<SocketAddr> {
        let status = self.server.status().await;
        let names = status["names"].as_array()?.clone();
        let port = names.iter().find(|name| name["kind"] == "tcp")?["name"].as_str()?.to_owned();
        let port: u16 = port.rsplit(':').next()?.parse().ok()?;
        (names.len() == 3).then(|| SocketAddr::from(([127, 0, 0, 1], port)))
    }
}

/// One thing in flight, of one of five kinds.
#[derive(Debug, Clone, Copy)]
struct Flight {
    kind: usize,
    door: SocketAddr,
    port: SocketAddr,
    lasts: Duration,
}

impl Flight {
    /// Whether it is a request that the service counts, and answers when it is told to.
    const fn is_held(self) -> bool {
        self.kind < 2
    }

    async fn run(self, begun: Arc<AtomicUsize>) -> Result<(), String> {
        match self.kind {
            0 => {
                let answer = visitor::try_send(self.door, request("GET", HOST, "/held", empty())).await;
                expect(answer.map(|answer| answer.status), 200)
            }
            1 => {
                let mut visitor = Http2Visitor::connect(self.door).await.map_err(text)?;
                let (response, _) =
                    visitor.send(http2::request("GET", HOST, "/held", &[]), true).await.map_err(text)?;
                expect(response.await.map(|response| response.status().as_u16()), 200)
            }
            2 => self.call(&begun).await,
            3 => self.socket(&begun).await,
            _ => self.wire(&begun).await,
        }
    }

    /// Says something again and again, and hears it, for as long as this lasts.
    async fn echoes(
        self,
        begun: &AtomicUsize,
        mut echo: impl AsyncFnMut() -> Result<(), String>,
    ) -> Result<(), String> {
        let (began, mut ticks) = (Instant::now(), interval(EVERY));
        echo().await?;
        begun.fetch_add(1, Ordering::Relaxed);
        while began.elapsed() < self.lasts {
            ticks.tick().await;
            echo().await?;
        }
        Ok(())
    }

    async fn call(self, begun: &AtomicUsize) -> Result<(), String> {
        let mut visitor = Http2Visitor::connect(self.door).await.map_err(text)?;
        let fields = [("content-type", "application/grpc"), ("te", "trailers")];
        let head = http2::request("POST", CALLS, "/peer.Echo/Chat", &fields);
        let (response, mut send) = visitor.send(head, false).await.map_err(text)?;
        let mut message = BytesMut::new();
        message.put_slice(&[0, 0, 0, 0, 1, b'x']);
        let message = message.freeze();
        send.send_data(message.clone(), false).map_err(text)?;
        let mut body = response.await.map_err(text)?.into_body();
        let hear = async |body: &mut h2::RecvStream| {
            let mut heard = 0;
            while heard < message.len() {
                heard += data(body).await.map_err(text)?.ok_or("the call has ended")?.len();
            }
            Ok::<_, String>(())
        };
        hear(&mut body).await?;
        self.echoes(begun, async || {
            send.send_data(message.clone(), false).map_err(text)?;
            hear(&mut body).await
        })
        .await?;
        send.send_data(Bytes::new(), true).map_err(text)?;
        let (_, end) = http2::whole(&mut body).await;
        let status = end.map_err(text)?.and_then(|trailers| trailers.get("grpc-status").cloned());
        expect(Ok::<_, String>(status.is_some_and(|status| status == "0")), true)
    }

    async fn socket(self, begun: &AtomicUsize) -> Result<(), String> {
        let mut socket = websocket(self.door, HOST, "/ws").await.map_err(text)?;
        self.echoes(begun, async || {
            socket.send(Message::text("x")).await.map_err(text)?;
            let back = socket.next().await.ok_or("the socket has ended")?.map_err(text)?;
            expect(Ok::<_, String>(back), Message::text("x"))
        })
        .await?;
        socket.close(None).await.map_err(text)?;
        let close = socket.next().await.ok_or("no farewell")?.map_err(text)?;
        expect(Ok::<_, String>(close.is_close()), true)
    }

    async fn wire(self, begun: &AtomicUsize) -> Result<(), String> {
        let mut raw = Raw::open(self.port).await;
        self.echoes(begun, async || {
            raw.send("x").await;
            expect(raw.some().await.map_err(|end| format!("{end:?}")), b"x".to_vec())
        })
        .await?;
        raw.finish().await;
        expect(Ok::<_, String>(raw.rest(SOON).await), (Vec::new(), End::Fin))
    }
}

fn text(error: impl std::fmt::Debug) -> String {
    format!("{error:?}")
}

fn expect<T: PartialEq + std::fmt::Debug>(
    result: Result<T, impl std::fmt::Debug>,
    wanted: T,
) -> Result<(), String> {
    let got = result.map_err(text)?;
    if got == wanted { Ok(()) } else { Err(format!("{got:?} instead of {wanted:?}")) }
}

/// Starts as many things as the case asks for, of every kind, and waits until all are in flight.
async fn in_flight(everything: &Everything) -> JoinSet<(usize, Result<(), String>)> {
    let (count, shortest, spread) = if long() { (100, 5_000, 150) } else { (25, 1_500, 60) };
    let port = everything.port().await.unwrap();
    let door = everything.server.listen().http;
    let (mut flights, begun) = (JoinSet::new(), Arc::new(AtomicUsize::new(0)));
    let mut held = 0;
    for number in 0..count {
        let lasts = Duration::from_millis(shortest + spread * number);
        let kind = usize::try_from(number).unwrap() % 5;
        let flight = Flight { kind, door, port, lasts };
        held += u64::from(flight.is_held());
        let begun = begun.clone();
        flights.spawn_local(async move { (kind, flight.run(begun).await) });
    }
    let others = usize::try_from(count - held).unwrap();
    let all = async || {
        let waiting = everything.web.tally().get(|tally| &tally.waiting);
        (waiting == held && begun.load(Ordering::Relaxed) == others).then_some(())
    };
    until("everything is in flight", SOON, all).await;
    flights
}

async fn all_end_well(everything: &Everything, mut flights: JoinSet<(usize, Result<(), String>)>) {
    everything.web.tally().let_go();
    while let Some(ended) = within("all ends", Duration::from_secs(40), flights.join_next()).await {
        let (kind, result) = ended.unwrap();
        assert_eq!(result, Ok(()), "kind {kind}");
    }
}

/// D11, the server: what is in flight ends well, HTTP/2 hears a farewell, nobody new comes in, the exit code is 0.
#[tokio::test]
async fn d11_a_server_that_drains_finishes_what_is_in_flight() {
    LocalSet::new().run_until(server_drains()).await;
}

async fn server_drains() {
    let mut everything = Everything::up().await;
    let door = everything.server.listen().http;
    let mut idle = Framer::connect(door).await;
    let flights = in_flight(&everything).await;
    everything.server.program.signal(Signal::TERM);
    while within("the farewell", SOON, idle.hear(0)).await.0 != GOAWAY {}
    let refused = async || match visitor::try_get(door, HOST, "/").await {
        Err(_) => Some(()),
        Ok(answer) => (answer.status == 503 && !answer.field("retry-after").is_empty()).then_some(()),
    };
    until("nobody new comes in", SOON, refused).await;
    everything.client.says("the server drains the session", SOON).await;
    all_end_well(&everything, flights).await;
    let (status, _) = everything.server.program.ended(SOON).await;
    assert_eq!(status.code(), Some(0), "{}", everything.server.program.said());
}

/// D11, the client: the same by the command, which says how it went.
#[tokio::test]
async fn d11_a_client_that_drains_finishes_what_is_in_flight() {
    LocalSet::new().run_until(client_drains()).await;
}

async fn client_drains() {
    let mut everything = Everything::up().await;
    let flights = in_flight(&everything).await;
    let drain = everything.home.start(&["drain", "--json"]);
    let gone = async || matches!(everything.server.visit(HOST, "/").await, 404 | 503).then_some(());
    until("the names are given back", SOON, gone).await;
    all_end_well(&everything, flights).await;
    let (status, _) = everything.client.ended(SOON).await;
    assert_eq!(status.code(), Some(0), "{}", everything.client.said());
    let done = drain.finished(SOON).await;
    assert!(done.code == Some(0) && done.stdout.contains("\"cut\":0"), "{}", done.text());
}

/// D11: a client with two servers is at the other one before the first has ended.
#[tokio::test]
async fn d11_a_client_goes_to_another_server_first() {
    let (server, home, service) = (Tunneld::start().await, Home::new(), HttpService::start().await);
    let other = server.twin().await;
    let config = format!(
        "servers = [\"{}\", \"{}\"]\nconnections = 1\n\
         tunnel = [{{ name = \"demo\", kind = \"http\", host = \"demo\", to = \"{}\" }}]\n",
        server.listen().tunnel,
        other.listen().tunnel,
        service.addr()
    );
    let _client = home.run(&server.join(), &config);
    server.serves(HOST, SOON).await;
    let mut slow = Raw::open(server.listen().http).await;
    slow.send(format!("GET /held HTTP/1.1\r\nHost: {HOST}\r\nConnection: close\r\n\r\n")).await;
    let there = async || (service.tally().get(|tally| &tally.waiting) == 1).then_some(());
    until("the request is at the service", SOON, there).await;
    let drain = server.admin(&["drain", "--deadline", "20s"]);
    let moves = async {
        let took = other.serves(HOST, SOON).await;
        assert!(took < promised(Duration::from_secs(2)), "{took:?}");
        assert_eq!(server.sessions().await, 1, "the old session is there while its request is");
        service.tally().let_go();
    };
    let (drained, ()) = tokio::join!(drain, moves);
    assert!(
        drained.code == Some(0) && drained.stdout.contains("all work was finished"),
        "{}",
        drained.text()
    );
    assert!(slow.head().await.starts_with("HTTP/1.1 200"));
}

/// What the deadline cuts is counted, and said.
#[tokio::test]
async fn a_drain_says_what_its_deadline_has_cut() {
    let everything = Everything::up().await;
    let mut held = Raw::open(everything.port().await.unwrap()).await;
    held.send("x").await;
    assert_eq!(held.exactly(1).await, b"x");
    let done = everything.server.admin(&["drain", "--deadline", "1s"]).await;
    assert!(
        done.code == Some(0) && done.stdout.contains("1 requests and connections were cut"),
        "{}",
        done.text()
    );
    assert_eq!(held.rest(SOON).await.1, End::Reset);
}

/// Whoever said ten minutes may say a second later on, of either program; a client may be gone when it is asked how it went.
#[tokio::test]
async fn the_deadline_of_a_drain_that_goes_on_can_be_moved() {
    for which in ["server", "client"] {
        let everything = Everything::up().await;
        let mut held = Raw::open(everything.port().await.unwrap()).await;
        held.send("x").await;
        assert_eq!(held.exactly(1).await, b"x");
        let drain = async |deadline: &str| match which {
            "server" => everything.server.admin(&["drain", "--deadline", deadline]).await,
            _ => everything.home.command(&["drain", "--deadline", deadline]).await,
        };
        let again = async {
            let begun = async || {
                let said = match which {
                    "server" => everything.server.program.said(),
                    _ => everything.client.said(),
                };
                (said.contains("the operator asks for it") || said.contains("waiting for work in progress"))
                    .then_some(())
            };
            until("it drains", SOON, begun).await;
            drain(if which == "server" { "1s" } else { "0s" }).await
        };
        let (first, second) = tokio::join!(drain("10m"), again);
        for done in [&first, &second] {
            assert_eq!(done.code, Some(0), "{which}: {}", done.text());
            assert!(done.stdout.contains("1 requests and connections were cut"), "{}", done.text());
        }
        assert!(
            second.text().contains("draining already") && second.text().contains("1"),
            "{}",
            second.text()
        );
        assert!(!first.text().contains("draining already"), "{}", first.text());
        assert_eq!(held.rest(SOON).await.1, End::Reset);
    }
}

/// D08: sessions are replaced again and again under load, and nobody notices; a download stays where it is.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn d08_sessions_are_rotated_and_nobody_notices() {
    let (requests, visitors) = if long() { (100_000, 50) } else { (6_000, 10) };
    let (server, home, service) = (Tunneld::start().await, Home::new(), HttpService::start().await);
    let config = format!(
        "connections = 1\nrotation = {{ substreams = 1000 }}\n\
         tunnel = [{{ name = \"demo\", kind = \"http\", host = \"demo\", to = \"{}\" }}]\n",
        service.addr()
    );
    let client = home.run(&server.join(), &config);
    server.serves(HOST, SOON).await;
    let door = server.listen().http;
    // It ends when the last of its events does: as late as the load, or later.
    let mut download = Raw::open(door).await;
    download.send(format!("GET /sse?n=100000&ms=100 HTTP/1.0\r\nHost: {HOST}\r\n\r\n")).await;
    assert!(download.head().await.contains(" 200"));
    let mut load = JoinSet::new();
    for _ in 0..visitors {
        load.spawn(async move {
            let mut visitor = Visitor::connect(door).await.unwrap();
            for number in 0..requests / visitors {
                let answer = visitor.whole(request("GET", HOST, "/", empty())).await;
                let answer = answer.unwrap_or_else(|error| panic!("request {number}: {error:?}"));
                assert_eq!(answer.status, 200, "request {number}: {}", answer.text());
            }
        });
    }
    while let Some(ended) = load.join_next().await {
        ended.unwrap();
        download.some().await.unwrap();
    }
    let replaced = server.metric("tunnel_session_replaced_total").await;
    assert!(replaced >= 2.0, "{replaced}");
    // The first session carries the download, the last one everything else.
    let several = async || (server.sessions().await == 2).then_some(());
    until("the sessions between them are gone", SOON, several).await;
    download.some().await.unwrap();
    drop(download);
    server.has_sessions(1, SOON).await;
    assert!(!client.said().contains("lost"), "{}", client.said());
    println!("{requests} requests over {replaced} rotations");
}
