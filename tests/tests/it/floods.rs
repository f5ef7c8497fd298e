//! Clients that log in honestly and then speak yamux to do harm: it ends that session, with a reason and soon, and nobody
//! else notices.

use std::time::Duration;

use bytes::BytesMut;
use protocol::control::{Control, Heartbeat};
use tests::tunnelc::SESSIONS;
use tests::visitor::End;
use tests::wait::{SOON, promised, within};
use tests::wire::HandMade;

use crate::stage::Web;

const DATA: u8 = 0;
const UPDATE: u8 = 1;
const PING: u8 = 2;
const GO_AWAY: u8 = 3;
const SYN: u16 = 1;
const RST: u16 = 8;

/// How long a session may live once its peer does nothing but harm.
const LIMIT: Duration = Duration::from_secs(2);
/// Much more than it takes.
const FRAMES_MAX: u32 = 2_000_000;
/// What a server may hold at most while it is attacked: it starts with some 20 MiB.
const MEMORY: u64 = 96 << 20;

fn yamux(kind: u8, flags: u16, id: u32, length: u32) -> [u8; 12] {
    let mut header = [0; 12];
    header[1] = kind;
    header[2..4].copy_from_slice(&flags.to_be_bytes());
    header[4..8].copy_from_slice(&id.to_be_bytes());
    header[8..].copy_from_slice(&length.to_be_bytes());
    header
}

/// The id of the n-th substream of a client behind the control substream.
fn id(n: u32) -> u32 {
    2 * n + 3
}

/// Opens the control substream and says something sensible on it.
fn control() -> Vec<u8> {
    let mut said = BytesMut::new();
    Control::Heartbeat(Heartbeat { nonce: 1 }).encode(&mut said).unwrap();
    [&yamux(DATA, SYN, 1, u32::try_from(said.len()).unwrap())[..], &said].concat()
}

/// Sends a frame for each number until the session is over.
async fn flood(peer: &mut HandMade, frames: impl Fn(u32) -> Vec<u8>) -> End {
    const AT_ONCE: u32 = 2000;
    for start in (0..FRAMES_MAX).step_by(AT_ONCE as usize) {
        let bytes: Vec<u8> = (start..start + AT_ONCE).flat_map(&frames).collect();
        if peer.try_send(&bytes).await.is_err() {
            break;
        }
    }
    peer.end(SOON).await
}

/// So many sessions were closed for this reason.
async fn is_counted(web: &Web, reason: &str, closed: i32) {
    let label = format!("reason=\"{reason}\"");
    web.server.counts("tunnel_guard_closed_total", &[&label], |count| count == f64::from(closed)).await;
}

#[tokio::test]
async fn every_flood_ends_its_session_alone() {
    let web = Web::up().await;
    type Frames = fn(u32) -> Vec<u8>;
    let floods: [(&str, Frames); 7] = [
        ("opens", |n| yamux(UPDATE, SYN, id(n), 0).to_vec()),
        ("opens that are reset at once", |n| {
            [yamux(UPDATE, SYN, id(n), 0), yamux(UPDATE, RST, id(n), 0)].concat()
        }),
        ("frames for nobody", |n| yamux(DATA, 0, id(n), 0).to_vec()),
        ("pings", |n| yamux(PING, SYN, 0, n).to_vec()),
        ("resets of nothing", |n| yamux(UPDATE, RST, id(n), 0).to_vec()),
        ("credit without end", |n| match n {
            0 => yamux(UPDATE, SYN, id(0), 0).to_vec(),
            _ => yamux(UPDATE, 0, id(0), 1).to_vec(),
        }),
        ("empty frames", |n| yamux(DATA, if n == 0 { SYN } else { 0 }, id(0), 0).to_vec()),
    ];
    for (closed, (what, frames)) in (1..).zip(floods) {
        let mut peer = HandMade::log_in(&web.server.join()).await;
        peer.send(control()).await;
        let ended = async { within(what, promised(LIMIT), flood(&mut peer, frames)).await };
        let (end, other) = tokio::join!(ended, web.get("/"));
        assert_ne!(end, End::Open, "{what}");
        assert_eq!(other.status, 200, "beside {what}");
        is_counted(&web, "flood", closed).await;
    }
    web.server.has_sessions(SESSIONS, SOON).await;
    assert!(web.server.program.peak_memory() < MEMORY, "{} bytes", web.server.program.peak_memory());
}

#[tokio::test]
async fn a_frame_against_the_rules_is_answered_with_a_goaway_and_the_end() {
    let web = Web::up().await;
    let open = yamux(UPDATE, SYN, id(0), 0);
    let opened = |more: &[u8]| [&open[..], more].concat();
    let breaches = [
        ("another version", vec![9; 12]),
        ("an unknown type", yamux(7, 0, 1, 0).to_vec()),
        ("an id of the other end", yamux(DATA, SYN, 2, 0).to_vec()),
        ("an id that was used", opened(&open)),
        ("the session opened", yamux(DATA, SYN, 0, 0).to_vec()),
        ("more than the window", opened(&[&yamux(DATA, 0, id(0), 300_000)[..], &[7; 300_000]].concat())),
        ("more than anybody can send", opened(&yamux(DATA, 0, id(0), u32::MAX))),
        ("more credit than can be counted", opened(&[yamux(UPDATE, 0, id(0), u32::MAX); 2].concat())),
    ];
    for (closed, (what, bytes)) in (1..).zip(breaches) {
        let mut peer = HandMade::log_in(&web.server.join()).await;
        peer.send([control(), bytes].concat()).await;
        let (last, end) = peer.rest(promised(LIMIT)).await;
        assert_ne!(end, End::Open, "{what}");
        let protocol_error = yamux(GO_AWAY, 0, 0, 1);
        assert!(last.windows(12).any(|frame| frame == protocol_error), "{what}: {last:?}");
        assert_eq!(web.get("/").await.status, 200, "after {what}");
        is_counted(&web, "protocol", closed).await;
    }
    web.server.has_sessions(SESSIONS, SOON).await;
}
