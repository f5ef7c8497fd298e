//! Every row of `vectors/requests.txt`, at a real ingress with a real service behind it.

use std::io::ErrorKind;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::answers::answers;
use super::backend::Backend;
use super::fixture::*;

/// Sent behind the bytes of every row. It must be seen where the connection goes on, and nowhere else.
const PROBE: &[u8] = b"GET /probe HTTP/1.1\r\nHost: app.test\r\nConnection: close\r\n\r\n";

#[derive(Debug)]
struct Row {
    name: &'static str,
    answers: Vec<u16>,
    open: bool,
    requests: usize,
    bytes: Vec<u8>,
}

fn rows() -> Vec<Row> {
    let lines = include_str!("vectors/requests.txt").lines();
    let rows = lines.filter(|line| !line.is_empty() && !line.starts_with('#')).map(|line| {
        let mut parts = line.splitn(5, '|');
        let mut part = || parts.next().unwrap_or_else(|| panic!("a row of five parts: {line}"));
        let name = part().trim();
        let answers = part().split(',').map(|status| status.trim().parse().unwrap()).collect();
        let open = match part().trim() {
            "open" => true,
            "close" => false,
            other => panic!("{name}: {other}"),
        };
        let requests = part().trim().parse().unwrap();
        let bytes = part();
        let bytes = unescape(bytes.strip_prefix(' ').unwrap_or(bytes).as_bytes());
        Row { name, answers, open, requests, bytes }
    });
    rows.collect()
}

/// Single bytes for `\r \n \t \0 \\ \xNN`, and `\*N(text)` as the text N times.
fn unescape(text: &[u8]) -> Vec<u8> {
    let (mut out, mut rest) = (Vec::new(), text);
    while let [byte, behind @ ..] = rest {
        rest = behind;
        if *byte != b'\\' {
            out.push(*byte);
            continue;
        }
        let (escape, behind) = rest.split_first().unwrap();
        rest = behind;
        match escape {
            b'r' => out.push(b'\r'),
            b'n' => out.push(b'\n'),
            b't' => out.push(b'\t'),
            b'0' => out.push(0),
            b'\\' => out.push(b'\\'),
            b'x' => {
                let digits = std::str::from_utf8(&rest[..2]).unwrap();
                out.push(u8::from_str_radix(digits, 16).unwrap());
                rest = &rest[2..];
            }
            b'*' => {
                let open = rest.iter().position(|byte| *byte == b'(').unwrap();
                let times = std::str::from_utf8(&rest[..open]).unwrap().parse().unwrap();
                let mut depth = 0;
                let close = rest.iter().position(|byte| {
                    depth += i32::from(*byte == b'(') - i32::from(*byte == b')');
                    depth == 0 && *byte == b')'
                });
                let close = close.unwrap();
                out.extend(unescape(&rest[open + 1..close]).repeat(times));
                rest = &rest[close + 1..];
            }
            other => panic!("no escape: {}", char::from(*other)),
        }
    }
    out
}

/// What is wrong with what became of `row`.
async fn check(row: &Row, world: &World, backend: &Backend, cut: bool) -> Result<(), String> {
    let mut visitor = TcpStream::connect(world.http).await.unwrap();
    visitor.set_nodelay(true).unwrap();
    let (mut from, mut to) = visitor.split();
    let mut heard = Vec::new();
    let saying = async {
        let bytes = [&row.bytes, PROBE].concat();
        let pieces = if cut && bytes.len() < 2000 { bytes.chunks(1) } else { bytes.chunks(bytes.len()) };
        for piece in pieces {
            // A connection that was closed takes no more.
            if to.write_all(piece).await.is_err() {
                return;
            }
        }
    };
    let hearing = async {
        timeout(LIMIT / 2, from.read_to_end(&mut heard)).await.map_err(|_| "it stays open".to_owned())
    };
    let (ended, ()) = tokio::join!(hearing, saying);
    let got = answers(&heard)?;
    let statuses: Vec<_> = got.iter().map(|answer| answer.status).collect();
    match ended? {
        // hyper gives a connection away, and does not shut it down, when a request could have been an upgrade: what the
        // visitor is still saying then can be answered with a reset behind the answer.
        Err(error) if !(cut && error.kind() == ErrorKind::ConnectionReset) => {
            return Err(format!("{error} behind {statuses:?}"));
        }
        _ => {}
    }
    let seen = backend.take();
    let mut expected = row.answers.clone();
    expected.extend(row.open.then_some(200));
    if statuses != expected {
        return Err(format!("answered {statuses:?}, not {expected:?}"));
    }
    if seen.len() != row.requests + usize::from(row.open) || seen.iter().any(|path| path == "/smuggled") {
        return Err(format!("the service has seen {seen:?}"));
    }
    let last = got.last().ok_or("no answer")?;
    if !last.head.contains("connection: close\r\n") && !last.head.starts_with("http/1.0") {
        return Err(format!("the visitor is not told of the end: {}", last.head));
    }
    let ours = [400, 414, 417, 431, 501, 505].contains(&last.status);
    if ours && !last.head.contains("x-tunnel-error: bad-request\r\n") {
        return Err(format!("no answer of ours: {}", last.head));
    }
    Ok(())
}

fn check_all(cut: bool) {
    let service = ByHand::new();
    run(service.addr(), move |world| async move {
        let backend = Backend::serve(service);
        let mut wrong = Vec::new();
        for row in rows() {
            if let Err(why) = check(&row, &world, &backend, cut).await {
                wrong.push(format!("{}: {why}", row.name));
            }
        }
        assert!(wrong.is_empty(), "{} rows:\n{}", wrong.len(), wrong.join("\n"));
    });
}

#[test]
fn every_request_of_the_vectors_gets_its_verdict() {
    let rows = rows();
    assert!(rows.len() > 180);
    for (index, row) in rows.iter().enumerate() {
        assert!(rows[..index].iter().all(|other| other.name != row.name), "{} is there twice", row.name);
    }
    check_all(false);
}

#[test]
fn every_request_of_the_vectors_gets_its_verdict_byte_by_byte() {
    check_all(true);
}

#[test]
fn what_the_guard_closes_is_counted() {
    let service = ByHand::new();
    run(service.addr(), |world| async move {
        let backend = Backend::serve(service);
        for name in ["length-and-chunked", "fields-101", "target-above-16-kibibytes", "chunk-size-with-plus"]
        {
            let row = rows().into_iter().find(|row| row.name == name).unwrap();
            assert_eq!(check(&row, &world, &backend, false).await, Ok(()), "{name}");
        }
        let metrics = world.server.metrics.encode().unwrap();
        for (reason, count) in [("bad-head", 1), ("large-head", 2), ("bad-body", 1)] {
            let line = format!("guard_closed_total{{reason=\"{reason}\"}} {count}\n");
            assert!(metrics.contains(&line), "{line}");
        }
    });
}

#[test]
fn what_is_said_before_a_101_is_the_other_protocols() {
    let service = ByHand::new();
    run(service.addr(), |world| async move {
        let service = service.listen();
        let mut visitor = Peer::connect(world.http).await;
        let raw = format!("GET /raw HTTP/1.1\n\n\0{}end", "x".repeat(40_000));
        let upgrade = "GET / HTTP/1.1\r\nHost: app.test\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n";
        visitor.say([upgrade, &raw].concat()).await;
        let mut connection = Peer::accept(&service).await;
        connection.head().await;
        connection.say("HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n").await;
        visitor.head().await;
        assert_eq!(connection.hear("end").await, raw);
    });
}
