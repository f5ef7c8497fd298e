//! A part of the configuration cut into pieces, and put together again.

use bytes::{Bytes, BytesMut};

use super::part::{Part, PartId};
use crate::codec::EncodeError;
use crate::limits::{PART_MAX, PART_PIECE_MAX};

/// A part that has come whole. Whether its bytes are those of its digest is for whoever can compute one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WholePart {
    /// Which.
    pub of: PartId,
    /// The SHA-256 that its sender stated.
    pub digest: [u8; 32],
    /// JSON.
    pub bytes: Bytes,
}

/// A piece that does not follow the one before it. The peer is at fault.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("a piece of a part at {offset} where {expected} bytes of it were there")]
pub struct OutOfOrder {
    /// Where the piece begins.
    offset: u32,
    /// Where it should.
    expected: usize,
}

/// The part whose pieces are coming; at most [`PART_MAX`] bytes of it are held.
#[derive(Debug, Default)]
pub struct Pieces {
    begun: Option<(Part, BytesMut)>,
}

impl Pieces {
    /// Takes the next piece; the part, if that was the last one. A piece at offset 0 begins a part, and what was incomplete
    /// is forgotten.
    ///
    /// # Errors
    /// [`OutOfOrder`].
    pub fn take(&mut self, piece: Part) -> Result<Option<WholePart>, OutOfOrder> {
        if piece.offset == 0 {
            self.begun = Some((Part { bytes: Bytes::new(), ..piece.clone() }, BytesMut::new()));
        }
        let have = self.begun.as_ref().map_or(0, |(_, bytes)| bytes.len());
        let out_of_order = OutOfOrder { offset: piece.offset, expected: have };
        let Some((first, bytes)) = &mut self.begun else { return Err(out_of_order) };
        let same = first.of == piece.of && first.digest == piece.digest && first.length == piece.length;
        if !same || usize::try_from(piece.offset) != Ok(have) {
            return Err(out_of_order);
        }
        bytes.extend_from_slice(&piece.bytes);
        if usize::try_from(piece.length).is_ok_and(|length| bytes.len() < length) {
            return Ok(None);
        }
        let whole = self.begun.take();
        Ok(whole.map(|(first, bytes)| WholePart {
            of: first.of,
            digest: first.digest,
            bytes: bytes.freeze(),
        }))
    }
}

impl WholePart {
    /// The messages that hand it over.
    ///
    /// # Errors
    /// [`EncodeError`] if it is empty or above [`PART_MAX`].
    pub fn pieces(&self) -> Result<impl Iterator<Item = Part>, EncodeError> {
        if self.bytes.is_empty() {
            return Err(EncodeError::BadValue { field: "length" });
        }
        let too_long = EncodeError::TooLong { field: "length", max: PART_MAX };
        let length = u32::try_from(self.bytes.len()).map_err(|_| too_long)?;
        if self.bytes.len() > PART_MAX {
            return Err(too_long);
        }
        let (of, digest, mut rest) = (self.of.clone(), self.digest, self.bytes.clone());
        let mut offset = 0u32;
        Ok(std::iter::from_fn(move || {
            if rest.is_empty() {
                return None;
            }
            let bytes = rest.split_to(rest.len().min(PART_PIECE_MAX));
            let piece = Part { of: of.clone(), digest, length, offset, bytes };
            offset = offset.saturating_add(u32::try_from(piece.bytes.len()).unwrap_or(u32::MAX));
            Some(piece)
        }))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn whole(length: usize) -> WholePart {
        let bytes = (0..length).map(|at| u8::try_from(at % 251).unwrap()).collect();
        WholePart { of: PartId { group: "web".to_owned(), revision: 7 }, digest: [1; 32], bytes }
    }

    proptest! {
        #[test]
        fn a_part_survives_its_pieces(length in 1usize..200_000) {
            let (part, mut pieces) = (whole(length), Pieces::default());
            let mut came = None;
            for piece in part.pieces().unwrap() {
                prop_assert!(came.is_none());
                prop_assert!((1..=PART_PIECE_MAX).contains(&piece.bytes.len()));
                came = pieces.take(piece).unwrap();
            }
            prop_assert_eq!(came, Some(part));
        }
    }

    #[test]
    fn a_piece_that_is_missing_double_or_of_another_part_is_refused() {
        let cut: Vec<Part> = whole(PART_PIECE_MAX * 3).pieces().unwrap().collect();
        let [first, second, third] = cut.as_slice() else { panic!("{} pieces", cut.len()) };
        let refuses = |pieces: &[&Part]| {
            let mut taking = Pieces::default();
            let mut results: Vec<_> = pieces.iter().map(|piece| taking.take((*piece).clone())).collect();
            let last = results.pop().unwrap();
            assert!(results.iter().all(|earlier| *earlier == Ok(None)), "{results:?}");
            assert!(last.is_err(), "{last:?}");
        };
        refuses(&[second]);
        refuses(&[first, third]);
        refuses(&[first, second, second]);
        let other = Part { digest: [2; 32], ..second.clone() };
        refuses(&[first, &other]);
        let other = Part { length: second.length + 1, ..second.clone() };
        refuses(&[first, &other]);
    }

    #[test]
    fn a_part_that_begins_anew_is_taken() {
        let cut: Vec<Part> = whole(PART_PIECE_MAX + 1).pieces().unwrap().collect();
        let mut pieces = Pieces::default();
        for piece in [&cut[0], &cut[0]] {
            assert_eq!(pieces.take(piece.clone()), Ok(None));
        }
        assert_eq!(pieces.take(cut[1].clone()), Ok(Some(whole(PART_PIECE_MAX + 1))));
        assert!(pieces.take(cut[1].clone()).is_err(), "nothing is left of it");
    }

    #[test]
    fn a_part_has_a_size() {
        assert!(whole(0).pieces().is_err());
        assert!(whole(PART_MAX + 1).pieces().is_err());
        assert_eq!(whole(PART_MAX).pieces().unwrap().count(), PART_MAX / PART_PIECE_MAX);
    }
}
