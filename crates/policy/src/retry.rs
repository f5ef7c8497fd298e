//! Whether an exchange or connection that failed at one member may go to the next (DESIGN 5).

use std::time::Duration;

use rand::{Rng, RngExt};

/// Upper bound of the first pause between attempts that fail alike; it doubles with every further one.
pub const PAUSE: Duration = Duration::from_millis(25);

/// The longest pause.
pub const PAUSE_MAX: Duration = Duration::from_millis(250);

/// What is known about an attempt that failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Knowledge {
    /// Nothing of the request left: the substream could not be opened, or a pooled connection was found closed
    /// before a byte was written to it.
    NotConnected,
    /// The other end answered `refused`: it looked at the head and at nothing else.
    RefusedBeforeAnyByte,
    /// The other end answered `failed`: it could not reach the service, so that no byte got there.
    FailedBeforeAnyByte,
    /// The session died after the head had left and before an answer: whether it was processed is unknown, which
    /// counts as processed.
    SessionLost,
    /// The service may have seen the request, ended the exchange, and answered nothing.
    NoAnswerByte,
    /// A byte of the answer was passed on to the visitor.
    Answered,
}

/// What to do about it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Verdict {
    /// Try the next member, if there is one and the retry budget allows.
    Next,
    /// Tell the visitor.
    Stop,
}

/// Whether the next member may be tried. `idempotent` says that processing the request twice does no harm (see
/// [`is_idempotent`]; a TCP connection never is). `replayable` says that every byte of the body that was taken from
/// the visitor is still at hand.
#[must_use]
pub const fn verdict(known: Knowledge, idempotent: bool, replayable: bool) -> Verdict {
    let safe = match known {
        // Whatever was taken from the visitor still has to be sent again in full.
        Knowledge::NotConnected | Knowledge::RefusedBeforeAnyByte | Knowledge::FailedBeforeAnyByte => true,
        Knowledge::SessionLost | Knowledge::NoAnswerByte => idempotent,
        Knowledge::Answered => false,
    };
    if safe && replayable { Verdict::Next } else { Verdict::Stop }
}

/// Whether a request method is idempotent (RFC 9110 section 9.2.2). Methods are case-sensitive; those that we do not
/// know are not.
#[must_use]
pub const fn is_idempotent(method: &[u8]) -> bool {
    matches!(method, b"GET" | b"HEAD" | b"OPTIONS" | b"TRACE" | b"PUT" | b"DELETE")
}

/// The pause before the next attempt, after `alike` attempts in a row that failed in the same way. The first of them
/// says something of one member only; what several have in common is likely to be busy, and is given time.
pub fn pause(alike: u32, rng: &mut impl Rng) -> Duration {
    let Some(doublings) = alike.checked_sub(2) else { return Duration::ZERO };
    let factor = 1u32.checked_shl(doublings).unwrap_or(u32::MAX);
    rng.random_range(Duration::ZERO..=PAUSE.saturating_mul(factor).min(PAUSE_MAX))
}

#[cfg(test)]
mod tests {
    use super::Knowledge::*;
    use super::*;
    use rand::SeedableRng;
    use rand::rngs::StdRng;

    #[test]
    fn pauses_grow_with_the_failures_that_are_alike() {
        let mut rng = StdRng::seed_from_u64(1);
        let mut longest = |alike| (0..1000).map(|_| pause(alike, &mut rng)).max().unwrap();
        assert_eq!((longest(0), longest(1)), (Duration::ZERO, Duration::ZERO));
        for (alike, most) in [(2, 25), (3, 50), (5, 200), (6, 250), (u32::MAX, 250)] {
            let longest = longest(alike).as_millis();
            assert!((most * 9 / 10..=most).contains(&longest), "{alike}: {longest}");
        }
    }

    const ALL: [Knowledge; 6] =
        [NotConnected, RefusedBeforeAnyByte, FailedBeforeAnyByte, SessionLost, NoAnswerByte, Answered];

    #[test]
    fn what_was_not_processed_may_be_sent_again() {
        for known in [NotConnected, RefusedBeforeAnyByte, FailedBeforeAnyByte] {
            assert_eq!(verdict(known, false, true), Verdict::Next, "{known:?}");
            assert_eq!(verdict(known, true, true), Verdict::Next, "{known:?}");
        }
    }

    #[test]
    fn what_may_have_been_processed_must_be_idempotent() {
        for known in [SessionLost, NoAnswerByte] {
            assert_eq!(verdict(known, false, true), Verdict::Stop, "{known:?}");
            assert_eq!(verdict(known, true, true), Verdict::Next, "{known:?}");
        }
        assert_eq!(verdict(Answered, true, true), Verdict::Stop);
    }

    #[test]
    fn a_body_that_is_gone_is_never_sent_again() {
        for known in ALL {
            assert_eq!(verdict(known, true, false), Verdict::Stop, "{known:?}");
        }
    }

    #[test]
    fn methods_of_rfc_9110() {
        for method in ["GET", "HEAD", "OPTIONS", "TRACE", "PUT", "DELETE"] {
            assert!(is_idempotent(method.as_bytes()), "{method}");
        }
        for method in ["POST", "PATCH", "CONNECT", "get", "GETS", "", "PROPFIND"] {
            assert!(!is_idempotent(method.as_bytes()), "{method}");
        }
    }
}
