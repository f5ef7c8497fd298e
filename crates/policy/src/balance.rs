//! Which of several members, and which of a member's slots, gets the next substream.

/// What is known about a member; the better, the smaller.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum MemberState {
    /// Takes new work.
    Ready,
    /// Connected, but its health says no.
    Sick,
    /// Finishes its old work and wants no more.
    Draining,
}

/// The order in which the members are tried: round-robin from `start`, the sick after all that are ready and the
/// draining after those. Every index of `members` is in it once.
#[must_use]
pub fn order(members: &[MemberState], start: usize) -> Vec<usize> {
    let first = start.checked_rem(members.len()).unwrap_or(0);
    let mut order: Vec<usize> = (first..members.len()).chain(0..first).collect();
    // The sort is stable: within a state the rotation stays.
    order.sort_by_key(|&index| members.get(index));
    order
}

/// The slot with the smallest load; of equals the first.
pub fn least_busy<S, L: Ord>(slots: impl IntoIterator<Item = (S, L)>) -> Option<S> {
    slots.into_iter().reduce(|best, next| if next.1 < best.1 { next } else { best }).map(|(slot, _)| slot)
}

#[cfg(test)]
mod tests {
    use super::MemberState::{Draining, Ready, Sick};
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_sick_and_the_draining_go_last() {
        assert_eq!(order(&[Sick, Ready, Draining, Ready], 0), [1, 3, 0, 2]);
        assert_eq!(order(&[Sick, Ready, Draining, Ready], 2), [3, 1, 0, 2]);
        assert_eq!(order(&[Ready, Ready, Ready], usize::MAX), [0, 1, 2]);
        assert_eq!(order(&[], 7), [0usize; 0]);
    }

    #[test]
    fn the_least_busy_slot_is_the_first_of_equals() {
        assert_eq!(least_busy([("a", 3), ("b", 1), ("c", 1)]), Some("b"));
        assert_eq!(least_busy(std::iter::empty::<(u16, usize)>()), None);
    }

    proptest! {
        #[test]
        fn everyone_once_and_never_worse_before_better(
            members in prop::collection::vec(prop::sample::select(vec![Ready, Sick, Draining]), 0..12),
            start: usize,
        ) {
            let order = order(&members, start);
            let mut sorted = order.clone();
            sorted.sort_unstable();
            prop_assert!(sorted.into_iter().eq(0..members.len()));
            prop_assert!(order.is_sorted_by_key(|&index| members[index]));
        }

        #[test]
        fn successive_starts_share_the_work(count in 1usize..12, rounds in 1usize..5) {
            let members = vec![Ready; count];
            let mut firsts = vec![0; count];
            for start in 0..count * rounds {
                firsts[order(&members, start)[0]] += 1;
            }
            prop_assert!(firsts.iter().all(|&times| times == rounds));
        }
    }
}
