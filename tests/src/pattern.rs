//! Test data that shows loss, duplication and reordering: an endless stream of bytes known at every offset.

use std::sync::LazyLock;

use bytes::Bytes;

/// A prime, so that no block size of anybody's hides a shift.
const PERIOD: usize = 65_521;

/// The longest piece [`at`] hands out.
pub const PIECE: usize = 65_536;

static STREAM: LazyLock<Bytes> = LazyLock::new(|| {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let period: Vec<u8> = (0..PERIOD)
        .map(|_| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            state.to_be_bytes()[3]
        })
        .collect();
    period.iter().copied().cycle().take(PERIOD + PIECE).collect()
});

/// The bytes from `offset` on: `len` of them, or [`PIECE`] if that is less. Never copies.
#[must_use]
pub fn at(offset: u64, len: u64) -> Bytes {
    let from = usize::try_from(offset % PERIOD as u64).unwrap_or(0);
    let len = usize::try_from(len).unwrap_or(PIECE).min(PIECE);
    STREAM.slice(from..from + len)
}

/// `len` bytes from the start, in one piece.
#[must_use]
pub fn all(len: usize) -> Vec<u8> {
    let mut out = Vec::with_capacity(len);
    while out.len() < len {
        out.extend_from_slice(&at(out.len() as u64, (len - out.len()) as u64));
    }
    out
}

/// Compares what arrives with the stream.
#[derive(Debug, Default, Clone, Copy)]
pub struct Checker {
    seen: u64,
    broken_at: Option<u64>,
}

impl Checker {
    /// Takes the next bytes that arrived.
    pub fn feed(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            let want = at(self.seen, bytes.len() as u64);
            let (now, later) = bytes.split_at(want.len());
            if self.broken_at.is_none() && now != want {
                let same = now.iter().zip(&want).take_while(|(a, b)| a == b).count();
                self.broken_at = Some(self.seen + same as u64);
            }
            self.seen += now.len() as u64;
            bytes = later;
        }
    }

    /// How many bytes have arrived.
    #[must_use]
    pub fn seen(&self) -> u64 {
        self.seen
    }

    /// Whether every byte so far is the one the stream has there.
    #[must_use]
    pub fn intact(&self) -> bool {
        self.broken_at.is_none()
    }

    /// # Panics
    ///
    /// Unless exactly `len` bytes arrived and all are the stream's.
    pub fn expect(&self, len: u64) {
        assert_eq!(self.broken_at, None, "the first wrong byte");
        assert_eq!(self.seen, len, "the number of bytes");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shift_is_seen() {
        let data = all(200_000);
        let mut whole = Checker::default();
        whole.feed(&data[..70_000]);
        whole.feed(&data[70_000..]);
        whole.expect(200_000);

        let mut shifted = Checker::default();
        shifted.feed(&data[..100_000]);
        shifted.feed(&data[100_001..]);
        assert!(!shifted.intact());
    }
}
