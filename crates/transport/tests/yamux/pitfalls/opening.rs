//! Opening: limits, acknowledgements, and who speaks first.

use std::collections::HashSet;
use std::future::poll_fn;
use std::io::ErrorKind;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use futures_util::FutureExt;
use protocol::limits::{SUBSTREAMS_ACCEPTED_MAX, SUBSTREAMS_OPENED_MAX, SUBSTREAMS_SLACK};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio_util::compat::{FuturesAsyncReadCompatExt, TokioAsyncReadCompatExt};
use transport::session::{OpenError, Role};
use yamux::{Config, Connection, Mode};

use super::stuck::{Bell, beside};
use crate::crate_peer::CratePeer;
use crate::ours::{begin, begin_with, config, run};
use crate::raw::{ACK, DATA, FIN, GO_AWAY, RST, Raw, SYN, UPDATE, data, frame};

/// What the crate opens without an answer.
const CRATE_BACKLOG: u32 = 256;

#[test]
fn an_open_above_the_limit_is_refused_and_the_others_go_on() {
    run(|spawner| async move {
        let (mut raw, link) = Raw::new();
        let mut limits = config(Role::Client);
        limits.peer.max_substreams = 2;
        let (session, _inbound) = begin_with(link, limits, &spawner);
        let mut first = session.open(Bytes::from_static(b"1")).unwrap();
        let _second = session.open(Bytes::from_static(b"2")).unwrap();
        for _ in 0..100 {
            assert_eq!(session.open(Bytes::from_static(b"3")).unwrap_err(), OpenError::Full);
        }
        raw.send(&data(ACK, 1, b"answer")).await;
        first.read_exact(&mut [0; 6]).await.unwrap();
        let opened: Vec<_> = raw.settle().await.iter().map(|frame| frame.id).collect();
        assert_eq!(opened, [1, 3]);
    });
}

#[tokio::test(start_paused = true)]
async fn the_crate_ends_the_session_for_an_open_above_its_own_limit() {
    let (_raw, link) = Raw::new();
    let mut config = Config::default();
    config.set_max_num_streams(2);
    let (peer, driver) = CratePeer::new(link, Mode::Client, config);
    beside(driver, async {
        let mut first = peer.open().await;
        let _second = peer.open().await;
        assert!(peer.open_silently().await.is_none());
        assert_eq!(first.read(&mut [0]).await.unwrap(), 0, "others are cut, and it looks like an end");
        assert!(first.write_all(b"x").await.is_err());
    })
    .await;
}

#[test]
fn a_substream_above_what_is_accepted_is_reset_alone() {
    run(|spawner| async move {
        let (mut raw, link) = Raw::new();
        let (session, mut inbound) = begin(link, Role::Server, &spawner);
        let most = SUBSTREAMS_ACCEPTED_MAX + SUBSTREAMS_SLACK;
        let above = 2 * most + 1;
        let opens: Vec<u8> = (0..=most).flat_map(|n| frame(UPDATE, SYN, 2 * n + 1, 0)).collect();
        raw.send(&opens).await;
        let reset = raw.until(|frame| frame.has(RST)).await.pop().unwrap();
        assert_eq!(reset.id, above);
        assert_eq!(session.substreams_open(), most as usize);
        let mut first = inbound.accept().await.unwrap();
        raw.send(&data(FIN, 1, b"still here")).await;
        let mut text = String::new();
        first.read_to_string(&mut text).await.unwrap();
        assert_eq!(text, "still here");
    });
}

#[tokio::test(start_paused = true)]
async fn the_crate_gives_the_session_up_for_a_substream_above_what_it_accepts() {
    let (mut raw, link) = Raw::new();
    let mut config = Config::default();
    config.set_max_num_streams(2);
    let (mut peer, driver) = CratePeer::new(link, Mode::Server, config);
    beside(driver, async {
        raw.send(&[1, 3, 5].map(|id| frame(UPDATE, SYN, id, 0)).concat()).await;
        let _accepted = (peer.accept().await.unwrap(), peer.accept().await.unwrap());
        let farewell = raw.until(|frame| frame.kind == GO_AWAY).await;
        assert_eq!(farewell.last().unwrap().length, 1, "a protocol error");
    })
    .await;
}

#[test]
fn substreams_are_opened_without_waiting_for_answers() {
    run(|spawner| async move {
        let (mut raw, link) = Raw::new();
        let (session, _inbound) = begin(link, Role::Client, &spawner);
        let opened: Vec<_> =
            (0..SUBSTREAMS_OPENED_MAX).map(|_| session.open(Bytes::from_static(b"x")).unwrap()).collect();
        assert_eq!(session.open(Bytes::new()).unwrap_err(), OpenError::Full);
        let mut ids = HashSet::new();
        raw.until(|frame| {
            assert!(frame.kind != DATA || frame.has(SYN));
            ids.extend((frame.kind == DATA).then_some(frame.id));
            ids.len() == opened.len()
        })
        .await;
    });
}

#[test]
fn what_is_accepted_is_acknowledged_though_nobody_writes() {
    run(|spawner| async move {
        let (mut raw, link) = Raw::new();
        let (_session, mut inbound) = begin(link, Role::Server, &spawner);
        let ids: Vec<u32> = (0..=CRATE_BACKLOG).map(|n| 2 * n + 1).collect();
        raw.send(&ids.iter().flat_map(|&id| data(SYN, id, b"x")).collect::<Vec<_>>()).await;
        let mut accepted = Vec::new();
        for _ in &ids {
            accepted.push(inbound.accept().await.unwrap());
        }
        let mut open: HashSet<_> = ids.into_iter().collect();
        raw.until(|frame| {
            if frame.has(ACK) && frame.kind <= UPDATE {
                assert!(open.remove(&frame.id), "{frame:?}");
            }
            open.is_empty()
        })
        .await;
    });
}

#[test]
fn the_crate_opens_as_many_as_it_likes_though_our_services_are_silent() {
    run(|spawner| async move {
        let (link, other) = tokio::io::duplex(1 << 16);
        let (session, mut inbound) = begin(link, Role::Server, &spawner);
        let peer = CratePeer::start(other, Mode::Client, &spawner);
        let accept = async {
            let mut accepted = Vec::new();
            while accepted.len() < 500 {
                accepted.push(inbound.accept().await.unwrap());
            }
            accepted
        };
        let open = async {
            let mut opened = Vec::new();
            while opened.len() < 500 {
                opened.push(peer.open().await);
            }
            opened
        };
        let _held = tokio::join!(accept, open);
        assert_eq!(session.substreams_open(), 500);
    });
}

#[tokio::test(start_paused = true)]
async fn the_crate_waits_for_answers_and_does_not_notice_resets() {
    let (mut raw, link) = Raw::new();
    let mut connection = Connection::new(link.compat(), Config::default(), Mode::Client);
    let bells = [Arc::new(Bell::default()), Arc::new(Bell::default())];
    let wakers = bells.clone().map(Waker::from);
    let mut opened = Vec::new();
    while let Poll::Ready(stream) = connection.poll_new_outbound(&mut Context::from_waker(&wakers[0])) {
        let mut stream = stream.unwrap().compat();
        stream.write_all(b"x").await.unwrap();
        opened.push(stream);
    }
    assert_eq!(opened.len(), CRATE_BACKLOG as usize);
    // A second task that wants to open takes the first one's place.
    assert!(connection.poll_new_outbound(&mut Context::from_waker(&wakers[1])).is_pending());
    let driver = async move {
        poll_fn(|cx| connection.poll_next_inbound(cx).map(|_| ())).await;
    };
    beside(driver, async {
        raw.send(&frame(UPDATE, RST, 1, 0)).await;
        raw.settle().await;
        assert!(!bells[0].rang() && !bells[1].rang(), "there is room, and nobody is told");
        raw.send(&frame(UPDATE, ACK, 3, 0)).await;
        raw.settle().await;
        assert!(!bells[0].rang() && bells[1].rang(), "one is told, the other sleeps for ever");
    })
    .await;
}

#[test]
fn the_room_that_a_reset_leaves_is_used_at_once() {
    run(|spawner| async move {
        let (mut raw, link) = Raw::new();
        let mut limits = config(Role::Client);
        limits.peer.max_substreams = 1;
        let (session, _inbound) = begin_with(link, limits, &spawner);
        for id in [1, 3, 5] {
            let mut substream = session.open(Bytes::from_static(b"x")).unwrap();
            assert_eq!(session.open(Bytes::new()).unwrap_err(), OpenError::Full);
            raw.send(&frame(UPDATE, RST, id, 0)).await;
            let error = substream.read(&mut [0]).await.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::ConnectionReset);
        }
    });
}

#[test]
fn the_peer_learns_of_a_substream_at_once_and_may_speak_first() {
    run(|spawner| async move {
        let (mut raw, link) = Raw::new();
        let (session, _inbound) = begin(link, Role::Client, &spawner);
        let mut substream = session.open(Bytes::new()).unwrap();
        raw.until(|frame| frame.id == 1 && frame.has(SYN)).await;
        raw.send(&data(ACK, 1, b"220 ready")).await;
        let mut greeting = [0; 9];
        substream.read_exact(&mut greeting).await.unwrap();
        assert_eq!(&greeting, b"220 ready");
    });
}

#[tokio::test(start_paused = true)]
async fn the_crate_keeps_a_new_stream_to_itself() {
    let (mut raw, link) = Raw::new();
    let (peer, driver) = CratePeer::new(link, Mode::Client, Config::default());
    beside(driver, async {
        let mut stream = peer.open_silently().await.unwrap();
        // Whatever its user does except for writing.
        stream.flush().await.unwrap();
        assert!(stream.read(&mut [0]).now_or_never().is_none());
        assert_eq!(raw.settle().await, []);
    })
    .await;
}
