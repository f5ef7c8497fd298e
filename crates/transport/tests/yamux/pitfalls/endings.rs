//! An end, a reset, a death and a farewell are four things.

use std::future::{Future, poll_fn};
use std::io::ErrorKind;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Waker};

use bytes::Bytes;
use futures_util::FutureExt;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio_util::compat::{FuturesAsyncReadCompatExt, TokioAsyncReadCompatExt};
use transport::session::{OpenError, Role, SessionEnd};
use yamux::{Config, Connection, Mode};

use super::stuck::{Bell, beside, is_stuck};
use crate::crate_peer::CratePeer;
use crate::ours::{begin, pattern, run};
use crate::raw::{ACK, DATA, FIN, GO_AWAY, RST, Raw, SYN, UPDATE, WINDOW, data, frame};

#[test]
fn an_end_a_reset_and_a_death_read_differently_before_and_after_a_half_close() {
    run(|spawner| async move {
        for half_closed in [false, true] {
            let (mut raw, link) = Raw::new();
            let (session, mut inbound) = begin(link, Role::Server, &spawner);
            raw.send(&[1, 3, 5].map(|id| data(SYN, id, b"head")).concat()).await;
            let mut substreams = Vec::new();
            for _ in 0..3 {
                let mut substream = inbound.accept().await.unwrap();
                if half_closed {
                    substream.shutdown().await.unwrap();
                }
                substreams.push(substream);
            }
            raw.send(&[data(FIN, 1, b"."), frame(UPDATE, RST, 3, 0)].concat()).await;
            raw.settle().await;
            drop(raw);
            assert_eq!(session.closed().await, SessionEnd::ClosedByPeer);
            let mut came = Vec::new();
            for mut substream in substreams {
                let mut bytes = Vec::new();
                let end = substream.read_to_end(&mut bytes).await.map_err(|error| error.kind());
                came.push((bytes, end));
            }
            let expected = [
                (b"head.".to_vec(), Ok(5)),
                (b"head".to_vec(), Err(ErrorKind::ConnectionReset)),
                (b"head".to_vec(), Err(ErrorKind::ConnectionAborted)),
            ];
            assert_eq!(came, expected);
        }
    });
}

#[tokio::test(start_paused = true)]
async fn the_crate_reads_all_of_them_as_an_end() {
    let (mut raw, link) = Raw::new();
    let (mut peer, driver) = CratePeer::new(link, Mode::Server, Config::default());
    beside(driver, async {
        raw.send(&[1, 3, 5].map(|id| data(SYN, id, b"head")).concat()).await;
        let mut streams = Vec::new();
        for _ in 0..3 {
            streams.push(peer.accept().await.unwrap());
        }
        raw.send(&[data(FIN, 1, b""), frame(UPDATE, RST, 3, 0)].concat()).await;
        raw.settle().await;
        drop(raw);
        assert!(peer.accept().await.is_none());
        for mut stream in streams {
            let mut bytes = Vec::new();
            assert_eq!(stream.read_to_end(&mut bytes).await.unwrap(), 4);
        }
    })
    .await;
}

#[test]
fn a_substream_that_was_ended_and_then_dropped_is_reset_at_who_still_writes() {
    run(|spawner| async move {
        let (mut raw, link) = Raw::new();
        let (session, mut inbound) = begin(link, Role::Server, &spawner);
        raw.send(&data(SYN, 1, b"head")).await;
        let mut substream = inbound.accept().await.unwrap();
        substream.shutdown().await.unwrap();
        drop(substream);
        let frames = raw.until(|frame| frame.has(RST)).await;
        assert!(frames.iter().any(|frame| frame.has(FIN)), "{frames:?}");
        assert_eq!(session.substreams_open(), 0);
        // What crossed it on the way is no breach.
        raw.send(&data(0, 1, &pattern(1, WINDOW - 4))).await;
        raw.settle().await;
    });
}

#[test]
fn the_writer_of_the_crate_is_not_left_waiting_for_a_reader_that_went() {
    run(|spawner| async move {
        let (link, other) = tokio::io::duplex(1 << 16);
        let (_session, mut inbound) = begin(link, Role::Server, &spawner);
        let peer = CratePeer::start(other, Mode::Client, &spawner);
        let mut theirs = peer.open().await;
        let mut ours = inbound.accept().await.unwrap();
        ours.shutdown().await.unwrap();
        drop(ours);
        // More than a window.
        assert!(theirs.write_all(&pattern(1, 2 * WINDOW)).await.is_err());
    });
}

#[tokio::test(start_paused = true)]
async fn the_crate_leaves_the_writer_waiting_for_a_reader_that_went() {
    let (mut raw, link) = Raw::new();
    let (mut peer, driver) = CratePeer::new(link, Mode::Server, Config::default());
    beside(driver, async {
        raw.send(&data(SYN, 1, b"")).await;
        let mut stream = peer.accept().await.unwrap();
        stream.shutdown().await.unwrap();
        drop(stream);
        raw.until(|frame| frame.has(FIN)).await;
        raw.send(&data(0, 1, &pattern(1, WINDOW))).await;
        // No reset, and no credit either.
        assert_eq!(raw.settle().await, []);
        assert!(is_stuck(raw.next()).await);
    })
    .await;
}

#[test]
fn what_was_written_before_a_drop_arrives() {
    run(|spawner| async move {
        let (link, other) = tokio::io::duplex(2048);
        let (session, _inbound) = begin(link, Role::Client, &spawner);
        let mut peer = CratePeer::start(other, Mode::Server, &spawner);
        // As much as there is credit for, and it was neither flushed nor ended.
        let text = pattern(1, WINDOW);
        drop(session.open(Bytes::from(text.clone())).unwrap());
        let mut got = Vec::new();
        peer.accept().await.unwrap().read_to_end(&mut got).await.unwrap();
        assert!(got == text, "{} bytes", got.len());
    });
}

#[test]
fn what_was_written_before_a_close_of_the_session_arrives() {
    run(|spawner| async move {
        let (mut raw, link) = Raw::with_link(2048);
        let (session, _inbound) = begin(link, Role::Client, &spawner);
        let text = pattern(1, WINDOW);
        let mut substream = session.open(Bytes::from(text.clone())).unwrap();
        substream.shutdown().now_or_never();
        session.close();
        let frames = raw.rest().await;
        let got: Vec<u8> = frames.iter().flat_map(|frame| frame.payload.clone()).collect();
        assert!(got == text, "{} bytes", got.len());
        assert!(frames.iter().any(|frame| frame.kind == DATA && frame.has(FIN)));
    });
}

#[test]
fn a_flush_waits_until_the_bytes_have_left() {
    run(|spawner| async move {
        let (mut raw, link) = Raw::with_link(2048);
        let (session, _inbound) = begin(link, Role::Client, &spawner);
        let text = pattern(1, WINDOW);
        let mut substream = session.open(Bytes::from(text.clone())).unwrap();
        // The link takes a hundredth of it.
        raw.until(|frame| frame.has(SYN)).await;
        assert!(substream.flush().now_or_never().is_none());
        let mut came = 0;
        let take = raw.until(|frame| {
            came += frame.payload.len();
            came == WINDOW
        });
        let (flushed, _) = tokio::join!(substream.flush(), take);
        flushed.unwrap();
    });
}

#[tokio::test]
async fn the_crate_calls_flushed_what_never_left() {
    let (raw, link) = Raw::new();
    let mut connection = Connection::new(link.compat(), Config::default(), Mode::Client);
    let mut stream = poll_fn(|cx| connection.poll_new_outbound(cx)).await.unwrap().compat();
    stream.write_all(b"last words").await.unwrap();
    stream.flush().await.unwrap();
    drop(connection);
    let Raw { mut link, .. } = raw;
    assert_eq!(link.read(&mut [0]).await.unwrap(), 0);
}

#[test]
fn a_farewell_cuts_nothing_that_is_open() {
    run(|spawner| async move {
        let (mut raw, link) = Raw::new();
        let (session, mut inbound) = begin(link, Role::Client, &spawner);
        let mut opened = session.open(Bytes::from_static(b"question")).unwrap();
        raw.send(&data(SYN, 2, b"head")).await;
        let mut accepted = inbound.accept().await.unwrap();
        raw.send(&frame(GO_AWAY, 0, 0, 0)).await;
        raw.send(&[data(ACK | FIN, 1, b"answer"), data(FIN, 2, b" and tail")].concat()).await;
        let (mut answer, mut tail) = (String::new(), String::new());
        opened.read_to_string(&mut answer).await.unwrap();
        accepted.read_to_string(&mut tail).await.unwrap();
        assert_eq!((answer.as_str(), tail.as_str()), ("answer", "head and tail"));
        accepted.write_all(b"late").await.unwrap();
        raw.until(|frame| frame.id == 2 && frame.payload == b"late").await;
        // But nothing is opened.
        assert!(session.is_closed());
        assert_eq!(session.open(Bytes::new()).unwrap_err(), OpenError::Lost);
    });
}

#[test]
fn a_farewell_because_of_an_error_is_a_death() {
    run(|spawner| async move {
        let (mut raw, link) = Raw::new();
        let (session, _inbound) = begin(link, Role::Client, &spawner);
        let mut substream = session.open(Bytes::from_static(b"question")).unwrap();
        substream.shutdown().await.unwrap();
        raw.send(&frame(GO_AWAY, 0, 0, 2)).await;
        assert_eq!(session.closed().await, SessionEnd::ClosedByPeer);
        assert_eq!(substream.read(&mut [0]).await.unwrap_err().kind(), ErrorKind::ConnectionAborted);
    });
}

#[tokio::test(start_paused = true)]
async fn the_crate_cuts_everything_at_a_farewell() {
    let (mut raw, link) = Raw::new();
    let (peer, driver) = CratePeer::new(link, Mode::Client, Config::default());
    beside(driver, async {
        let mut stream = peer.open().await;
        raw.until(|frame| frame.has(SYN)).await;
        raw.send(&[frame(GO_AWAY, 0, 0, 0), data(ACK | FIN, 1, b"answer")].concat()).await;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        assert_eq!(answer, "", "and this looks like an end");
    })
    .await;
}

#[test]
fn who_waits_to_read_is_told_of_our_own_close() {
    run(|spawner| async move {
        let (_raw, link) = Raw::new();
        let (session, mut inbound) = begin(link, Role::Client, &spawner);
        let mut open = session.open(Bytes::new()).unwrap();
        let mut half_closed = session.open(Bytes::new()).unwrap();
        half_closed.shutdown().await.unwrap();
        let mut bytes = [[0], [0]];
        let [first, second] = &mut bytes;
        let close = async { session.close() };
        // They wait before it.
        let (read, read_half_closed, accepted, ()) =
            tokio::join!(open.read(first), half_closed.read(second), inbound.accept(), close);
        for read in [read, read_half_closed, open.read(first).await] {
            assert_eq!(read.unwrap_err().kind(), ErrorKind::ConnectionAborted);
        }
        assert!(accepted.is_none());
    });
}

#[tokio::test]
async fn the_crate_does_not_tell_who_waits_to_read_of_its_own_close() {
    let (_raw, link) = Raw::new();
    let mut connection = Connection::new(link.compat(), Config::default(), Mode::Client);
    let mut stream = poll_fn(|cx| connection.poll_new_outbound(cx)).await.unwrap().compat();
    let bell = Arc::new(Bell::default());
    let waker = Waker::from(bell.clone());
    let mut byte = [0];
    let mut read = pin!(stream.read(&mut byte));
    assert!(read.as_mut().poll(&mut Context::from_waker(&waker)).is_pending());
    poll_fn(|cx| connection.poll_close(cx)).await.unwrap();
    assert!(!bell.rang());
}
