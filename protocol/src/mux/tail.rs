//! Small pieces gathered into one buffer that is never much larger than what is in it.

use bytes::{Bytes, BytesMut};

/// Adds `piece` to `buffer`, which grows by powers of two: at least half of it is used.
pub(super) fn append(buffer: &mut BytesMut, piece: &[u8]) {
    let needed = buffer.len().saturating_add(piece.len());
    if needed > buffer.capacity() {
        let mut larger = BytesMut::with_capacity(needed.checked_next_power_of_two().unwrap_or(needed));
        larger.extend_from_slice(buffer);
        *buffer = larger;
    }
    buffer.extend_from_slice(piece);
}

/// What is left of a piece whose beginning is gone.
///
/// A piece keeps the whole buffer alive that it is a part of: `memory` is how large that is at most. When less than half of
/// it is left, the rest moves to a buffer of its own.
pub(super) fn trim(piece: &mut Bytes, memory: &mut usize) {
    if piece.len().saturating_mul(2) < *memory {
        *piece = Bytes::copy_from_slice(piece);
        *memory = piece.len();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_buffer_is_at_least_half_full() {
        let mut buffer = BytesMut::new();
        for n in 1..20_000 {
            append(&mut buffer, b"x");
            assert!(buffer.len() == n && buffer.capacity() < 2 * n.max(8), "{n} {}", buffer.capacity());
        }
    }

    #[test]
    fn a_piece_is_copied_when_less_than_half_of_its_buffer_is_left() {
        let mut piece = Bytes::from(vec![1; 1000]);
        let mut memory = 1000;
        let first = piece.split_to(500);
        trim(&mut piece, &mut memory);
        assert_eq!((memory, piece.as_ptr()), (1000, first.as_ptr().wrapping_add(500)));
        let second = piece.split_to(1);
        trim(&mut piece, &mut memory);
        assert_eq!((memory, piece.len()), (499, 499));
        assert_ne!(piece.as_ptr(), second.as_ptr().wrapping_add(1));
    }
}
