//! What goes over the link, read by code that has nothing to do with the multiplexer's own.

use std::collections::{HashMap, VecDeque};
use std::time::{Duration, Instant};

use bytes::BytesMut;

use crate::mux::{Batch, READ_SIZE};

pub(super) const DATA: u8 = 0;
pub(super) const UPDATE: u8 = 1;
pub(super) const PING: u8 = 2;
pub(super) const GO_AWAY: u8 = 3;
pub(super) const SYN: u16 = 1;
pub(super) const ACK: u16 = 2;
pub(super) const FIN: u16 = 4;
pub(super) const RST: u16 = 8;

/// A header as the published spec has it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Seen {
    pub(super) kind: u8,
    pub(super) flags: u16,
    pub(super) id: u32,
    pub(super) length: u32,
}

impl Seen {
    pub(super) fn has(&self, flag: u16) -> bool {
        self.flags & flag != 0
    }

    /// Bytes that follow the header.
    pub(super) fn payload(&self) -> usize {
        if self.kind == DATA { self.length as usize } else { 0 }
    }
}

/// Cuts a stream of bytes into frames.
#[derive(Debug, Default)]
pub(super) struct Observer {
    header: Vec<u8>,
    skip: usize,
}

impl Observer {
    pub(super) fn observe(&mut self, mut bytes: &[u8]) -> Vec<Seen> {
        let mut seen = Vec::new();
        while !bytes.is_empty() {
            let skipped = self.skip.min(bytes.len());
            self.skip -= skipped;
            bytes = &bytes[skipped..];
            let n = (12 - self.header.len()).min(bytes.len());
            self.header.extend_from_slice(&bytes[..n]);
            bytes = &bytes[n..];
            if self.header.len() == 12 {
                let h = std::mem::take(&mut self.header);
                let word = |at: usize| u32::from_be_bytes([h[at], h[at + 1], h[at + 2], h[at + 3]]);
                assert_eq!(h[0], 0, "version");
                let flags = u16::from_be_bytes([h[2], h[3]]);
                let frame = Seen { kind: h[1], flags, id: word(4), length: word(8) };
                assert!(frame.kind <= GO_AWAY && frame.flags < 16, "{frame:?}");
                self.skip = frame.payload();
                seen.push(frame);
            }
        }
        seen
    }

    /// Whether the last frame is complete.
    pub(super) fn is_between_frames(&self) -> bool {
        self.header.is_empty() && self.skip == 0
    }
}

/// A generator of numbers that are the same in every run.
#[derive(Debug, Clone)]
pub(super) struct Random(pub(super) u64);

impl Random {
    pub(super) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    /// Below `end`.
    pub(super) fn below(&mut self, end: usize) -> usize {
        usize::try_from(self.next() % u64::try_from(end.max(1)).unwrap()).unwrap()
    }
}

/// One way of the link.
#[derive(Debug, Default)]
pub(super) struct Pipe {
    pub(super) delay: Duration,
    /// Bytes in a second; none is as many as there are.
    pub(super) rate: Option<u64>,
    /// Nothing is taken from the sender, though what was taken still arrives.
    pub(super) stalled: bool,
    /// Nothing gets through any more, and nothing more arrives.
    pub(super) cut: bool,
    /// Deliveries are cut into pieces of random lengths up to this.
    pub(super) split: Option<(usize, Random)>,
    /// All frames that were sent, and those that arrived.
    pub(super) sent: Vec<Seen>,
    pub(super) arrived: Vec<Seen>,
    sent_observer: Observer,
    arrived_observer: Observer,
    pub(super) credit: HashMap<u32, i64>,
    free_at: Option<Instant>,
    flying: VecDeque<(Instant, Vec<u8>)>,
}

impl Pipe {
    /// Whether the sender's socket takes more: no more than 64 KiB wait in it.
    pub(super) fn has_room(&self, now: Instant) -> bool {
        let wait = self.free_at.map_or(Duration::ZERO, |at| at.saturating_duration_since(now));
        !self.stalled && self.rate.is_none_or(|rate| wait.as_nanos() * u128::from(rate) < 65_536_000_000_000)
    }

    /// Puts all of `batch` on the wire. `first` is what may be sent before the first window update.
    pub(super) fn send(&mut self, batch: &mut Batch, now: Instant, first: u32) -> usize {
        let mut all = Vec::with_capacity(batch.len());
        while !batch.is_empty() {
            let mut slices = [std::io::IoSlice::new(&[])];
            assert_eq!(batch.slices(&mut slices), 1);
            let n = slices[0].len().clamp(1, 10_000);
            all.extend_from_slice(&slices[0][..n]);
            batch.advance(n);
        }
        for frame in self.sent_observer.observe(&all) {
            if matches!(frame.kind, DATA | UPDATE) {
                if frame.has(SYN) {
                    self.credit.insert(frame.id, first.into());
                }
                let credit = self.credit.entry(frame.id).or_insert(first.into());
                *credit -= i64::try_from(frame.payload()).unwrap();
                assert!(*credit >= 0, "{frame:?} is more than the credit");
            }
            self.sent.push(frame);
        }
        assert!(self.sent_observer.is_between_frames(), "a batch is whole frames");
        let length = all.len();
        if !self.cut && length > 0 {
            let start = self.free_at.map_or(now, |at| at.max(now));
            let takes = self.rate.map_or(0, |rate| length as u64 * 1_000_000_000 / rate);
            let gone = start + Duration::from_nanos(takes);
            self.free_at = Some(gone);
            self.flying.push_back((gone + self.delay, all));
        }
        length
    }

    /// What arrives until now, in the pieces in which it is read.
    pub(super) fn arrive(&mut self, now: Instant) -> Vec<BytesMut> {
        let mut reads = Vec::new();
        while !self.cut
            && let Some((_, bytes)) = self.flying.pop_front_if(|(at, _)| *at <= now)
        {
            self.arrived.extend(self.arrived_observer.observe(&bytes));
            let mut rest = &bytes[..];
            while !rest.is_empty() {
                let n = match &mut self.split {
                    None => READ_SIZE,
                    Some((max, random)) => 1 + random.below(*max),
                };
                let (piece, after) = rest.split_at(n.min(READ_SIZE).min(rest.len()));
                let mut read = BytesMut::with_capacity(READ_SIZE);
                read.extend_from_slice(piece);
                reads.push(read);
                rest = after;
            }
        }
        reads
    }

    /// When something arrives next.
    pub(super) fn next(&self) -> Option<Instant> {
        self.flying.front().filter(|_| !self.cut).map(|(at, _)| *at)
    }
}
