//! Streams of requests that were damaged at random: whatever they are, the ingress and the service agree about which
//! requests there were.

use std::env;

use http::uri::PathAndQuery;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::timeout;

use super::answers::answers;
use super::backend::Backend;
use super::fixture::*;
use crate::access::AccessLine;
use crate::ingress::guard::{Requests, Verdict};

/// Connections at once.
const BATCH: u64 = 80;
/// Batches before both ends are made anew.
const BATCHES: u64 = 16;

/// Whole requests, each with a place for a path of its own.
const WHOLE: [&str; 8] = [
    "GET @ HTTP/1.1\r\nHost: app.test\r\n\r\n",
    "GET @ HTTP/1.1\r\nHost: app.test\r\nAccept: */*\r\nX-A: b\r\n\r\n",
    "POST @ HTTP/1.1\r\nHost: app.test\r\nContent-Length: 11\r\n\r\nhello world",
    "POST @ HTTP/1.1\r\nHost: app.test\r\nContent-Length: 42\r\n\r\nGET /smuggled HTTP/1.1\r\nHost: app.test\r\n\r\n",
    "POST @ HTTP/1.1\r\nHost: app.test\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
    "POST @ HTTP/1.1\r\nHost: app.test\r\nTransfer-Encoding: chunked\r\n\r\n\
     2a;x=y\r\nGET /smuggled HTTP/1.1\r\nHost: app.test\r\n\r\n\r\n0\r\nX-Sum: 1\r\n\r\n",
    "GET @ HTTP/1.0\r\nHost: app.test\r\nConnection: keep-alive\r\n\r\n",
    "GET @ HTTP/1.1\r\nHost: app.test\r\nConnection: keep-alive, upgrade\r\nUpgrade: x\r\n\r\n",
];

/// What parsers have disagreed about.
const PIECES: [&str; 40] = [
    "\r",
    "\n",
    "\r\n",
    "\r\n\r\n",
    "\n\n",
    " ",
    "\t",
    "\0",
    "\x0B",
    ":",
    ",",
    ";",
    "0",
    "1",
    "f",
    "+",
    "-",
    "_",
    "0x",
    "#",
    "Content-Length: 5\r\n",
    "Content-Length: 0\r\n",
    "Content-Length : 5\r\n",
    "Content_Length: 5\r\n",
    "Transfer-Encoding: chunked\r\n",
    "Transfer-Encoding: identity\r\n",
    "Transfer-Encoding:\r\n chunked\r\n",
    "Transfer-Encoding: chunked, identity\r\n",
    "transfer-encoding:\x0Bchunked\r\n",
    "chunked",
    ", chunked",
    "0\r\n\r\n",
    "5\r\nhello\r\n",
    ";a=b",
    "HTTP/1.0",
    "HTTP/1.1",
    "Connection: upgrade\r\nUpgrade: x\r\n",
    "Expect: 100-continue\r\n",
    "GET /smuggled HTTP/1.1\r\nHost: app.test\r\n\r\n",
    "\r\nHost: app.test",
];

/// A few requests, with a few damages.
fn stream(random: &mut StdRng, id: u64) -> Vec<u8> {
    let mut bytes = Vec::new();
    for request in 0..random.random_range(1..4) {
        let whole = WHOLE[random.random_range(0..WHOLE.len())];
        bytes.extend_from_slice(whole.replace('@', &format!("/{id}/{request}")).as_bytes());
    }
    for _ in 0..random.random_range(0..4) {
        damage(&mut bytes, random);
    }
    bytes
}

fn damage(bytes: &mut Vec<u8>, random: &mut StdRng) {
    let at = random.random_range(0..=bytes.len());
    let end = bytes.len().min(at + random.random_range(1..12));
    let lines: Vec<_> = (0..bytes.len()).filter(|at| bytes[..*at].ends_with(b"\n")).collect();
    let piece = PIECES[random.random_range(0..PIECES.len())].bytes();
    match random.random_range(0..7) {
        0 => drop(bytes.splice(at..at, piece)),
        1 => drop(bytes.splice(at..end, piece)),
        2 => drop(bytes.drain(at..end)),
        3 => {
            let again = bytes[at..end].to_vec();
            bytes.splice(at..at, again);
        }
        4 if at < bytes.len() => bytes[at] = random.random(),
        // Most of what is meant to be a line of its own becomes one.
        _ if !lines.is_empty() => {
            let at = lines[random.random_range(0..lines.len())];
            bytes.splice(at..at, piece);
        }
        _ => {}
    }
}

/// What became of one stream.
struct Outcome {
    visitor: std::net::SocketAddr,
    bytes: Vec<u8>,
    answered: usize,
}

async fn send(world: std::net::SocketAddr, bytes: Vec<u8>, cut: usize) -> Outcome {
    let mut visitor = TcpStream::connect(world).await.unwrap();
    let address = visitor.local_addr().unwrap();
    let (mut from, mut to) = visitor.split();
    let mut heard = Vec::new();
    let saying = async {
        let (first, second) = bytes.split_at(cut);
        // A connection that was closed takes no more.
        if to.write_all(first).await.is_ok() {
            tokio::task::yield_now().await;
            if to.write_all(second).await.is_ok() {
                let _ = to.shutdown().await;
            }
        }
    };
    let hearing = async {
        let end = timeout(LIMIT / 2, from.read_to_end(&mut heard)).await;
        assert!(end.is_ok(), "it stays open: {}", bytes.escape_ascii());
    };
    tokio::join!(saying, hearing);
    let answers = answers(&heard).unwrap_or_else(|odd| panic!("{odd:?} behind {}", bytes.escape_ascii()));
    let answered = answers.iter().filter(|answer| answer.status == 200).count();
    Outcome { visitor: address, bytes, answered }
}

fn succeeded(line: &AccessLine) -> bool {
    line.status == Some(200) && line.error.is_none()
}

async fn batch(world: &World, backend: &Backend, first: u64, seed: u64, told: usize) -> usize {
    let mut sending = JoinSet::new();
    for id in first..first + BATCH {
        let mut random = StdRng::seed_from_u64(seed.wrapping_add(id));
        let bytes = stream(&mut random, id);
        let cut = random.random_range(0..=bytes.len());
        sending.spawn(send(world.http, bytes, cut));
    }
    let outcomes = sending.join_all().await;
    let seen = backend.count();
    let all_told = |lines: &[AccessLine]| lines[told..].iter().filter(|line| succeeded(line)).count() >= seen;
    let lines = world.server_lines.until(all_told).await;
    let fresh = &lines[told..];
    let path = |line: &AccessLine| line.path.as_ref().map(PathAndQuery::path).unwrap_or_default().to_owned();
    let mut taken_in: Vec<_> = fresh.iter().filter(|line| succeeded(line)).map(path).collect();
    let mut served = backend.take();
    taken_in.sort();
    served.sort();
    assert_eq!(taken_in, served, "the ingress and the service disagree; seed {seed}, from {first} on");
    for Outcome { visitor, bytes, answered } in outcomes {
        let lines = || fresh.iter().filter(|line| line.visitor == Some(visitor));
        let text = bytes.escape_ascii();
        assert_eq!(lines().filter(|line| succeeded(line)).count(), answered, "seed {seed}: {text}");
        let mut requests = Requests::default();
        let refused = matches!(requests.advance(&bytes).verdict, Verdict::BadHead(_));
        let most = requests.heads() as usize + usize::from(refused);
        assert!(lines().count() <= most, "more than {most} requests; seed {seed}: {text}");
    }
    lines.len()
}

#[test]
fn d18_damaged_streams_are_the_same_requests_on_both_sides() {
    let worlds = if env::var_os("TUNNEL_FULL").is_some() { 20 } else { 2 };
    let seed = env::var("TUNNEL_SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or_else(rand::random);
    println!("seed {seed}, {} streams", worlds * BATCHES * BATCH);
    for number in 0..worlds {
        let service = ByHand::new();
        run(service.addr(), move |world| async move {
            let backend = Backend::serve(service);
            let mut told = 0;
            for batch_number in 0..BATCHES {
                let first = (number * BATCHES + batch_number) * BATCH;
                told = batch(&world, &backend, first, seed, told).await;
            }
        });
    }
}
