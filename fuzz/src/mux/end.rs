//! One end: an engine, and the link that its bytes go to.

use std::hash::RandomState;
use std::io::IoSlice;
use std::time::Instant;

use bytes::BytesMut;
use protocol::mux::{Batch, Breach, Config, Key, Mux, Notice, ProcessBudget, READ_SIZE, Role};

use super::frames::{Frames, RawFrame};
use super::wire::Wire;

/// The bounds of an end that scripts choose from.
#[derive(Debug, Clone, Copy)]
pub(super) struct Bounds {
    pub(super) receive_first: u32,
    pub(super) send_first: u32,
    pub(super) max_inbound: usize,
    pub(super) max_outbound: usize,
    pub(super) max_held: usize,
}

/// One end.
#[derive(Debug)]
pub(super) struct End {
    pub(super) mux: Mux,
    pub(super) bounds: Bounds,
    /// Bytes on their way to the peer.
    pub(super) link: BytesMut,
    /// More may have been held than there may be: substreams may be broken off.
    pub(super) over: bool,
    batch: Batch,
    wire: Wire,
    received: Frames,
    /// There was nothing to accept, and no notice since.
    acceptor_waits: bool,
}

impl End {
    pub(super) fn new(role: Role, bounds: Bounds, honest_peer: bool, now: Instant) -> Self {
        let Bounds { receive_first, send_first, max_inbound, max_outbound, max_held } = bounds;
        let process = ProcessBudget::new(1 << 30);
        let hasher = RandomState::new();
        let config =
            Config { role, receive_first, send_first, max_inbound, max_outbound, max_held, process, hasher };
        Self {
            mux: Mux::new(config, now),
            bounds,
            link: BytesMut::new(),
            over: false,
            batch: Batch::default(),
            wire: Wire::new(role, send_first, honest_peer),
            received: Frames::default(),
            acceptor_waits: false,
        }
    }

    /// `n` more bytes are going to be held.
    pub(super) fn holds_more(&mut self, n: usize) {
        self.over |= self.mux.held() + n > self.bounds.max_held;
    }

    /// The next substream of the peer.
    pub(super) fn accept(&mut self) -> Option<Key> {
        let key = self.mux.accept();
        if key.is_some() {
            assert!(!self.acceptor_waits, "who waits for a substream was not told of one");
        } else {
            self.acceptor_waits = true;
        }
        key
    }

    /// What happened, but for substreams to accept.
    pub(super) fn next_notice(&mut self) -> Option<Notice> {
        loop {
            match self.mux.poll_event()? {
                Notice::Acceptable => self.acceptor_waits = false,
                notice => return Some(notice),
            }
        }
    }

    /// Sends frames of about `max` bytes. The link takes `step` bytes at a time out of the batch.
    pub(super) fn transmit(&mut self, max: usize, step: usize, now: Instant) -> Vec<RawFrame> {
        let idle = !self.mux.has_output();
        self.mux.transmit(max, now, &mut self.batch);
        let (promised, start) = (self.batch.len(), self.link.len());
        while !self.batch.is_empty() {
            let mut slices = [IoSlice::new(&[]); 4];
            let filled = self.batch.slices(&mut slices);
            let mut taken = 0;
            for slice in &slices[..filled] {
                let n = slice.len().min(step.max(1) - taken);
                self.link.extend_from_slice(&slice[..n]);
                taken += n;
            }
            assert!(taken > 0, "a batch of {} bytes without a slice", self.batch.len());
            self.batch.advance(taken);
        }
        assert_eq!(self.link.len() - start, promised);
        // A ping needs no other reason than the time.
        assert!(!idle || promised <= 12, "{promised} bytes from who has nothing to send");
        self.wire.send(&self.link[start..])
    }

    /// Receives what the peer has sent.
    pub(super) fn recv(&mut self, bytes: &[u8], now: Instant) -> Result<(), Breach> {
        for piece in bytes.chunks(READ_SIZE) {
            self.holds_more(piece.len());
            let wire = &mut self.wire;
            self.received.feed(piece, |frame| wire.peer_sent(frame));
            let mut piece = BytesMut::from(piece);
            self.mux.recv(&mut piece, now)?;
            assert!(piece.is_empty(), "{} bytes were left", piece.len());
        }
        Ok(())
    }

    /// The bounds that the engine promises.
    pub(super) fn check(&self) {
        let Bounds { max_inbound, max_outbound, max_held, .. } = self.bounds;
        let (held, open) = (self.mux.held(), self.mux.substreams());
        assert!(held <= max_held + READ_SIZE, "{held} bytes are held");
        assert!(open <= max_inbound + max_outbound, "{open} substreams are held");
    }
}
