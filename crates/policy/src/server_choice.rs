//! Which server of a service gets the next request or connection.

use std::net::IpAddr;

use crate::part::ServerBalance;
use crate::server_health::Standing;

/// One server that could get it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Candidate {
    /// How fit it is. A less fit one is chosen only where there is no fitter one.
    pub standing: Standing,
    /// Its share; 0 counts as 1.
    pub weight: u32,
    /// Requests and connections that it carries now.
    pub load: u32,
}

/// The choice among the servers of one service, with what it remembers from one choice to the next.
#[derive(Debug, Clone)]
pub struct ServerChoice {
    balance: ServerBalance,
    /// Where the next round begins.
    cursor: usize,
    /// What each has saved up, for the weighted choice.
    credit: Vec<i64>,
}

impl ServerChoice {
    /// A choice among `servers` by `balance`.
    #[must_use]
    pub fn new(balance: ServerBalance, servers: usize) -> Self {
        Self { balance, cursor: 0, credit: vec![0; servers] }
    }

    /// The index of the one that gets it. `candidate` tells of each by its index, and of those that may not be chosen
    /// nothing. `visitor` is for [`ServerBalance::IpHash`]; without one it is round-robin. None only if there is no
    /// candidate.
    pub fn choose(
        &mut self,
        visitor: Option<IpAddr>,
        candidate: impl Fn(usize) -> Option<Candidate>,
    ) -> Option<usize> {
        let count = self.credit.len();
        // A weight of 0 is no share at all.
        let candidate = |index: usize| candidate(index).filter(|candidate| candidate.weight > 0);
        let best = (0..count).filter_map(&candidate).map(|candidate| candidate.standing).min()?;
        let fit = |index: usize| candidate(index).filter(|candidate| candidate.standing == best);
        // In the order of the round that begins at the cursor.
        let round = (self.cursor..count).chain(0..self.cursor.min(count));
        let chosen = match (self.balance, visitor) {
            (ServerBalance::RoundRobin, _) | (ServerBalance::IpHash, None) => {
                round.into_iter().find(|index| fit(*index).is_some())?
            }
            (ServerBalance::LeastConnections, _) => {
                let busy = |index: usize| fit(index).map(|candidate| (candidate, index));
                // Compared as fractions, load by weight; the first of equals, so that they take turns.
                round.filter_map(busy).min_by_key(|(candidate, _)| busyness(candidate))?.1
            }
            (ServerBalance::Weighted, _) => self.weighted(fit)?,
            (ServerBalance::IpHash, Some(visitor)) => {
                (0..count).filter(|index| fit(*index).is_some()).max_by_key(|index| score(visitor, *index))?
            }
        };
        self.cursor = chosen.saturating_add(1) % count.max(1);
        Some(chosen)
    }

    /// Smooth weighted round-robin: everybody saves its weight, the richest is chosen and pays for all.
    fn weighted(&mut self, fit: impl Fn(usize) -> Option<Candidate>) -> Option<usize> {
        let mut total = 0_i64;
        let mut richest: Option<(usize, i64)> = None;
        for (index, credit) in self.credit.iter_mut().enumerate() {
            let Some(candidate) = fit(index) else { continue };
            let weight = i64::from(candidate.weight);
            total = total.saturating_add(weight);
            *credit = credit.saturating_add(weight);
            if richest.is_none_or(|(_, most)| *credit > most) {
                richest = Some((index, *credit));
            }
        }
        let (index, _) = richest?;
        if let Some(credit) = self.credit.get_mut(index) {
            *credit = credit.saturating_sub(total);
        }
        Some(index)
    }
}

/// Orders by load per weight, as one number.
fn busyness(candidate: &Candidate) -> u64 {
    // A load above 2^32 / 2^16 at full weight is no load that a process carries.
    (u64::from(candidate.load) << 16) / u64::from(candidate.weight.max(1))
}

/// Highest-random-weight hashing: when a server goes, only its own visitors move. FNV-1a with a final mix.
fn score(visitor: IpAddr, index: usize) -> u64 {
    let octets = match visitor.to_canonical() {
        IpAddr::V4(address) => address.to_ipv6_mapped().octets(),
        IpAddr::V6(address) => address.octets(),
    };
    let index = u64::try_from(index).unwrap_or(u64::MAX).to_be_bytes();
    let bytes = octets.into_iter().chain(index);
    let hash = bytes.fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
    });
    let mixed = (hash ^ (hash >> 33)).wrapping_mul(0xff51_afd7_ed55_8ccd);
    mixed ^ (mixed >> 33)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn healthy(weight: u32, load: u32) -> Candidate {
        Candidate { standing: Standing::Healthy, weight, load }
    }

    fn count(balance: ServerBalance, weights: &[u32], choices: usize) -> Vec<usize> {
        let mut choice = ServerChoice::new(balance, weights.len());
        let mut counts = vec![0; weights.len()];
        for _ in 0..choices {
            counts[choice.choose(None, |index| Some(healthy(weights[index], 0))).unwrap()] += 1;
        }
        counts
    }

    #[test]
    fn each_gets_its_share() {
        assert_eq!(count(ServerBalance::RoundRobin, &[1, 5, 1], 300), [100, 100, 100]);
        assert_eq!(count(ServerBalance::Weighted, &[1, 5, 2], 800), [100, 500, 200]);
        assert_eq!(count(ServerBalance::LeastConnections, &[1, 1], 10), [5, 5]);
        for balance in [ServerBalance::Weighted, ServerBalance::RoundRobin, ServerBalance::LeastConnections] {
            assert_eq!(count(balance, &[0, 1], 10), [0, 10]);
        }
    }

    #[test]
    fn the_heavy_one_does_not_get_its_share_in_a_row() {
        let mut choice = ServerChoice::new(ServerBalance::Weighted, 2);
        let weights = [3, 1];
        let order: Vec<_> =
            (0..4).map(|_| choice.choose(None, |index| Some(healthy(weights[index], 0))).unwrap()).collect();
        assert_eq!(order, [0, 0, 1, 0]);
    }

    #[test]
    fn the_least_busy_for_its_weight_is_next() {
        let mut choice = ServerChoice::new(ServerBalance::LeastConnections, 3);
        let candidates = [healthy(1, 2), healthy(4, 5), healthy(1, 3)];
        assert_eq!(choice.choose(None, |index| Some(candidates[index])), Some(1));
    }

    #[test]
    fn a_less_fit_one_is_chosen_only_where_there_is_no_fitter_one() {
        for balance in [
            ServerBalance::RoundRobin,
            ServerBalance::Weighted,
            ServerBalance::LeastConnections,
            ServerBalance::IpHash,
        ] {
            let mut choice = ServerChoice::new(balance, 3);
            let standings = [Standing::Sick, Standing::Ejected, Standing::Healthy];
            let candidate = |index: usize| Candidate { standing: standings[index], weight: 1, load: 0 };
            let visitor = Some(IpAddr::from([192, 0, 2, 1]));
            for _ in 0..5 {
                assert_eq!(choice.choose(visitor, |index| Some(candidate(index))), Some(2));
                let without_best = |index: usize| (index < 2).then(|| candidate(index));
                assert_eq!(choice.choose(visitor, without_best), Some(1));
            }
            assert_eq!(choice.choose(visitor, |index| (index == 0).then(|| candidate(0))), Some(0));
            assert_eq!(choice.choose(visitor, |_| None), None);
        }
    }

    #[test]
    fn a_visitor_stays_where_it_is_when_another_server_goes() {
        let mut choice = ServerChoice::new(ServerBalance::IpHash, 4);
        let visitors = (0..=255).map(|last| IpAddr::from([192, 0, 2, last]));
        let mut counts = [0; 4];
        for visitor in visitors {
            let all = choice.choose(Some(visitor), |_| Some(healthy(1, 0))).unwrap();
            counts[all] += 1;
            let fewer = choice.choose(Some(visitor), |index| (index != 3).then(|| healthy(1, 0))).unwrap();
            assert!(all == 3 || fewer == all);
        }
        assert!(counts.iter().all(|count| (32..=96).contains(count)), "{counts:?}");
    }
}
