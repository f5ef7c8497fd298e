//! One end, and a peer that says what it likes.

use std::time::{Duration, Instant};

use bytes::BytesMut;

use super::pair::{Server, config};
use super::wire::{DATA, GO_AWAY, Observer, PING, Seen, UPDATE};
use crate::mux::{Batch, Breach, Config, Key, Mux, READ_SIZE};

/// The bytes of one frame.
pub(super) fn frame(kind: u8, flags: u16, id: u32, length: u32) -> Vec<u8> {
    let mut bytes = vec![0, kind];
    bytes.extend(flags.to_be_bytes());
    bytes.extend(id.to_be_bytes());
    bytes.extend(length.to_be_bytes());
    bytes
}

pub(super) fn data(flags: u16, id: u32, payload: &[u8]) -> Vec<u8> {
    let mut bytes = frame(DATA, flags, id, u32::try_from(payload.len()).unwrap());
    bytes.extend_from_slice(payload);
    bytes
}

pub(super) fn update(flags: u16, id: u32, credit: u32) -> Vec<u8> {
    frame(UPDATE, flags, id, credit)
}

pub(super) fn ping(flags: u16, value: u32) -> Vec<u8> {
    frame(PING, flags, 0, value)
}

pub(super) fn go_away(code: u32) -> Vec<u8> {
    frame(GO_AWAY, 0, 0, code)
}

pub(super) struct Raw {
    pub(super) mux: Mux,
    pub(super) now: Instant,
    observer: Observer,
}

impl Raw {
    /// A server, whose peer opens odd ids.
    pub(super) fn new() -> Self {
        Self::with(config(Server))
    }

    pub(super) fn with(config: Config) -> Self {
        let now = Instant::now();
        Self { mux: Mux::new(config, now), now, observer: Observer::default() }
    }

    /// Gives bytes to the end, as a driver would.
    pub(super) fn recv(&mut self, bytes: &[u8]) -> Result<(), Breach> {
        for piece in bytes.chunks(READ_SIZE) {
            let mut read = BytesMut::with_capacity(READ_SIZE);
            read.extend_from_slice(piece);
            self.mux.recv(&mut read, self.now)?;
            assert!(read.is_empty());
        }
        Ok(())
    }

    pub(super) fn ok(&mut self, bytes: &[u8]) {
        self.recv(bytes).unwrap();
    }

    /// The same frames over and over, until the end has had enough; how many times.
    pub(super) fn flood(&mut self, max: usize, mut frames: impl FnMut(usize) -> Vec<u8>) -> (usize, Breach) {
        for n in 0..max {
            if let Err(breach) = self.recv(&frames(n)) {
                return (n, breach);
            }
        }
        panic!("{max} times were not enough");
    }

    /// Opens and accepts a substream.
    pub(super) fn open(&mut self, id: u32) -> Key {
        self.ok(&update(super::wire::SYN, id, 0));
        self.mux.accept().unwrap()
    }

    /// All that the end has to say now, but for pings.
    pub(super) fn sent(&mut self) -> Vec<Seen> {
        let mut seen = Vec::new();
        loop {
            let mut batch = Batch::default();
            self.mux.transmit(64 * 1024, self.now, &mut batch);
            if batch.is_empty() {
                seen.retain(|frame: &Seen| frame.kind != PING);
                return seen;
            }
            while !batch.is_empty() {
                let mut slices = [std::io::IoSlice::new(&[])];
                batch.slices(&mut slices);
                seen.extend(self.observer.observe(&slices[0]));
                let n = slices[0].len();
                batch.advance(n);
            }
        }
    }

    pub(super) fn pass(&mut self, time: Duration) {
        self.now += time;
        self.mux.tick(self.now);
    }
}
