//! One direction of a substream: what was written to it, and that nothing else is read from it.

use std::sync::LazyLock;

use bytes::Bytes;

/// After so many bytes, the bytes of a way repeat. A prime: no frame, window or buffer fits into it.
const PERIOD: usize = 131_071;
/// The longest piece.
const PIECE_MAX: usize = 1 << 20;

/// Two ways read the same table from different places.
static TABLE: LazyLock<Vec<u8>> = LazyLock::new(|| {
    let mut state = 0x2545_f491_4f6c_dd1d_u64;
    let mut bytes: Vec<u8> = (0..PERIOD)
        .map(|_| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            (state >> 32) as u8
        })
        .collect();
    bytes.extend_from_within(..);
    while bytes.len() < PERIOD + PIECE_MAX {
        bytes.extend_from_within(..PERIOD);
    }
    bytes
});

/// One direction of a substream.
#[derive(Debug)]
pub(crate) struct Way {
    start: usize,
    pub(crate) written: usize,
    pub(crate) read: usize,
    /// The writer said that this is all.
    pub(crate) finished: bool,
    /// The reader saw the end.
    pub(crate) ended: bool,
}

impl Way {
    pub(crate) fn new(number: usize) -> Self {
        Self { start: number * 7919, written: 0, read: 0, finished: false, ended: false }
    }

    /// The next `n` bytes to write.
    pub(crate) fn piece(&self, n: usize) -> Bytes {
        let n = n.min(PIECE_MAX);
        Bytes::from_static(&TABLE[(self.start + self.written) % PERIOD..][..n])
    }

    /// The reader has these bytes.
    pub(crate) fn take(&mut self, bytes: &[u8]) {
        assert!(!self.ended, "{} bytes behind the end", bytes.len());
        assert!(self.read + bytes.len() <= self.written, "more was read than written");
        for (index, chunk) in bytes.chunks(PIECE_MAX).enumerate() {
            let at = (self.start + self.read + index * PIECE_MAX) % PERIOD;
            assert!(TABLE[at..].starts_with(chunk), "not what was written, from byte {} on", self.read);
        }
        self.read += bytes.len();
    }

    /// The reader is told that this was all.
    pub(crate) fn end(&mut self) {
        assert!(self.finished, "an end that nobody wrote, at byte {} of {}", self.read, self.written);
        assert_eq!(self.read, self.written, "an end before all was read");
        self.ended = true;
    }
}
