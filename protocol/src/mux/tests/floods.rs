//! Frames that carry nothing are paid for; honest load never runs out.

use std::time::Duration;

use bytes::Bytes;

use super::pair::{Client, Pair, Server, config};
use super::raw::{Raw, data, go_away, ping, update};
use super::wire::{ACK, FIN, RST, Random, SYN};
use crate::mux::{Breach, Config, Useless, WINDOW_MAX, Write};

/// No kind of useless frame can be sent more often than this without a pause.
const MOST: usize = 400_010;

fn assert_flood(kind: Useless, most: usize, frames: impl FnMut(usize) -> Vec<u8>) {
    assert_flood_of(&mut opened(), kind, most, frames);
}

fn assert_flood_of(raw: &mut Raw, kind: Useless, most: usize, frames: impl FnMut(usize) -> Vec<u8>) {
    let (sent, breach) = raw.flood(MOST + 1, frames);
    assert_eq!(breach, Breach::Flood(kind));
    assert!(sent <= most, "{kind}: {sent}");
    assert!(sent > 1000, "{kind}: an honest peer may send some, not only {sent}");
}

/// With a substream 1 that is accepted, and one of our own, 2, whose SYN was sent.
fn opened() -> Raw {
    let mut raw = Raw::new();
    raw.open(1);
    raw.mux.open(Bytes::from_static(b"head")).unwrap();
    raw.sent();
    raw
}

fn odd(n: usize) -> u32 {
    u32::try_from(n * 2 + 3).unwrap()
}

#[test]
fn every_kind_of_useless_frame_runs_out() {
    assert_flood(Useless::Opens, 20_000, |n| [update(SYN, odd(n), 0), update(RST, odd(n), 0)].concat());
    assert_flood(Useless::Opens, 20_000, |n| update(SYN | RST, odd(n), 0));
    assert_flood(Useless::Opens, 20_000, |n| [data(SYN, odd(n), b"x"), update(RST, odd(n), 0)].concat());
    assert_flood(Useless::Unknown, 100_000, |n| data(0, odd(n), b"lost"));
    assert_flood(Useless::Unknown, 100_000, |n| update(0, odd(n), 1 << 20));
    assert_flood(Useless::Unknown, 100_000, |n| update(RST, odd(n), 0));
    assert_flood(Useless::Empty, 100_000, |_| data(0, 1, b""));
    assert_flood(Useless::Updates, 100_000, |_| update(0, 1, 1));
    assert_flood(Useless::Pings, 4_020, |n| ping(SYN, odd(n)));
    assert_flood(Useless::Pings, 4_020, |n| ping(ACK, odd(n)));
    assert_flood(Useless::Tiny, MOST, |n| data(SYN * u16::from(n % 200_000 == 0), odd(n / 200_000), b"x"));
}

#[test]
fn a_flag_that_says_nothing_new_makes_no_frame_useful() {
    assert_flood(Useless::Empty, 100_001, |_| data(ACK, 2, b""));
    assert_flood(Useless::Empty, 100_000, |_| data(ACK, 1, b""));
    assert_flood(Useless::Empty, 100_001, |_| data(FIN, 1, b""));
    assert_flood(Useless::Updates, 100_001, |_| update(ACK, 2, 0));
    assert_flood(Useless::Updates, 100_001, |_| update(FIN | ACK, 1, 0));
    assert_flood(Useless::GoAways, 100_001, |_| go_away(0));
}

#[test]
fn credit_that_nobody_needs_makes_no_window_update_useful() {
    let mut raw = opened();
    let enough = 2 * WINDOW_MAX / 8192;
    assert_flood_of(&mut raw, Useless::Updates, 100_001 + enough as usize, |_| update(0, 1, 8192));
    let mut raw = Raw::new();
    let key = raw.open(1);
    raw.mux.finish(key);
    raw.sent();
    assert_flood_of(&mut raw, Useless::Updates, 100_001, |_| update(0, 1, 8192));
}

#[test]
fn visitors_who_come_and_go_are_no_flood_of_their_server() {
    let mut raw = Raw::with(config(Client));
    for n in 1..100_000 {
        raw.ok(&[data(SYN, n * 2, b"head"), update(RST, n * 2, 0)].concat());
    }
    assert_eq!(raw.mux.substreams(), 0);
}

#[test]
fn what_says_something_for_the_first_time_costs_nothing() {
    let mut raw = Raw::with(Config { max_inbound: MOST, max_outbound: MOST, ..config(Server) });
    for n in 0..30_000 {
        let id = odd(n);
        raw.ok(&update(SYN, id, 0));
        raw.ok(&data(FIN, id, b""));
        let ours = raw.mux.open(Bytes::new()).unwrap();
        raw.sent();
        raw.ok(&update(ACK, ours.id(), 0));
        raw.ok(&data(FIN, ours.id(), b""));
    }
    let (left, _) = raw.flood(MOST, |_| data(0, 1, b""));
    assert_eq!(left, 100_000);
}

#[test]
fn the_budget_comes_back_with_time() {
    let mut raw = opened();
    raw.flood(MOST, |_| data(0, 1, b""));
    raw.now += Duration::from_secs(1);
    let (sent, _) = raw.flood(MOST, |_| data(0, 1, b""));
    assert_eq!(sent, 50_000);
    for second in 0..100 {
        raw.now += Duration::from_secs(1);
        for value in 0..10 {
            raw.recv(&ping(SYN, second * 10 + value)).expect("ten a second are free");
        }
        raw.sent();
    }
}

/// How many one-byte frames a reader that keeps up gets: as many as it likes.
#[test]
fn keystrokes_are_no_flood_while_somebody_reads_them() {
    let mut pair = Pair::new();
    let (client, server) = pair.open();
    for n in 0..410_000_u32 {
        assert_eq!(pair.client.write_copy(client, &mut &[n as u8][..]), Write::Ready);
        pair.turn();
        assert_eq!(pair.read(Server, server).0.len(), 1);
    }
}

#[test]
fn keystrokes_that_nobody_reads_yet_are_gathered_by_an_honest_sender() {
    let mut pair = Pair::new();
    let (client, server) = pair.open();
    for n in 0..1_000_000 {
        if pair.client.write_copy(client, &mut &b"k"[..]) == Write::Blocked {
            pair.drain(Server, server);
        } else if n % 100 == 0 {
            pair.turn();
        }
    }
}

#[test]
fn an_honest_heavy_load_is_no_flood() {
    let mut random = Random(7);
    let mut pair = Pair::new();
    pair.split_both(5000);
    let pingpong: Vec<_> = (0..64).map(|_| pair.open()).collect();
    let bulk: Vec<_> = (0..4).map(|_| pair.open()).collect();
    for round in 0..150 {
        for (client, server) in &pingpong {
            pair.write(Client, *client, &[1; 64]);
            pair.write(Server, *server, &[2; 64]);
            pair.client.write_copy(*client, &mut &b"k"[..]);
        }
        for (client, _) in &bulk {
            pair.write(Client, *client, &[3; 40_000]);
        }
        // Opened, and given up at once, or with data in flight both ways.
        for n in 0..20 {
            let client = pair.client.open(vec![4; 1 + random.below(100_000)].into()).unwrap();
            if n % 2 == 0 {
                pair.turn();
            }
            if n % 3 == 0 {
                pair.client.finish(client);
            }
            pair.release(Client, client);
        }
        pair.turn();
        while let Some(server) = pair.server.accept() {
            pair.write(Server, server, &[5; 30_000]);
            if round % 2 == 0 {
                pair.turn();
            }
            pair.release(Server, server);
        }
        for (client, server) in pingpong.iter().chain(&bulk) {
            pair.drain(Server, *server);
            pair.drain(Client, *client);
        }
    }
}
