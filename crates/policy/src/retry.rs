//! Whether an exchange or connection that failed at one member may go to the next (DESIGN 5).

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

#[cfg(test)]
mod tests {
    use super::Knowledge::*;
    use super::*;

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
