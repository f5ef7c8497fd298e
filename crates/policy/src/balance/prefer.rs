//! The members of a group in the order in which they are tried.

use super::MemberState;
use super::hash_key::hash;
use crate::weighted::{spread, weighted};

/// A member that may get the next substream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Candidate {
    /// How it is.
    pub state: MemberState,
    /// Its share among the others; for [`Pick::Weighted`].
    pub weight: u32,
    /// What it carries; for [`Pick::Least`].
    pub load: usize,
    /// What it is told apart by, the same as long as it is the same member; for [`Pick::Hash`].
    pub identity: u64,
}

/// Which of the members that are equally well comes first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pick {
    /// The one whose turn it is.
    Turn(usize),
    /// The one whose turn it is, where turns are as frequent as weights say. None of them has weight: as [`Self::Turn`].
    Weighted(usize),
    /// The one with the smallest load; of equals the one whose turn it is.
    Least(usize),
    /// The one that this hash prefers. When a member comes or goes, only what it serves moves (rendezvous hashing).
    Hash(u64),
}

/// The order in which the members are tried: the ready, the sick after them, the draining last, the disabled never;
/// within a state as `pick` says. Every other index of `members` is in it once.
#[must_use]
pub fn prefer(members: &[Candidate], pick: Pick) -> Vec<usize> {
    let best = members.iter().map(|member| member.state).min();
    // Only those that may come first take turns and have weight: who stands behind a sick one would get its turns as well.
    let first = |turn: usize| {
        let best = members.iter().zip(0..).filter(|(member, _)| Some(member.state) == best);
        let turn = turn.checked_rem(best.clone().count())?;
        best.map(|(_, index)| index).nth(turn)
    };
    let first = match pick {
        Pick::Turn(turn) | Pick::Least(turn) => first(turn),
        Pick::Weighted(turn) => {
            let weights = members.iter().map(|it| if Some(it.state) == best { it.weight } else { 0 });
            weighted(weights, spread(turn)).or_else(|| first(turn))
        }
        Pick::Hash(_) => None,
    }
    .unwrap_or(0);
    let state = |index: &usize| members.get(*index).map(|member| member.state);
    let rotation = (first..members.len()).chain(0..first);
    let mut order = Vec::with_capacity(members.len());
    order.extend(rotation.filter(|index| state(index) != Some(MemberState::Disabled)));
    // The sorts are stable: among equals the rotation stays.
    match pick {
        Pick::Turn(_) | Pick::Weighted(_) => order.sort_by_key(state),
        Pick::Least(_) => {
            order.sort_by_key(|index| (state(index), members.get(*index).map(|member| member.load)));
        }
        Pick::Hash(key) => {
            let score = |index: &usize| members.get(*index).map(|member| !score(key, member.identity));
            order.sort_by_cached_key(|index| (state(index), score(index)));
        }
    }
    order
}

fn score(key: u64, identity: u64) -> u64 {
    let (mut bytes, [key, identity]) = ([0; 16], [key, identity].map(u64::to_be_bytes));
    for (byte, value) in bytes.iter_mut().zip(key.into_iter().chain(identity)) {
        *byte = value;
    }
    hash(&bytes)
}

#[cfg(test)]
mod tests {
    use super::MemberState::{Disabled, Draining, Ready, Sick};
    use super::*;
    use proptest::prelude::*;

    fn candidates(states: &[MemberState]) -> Vec<Candidate> {
        let numbered = states.iter().zip(1..);
        numbered.map(|(&state, identity)| Candidate { state, weight: 1, load: 0, identity }).collect()
    }

    fn picks() -> impl Strategy<Value = Pick> {
        prop_oneof![
            any::<usize>().prop_map(Pick::Turn),
            any::<usize>().prop_map(Pick::Weighted),
            any::<usize>().prop_map(Pick::Least),
            any::<u64>().prop_map(Pick::Hash),
        ]
    }

    fn members() -> impl Strategy<Value = Vec<Candidate>> {
        let state = prop::sample::select(vec![Ready, Sick, Draining, Disabled]);
        prop::collection::vec((state, 0u32..4, 0usize..4), 0..12).prop_map(|members| {
            let numbered = members.into_iter().zip(100..);
            numbered
                .map(|((state, weight, load), identity)| Candidate { state, weight, load, identity })
                .collect()
        })
    }

    #[test]
    fn the_sick_and_the_draining_go_last_and_the_disabled_never() {
        let order = |states: &[MemberState], turn| prefer(&candidates(states), Pick::Turn(turn));
        assert_eq!(order(&[Sick, Ready, Draining, Ready], 0), [1, 3, 0, 2]);
        assert_eq!(order(&[Sick, Ready, Draining, Ready], 1), [3, 1, 0, 2]);
        assert_eq!(order(&[Disabled, Ready, Sick], 0), [1, 2]);
        assert_eq!(order(&[Ready, Ready, Ready], usize::MAX), [0, 1, 2]);
        assert_eq!(order(&[], 7), [0usize; 0]);
    }

    #[test]
    fn the_least_loaded_goes_first_and_equals_take_turns() {
        let mut members = candidates(&[Ready, Ready, Ready, Sick]);
        members[0].load = 3;
        members[3].load = 0;
        assert_eq!(prefer(&members, Pick::Least(0)), [1, 2, 0, 3]);
        assert_eq!(prefer(&members, Pick::Least(2)), [2, 1, 0, 3]);
    }

    #[test]
    fn turns_are_as_frequent_as_weights_say_and_spread_out() {
        let mut members = candidates(&[Ready, Ready, Ready, Sick]);
        for (member, weight) in members.iter_mut().zip([5, 3, 2, 100]) {
            member.weight = weight;
        }
        let firsts: Vec<usize> = (0..1000).map(|turn| prefer(&members, Pick::Weighted(turn))[0]).collect();
        for (index, expected) in [(0, 500), (1, 300), (2, 200), (3, 0)] {
            let times = firsts.iter().filter(|&&first| first == index).count();
            assert!(times.abs_diff(expected) <= 3, "{index}: {times}");
        }
        // Never long without the smallest.
        assert!(firsts.windows(12).all(|some| some.contains(&2)));
    }

    #[test]
    fn without_any_weight_turns_are_equal() {
        let mut members = candidates(&[Ready, Ready]);
        members.iter_mut().for_each(|member| member.weight = 0);
        assert_eq!(prefer(&members, Pick::Weighted(1)), [1, 0]);
    }

    #[test]
    fn a_hash_shares_keys_about_evenly() {
        let members = candidates(&[Ready; 5]);
        let mut firsts = [0usize; 5];
        (0..10_000u64).for_each(|key| firsts[prefer(&members, Pick::Hash(key))[0]] += 1);
        assert!(firsts.iter().all(|&times| (1800..2200).contains(&times)), "{firsts:?}");
    }

    proptest! {
        #[test]
        fn everyone_once_and_never_worse_before_better(members in members(), pick in picks()) {
            let order = prefer(&members, pick);
            let mut sorted = order.clone();
            sorted.sort_unstable();
            let enabled = (0..members.len()).filter(|&index| members[index].state != Disabled);
            prop_assert!(sorted.into_iter().eq(enabled));
            prop_assert!(order.is_sorted_by_key(|&index| members[index].state));
        }

        #[test]
        fn successive_turns_share_the_work_among_the_best(
            states in prop::collection::vec(prop::sample::select(vec![Ready, Sick, Draining, Disabled]), 1..12),
            rounds in 1usize..5,
            least: bool,
        ) {
            let members = candidates(&states);
            let best = states.iter().min().copied().filter(|state| *state != Disabled);
            let count = states.iter().filter(|&&state| Some(state) == best).count();
            let mut firsts = vec![0; states.len()];
            for turn in 0..count * rounds {
                let pick = if least { Pick::Least(turn) } else { Pick::Turn(turn) };
                firsts[prefer(&members, pick)[0]] += 1;
            }
            for (state, times) in states.into_iter().zip(firsts) {
                prop_assert_eq!(times, if Some(state) == best { rounds } else { 0 });
            }
        }

        #[test]
        fn a_member_that_goes_moves_its_own_keys_and_no_others(
            identities in prop::collection::btree_set(any::<u64>(), 2..10),
            gone: prop::sample::Index,
            keys in prop::collection::vec(any::<u64>(), 1..50),
        ) {
            let all: Vec<Candidate> = identities
                .into_iter()
                .map(|identity| Candidate { state: Ready, weight: 1, load: 0, identity })
                .collect();
            let gone = all[gone.index(all.len())].identity;
            let rest: Vec<Candidate> = all.iter().copied().filter(|it| it.identity != gone).collect();
            for key in keys {
                let order = |members: &[Candidate]| -> Vec<u64> {
                    prefer(members, Pick::Hash(key)).into_iter().map(|index| members[index].identity).collect()
                };
                let before: Vec<u64> = order(&all).into_iter().filter(|it| *it != gone).collect();
                prop_assert_eq!(before, order(&rest));
            }
        }
    }
}
