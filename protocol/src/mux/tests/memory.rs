//! What a hostile peer can make a session hold: at most what the module says.

use bytes::Bytes;

use super::pair::{Client, FIRST, MIB, Pair, Server, config};
use super::raw::{Raw, data, update};
use super::wire::{FIN, RST, SYN};
use crate::mux::stream::Stream;
use crate::mux::{Broken, Config, HEADER_LEN, Key, Mux, OUTBOX_MAX, READ_SIZE, Read, Write};

/// Reads all there is, and says how many bytes that was and in how much memory they were.
fn drain(mux: &mut Mux, key: Key) -> (usize, usize) {
    let mut pieces = Vec::new();
    while let Read::Bytes(piece) = mux.read(key, usize::MAX) {
        pieces.push(piece);
    }
    let length = pieces.iter().map(Bytes::len).sum();
    (length, pieces.into_iter().map(allocated).sum())
}

/// The buffer that these bytes keep alive, from their first byte on. What is in front of it shows in that it can be had
/// back.
fn allocated(piece: Bytes) -> usize {
    let length = piece.len();
    let mut buffer = piece.try_into_mut().expect("nobody else has it");
    let behind = buffer.capacity();
    // Bytes in front are given back if they are at least as many as there is to move.
    let front =
        (0..=64 * MIB).rev().step_by(1024).find(|more| *more > behind - length && buffer.try_reclaim(*more));
    front.map_or(behind, |more| length + more)
}

#[test]
fn small_frames_cost_what_they_carry() {
    for sizes in
        [&[1][..], &[11], &[100], &[4000], &[8191], &[8192], &[16_372], &[1, 8192], &[8191, 1, 1, 16_000]]
    {
        let mut raw = Raw::new();
        let key = raw.open(1);
        let mut total = 0;
        for size in sizes.iter().cycle() {
            if total + size > 260_000 {
                break;
            }
            total += size;
            raw.ok(&data(0, 1, &vec![1; *size]));
            assert_eq!(raw.mux.held(), total);
        }
        let (length, allocated) = drain(&mut raw.mux, key);
        assert_eq!(length, total);
        assert!(allocated <= 2 * total + 1024, "{sizes:?}: {total} bytes in {allocated}");
    }
}

#[test]
fn what_is_left_of_a_piece_keeps_no_large_buffer() {
    for size in [1, 1000, 5000, 8192, 16_000] {
        for left in [1, 10, 500] {
            let mut raw = Raw::new();
            let key = raw.open(1);
            let mut total = 0;
            while total + size <= 200_000 {
                raw.ok(&data(0, 1, &vec![1; size]));
                total += size;
            }
            let mut unread = total;
            while unread > left {
                let Read::Bytes(bytes) = raw.mux.read(key, unread - left) else { panic!() };
                unread -= bytes.len();
            }
            assert_eq!(raw.mux.held(), left);
            let (length, allocated) = drain(&mut raw.mux, key);
            assert!(length == left && allocated <= 2 * left + 1024, "{size}: {left} bytes in {allocated}");

            // The same for what a reader has put back.
            raw.ok(&data(0, 1, &[1; 16_000]));
            let Read::Bytes(mut bytes) = raw.mux.read(key, usize::MAX) else { panic!() };
            raw.mux.unread(key, bytes.split_off(bytes.len() - left));
            drop(bytes);
            let (length, allocated) = drain(&mut raw.mux, key);
            assert!(length == left && allocated <= 2 * left + 1024, "{left} bytes put back in {allocated}");
        }
    }
}

#[test]
fn what_is_left_to_send_keeps_no_large_buffer() {
    for (write_size, credit) in
        [(65_536, 65_535), (1000, 60_500), (65_536, 100), (20, 61_983), (16_384, 16_383)]
    {
        let mut raw = Raw::new();
        let key = raw.open(1);
        let mut total = 0;
        while total + write_size <= OUTBOX_MAX {
            raw.mux.write_copy(key, &mut &vec![1; write_size][..]);
            total += write_size;
        }
        raw.mux.streams.get_mut(key).unwrap().send_window = credit;
        raw.sent();
        let left = total - usize::try_from(credit).unwrap();
        assert_eq!(raw.mux.held(), left);
        let allocated =
            raw.mux.streams.get_mut(key).unwrap().outbox.take_all().into_iter().map(allocated).sum::<usize>();
        assert!(allocated <= 2 * left + 1024, "{write_size}: {left} bytes in {allocated}");
    }
}

#[test]
fn tiny_writes_cost_what_they_carry() {
    for size in [1, 12, 100, 1000, 1024, 5000] {
        let mut raw = Raw::new();
        let key = raw.open(1);
        raw.mux.streams.get_mut(key).unwrap().send_window = 0;
        let mut total = 0;
        while raw.mux.write(key, &mut Bytes::from(vec![1; size])) == Write::Ready {
            total += size;
        }
        assert!(total >= OUTBOX_MAX && raw.mux.held() == total);
        let pieces = raw.mux.streams.get_mut(key).unwrap().outbox.take_all();
        let handles = pieces.len() * size_of::<Bytes>();
        let allocated = handles + pieces.into_iter().map(allocated).sum::<usize>();
        assert!(allocated <= 2 * total + 1024, "{size}: {total} bytes in {allocated}");
    }
}

#[test]
fn a_substream_costs_less_than_a_kilobyte() {
    assert!(size_of::<Stream>() + 2 * size_of::<Key>() + 64 < 1024, "{}", size_of::<Stream>());
}

/// Substreams that nobody reads, until the budget is used up.
#[test]
fn those_that_hold_most_are_broken_off_and_the_others_live() {
    let max_held = MIB;
    let mut raw = Raw::with(Config { max_held, ..config(Server) });
    let small: Vec<_> = (0..20).map(|n| (n, raw.open(n * 2 + 1))).collect();
    for (n, _) in &small {
        raw.ok(&data(0, n * 2 + 1, b"little"));
    }
    let mut large = Vec::new();
    for n in 100..160 {
        large.push(raw.open(n * 2 + 1));
        // The later ones are answered by frames for unknown substreams, which are thrown away.
        for _ in 0..16 {
            raw.ok(&data(0, n * 2 + 1, &[9; 16_000]));
            assert!(raw.mux.held() <= max_held + READ_SIZE, "{}", raw.mux.held());
        }
    }
    let broken = large.iter().filter(|key| raw.mux.broken(**key) == Some(Broken::OverBudget)).count();
    assert!(broken >= 56, "{broken}");
    let resets: Vec<u32> = raw.sent().iter().filter(|frame| frame.has(RST)).map(|frame| frame.id).collect();
    assert_eq!(resets.len(), broken);
    for key in large {
        if let Some(why) = raw.mux.broken(key) {
            assert_eq!(raw.mux.read(key, 1), Read::Broken(why));
        }
        raw.mux.release(key, raw.now);
    }
    for (_, key) in small {
        assert_eq!(raw.mux.read(key, 100), Read::Bytes(Bytes::from_static(b"little")));
        raw.mux.release(key, raw.now);
    }
    assert_eq!((raw.mux.held(), raw.mux.substreams()), (0, 0));
}

/// Whatever else had happened to it: bytes that are gone must not look like an end.
#[test]
fn what_was_dropped_for_the_budget_never_reads_as_an_end() {
    for (our_end, their_reset) in [(false, false), (false, true), (true, false), (true, true)] {
        let mut raw = Raw::with(Config { max_held: MIB / 4, ..config(Server) });
        let key = raw.open(1);
        raw.ok(&data(FIN, 1, &[1; 200_000]));
        if our_end {
            raw.mux.finish(key);
            raw.sent();
        }
        if their_reset && !our_end {
            raw.ok(&update(RST, 1, 0));
        }
        raw.mux.watch(key);
        let other = raw.open(3);
        raw.ok(&data(0, 3, &[1; 100_000]));
        assert_eq!(raw.mux.read(key, 1), Read::Broken(Broken::OverBudget), "{our_end} {their_reset}");
        assert_eq!(raw.mux.broken(key), Some(Broken::OverBudget));
        assert_eq!(raw.mux.broken(other), None);
        raw.mux.release(key, raw.now);
        raw.mux.release(other, raw.now);
        assert_eq!((raw.mux.held(), raw.mux.substreams()), (0, 0));
    }
}

#[test]
fn shedding_frees_orphans_and_leaves_the_unaccepted_broken() {
    let mut raw = Raw::with(Config { max_held: MIB, ..config(Server) });
    let orphan = raw.open(1);
    raw.mux.write(orphan, &mut vec![1; MIB / 2].into());
    raw.mux.finish(orphan);
    raw.mux.release(orphan, raw.now);
    raw.ok(&data(SYN, 3, &[1; 250_000]));
    raw.ok(&data(SYN, 5, &[1; 200_000]));
    assert_eq!(raw.mux.substreams(), 3);
    raw.ok(&data(SYN, 7, &[1; 200_000]));
    assert_eq!((raw.mux.substreams(), raw.mux.held()), (3, 650_000));
    raw.ok(&data(SYN, 9, &[1; 250_000]));
    raw.ok(&data(SYN, 11, &[1; 200_000]));
    assert!(raw.mux.held() <= MIB);
    let accepted: Vec<_> = std::iter::from_fn(|| raw.mux.accept()).collect();
    let states: Vec<_> = accepted.into_iter().map(|key| raw.mux.broken(key)).collect();
    assert_eq!(states.len(), 5);
    assert!(states.contains(&Some(Broken::OverBudget)) && states.contains(&None), "{states:?}");
}

#[test]
fn what_this_end_writes_and_puts_back_counts_too() {
    let max_held = MIB;
    let mut raw = Raw::with(Config { max_held, ..config(Server) });
    for _ in 0..20 {
        raw.mux.open(vec![1; 100_000].into()).unwrap();
        assert!(raw.mux.held() <= max_held, "{}", raw.mux.held());
    }
    let key = raw.open(1);
    raw.ok(&data(0, 1, &[1; 16_000]));
    let Read::Bytes(read) = raw.mux.read(key, usize::MAX) else { panic!() };
    for _ in 0..20 {
        let other = raw.mux.open(Bytes::new()).unwrap();
        assert_eq!(raw.mux.write(other, &mut vec![1; 100_000].into()), Write::Ready);
        assert!(raw.mux.held() <= max_held);
    }
    raw.mux.unread(key, read);
    assert!(raw.mux.held() <= max_held);
}

/// Nothing is ever sent: what waits to be sent is bounded by the number of substreams.
#[test]
fn queues_are_bounded_while_the_peer_reads_nothing() {
    let mut raw = Raw::with(Config { max_inbound: 50, max_outbound: 50, ..config(Server) });
    for round in 0..15_000_u32 {
        let id = round * 2 + 1;
        raw.ok(&data(SYN, id, b"head"));
        raw.now += std::time::Duration::from_millis(1);
        match round % 4 {
            0 => raw.ok(&update(RST, id, 0)),
            1 => {
                let key = raw.mux.accept().unwrap();
                raw.mux.write(key, &mut Bytes::from_static(b"answer"));
                raw.mux.finish(key);
                raw.mux.release(key, raw.now);
                raw.ok(&update(RST, id, 0));
            }
            2 => {
                let key = raw.mux.accept().unwrap();
                raw.mux.write(key, &mut Bytes::from_static(b"answer"));
                raw.ok(&update(RST, id, 0));
                raw.mux.release(key, raw.now);
            }
            _ => {
                let key = raw.mux.accept().unwrap();
                raw.mux.read(key, 10);
                raw.mux.list_update(key);
                raw.ok(&update(RST, id, 0));
                raw.mux.release(key, raw.now);
            }
        }
        if round % 1000 == 0 {
            raw.mux.tick(raw.now);
        }
        while raw.mux.poll_event().is_some() {}
        let mux = &raw.mux;
        let most = 1024 + 3 * 100 + 2;
        assert!(mux.resets.len() <= most && mux.accepts.len() <= most && mux.updates.len() <= most);
        assert!(mux.unacknowledged.len() <= most && mux.orphans.len() <= most && mux.scheduler.len() <= most);
    }
    assert_eq!((raw.mux.substreams(), raw.mux.held()), (0, 0));
}

#[test]
fn a_stopped_reader_costs_no_more_than_its_window() {
    let mut pair = Pair::new();
    let (client, _) = pair.open();
    pair.write(Client, client, &vec![1; 10 * MIB]);
    pair.drive();
    assert_eq!(pair.server.held(), FIRST as usize - 4);
    assert!(pair.up_bytes(client.id()) == FIRST as usize && HEADER_LEN == 12);
}
