//! Every row of `vectors/requests.txt`, at a real ingress with a real service behind it.

mod rows;

use std::io::ErrorKind;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::answers::answers;
use super::backend::Backend;
use super::fixture::*;
use rows::{PROBE, Row, rows};

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
        for (reason, count) in [("bad-head", 1), ("large-head", 2), ("bad-body", 1)] {
            let line = format!("tunnel_guard_closed_total{{reason=\"{reason}\"}} {count}");
            until_counted(&world.server.metrics, &line).await;
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
