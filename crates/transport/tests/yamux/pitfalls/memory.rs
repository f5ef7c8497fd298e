//! What a peer can make an end hold or do with frames that carry next to nothing.

use std::future::poll_fn;

use futures_util::StreamExt;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use transport::session::{Role, SessionEnd};
use yamux::{Config, Mode};

use super::stuck::beside;
use crate::crate_peer::CratePeer;
use crate::ours::{begin, begin_with, config, pattern, run};
use crate::raw::{DATA, FIN, PING, RST, Raw, SYN, UPDATE, WINDOW, data, frame};

/// Below what ends a session.
const TINY_FRAMES: usize = 200_000;

/// As many bytes in a frame each.
fn one_by_one(bytes: &[u8]) -> Vec<u8> {
    bytes.iter().flat_map(|byte| data(0, 1, &[*byte])).collect()
}

#[test]
fn one_byte_frames_are_gathered() {
    run(|spawner| async move {
        let (mut raw, link) = Raw::new();
        let config = config(Role::Server);
        let budget = config.budget.clone();
        let (_session, mut inbound) = begin_with(link, config, &spawner);
        let text = pattern(1, TINY_FRAMES);
        raw.send(&data(SYN, 1, b"")).await;
        let mut substream = inbound.accept().await.unwrap();
        raw.send(&one_by_one(&text)).await;
        raw.send(&data(FIN, 1, b"")).await;
        raw.settle().await;
        assert_eq!(budget.held(), TINY_FRAMES);
        let (mut got, mut chunks) = (Vec::new(), 0);
        while let Some(chunk) = poll_fn(|cx| substream.poll_chunk(cx)).await.unwrap() {
            got.extend_from_slice(&chunk);
            chunks += 1;
        }
        assert!(got == text);
        assert!(chunks < TINY_FRAMES / 100, "{chunks} buffers for {TINY_FRAMES} bytes");
    });
}

#[tokio::test(start_paused = true)]
async fn the_crate_keeps_each_of_them_in_a_buffer_of_its_own() {
    let (mut raw, link) = Raw::new();
    let (mut peer, driver) = CratePeer::new(link, Mode::Server, Config::default());
    beside(driver, async {
        raw.send(&data(SYN, 1, b"")).await;
        let mut stream = peer.accept().await.unwrap().into_inner();
        raw.send(&one_by_one(&pattern(1, 10_000))).await;
        raw.send(&data(FIN, 1, b"")).await;
        raw.settle().await;
        let mut buffers = 0;
        while let Some(packet) = stream.next().await {
            let bytes = packet.unwrap().as_ref().len();
            assert!(bytes <= 1, "the frame of the end has none");
            buffers += bytes;
        }
        assert_eq!(buffers, 10_000);
    })
    .await;
}

/// Sends the same frames over and over until the session is over.
async fn flood(raw: &mut Raw, mut frames: impl FnMut(u32) -> Vec<u8>) {
    const AT_ONCE: u32 = 1000;
    let mut sink = Vec::new();
    for start in (0..).step_by(AT_ONCE as usize) {
        let bytes: Vec<u8> = (start..start + AT_ONCE).flat_map(&mut frames).collect();
        let (mut reader, mut writer) = tokio::io::split(&mut raw.link);
        // What it answers is taken, or a full link would end the flood.
        let write = writer.write_all(&bytes);
        let read = async { while reader.read_buf(&mut sink).await.is_ok_and(|n| n > 0) {} };
        tokio::select! {
            written = write => if written.is_err() { return },
            () = read => return,
        }
        sink.clear();
    }
}

#[test]
fn floods_of_frames_that_carry_nothing_end_the_session() {
    type Frames = fn(u32) -> Vec<u8>;
    let floods: [(&str, Frames); 5] = [
        ("empty data", |_| data(0, 1, b"")),
        ("updates of nothing", |_| frame(UPDATE, 0, 1, 0)),
        ("frames for nobody", |n| frame(UPDATE, 0, 3 + 2 * n, 1 << 20)),
        ("pings", |n| frame(PING, SYN, 0, n)),
        ("opened and reset", |n| [frame(UPDATE, SYN, 3 + 2 * n, 0), frame(DATA, RST, 3 + 2 * n, 0)].concat()),
    ];
    run(|spawner| async move {
        for (name, frames) in floods {
            let (mut raw, link) = Raw::new();
            let (session, mut inbound) = begin(link, Role::Server, &spawner);
            raw.send(&data(SYN, 1, b"")).await;
            let _substream = inbound.accept().await.unwrap();
            flood(&mut raw, frames).await;
            let end = session.closed().await;
            assert!(matches!(end, SessionEnd::Breach(_)), "{name}: {end:?}");
        }
    });
}

#[tokio::test(start_paused = true)]
async fn the_crate_takes_as_many_as_come() {
    let (mut raw, link) = Raw::new();
    let (mut peer, driver) = CratePeer::new(link, Mode::Server, Config::default());
    beside(driver, async {
        raw.send(&data(SYN, 1, b"")).await;
        let mut stream = peer.accept().await.unwrap();
        // Ours has had enough of either long before.
        for _ in 0..200 {
            raw.send(&frame(UPDATE, 0, 1, 0).repeat(1000)).await;
            raw.send(&data(0, 1, b"").repeat(1000)).await;
        }
        raw.send(&data(0, 1, b"still here")).await;
        stream.read_exact(&mut [0; 10]).await.unwrap();
    })
    .await;
}

#[test]
fn a_reader_that_stops_holds_one_window_and_stops_nobody_else() {
    run(|spawner| async move {
        let (mut raw, link) = Raw::new();
        let config = config(Role::Server);
        let budget = config.budget.clone();
        let (_session, mut inbound) = begin_with(link, config, &spawner);
        raw.send(&[data(SYN, 1, &pattern(1, WINDOW)), data(SYN, 3, b"")].concat()).await;
        let _stopped = inbound.accept().await.unwrap();
        let mut other = inbound.accept().await.unwrap();
        raw.settle().await;
        assert_eq!(budget.held(), WINDOW);
        raw.send(&data(FIN, 3, b"passes")).await;
        let mut text = String::new();
        other.read_to_string(&mut text).await.unwrap();
        assert_eq!(text, "passes");
    });
}

#[test]
fn a_byte_above_the_window_ends_the_session() {
    run(|spawner| async move {
        let (mut raw, link) = Raw::new();
        let (session, _inbound) = begin(link, Role::Server, &spawner);
        raw.send(&data(SYN, 1, &pattern(1, WINDOW))).await;
        raw.settle().await;
        raw.send(&data(0, 1, b"x")).await;
        assert!(matches!(session.closed().await, SessionEnd::Breach(_)));
    });
}
