//! A choice among several of different weight.

/// The index that `point` falls on, if each of `weights` is given a part of the range of `u64` that is as large as its
/// share. None if all weights are 0, or there are none.
pub fn weighted(weights: impl Iterator<Item = u32> + Clone, point: u64) -> Option<usize> {
    let total = weights.clone().fold(0u64, |sum, weight| sum.saturating_add(weight.into()));
    // The product has at most 128 bits, and its upper half is below `total`.
    let scaled = u128::from(point).saturating_mul(total.into()) >> 64;
    let mut rest = u64::try_from(scaled).ok()?;
    for (index, weight) in weights.enumerate() {
        match rest.checked_sub(weight.into()) {
            Some(beyond) => rest = beyond,
            None => return Some(index),
        }
    }
    None
}

/// A point for each turn, such that the points of successive turns are spread out evenly: multiples of the golden ratio.
#[must_use]
pub fn spread(turn: usize) -> u64 {
    const GOLDEN: u64 = 0x9E37_79B9_7F4A_7C15;
    u64::try_from(turn).unwrap_or(u64::MAX).wrapping_mul(GOLDEN)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn each_gets_its_share_of_the_points() {
        let weights = [0, 3, 0, 1];
        let at = |point| weighted(weights.into_iter(), point);
        assert_eq!((at(0), at(u64::MAX)), (Some(1), Some(3)));
        assert_eq!((at((3 << 62) - 1), at(3 << 62)), (Some(1), Some(3)));
        assert_eq!(weighted([0, 0].into_iter(), 7), None);
        assert_eq!(weighted([].into_iter(), 7), None);
    }

    proptest! {
        #[test]
        fn a_choice_has_weight(weights in prop::collection::vec(any::<u32>(), 0..9), point: u64) {
            match weighted(weights.iter().copied(), point) {
                Some(index) => prop_assert!(weights[index] > 0),
                None => prop_assert!(weights.iter().all(|&weight| weight == 0)),
            }
        }
    }
}
