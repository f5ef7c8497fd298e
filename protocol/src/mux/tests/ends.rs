//! FIN, RST, GOAWAY and leaving are different things, at both ends.

use std::time::Duration;

use bytes::Bytes;

use super::pair::{BY_PEER, Client, HERE, Pair, Server};
use super::raw::{Raw, data, update};
use super::wire::{FIN, GO_AWAY, RST, SYN, UPDATE};
use crate::mux::{Broken, LINK_TIMEOUT, Notice, ORPHAN_TIMEOUT, OpenError, Read, Write};

#[test]
fn both_ways_end_and_nothing_is_left() {
    let mut pair = Pair::new();
    let (client, server) = pair.open();
    assert_eq!(pair.write(Client, client, b"question"), Write::Ready);
    assert_eq!(pair.client.finish(client), Write::Ready);
    assert_eq!(pair.drain(Server, server), (b"question".to_vec(), Read::End));
    assert_eq!(pair.write(Server, server, b"answer"), Write::Ready);
    assert_eq!(pair.server.finish(server), Write::Ready);
    assert_eq!(pair.drain(Client, client), (b"answer".to_vec(), Read::End));
    pair.release(Client, client);
    pair.release(Server, server);
    pair.drive();
    pair.assert_freed();
    assert!(!pair.up.sent.iter().chain(&pair.down.sent).any(|frame| frame.has(RST)));
}

#[test]
fn a_half_closed_substream_goes_on_for_as_long_as_the_other_side_wants() {
    for (ended, other) in [(Client, Server), (Server, Client)] {
        let mut pair = Pair::new();
        let (client, server) = pair.open();
        let key = |role| if role == Client { client } else { server };
        pair.mux(ended).finish(key(ended));
        for round in 0..100 {
            let message = vec![round; 50_000];
            assert_eq!(pair.write(other, key(other), &message), Write::Ready);
            assert_eq!(pair.drain(ended, key(ended)), (message, Read::Blocked));
            assert_eq!(pair.read(other, key(other)), (vec![], Read::End));
            assert_eq!(pair.write(ended, key(ended), b"late"), Write::Broken(Broken::Here));
            pair.pass(Duration::from_secs(60));
        }
        pair.mux(other).finish(key(other));
        assert_eq!(pair.drain(ended, key(ended)), (vec![], Read::End));
    }
}

#[test]
fn what_was_written_and_ended_arrives_after_the_holder_has_left() {
    for length in [0, 1, 1000, 200_000] {
        let mut pair = Pair::new();
        let (client, server) = pair.open();
        pair.write(Client, client, &vec![7; length]);
        pair.client.finish(client);
        pair.release(Client, client);
        let (got, then) = pair.drain(Server, server);
        assert_eq!((got.len(), then), (length, Read::End));
        assert_eq!(pair.write(Server, server, b"x"), Write::Broken(Broken::ByPeer), "nobody reads it");
        assert_eq!(pair.client.substreams(), 0);
        pair.release(Server, server);
        pair.assert_freed();
    }
}

#[test]
fn an_end_that_waits_for_a_stuck_link_is_still_an_end() {
    let mut pair = Pair::new();
    let (client, server) = pair.open();
    pair.server.finish(server);
    pair.drive();
    assert_eq!(pair.read(Client, client).1, Read::End);
    pair.up.stalled = true;
    pair.client.finish(client);
    pair.release(Client, client);
    pair.pass(2 * ORPHAN_TIMEOUT);
    pair.up.stalled = false;
    pair.drive();
    assert_eq!(pair.read(Server, server).1, Read::End);
    assert!(!pair.up_frames(client.id()).iter().any(|frame| frame.has(RST)));
    pair.release(Server, server);
    pair.assert_freed();
}

#[test]
fn a_small_message_waits_longer_for_a_stuck_link_than_for_a_peer() {
    let mut pair = Pair::new();
    let (client, server) = pair.open();
    pair.up.stalled = true;
    pair.write(Client, client, b"all of it");
    assert!(!pair.client.needs_no_credit(client), "it is not ended");
    pair.client.finish(client);
    assert!(pair.client.needs_no_credit(client));
    pair.release(Client, client);
    pair.pass(LINK_TIMEOUT - Duration::from_millis(1));
    pair.up.stalled = false;
    pair.drive();
    assert_eq!(pair.read(Server, server), (b"all of it".to_vec(), Read::End));
}

#[test]
fn a_complete_message_that_nobody_has_accepted_yet_is_still_there_when_its_sender_has_left() {
    let mut pair = Pair::new();
    let client = pair.client.open(Bytes::from_static(b"all there is")).unwrap();
    pair.client.finish(client);
    pair.release(Client, client);
    pair.drive();
    let server = pair.server.accept().expect("it was sent whole");
    assert_eq!(pair.read(Server, server), (b"all there is".to_vec(), Read::End));
    assert_eq!(pair.write(Server, server, b"x"), Write::Broken(Broken::ByPeer));
    pair.release(Server, server);
    pair.drive();
    pair.assert_freed();
}

#[test]
fn an_orphan_that_nobody_reads_is_broken_off_in_time() {
    let mut pair = Pair::new();
    let (client, server) = pair.open();
    pair.write(Client, client, &vec![7; 200_000]);
    pair.client.finish(client);
    pair.release(Client, client);
    pair.drive();
    assert_eq!(pair.client.substreams(), 1);
    pair.pass(ORPHAN_TIMEOUT - Duration::from_millis(1));
    assert_eq!(pair.client.substreams(), 1);
    pair.pass(Duration::from_millis(1));
    assert_eq!((pair.client.substreams(), pair.client.held()), (0, 0));
    let (got, then) = pair.drain(Server, server);
    assert_eq!((got.len(), then), (64 * 1024 - 4, BY_PEER));
}

#[test]
fn an_orphan_whose_peer_resets_it_is_gone() {
    let mut pair = Pair::new();
    let (client, server) = pair.open();
    pair.write(Client, client, &vec![7; 200_000]);
    pair.client.finish(client);
    pair.release(Client, client);
    pair.drive();
    pair.release(Server, server);
    pair.drive();
    pair.assert_freed();
    pair.pass(ORPHAN_TIMEOUT);
    pair.assert_freed();
}

#[test]
fn leaving_without_an_end_resets_and_frees_both_ends() {
    for (leaver, other) in [(Client, Server), (Server, Client)] {
        let mut pair = Pair::new();
        let (client, server) = pair.open();
        let key = |role| if role == Client { client } else { server };
        pair.write(leaver, key(leaver), b"part of it");
        pair.write(other, key(other), &vec![1; 100_000]);
        pair.drive();
        assert_eq!(pair.write(other, key(other), &vec![1; 100_000]), Write::Ready);
        assert_eq!(pair.mux(other).poll_write(key(other)), Write::Blocked);
        pair.release(leaver, key(leaver));
        assert_eq!((pair.mux(leaver).substreams(), pair.mux(leaver).held()), (0, 0));
        pair.drive();
        assert!(pair.notices(other).contains(&Notice::Writable(key(other))));
        assert_eq!(pair.mux(other).broken(key(other)), Some(Broken::ByPeer));
        assert_eq!(pair.read(other, key(other)), (b"part of it".to_vec(), BY_PEER));
        assert_eq!(pair.mux(other).finish(key(other)), Write::Broken(Broken::ByPeer));
        assert_eq!(pair.mux(other).held(), 0, "what it wrote goes nowhere");
        pair.release(other, key(other));
        pair.drive();
        pair.assert_freed();
    }
}

#[test]
fn what_was_written_before_its_holder_left_arrives_before_the_reset() {
    let mut pair = Pair::new();
    let (client, server) = pair.open();
    pair.write(Client, client, b"last words");
    pair.release(Client, client);
    pair.drive();
    assert_eq!(pair.client.substreams(), 0);
    assert_eq!(pair.read(Server, server), (b"last words".to_vec(), BY_PEER));
}

#[test]
fn what_has_no_credit_when_its_holder_leaves_is_dropped_at_once() {
    let mut pair = Pair::new();
    let (client, server) = pair.open();
    pair.write(Client, client, &vec![7; 200_000]);
    pair.release(Client, client);
    pair.drive();
    assert_eq!((pair.client.substreams(), pair.client.held()), (0, 0));
    let (got, then) = pair.drain(Server, server);
    assert_eq!((got.len(), then), (64 * 1024 - 4, BY_PEER));
}

#[test]
fn flushed_means_that_a_reset_takes_nothing_back() {
    let mut pair = Pair::new();
    let (client, server) = pair.open();
    pair.write(Client, client, &vec![7; 100_000]);
    assert_eq!(pair.client.poll_flush(client), Write::Blocked);
    pair.drive();
    assert_eq!(pair.client.poll_flush(client), Write::Blocked, "the window is used up");
    let (got, _) = pair.drain(Server, server);
    assert_eq!((got.len(), pair.client.poll_flush(client)), (100_000, Write::Ready));
    assert!(pair.notices(Client).contains(&Notice::Writable(client)));
    pair.server.reset(server);
    pair.drive();
    assert_eq!(pair.client.poll_flush(client), Write::Ready, "it was all sent before");

    let (client, server) = pair.open();
    pair.write(Client, client, &vec![7; 100_000]);
    pair.drive();
    pair.server.reset(server);
    pair.drive();
    assert_eq!(pair.client.poll_flush(client), Write::Broken(Broken::ByPeer));
}

#[test]
fn what_was_complete_stays_readable_behind_a_reset() {
    let mut pair = Pair::new();
    let (client, server) = pair.open();
    pair.write(Client, client, b"complete");
    pair.client.finish(client);
    pair.drive();
    pair.client.reset(client);
    pair.drive();
    assert_eq!(pair.server.broken(server), Some(Broken::ByPeer));
    assert_eq!(pair.write(Server, server, b"x"), Write::Broken(Broken::ByPeer));
    assert_eq!(pair.read(Server, server), (b"complete".to_vec(), Read::End));
    assert_eq!(pair.read(Client, client), (vec![], HERE));
}

#[test]
fn a_reset_before_anything_was_sent_is_not_seen_on_the_wire() {
    let mut pair = Pair::new();
    let reset = pair.client.open(Bytes::from_static(b"head")).unwrap();
    let empty = pair.client.open(Bytes::new()).unwrap();
    pair.client.reset(reset);
    pair.release(Client, reset);
    pair.release(Client, empty);
    pair.drive();
    assert_eq!((pair.up_frames(reset.id()), pair.up_frames(empty.id())), (vec![], vec![]));
    assert_eq!(pair.server.accept(), None);
    pair.assert_freed();
}

#[test]
fn resets_that_cross_are_harmless() {
    let mut pair = Pair::new();
    let (client, server) = pair.open();
    pair.release(Client, client);
    pair.release(Server, server);
    pair.drive();
    pair.assert_freed();
    let (client, server) = pair.open();
    pair.write(Client, client, b"still works");
    assert_eq!(pair.drain(Server, server).0, b"still works");
}

#[test]
fn go_away_stops_new_substreams_and_lets_old_ones_finish() {
    let mut pair = Pair::new();
    let (client, server) = pair.open();
    pair.server.go_away(0);
    pair.drive();
    assert!(pair.down.sent.iter().any(|frame| frame.kind == GO_AWAY && frame.length == 0));
    assert!(pair.client.is_going_away());
    assert_eq!(pair.client.open(Bytes::from_static(b"new")), Err(OpenError::GoingAway));
    pair.write(Client, client, &vec![3; 300_000]);
    pair.client.finish(client);
    assert_eq!(pair.drain(Server, server).0.len(), 300_000);
    pair.write(Server, server, b"answer");
    pair.server.finish(server);
    assert_eq!(pair.drain(Client, client), (b"answer".to_vec(), Read::End));
    assert!(pair.server.open(Bytes::from_static(b"back")).is_ok(), "only the other end was told");
}

#[test]
fn an_end_without_bytes_needs_no_window() {
    let mut raw = Raw::new();
    let key = raw.open(1);
    raw.mux.write(key, &mut vec![1; 64 * 1024].into());
    let sent: usize = raw.sent().iter().map(super::wire::Seen::payload).sum();
    assert_eq!(sent, 64 * 1024);
    raw.mux.finish(key);
    raw.mux.finish(key);
    let sent = raw.sent();
    assert_eq!(sent.len(), 1);
    assert!(sent[0].has(FIN) && sent[0].length == 0, "{sent:?}");
}

#[test]
fn an_acceptor_that_says_nothing_still_acknowledges() {
    let mut raw = Raw::new();
    raw.open(1);
    assert_eq!(raw.sent(), []);
    raw.pass(Duration::from_millis(500));
    let sent = raw.sent();
    assert!(sent.len() == 1 && sent[0].kind == UPDATE && sent[0].has(super::wire::ACK), "{sent:?}");
}

#[test]
fn a_reset_while_a_payload_is_on_its_way_drops_the_rest_of_it() {
    let mut raw = Raw::new();
    let bytes = data(SYN | FIN, 1, &[5; 1000]);
    raw.ok(&bytes[..500]);
    let key = raw.mux.accept().unwrap();
    raw.mux.reset(key);
    raw.ok(&bytes[500..]);
    assert_eq!((raw.mux.held(), raw.mux.read(key, 1)), (0, HERE));
    raw.mux.release(key, raw.now);
    raw.ok(&update(SYN, 3, 0));
    assert_eq!((raw.mux.substreams(), raw.sent().len()), (1, 1));
}
