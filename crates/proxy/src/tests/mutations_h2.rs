//! Streams of HTTP/2 with fields and bodies that parsers of HTTP/1.1 have fallen for, and with damaged frames: what the
//! service sees is what visitors asked for, once, and what the ingress says of it.

use std::collections::{HashMap, HashSet};
use std::env;
use std::net::SocketAddr;
use std::time::Duration;

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use tokio::task::JoinSet;
use tokio::time::timeout;

use super::backend::Backend;
use super::fixture::*;
use super::visitor_h2::*;
use crate::access::AccessLine;

/// Connections at once.
const BATCH: u64 = 40;
const BATCHES: u64 = 8;

const DATA: u8 = 0;
const PING: u8 = 6;
const ACK: u8 = 1;
const ECHO: [u8; 8] = *b"the last";

const FIELDS: [(&str, &str); 20] = [
    ("content-length", "5"),
    ("content-length", "0"),
    ("content-length", "+5"),
    ("content-length", "5, 5"),
    ("content-length ", "5"),
    ("content_length", "5"),
    ("transfer-encoding", "chunked"),
    ("transfer-encoding\r\nx-a", "chunked"),
    ("te", "trailers, chunked"),
    ("connection", "close"),
    ("host", "other.test"),
    ("host", HOST),
    ("x-a", "b\r\n\r\nGET /smuggled HTTP/1.1\r\nhost: app.test\r\n\r\n"),
    ("x-a", "b\nc: d"),
    ("x-a\0", "b"),
    ("", "b"),
    (":path", "/smuggled"),
    (":authority", "other.test"),
    ("expect", "100-continue"),
    ("upgrade", "x"),
];

const PIECES: [&[u8]; 6] = [
    b"hello",
    b"",
    b"0\r\n\r\n",
    b"\r\n\r\n",
    b"GET /smuggled HTTP/1.1\r\nHost: app.test\r\n\r\n",
    b"0\r\n\r\nGET /smuggled HTTP/1.1\r\nHost: app.test\r\n\r\n",
];

/// What a visitor says on one connection, frame by frame.
struct Script {
    frames: Vec<Vec<u8>>,
    /// Streams that are whole, with their paths.
    streams: HashMap<u32, String>,
    damaged: bool,
}

fn script(random: &mut StdRng, id: u64) -> Script {
    let (mut frames, mut streams) = (Vec::new(), HashMap::new());
    for number in 0..random.random_range(1..4u32) {
        let (stream, path) = (2 * number + 1, format!("/{id}/{number}"));
        let method = ["GET", "POST", "PUT"][random.random_range(0..3)];
        let mut fields =
            vec![(":method", method), (":scheme", "http"), (":authority", HOST), (":path", &*path)];
        for _ in 0..random.random_range(0..3) {
            let at = if random.random_range(0..8) == 0 {
                random.random_range(0..=fields.len())
            } else {
                fields.len()
            };
            fields.insert(at, FIELDS[random.random_range(0..FIELDS.len())]);
        }
        let pieces = random.random_range(0..3);
        let end = if pieces == 0 { END_STREAM } else { 0 };
        frames.push(frame(HEADERS, END_HEADERS | end, stream, &block(&fields)));
        for piece in 0..pieces {
            let end = if piece + 1 == pieces { END_STREAM } else { 0 };
            frames.push(frame(DATA, end, stream, PIECES[random.random_range(0..PIECES.len())]));
        }
        streams.insert(stream, path);
    }
    let damaged = random.random();
    if damaged {
        damage(&mut frames, random);
    }
    Script { frames, streams, damaged }
}

fn damage(frames: &mut Vec<Vec<u8>>, random: &mut StdRng) {
    let at = random.random_range(0..frames.len());
    match random.random_range(0..5) {
        0 => drop(frames.remove(at)),
        1 => frames.insert(at, frames[at].clone()),
        2 => {
            let other = random.random_range(0..frames.len());
            frames.swap(at, other);
        }
        3 => drop(frames[at].pop()),
        _ => {
            let byte = random.random_range(0..frames[at].len());
            frames[at][byte] = random.random();
        }
    }
}

/// What became of a connection.
struct Outcome {
    visitor: SocketAddr,
    paths: Vec<String>,
    /// Of the streams that were answered with 200; none if the frames were damaged.
    answered: Option<usize>,
}

async fn visit(world: SocketAddr, script: Script) -> Outcome {
    let Script { frames, streams, damaged } = script;
    let mut visitor = Framer(Peer::connect(world).await);
    let address = visitor.0.0.local_addr().unwrap();
    let mut bytes = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec();
    bytes.extend(frame(SETTINGS, 0, 0, &[]));
    bytes.extend(frames.concat());
    bytes.extend(frame(PING, 0, 0, &ECHO));
    visitor.0.say(bytes).await;
    let (mut left, mut echoed, mut answered) = (streams.keys().copied().collect::<HashSet<_>>(), false, 0);
    // The head of a response comes before its end.
    while !echoed || (!damaged && !left.is_empty()) {
        // A damaged frame may be one that is never whole.
        let patience = if damaged { Duration::from_millis(300) } else { LIMIT };
        let Ok(Some((kind, flags, stream, payload))) = timeout(patience, visitor.next()).await else { break };
        match kind {
            PING if flags & ACK != 0 && payload == ECHO => echoed = true,
            GOAWAY => break,
            // `:status: 200` is one byte (RFC 7541 appendix A).
            HEADERS => answered += usize::from(payload.first() == Some(&0x88)),
            _ => {}
        }
        if kind == RST_STREAM || (matches!(kind, HEADERS | DATA) && flags & END_STREAM != 0) {
            left.remove(&stream);
        }
    }
    let answered = Some(answered).filter(|_| !damaged && left.is_empty());
    Outcome { visitor: address, paths: streams.into_values().collect(), answered }
}

fn succeeded(line: &AccessLine) -> bool {
    line.status == Some(200) && line.error.is_none()
}

#[test]
fn streams_are_the_same_requests_on_both_sides() {
    let batches = if env::var_os("TUNNEL_FULL").is_some() { 20 * BATCHES } else { BATCHES };
    let seed: u64 =
        env::var("TUNNEL_SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or_else(rand::random);
    println!("seed {seed}, {} connections", batches * BATCH);
    let service = ByHand::new();
    run(service.addr(), move |world| async move {
        let backend = Backend::serve(service);
        let (mut served, mut made, mut known) = (Vec::new(), HashSet::new(), 0);
        for number in 0..batches {
            // A visitor of another batch may have had the same port.
            let told = world.server_lines.until(|_| true).await.len();
            let mut visiting = JoinSet::new();
            for id in number * BATCH..(number + 1) * BATCH {
                let mut random = StdRng::seed_from_u64(seed.wrapping_add(id));
                visiting.spawn(visit(world.http, script(&mut random, id)));
            }
            for Outcome { visitor, paths, answered } in visiting.join_all().await {
                made.extend(paths);
                let Some(answered) = answered else { continue };
                known += answered;
                let count = |lines: &[AccessLine]| {
                    let fresh = lines[told..].iter();
                    fresh.filter(|line| line.visitor == Some(visitor) && succeeded(line)).count()
                };
                let lines = world.server_lines.until(|lines| count(lines) >= answered).await;
                assert_eq!(count(&lines), answered, "seed {seed}");
            }
        }
        let lines = world.server_lines.until(|_| true).await;
        served.extend(backend.take());
        let path =
            |line: &AccessLine| line.path.as_ref().map(|path| path.path().to_owned()).unwrap_or_default();
        let mut once = HashSet::new();
        for path in &served {
            assert!(made.contains(path), "{path} was served, and nobody has asked for it; seed {seed}");
            assert!(once.insert(path), "{path} was served twice; seed {seed}");
        }
        for line in lines.iter().filter(|line| succeeded(line)) {
            assert!(once.contains(&path(line)), "{} was not served; seed {seed}", path(line));
        }
        assert!(known > 0, "nothing was asked for");
    });
}
