//! Which port a tunnel gets that asked for none: the same one each time, as long as it is free.

use crate::port::{PortRange, UNPRIVILEGED};

/// The unprivileged ports of `ranges`, each exactly once, in an order that `hash` alone decides. The caller takes
/// the first that it can bind; `hash` is a keyed hash of (client, tunnel name), so that the order is stable for
/// a tunnel and unforeseeable for others.
#[must_use]
pub fn port_pick(ranges: &[PortRange], hash: &[u8; 32]) -> PortPick {
    let ranges = merged(ranges);
    let total: u32 = ranges.iter().map(width).sum();
    let [first, second, ..] = words(hash);
    let modulus = total.max(1);
    let mut step = second % modulus;
    while total > 1 && gcd(step, total) != 1 {
        step = step.wrapping_add(1) % modulus;
    }
    PortPick { ranges, total, next: first % modulus, step, left: total }
}

/// The ports of [`port_pick`].
#[derive(Debug, Clone)]
pub struct PortPick {
    ranges: Vec<PortRange>,
    total: u32,
    next: u32,
    step: u32,
    left: u32,
}

impl Iterator for PortPick {
    type Item = u16;

    fn next(&mut self) -> Option<u16> {
        self.left = self.left.checked_sub(1)?;
        let mut index = self.next;
        self.next = self.next.wrapping_add(self.step) % self.total;
        for range in &self.ranges {
            match index.checked_sub(width(range)) {
                Some(rest) => index = rest,
                None => return range.first().checked_add(u16::try_from(index).ok()?),
            }
        }
        None
    }
}

/// `ranges` without their privileged ports, ascending, none overlapping another.
fn merged(ranges: &[PortRange]) -> Vec<PortRange> {
    let mut sorted: Vec<_> = ranges.iter().filter(|range| range.first() >= UNPRIVILEGED).copied().collect();
    sorted.sort_unstable();
    let mut merged: Vec<PortRange> = Vec::new();
    for range in sorted {
        match merged.last_mut().filter(|last| range.first() <= last.last()) {
            Some(last) => {
                *last = PortRange::new(last.first(), last.last().max(range.last())).unwrap_or(*last)
            }
            None => merged.push(range),
        }
    }
    merged
}

fn width(range: &PortRange) -> u32 {
    u32::from(range.last().abs_diff(range.first())).saturating_add(1)
}

fn words(hash: &[u8; 32]) -> [u32; 8] {
    let (chunks, _) = hash.as_chunks::<4>();
    std::array::from_fn(|i| chunks.get(i).copied().map_or(0, u32::from_be_bytes))
}

const fn gcd(a: u32, b: u32) -> u32 {
    if b == 0 { a } else { gcd(b, a % b) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    fn range(text: &str) -> PortRange {
        PortRange::parse(text).unwrap()
    }

    #[test]
    fn no_range_no_port_and_never_a_privileged_one() {
        assert_eq!(port_pick(&[], &[7; 32]).next(), None);
        assert_eq!(port_pick(&[range("22")], &[7; 32]).next(), None);
        assert_eq!(port_pick(&[range("22"), range("2222")], &[7; 32]).collect::<Vec<_>>(), [2222]);
    }

    #[test]
    fn every_unprivileged_port_is_tried_once() {
        let ports: BTreeSet<u16> = port_pick(&[PortRange::UNPRIVILEGED], &[0; 32]).collect();
        assert_eq!(ports.len(), 64_512);
    }

    proptest! {
        #[test]
        fn each_port_once_whatever_overlaps(
            hash: [u8; 32],
            ends in prop::collection::vec((1024u16..1200, 0u16..60), 0..6),
        ) {
            let ranges: Vec<_> = ends.iter().map(|&(a, n)| PortRange::new(a, a + n).unwrap()).collect();
            let expected: BTreeSet<u16> = ranges.iter().flatten().collect();
            let picked: Vec<u16> = port_pick(&ranges, &hash).collect();
            prop_assert_eq!(picked.len(), expected.len());
            prop_assert_eq!(picked.iter().copied().collect::<BTreeSet<_>>(), expected);
            prop_assert_eq!(port_pick(&ranges, &hash).collect::<Vec<_>>(), picked);
        }
    }
}
