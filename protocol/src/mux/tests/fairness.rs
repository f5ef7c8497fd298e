//! Who is sent when: by bytes, short messages ahead of bulk, control frames ahead of everything.

use bytes::Bytes;

use super::raw::{Raw, data, ping, update};
use super::wire::{ACK, DATA, PING, RST, Random, SYN, Seen, UPDATE};
use crate::mux::scheduler::QUANTUM;
use crate::mux::{Batch, FRAME_MAX, HEADER_LEN, Key};

/// Substreams whose peers take whatever comes.
fn open(raw: &mut Raw, n: usize) -> Vec<Key> {
    let keys: Vec<Key> = (0..n).map(|_| raw.mux.open(Bytes::from_static(b"head")).unwrap()).collect();
    raw.sent();
    for key in &keys {
        raw.mux.streams.get_mut(*key).unwrap().send_window = u32::MAX / 2;
    }
    keys
}

/// One transmission of about `max` bytes.
fn transmit(raw: &mut Raw, max: usize) -> Vec<Seen> {
    let mut batch = Batch::default();
    raw.mux.transmit(max, raw.now, &mut batch);
    let mut observer = super::wire::Observer::default();
    let mut seen = Vec::new();
    while !batch.is_empty() {
        let mut slices = [std::io::IoSlice::new(&[])];
        batch.slices(&mut slices);
        seen.extend(observer.observe(&slices[0]));
        let n = slices[0].len();
        batch.advance(n);
    }
    seen
}

fn fill(raw: &mut Raw, bulk: &[Key]) {
    for key in bulk {
        raw.mux.write(*key, &mut vec![7; 16_384].into());
    }
}

#[test]
fn a_short_message_waits_for_one_turn_of_bulk_at_most() {
    let mut random = Random(3);
    let mut raw = Raw::new();
    let bulk = open(&mut raw, 8);
    let short = open(&mut raw, 1)[0];
    let mut worst = 0;
    for _ in 0..2000 {
        for _ in 0..random.below(3) {
            fill(&mut raw, &bulk);
            transmit(&mut raw, 1 + random.below(100_000));
        }
        (0..8).for_each(|_| fill(&mut raw, &bulk));
        raw.mux.write(short, &mut Bytes::from_static(&[1; 64]));
        let mut ahead = 0;
        let max = 1 + random.below(70_000);
        'sent: loop {
            for frame in transmit(&mut raw, max) {
                if frame.id == short.id() {
                    break 'sent;
                }
                ahead += frame.payload() + HEADER_LEN;
            }
        }
        worst = worst.max(ahead);
    }
    assert!(worst <= QUANTUM + 4 * HEADER_LEN, "{worst}");
}

#[test]
fn a_new_substream_is_ahead_of_bulk_even_in_the_very_first_round() {
    let mut raw = Raw::new();
    let bulk = open(&mut raw, 3);
    (0..100).for_each(|_| fill(&mut raw, &bulk));
    let first = transmit(&mut raw, 3 * QUANTUM);
    assert!(first.iter().all(|frame| frame.id != 8));
    let new = raw.mux.open(Bytes::from_static(b"new")).unwrap();
    let sent = transmit(&mut raw, QUANTUM + 2 * FRAME_MAX);
    assert!(sent.iter().any(|frame| frame.id == new.id()), "{sent:?}");
}

#[test]
fn bulk_is_shared_by_bytes_however_it_is_written() {
    let mut raw = Raw::new();
    let bulk = open(&mut raw, 8);
    let sizes = [500, 1000, 5000, 16_372, 16_384, 30_000, 65_536, 200_000];
    let mut sent = std::collections::HashMap::<u32, usize>::new();
    for _ in 0..500 {
        for (key, size) in bulk.iter().zip(sizes) {
            while raw.mux.streams.get(*key).unwrap().outbox.len() < crate::mux::OUTBOX_MAX {
                raw.mux.write(*key, &mut vec![7; size].into());
                raw.mux.write_copy(*key, &mut &vec![7; size][..]);
            }
        }
        for frame in transmit(&mut raw, 64 * 1024) {
            *sent.entry(frame.id).or_default() += frame.payload();
        }
    }
    let (least, most) = (sent.values().min().unwrap(), sent.values().max().unwrap());
    assert!(sent.len() == 8 && most * 100 <= least * 107, "{sent:?}");
}

#[test]
fn many_who_say_little_do_not_starve_bulk() {
    // Below what the link takes, and far above: then everybody gets the same.
    for (said, share) in [(100, 6), (1_000, 300)] {
        let mut raw = Raw::new();
        let bulk = open(&mut raw, 2);
        let sparse = open(&mut raw, 500);
        let (mut of_bulk, mut all) = (0, 0);
        for _ in 0..300 {
            (0..4).for_each(|_| fill(&mut raw, &bulk));
            for key in &sparse {
                raw.mux.write(*key, &mut vec![1; said].into());
            }
            for frame in transmit(&mut raw, 256 * 1024) {
                all += frame.payload();
                of_bulk += if bulk.iter().any(|key| key.id() == frame.id) { frame.payload() } else { 0 };
            }
        }
        assert!(of_bulk * share >= all, "{of_bulk} of {all}");
    }
}

#[test]
fn bulk_does_not_starve_those_who_say_little() {
    let mut raw = Raw::new();
    let bulk = open(&mut raw, 20);
    let sparse = open(&mut raw, 200);
    for round in 0..50 {
        (0..8).for_each(|_| fill(&mut raw, &bulk));
        for key in &sparse {
            raw.mux.write(*key, &mut vec![1; 100].into());
        }
        let sent = transmit(&mut raw, 4 * QUANTUM);
        let served = sent.iter().filter(|frame| sparse.iter().any(|key| key.id() == frame.id)).count();
        assert_eq!(served, 200, "{round}");
    }
}

#[test]
fn control_frames_never_queue_behind_data() {
    let mut raw = Raw::new();
    let bulk = open(&mut raw, 8);
    (0..50).for_each(|_| fill(&mut raw, &bulk));
    transmit(&mut raw, 100_000);
    let reader = raw.open(1);
    let gone = raw.open(3);
    raw.ok(&data(0, 1, &[1; 60_000]));
    while let crate::mux::Read::Bytes(_) = raw.mux.read(reader, usize::MAX) {}
    raw.mux.release(gone, raw.now);
    raw.ok(&ping(SYN, 77));
    raw.ok(&update(0, bulk[0].id(), 10_000));
    let sent = transmit(&mut raw, 100);
    let kinds: Vec<_> = sent.iter().map(|frame| frame.kind).collect();
    assert_eq!(kinds[..3], [PING, UPDATE, UPDATE], "{sent:?}");
    assert!(sent[0].has(ACK) && sent[0].length == 77 && sent[1].has(RST) && sent[2].length == 60_000);
    assert!(kinds[3..].iter().all(|kind| *kind == DATA));
}

#[test]
fn who_can_not_be_sent_when_its_turn_comes_is_sent_when_it_can() {
    let mut raw = Raw::new();
    let bulk = open(&mut raw, 3);
    (0..10).for_each(|_| fill(&mut raw, &bulk));
    raw.mux.streams.get_mut(bulk[0]).unwrap().send_window = 0;
    raw.mux.reset(bulk[1]);
    let sent = raw.sent();
    assert!(sent.iter().all(|frame| frame.id == bulk[2].id() || frame.has(RST)), "{sent:?}");
    assert!(!raw.mux.has_output());
    raw.ok(&update(0, bulk[0].id(), 20_000));
    assert!(raw.mux.has_output());
    let bytes: usize = raw.sent().iter().map(Seen::payload).sum();
    assert_eq!(bytes, 20_000);
    raw.mux.finish(bulk[0]);
    assert!(!raw.mux.has_output(), "its window is used up");
    raw.ok(&update(0, bulk[0].id(), 1 << 20));
    let sent = raw.sent();
    assert!(sent.last().unwrap().has(super::wire::FIN));
    assert_eq!(sent.iter().map(Seen::payload).sum::<usize>(), 65_536 - 20_000);
}
