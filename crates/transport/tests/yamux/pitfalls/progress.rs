//! Nobody waits for ever, and nobody waits behind everybody else.

use std::cell::Cell;
use std::future::poll_fn;
use std::io::ErrorKind;
use std::pin::{Pin, pin};
use std::task::Poll;

use bytes::Bytes;
use futures_util::FutureExt;
use futures_util::future::{join, join_all, select};
use futures_util::io::AsyncRead as _;
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex, split};
use tokio::sync::mpsc;
use tokio_util::compat::{Compat, FuturesAsyncReadCompatExt, TokioAsyncReadCompatExt};
use transport::session::Role;
use yamux::{Config, Connection, Mode, Stream};

use super::stuck::{beside, is_stuck};
use crate::crate_peer::{CratePeer, CrateStream};
use crate::ours::{begin, exchange, pattern, run};
use crate::raw::{ACK, DATA, Frame, PING, Raw, SYN, UPDATE, WINDOW, data, frame};

/// Bytes on the way at most, each way: a link that is always full.
const NARROW: usize = 2048;

/// What a peer sends that does not read before it has sent it all.
fn monologue() -> Vec<u8> {
    let pings: Vec<u8> = (0..100).flat_map(|n| frame(PING, SYN, 0, n)).collect();
    [pings, data(SYN, 2, &pattern(1, 200_000))].concat()
}

#[test]
fn a_link_that_is_full_one_way_is_read_the_other_way() {
    run(|spawner| async move {
        let (mut raw, link) = Raw::with_link(NARROW);
        let (session, mut inbound) = begin(link, Role::Client, &spawner);
        let _full = session.open(Bytes::from(pattern(2, WINDOW))).unwrap();
        raw.send(&monologue()).await;
        let mut text = vec![0; 200_000];
        inbound.accept().await.unwrap().read_exact(&mut text).await.unwrap();
        assert!(text == pattern(1, 200_000));
        // Of a crowd of pings only the latest are answered.
        raw.until(|frame| frame.kind == PING && frame.flags == ACK && frame.length == 99).await;
    });
}

#[tokio::test(start_paused = true)]
async fn the_crate_reads_no_more_while_its_answer_to_a_ping_waits() {
    let (mut raw, link) = Raw::with_link(NARROW);
    let (peer, driver) = CratePeer::new(link, Mode::Client, Config::default());
    beside(driver, async {
        let mut full = peer.open().await;
        full.write_all(&pattern(2, 60_000)).await.unwrap();
        assert!(is_stuck(raw.send(&monologue())).await);
    })
    .await;
}

#[test]
fn full_links_both_ways_block_nobody() {
    run(|spawner| async move {
        let (here, there) = duplex(NARROW);
        let (client, _client_inbound) = begin(here, Role::Client, &spawner);
        let (_server, mut inbound) = begin(there, Role::Server, &spawner);
        let mut opened = client.open(Bytes::new()).unwrap();
        let mut accepted = inbound.accept().await.unwrap();
        let (up, down) = (pattern(1, 1 << 20), pattern(2, 1 << 20));
        let (got_down, got_up) = tokio::join!(exchange(&mut opened, &up), exchange(&mut accepted, &down));
        assert!(got_up == up && got_down == down);
    });
}

#[test]
fn full_links_both_ways_with_the_crate_block_nobody() {
    run(|spawner| async move {
        let (here, there) = duplex(NARROW);
        let (client, _client_inbound) = begin(here, Role::Client, &spawner);
        let mut peer = CratePeer::start(there, Mode::Server, &spawner);
        let mut opened = client.open(Bytes::new()).unwrap();
        let mut accepted = peer.accept().await.unwrap();
        let (up, down) = (pattern(1, 1 << 20), pattern(2, 1 << 20));
        let (got_down, got_up) = tokio::join!(exchange(&mut opened, &up), exchange(&mut accepted, &down));
        assert!(got_up == up && got_down == down);
    });
}

/// What an end of the crate has to send before it is driven for the first time: a ping, and more than a narrow link takes.
const LOADED: usize = 64 * 1024;

async fn loaded(io: DuplexStream, mode: Mode) -> (Connection<Compat<DuplexStream>>, CrateStream) {
    let mut connection = Connection::new(io.compat(), Config::default(), mode);
    let mut stream = poll_fn(|cx| connection.poll_new_outbound(cx)).await.unwrap().compat();
    stream.write_all(&pattern(1, LOADED)).await.unwrap();
    (connection, stream)
}

/// Drives an end of the crate for ever, and reads what it is sent.
async fn drive(mut connection: Connection<Compat<DuplexStream>>, got: &Cell<usize>) {
    let mut stream: Option<Stream> = None;
    let mut buffer = vec![0; LOADED];
    poll_fn(|cx| {
        while let Poll::Ready(next) = connection.poll_next_inbound(cx) {
            stream = Some(next.unwrap().unwrap());
        }
        while let Some(stream) = &mut stream
            && let Poll::Ready(n) = Pin::new(stream).poll_read(cx, &mut buffer)
        {
            got.set(got.get() + n.unwrap());
        }
        Poll::<()>::Pending
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn two_of_the_crate_block_each_other_on_a_narrow_link() {
    for (link, blocked) in [(1 << 20, false), (NARROW, true)] {
        let (here, there) = duplex(link);
        let (client, _first) = loaded(here, Mode::Client).await;
        let (server, _second) = loaded(there, Mode::Server).await;
        let got = Cell::new(0);
        let drivers = join(drive(client, &got), drive(server, &got));
        // Looked at whenever they have moved.
        let arrived = poll_fn(|_| if got.get() == 2 * LOADED { Poll::Ready(()) } else { Poll::Pending });
        assert_eq!(is_stuck(select(pin!(drivers), arrived)).await, blocked, "{} bytes came", got.get());
    }
}

#[test]
fn both_halves_of_a_substream_are_woken_each_for_its_own_reason() {
    const STEP: usize = 20_000;
    const STEPS: usize = 50;
    run(|spawner| async move {
        let (mut raw, link) = Raw::new();
        let (session, _inbound) = begin(link, Role::Client, &spawner);
        let substream = session.open(Bytes::from(pattern(1, WINDOW))).unwrap();
        raw.until(|frame| frame.has(SYN)).await;
        let mut came = 0;
        raw.until(|frame| {
            came += frame.payload.len();
            came >= WINDOW - 16_372
        })
        .await;
        let (mut reader, mut writer) = split(substream);
        let write = spawner.spawn(spawner.here(), "writer", async move {
            writer.write_all(&pattern(2, STEP * STEPS + WINDOW)).await
        });
        let (done, mut read) = mpsc::channel(1);
        spawner.spawn(spawner.here(), "reader", async move {
            while reader.read_exact(&mut [0; STEP]).await.is_ok() {
                done.send(()).await.unwrap();
            }
        });
        for step in 0..STEPS {
            let flags = if step == 0 { ACK } else { 0 };
            raw.send(&data(flags, 1, &pattern(step, STEP))).await;
            read.recv().await.unwrap();
            raw.send(&frame(UPDATE, 0, 1, u32::try_from(STEP).unwrap())).await;
            let mut came = 0;
            raw.until(|frame| {
                came += frame.payload.len();
                came >= STEP
            })
            .await;
        }
        // Both wait still, for more than there will be.
        drop(raw);
        assert!(read.recv().await.is_none());
        assert_eq!(write.await.unwrap().unwrap_err().kind(), ErrorKind::ConnectionAborted);
    });
}

#[test]
fn everyone_who_waits_for_a_session_is_told_of_its_end() {
    run(|spawner| async move {
        let (raw, link) = Raw::new();
        let (session, mut inbound) = begin(link, Role::Client, &spawner);
        let mut substreams: Vec<_> = (0..20).map(|_| session.open(Bytes::new()).unwrap()).collect();
        let waits = substreams.iter_mut().map(async |substream| substream.read(&mut [0]).await.is_err());
        let ends = [(); 3].map(|()| session.clone()).map(async |session| session.closed().await);
        let (reads, ends, accepted, ()) =
            tokio::join!(join_all(waits), join_all(ends), inbound.accept(), async { drop(raw) },);
        assert!(reads.into_iter().all(|told| told) && accepted.is_none());
        assert!(ends.iter().all(|end| *end == ends[0]));
    });
}

/// Substreams with much to send.
const BUSY: usize = 32;
/// What may go ahead of a short message: what waits below the order of the multiplexer.
const AHEAD_MAX: usize = 128 * 1024;

/// Bytes that come until there is a frame that `is_it`.
async fn bytes_before(raw: &mut Raw, is_it: impl Fn(&Frame) -> bool) -> usize {
    let mut bytes = 0;
    loop {
        let frame = raw.next().await.unwrap();
        if is_it(&frame) {
            return bytes;
        }
        bytes += frame.size();
    }
}

#[test]
fn short_messages_and_pongs_go_ahead_of_bulk() {
    run(|spawner| async move {
        let (mut raw, link) = Raw::with_link(NARROW);
        let (session, _inbound) = begin(link, Role::Client, &spawner);
        let bulk = Bytes::from(pattern(1, WINDOW));
        let busy: Vec<_> = (0..BUSY).map(|_| session.open(bulk.clone()).unwrap()).collect();
        raw.until(|frame| frame.kind == DATA).await;
        let _short = session.open(Bytes::from_static(b"short")).unwrap();
        let before = bytes_before(&mut raw, |frame| frame.payload == b"short").await;
        assert!(before < AHEAD_MAX, "{before} bytes before a new substream");
        raw.send(&frame(PING, SYN, 0, 7)).await;
        let before = bytes_before(&mut raw, |frame| frame.kind == PING && frame.flags == ACK).await;
        assert!(before < AHEAD_MAX, "{before} bytes before a pong");
        drop(busy);
    });
}

/// What the peer sends on a substream: more than half a window, for which it is owed credit.
const OWED: usize = WINDOW - PIECE;
/// What the crate sends at once.
const PIECE: usize = 16 * 1024;

#[test]
fn credit_goes_ahead_of_bulk() {
    run(|spawner| async move {
        let (mut raw, link) = Raw::with_link(NARROW);
        let (session, _inbound) = begin(link, Role::Client, &spawner);
        let mut busy = session.open(Bytes::from(pattern(1, WINDOW))).unwrap();
        raw.until(|frame| frame.kind == DATA).await;
        raw.send(&data(ACK, 1, &pattern(2, OWED))).await;
        busy.read_exact(&mut vec![0; OWED]).await.unwrap();
        let before = bytes_before(&mut raw, |frame| frame.kind == UPDATE).await;
        assert!(before < AHEAD_MAX, "{before} bytes before credit");
    });
}

#[tokio::test(start_paused = true)]
async fn the_crate_sends_credit_behind_the_bulk_of_the_same_stream() {
    let (mut raw, link) = Raw::with_link(NARROW);
    let (peer, driver) = CratePeer::new(link, Mode::Client, Config::default());
    beside(driver, async {
        let mut busy = peer.open().await;
        // As much as waits without somebody who reads.
        busy.write_all(&pattern(1, 10 * PIECE)).await.unwrap();
        raw.until(|frame| frame.kind == DATA && !frame.payload.is_empty()).await;
        raw.send(&data(ACK, 1, &pattern(2, OWED))).await;
        busy.read_exact(&mut vec![0; OWED]).await.unwrap();
        // Nothing is given for what was read before somebody wants to read more.
        assert!(busy.read(&mut [0]).now_or_never().is_none());
        let before = bytes_before(&mut raw, |frame| frame.kind == UPDATE).await;
        assert!(before > AHEAD_MAX, "{before} bytes before credit");
    })
    .await;
}
