//! A limit refuses one substream; it never ends the session. Ids come again, substreams do not.

use std::collections::HashSet;

use bytes::Bytes;

use super::pair::{BY_PEER, Client, Pair, Server, config};
use super::raw::{Raw, data, update};
use super::wire::{FIN, RST, SYN};
use crate::mux::{Breach, Config, OpenError, Read, Useless};

#[test]
fn a_full_session_refuses_one_open_and_lives() {
    let mut pair = Pair::with(Config { max_outbound: 3, ..config(Client) }, config(Server));
    let keys: Vec<_> = (0..3).map(|_| pair.open()).collect();
    assert_eq!(pair.client.open(Bytes::new()), Err(OpenError::Full));
    pair.drive();
    for (client, server) in &keys {
        pair.write(Client, *client, b"alive");
        assert_eq!(pair.drain(Server, *server).0, b"alive");
    }
    pair.release(Client, keys[1].0);
    pair.drive();
    pair.open();
    assert_eq!(pair.client.open(Bytes::new()), Err(OpenError::Full));
}

#[test]
fn a_surplus_substream_of_the_peer_is_reset_once_and_the_session_lives() {
    let mut pair = Pair::with(config(Client), Config { max_inbound: 2, ..config(Server) });
    let (_, first) = pair.open();
    let (second, _) = pair.open();
    let surplus = pair.client.open(vec![1; 200_000].into()).unwrap();
    pair.drive();
    let resets = pair.down.sent.iter().filter(|frame| frame.has(RST));
    assert_eq!(resets.map(|frame| frame.id).collect::<Vec<_>>(), [surplus.id()]);
    assert_eq!(pair.read(Client, surplus), (vec![], BY_PEER));
    assert_eq!(pair.server.accept(), None);
    pair.release(Client, second);
    pair.release(Server, first);
    pair.drive();
    pair.open();
}

#[test]
fn ten_thousand_unanswered_opens_do_not_block_the_next() {
    let wide = |role| Config { max_inbound: 20_000, max_outbound: 20_000, ..config(role) };
    let mut pair = Pair::with(wide(Client), wide(Server));
    for _ in 0..10_000 {
        pair.client.open(Bytes::from_static(b"head")).unwrap();
    }
    pair.drive();
    let mut last = None;
    let next = pair.client.open(Bytes::from_static(b"the next")).unwrap();
    pair.drive();
    while let Some(key) = pair.server.accept() {
        last = Some(key);
    }
    let last = last.unwrap();
    assert_eq!((last.id(), pair.read(Server, last).0), (next.id(), b"the next".to_vec()));
    pair.write(Server, last, b"answer");
    assert_eq!(pair.drain(Client, next).0, b"answer");
}

#[test]
fn ids_start_again_after_the_last_and_skip_those_in_use() {
    for role in [Client, Server] {
        let mut pair = Pair::new();
        let first = pair.mux(role).open(Bytes::from_static(b"x")).unwrap();
        assert_eq!(first.id(), role.first_id());
        pair.mux(role).streams.skip_to(u32::MAX - 3 + role.first_id() % 2);
        let ids: Vec<u32> =
            (0..4).map(|_| pair.mux(role).open(Bytes::from_static(b"x")).unwrap().id()).collect();
        let last = u32::MAX - u32::from(role == Server);
        assert_eq!(ids, [last - 2, last, role.first_id() + 2, role.first_id() + 4]);
        pair.drive();
        assert_eq!(pair.client.substreams() + pair.server.substreams(), 10);
    }
}

/// A peer that uses an id again at once gets a new substream, and nobody gets the same one twice.
#[test]
fn an_id_used_again_is_another_substream() {
    let mut raw = Raw::new();
    for byte in 0..5 {
        raw.ok(&data(SYN, 1, &[byte]));
        raw.ok(&update(RST, 1, 0));
    }
    raw.ok(&data(SYN, 1, b"now"));
    let keys: Vec<_> = std::iter::from_fn(|| raw.mux.accept()).collect();
    assert_eq!(keys.len(), 1, "there is only one");
    assert_eq!(raw.mux.read(keys[0], 10), Read::Bytes(Bytes::from_static(b"now")));

    // A holder who comes late can not touch who has its place now.
    let late = keys[0];
    raw.mux.release(late, raw.now);
    raw.ok(&data(SYN, 1, b"another"));
    let another = raw.mux.accept().unwrap();
    assert_ne!(another, late);
    raw.mux.release(late, raw.now);
    raw.mux.reset(late);
    assert_eq!(raw.mux.read(another, 10), Read::Bytes(Bytes::from_static(b"another")));
}

#[test]
fn an_id_used_again_while_its_old_substream_is_held_is_another_one() {
    let mut raw = Raw::new();
    let old = raw.open(1);
    raw.ok(&data(FIN, 1, b"old"));
    raw.mux.finish(old);
    raw.sent();
    raw.ok(&data(SYN, 1, b"new"));
    let new = raw.mux.accept().unwrap();
    assert_eq!(raw.mux.read(new, 9), Read::Bytes(Bytes::from_static(b"new")));
    assert_eq!(raw.mux.read(old, 9), Read::Bytes(Bytes::from_static(b"old")));
    assert_eq!(raw.mux.read(old, 9), Read::End);
    raw.mux.release(old, raw.now);
    raw.ok(&data(0, 1, b"more"));
    assert_eq!(raw.mux.read(new, 9), Read::Bytes(Bytes::from_static(b"more")));
}

#[test]
fn keys_are_unique_among_the_living() {
    let mut pair = Pair::new();
    let mut seen = HashSet::new();
    for round in 0..100 {
        let (client, server) = pair.open();
        assert!(seen.insert((Client, client)) && seen.insert((Server, server)), "{round}");
        if round % 3 > 0 {
            pair.release(Client, client);
            pair.release(Server, server);
            pair.drive();
        }
    }
}

#[test]
fn who_opens_on_and_on_and_takes_no_reset_is_let_go() {
    let mut raw = Raw::with(Config { max_inbound: 10, max_outbound: 10, ..config(Server) });
    let (opened, breach) = raw.flood(1000, |n| update(SYN, u32::try_from(n).unwrap() * 2 + 1, 0));
    assert_eq!((opened, breach), (31, Breach::Flood(Useless::Opens)));
    assert_eq!(raw.mux.resets.len(), 21);
}
