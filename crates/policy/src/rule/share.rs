//! Which of a rule's targets gets a request.

use super::WeightedTarget;
use crate::weighted::weighted;

/// The indices of `targets` in the order in which they are tried: the first as `point`, which should be random, falls on
/// their shares, then the others as they follow it. One of weight 0 gets nothing.
pub fn by_share(targets: &[WeightedTarget], point: u64) -> impl Iterator<Item = usize> {
    let weights = targets.iter().map(|target| target.weight);
    let first = match targets {
        [_] => 0,
        _ => weighted(weights, point).unwrap_or(0),
    };
    let order = (first..targets.len()).chain(0..first);
    order.filter(|index| targets.get(*index).is_some_and(|target| target.weight > 0))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn targets(weights: &[u32]) -> Vec<WeightedTarget> {
        let target = || "web/app".parse().unwrap();
        weights.iter().map(|&weight| WeightedTarget { target: target(), weight }).collect()
    }

    fn order(weights: &[u32], point: u64) -> Vec<usize> {
        by_share(&targets(weights), point).collect()
    }

    #[test]
    fn the_first_is_drawn_and_the_others_follow() {
        assert_eq!(order(&[9, 1], 0), [0, 1]);
        assert_eq!(order(&[9, 1], u64::MAX), [1, 0]);
        assert_eq!(order(&[1, 0, 1, 1], u64::MAX / 2), [2, 3, 0]);
        assert_eq!(order(&[1], u64::MAX), [0]);
    }

    #[test]
    fn shares_are_as_weights_say() {
        let (targets, step) = (targets(&[90, 0, 10]), u64::MAX / 1000);
        let mut firsts = [0usize; 3];
        (0..1000).for_each(|draw| firsts[by_share(&targets, draw * step).next().unwrap()] += 1);
        assert!(firsts[0].abs_diff(900) <= 1 && firsts[1] == 0, "{firsts:?}");
    }
}
