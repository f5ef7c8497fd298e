//! Which of several members, and which of a member's slots, gets the next substream.

mod hash_key;
mod prefer;

pub use hash_key::{HashKey, HashKeyError, hash, hash_address};
pub use prefer::{Candidate, Pick, prefer};

/// How the members of a group share its load.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Balance {
    /// Each in turn.
    #[default]
    RoundRobin,
    /// Each in turn, as often as its weight says.
    Weighted,
    /// The one that carries the least.
    LeastConnections,
    /// The same one for requests that agree in the key.
    Hash(HashKey),
}

/// What is known about a member; the better, the smaller.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum MemberState {
    /// Takes new work.
    Ready,
    /// Connected, but its health says no.
    Sick,
    /// Finishes its old work and wants no more.
    Draining,
    /// The operator said no: it gets nothing.
    Disabled,
}

/// The slot with the smallest load; of equals the first.
pub fn least_busy<S, L: Ord>(slots: impl IntoIterator<Item = (S, L)>) -> Option<S> {
    slots.into_iter().reduce(|best, next| if next.1 < best.1 { next } else { best }).map(|(slot, _)| slot)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_least_busy_slot_is_the_first_of_equals() {
        assert_eq!(least_busy([("a", 3), ("b", 1), ("c", 1)]), Some("b"));
        assert_eq!(least_busy(std::iter::empty::<(u16, usize)>()), None);
    }
}
