//! What ends a session, and that it does not matter in which pieces it comes.

use bytes::Bytes;
use proptest::collection::vec;
use proptest::prelude::*;

use super::pair::{Client, config, read_all};
use super::raw::{Raw, data, frame, go_away, ping, update};
use super::wire::{ACK, DATA, FIN, RST, Random, SYN};
use crate::mux::{Breach, Read};

/// With substreams 1 and 3 of the peer, the latter ended by it, and 2 of our own.
fn prepared() -> Raw {
    let mut raw = Raw::new();
    raw.open(1);
    raw.open(3);
    raw.ok(&data(FIN, 3, b"all"));
    raw.mux.open(Bytes::from_static(b"head")).unwrap();
    raw.sent();
    raw
}

#[test]
fn every_breach_has_its_name() {
    let with = |at: usize, byte: u8| {
        let mut bytes = update(SYN, 5, 0);
        bytes[at] = byte;
        bytes
    };
    let table = [
        (with(0, 1), Breach::Version(1)),
        (with(0, 0x47), Breach::Version(0x47)),
        (with(1, 4), Breach::Kind(4)),
        (with(1, 255), Breach::Kind(255)),
        (data(0, 0, b"x"), Breach::Place(0)),
        (data(SYN, 0, b""), Breach::Place(0)),
        (update(0, 0, 1), Breach::Place(0)),
        (frame(2, SYN, 7, 1), Breach::Place(7)),
        (frame(2, ACK, 7, 1), Breach::Place(7)),
        (frame(3, 0, 1, 0), Breach::Place(1)),
        (update(SYN, 4, 0), Breach::Side(4)),
        (data(SYN, 2, b"x"), Breach::Side(2)),
        (update(SYN, 1, 0), Breach::Twice(1)),
        (data(SYN | RST, 1, b"x"), Breach::Twice(1)),
        (frame(DATA, 0, 1, 262_145), Breach::Window(1)),
        (frame(DATA, SYN, 5, 262_145), Breach::Window(5)),
        (frame(DATA, 0, 1, u32::MAX), Breach::Window(1)),
        (frame(DATA, 0, 99, u32::MAX), Breach::Window(99)),
        (update(0, 2, u32::MAX), Breach::Credit(2)),
        (update(SYN, 5, u32::MAX), Breach::Credit(5)),
        (data(0, 3, b"x"), Breach::AfterEnd(3)),
        (data(FIN, 3, b"x"), Breach::AfterEnd(3)),
        (go_away(1), Breach::GoAway(1)),
        (go_away(u32::MAX), Breach::GoAway(u32::MAX)),
    ];
    for (bytes, breach) in table {
        let mut raw = prepared();
        assert_eq!(raw.recv(&bytes), Err(breach), "{bytes:?}");
        assert_eq!(breach.code(), 1);
        // The same, one byte at a time.
        let mut raw = prepared();
        let first = bytes.iter().map(|byte| raw.recv(&[*byte])).find(Result::is_err);
        assert_eq!(first, Some(Err(breach)));
    }
}

#[test]
fn what_is_odd_but_within_the_rules_is_taken() {
    let fine = [
        data(0x80F0, 1, b"x"),
        data(FIN, 3, b""),
        update(FIN, 3, 0),
        update(0, 3, 100_000),
        data(SYN | FIN, 5, b"x"),
        data(SYN | ACK, 5, b"x"),
        update(SYN | RST, 5, 0),
        data(SYN | RST, 5, b"thrown away"),
        data(RST, 1, b"thrown away"),
        data(0, 99, b"thrown away"),
        update(RST, 99, 0),
        data(0, 98, b"of ours, gone"),
        ping(SYN, 7),
        ping(ACK, 0),
        ping(ACK, 99),
        ping(0, 7),
        go_away(0),
        update(SYN, u32::MAX, 0),
    ];
    for bytes in fine {
        let mut raw = prepared();
        assert_eq!(raw.recv(&bytes), Ok(()), "{bytes:?}");
        raw.ok(&data(SYN, 7, b"lives"));
        while let Some(key) = raw.mux.accept() {
            if key.id() == 7 {
                assert_eq!(read_all(&mut raw.mux, key), (b"lives".to_vec(), Read::Blocked));
                return;
            }
        }
    }
}

#[test]
fn the_client_owns_the_odd_ids() {
    let mut raw = Raw::with(config(Client));
    assert_eq!(raw.recv(&update(SYN, 1, 0)), Err(Breach::Side(1)));
    let mut raw = Raw::with(config(Client));
    raw.ok(&update(SYN, 2, 0));
}

/// Frames that are mostly good, and sometimes not.
fn frames(random: &mut Random, n: usize) -> Vec<u8> {
    let mut bytes = Vec::new();
    for _ in 0..n {
        let id = u32::try_from([0, 1, 2, 3, 5, 7, 99][1 + random.below(6)]).unwrap();
        let flags = [0, 0, 0, SYN, ACK, FIN, RST, SYN | FIN][random.below(8)];
        let payload = vec![u8::try_from(random.below(256)).unwrap(); random.below(300)];
        bytes.extend(match random.below(8) {
            0..5 => data(flags, id, &payload),
            5 | 6 => update(flags, id, u32::try_from(random.below(1 << 20)).unwrap()),
            _ => ping(SYN, 1),
        });
    }
    bytes
}

/// What became of it all.
fn outcome(bytes: &[u8], cuts: &mut dyn FnMut() -> usize) -> impl PartialEq + std::fmt::Debug + use<> {
    let mut raw = prepared();
    let (mut rest, mut result) = (bytes, Ok(()));
    while !rest.is_empty() && result.is_ok() {
        let (piece, after) = rest.split_at(cuts().clamp(1, rest.len()));
        result = raw.recv(piece);
        rest = after;
    }
    let mut contents = Vec::new();
    while let Some(key) = raw.mux.accept() {
        contents.push((key.id(), read_all(&mut raw.mux, key)));
    }
    (result, contents, raw.mux.substreams(), raw.mux.held(), raw.sent())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn pieces_do_not_matter(seed in any::<u64>(), n in 1usize..40, cuts in vec(1usize..200, 1..20)) {
        let bytes = frames(&mut Random(seed), n);
        let whole = outcome(&bytes, &mut || usize::MAX);
        let mut cuts = cuts.into_iter().cycle();
        prop_assert_eq!(&whole, &outcome(&bytes, &mut || cuts.next().unwrap()));
        prop_assert_eq!(&whole, &outcome(&bytes, &mut || 1));
    }

    #[test]
    fn any_bytes_are_taken_or_a_breach(bytes in vec(any::<u8>(), 0..300)) {
        let _ = prepared().recv(&bytes);
    }
}
