//! What a slot does after a setback: a pure decision.

use std::time::{Duration, Instant};

use policy::backoff::Backoff;
use protocol::control::CloseReason;
use protocol::handshake::RejectCode;
use rand::Rng;
use transport::handshake::LoginError;

use crate::dial::DialError;
use crate::session::Over;
use crate::settings::Mode;

/// What a service waits after a newer instance of the same client took its place.
const SUPERSEDED_WAIT: Duration = Duration::from_secs(5 * 60);
/// A lost session usually comes back within it: failed attempts until then are not worth a line.
const CALM: Duration = Duration::from_secs(5);

/// Why a slot has no session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Setback {
    /// The server could not be reached, or it cannot take us now.
    Passing {
        /// What the server asked for.
        retry_after: Option<Duration>,
    },
    /// Trying again does not help before somebody has changed something.
    Final,
    /// A newer instance of the same client is connected.
    Superseded,
    /// A session was up for so long and ended.
    Lost(Duration),
    /// A session was up for so long, and the server said not to come back.
    Dismissed(Duration),
}

/// What to do next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Next {
    /// Dial again.
    Dial {
        /// After this.
        after: Duration,
        /// Whether a person should hear of the setback, if it is news.
        tell: bool,
    },
    /// End the program: it was refused.
    GiveUp,
}

/// The history of one slot.
#[derive(Debug)]
pub(crate) struct Course {
    mode: Mode,
    backoff: Backoff,
    /// Whether there ever was a session.
    was_up: bool,
    lost_at: Option<Instant>,
}

impl Course {
    pub(crate) fn new(mode: Mode) -> Self {
        Self { mode, backoff: Backoff::new(), was_up: false, lost_at: None }
    }

    /// A session is up.
    pub(crate) fn up(&mut self) {
        self.was_up = true;
        self.lost_at = None;
    }

    /// Whether there ever was a session.
    pub(crate) fn was_up(&self) -> bool {
        self.was_up
    }

    /// The server drains a session that was up for so long; a replacement is dialled at once, and if that fails, as often
    /// as after a loss.
    pub(crate) fn drains(&mut self, now: Instant, lasted: Duration) {
        self.lost_at = Some(now);
        self.backoff.session_ended(now, lasted);
    }

    /// Decides what to do after `setback`.
    pub(crate) fn after(&mut self, setback: Setback, now: Instant, rng: &mut impl Rng) -> Next {
        let fails_fast = match self.mode {
            Mode::AdHoc => true,
            Mode::Service { fail_fast } => fail_fast,
        };
        let mut tell = true;
        let retry_after = match setback {
            Setback::Final if fails_fast && !self.was_up => return Next::GiveUp,
            Setback::Superseded | Setback::Dismissed(_) if self.mode == Mode::AdHoc => return Next::GiveUp,
            Setback::Superseded => {
                self.backoff.refused();
                return Next::Dial { after: SUPERSEDED_WAIT, tell };
            }
            Setback::Final | Setback::Dismissed(_) => {
                self.backoff.refused();
                None
            }
            Setback::Lost(lasted) => {
                self.drains(now, lasted);
                None
            }
            Setback::Passing { retry_after } => {
                tell = self.lost_at.is_none_or(|at| now.saturating_duration_since(at) >= CALM);
                retry_after
            }
        };
        Next::Dial { after: self.backoff.delay(now, retry_after, rng), tell }
    }
}

impl Setback {
    /// What an attempt that failed means.
    pub(crate) fn of_attempt(error: &DialError) -> Self {
        match error {
            DialError::Login { error: LoginError::Rejected(reject), .. } => match reject.code {
                RejectCode::SUPERSEDED => Self::Superseded,
                _ if reject.is_final() => Self::Final,
                _ => Self::Passing { retry_after: reject.retry_after },
            },
            error if error.is_final() => Self::Final,
            _ => Self::Passing { retry_after: None },
        }
    }

    /// What the end of a session means, which had `lasted` so long.
    pub(crate) fn of_end(over: &Over, lasted: Duration) -> Self {
        match over {
            Over::Closed { reason: CloseReason::SUPERSEDED, .. } => Self::Superseded,
            Over::Closed { reason, .. } if reason.is_final() => Self::Dismissed(lasted),
            _ => Self::Lost(lasted),
        }
    }
}

#[cfg(test)]
mod tests {
    use protocol::handshake::Reject;
    use rand::SeedableRng;
    use rand::rngs::SmallRng;

    use super::*;

    const SERVICE: Mode = Mode::Service { fail_fast: false };

    struct Slot(Course, SmallRng, Instant);

    impl Slot {
        fn new(mode: Mode) -> Self {
            Self(Course::new(mode), SmallRng::seed_from_u64(1), Instant::now())
        }

        fn after(&mut self, setback: Setback, later: u64) -> Next {
            self.2 += Duration::from_secs(later);
            self.0.after(setback, self.2, &mut self.1)
        }
    }

    fn delay(next: Next) -> Duration {
        match next {
            Next::Dial { after, .. } => after,
            Next::GiveUp => panic!("gave up"),
        }
    }

    #[test]
    fn a_refused_first_login_ends_ad_hoc_and_fail_fast_only() {
        assert_eq!(Slot::new(Mode::AdHoc).after(Setback::Final, 0), Next::GiveUp);
        assert_eq!(Slot::new(Mode::Service { fail_fast: true }).after(Setback::Final, 0), Next::GiveUp);
        assert!(delay(Slot::new(SERVICE).after(Setback::Final, 0)) <= Duration::from_secs(30));
        let mut later = Slot::new(Mode::AdHoc);
        later.0.up();
        assert!(matches!(later.after(Setback::Final, 9), Next::Dial { tell: true, .. }));
    }

    #[test]
    fn an_unreachable_server_is_tried_for_ever() {
        for mode in [Mode::AdHoc, SERVICE, Mode::Service { fail_fast: true }] {
            let mut slot = Slot::new(mode);
            for _ in 0..50 {
                let next = slot.after(Setback::Passing { retry_after: None }, 1);
                assert!(delay(next) <= Duration::from_secs(30));
            }
        }
    }

    #[test]
    fn superseded_ends_ad_hoc_and_makes_a_service_wait() {
        let mut slot = Slot::new(Mode::AdHoc);
        slot.0.up();
        assert_eq!(slot.after(Setback::Superseded, 9), Next::GiveUp);
        assert_eq!(delay(Slot::new(SERVICE).after(Setback::Superseded, 9)), Duration::from_secs(300));
    }

    #[test]
    fn a_lost_session_is_dialled_within_a_second_and_quietly() {
        let mut slot = Slot::new(Mode::AdHoc);
        slot.0.up();
        let next = slot.after(Setback::Lost(Duration::from_secs(60)), 60);
        assert!(matches!(next, Next::Dial { after, tell: true } if after <= Duration::from_millis(250)));
        for _ in 0..4 {
            let next = slot.after(Setback::Passing { retry_after: None }, 1);
            assert!(matches!(next, Next::Dial { after, tell: false } if after <= Duration::from_secs(1)));
        }
        let next = slot.after(Setback::Passing { retry_after: None }, 1);
        assert!(matches!(next, Next::Dial { tell: true, .. }));
    }

    #[test]
    fn a_server_that_restarts_is_dialled_as_often_as_one_that_was_lost() {
        let mut slot = Slot::new(Mode::AdHoc);
        slot.0.up();
        slot.0.drains(slot.2, Duration::from_secs(60));
        for _ in 0..4 {
            let next = slot.after(Setback::Passing { retry_after: None }, 1);
            assert!(matches!(next, Next::Dial { after, tell: false } if after <= Duration::from_secs(1)));
        }
    }

    #[test]
    fn the_server_may_ask_for_more() {
        let wait = Duration::from_secs(40);
        let next = Slot::new(SERVICE).after(Setback::Passing { retry_after: Some(wait) }, 0);
        assert_eq!(delay(next), wait);
    }

    #[test]
    fn what_errors_mean() {
        let of = |code, retry_after| {
            let reject = Reject { code, text: "".into(), retry_after };
            Setback::of_attempt(&DialError::Login {
                server: "h:1".parse().unwrap(),
                error: LoginError::Rejected(reject),
            })
        };
        let wait = Some(Duration::from_secs(3));
        assert_eq!(of(RejectCode::BUSY, wait), Setback::Passing { retry_after: wait });
        assert_eq!(of(RejectCode::DENIED, None), Setback::Final);
        assert_eq!(of(RejectCode::SUPERSEDED, None), Setback::Superseded);
        let closed =
            |reason| Setback::of_end(&Over::Closed { reason, text: "".into() }, Duration::from_secs(1));
        assert_eq!(closed(CloseReason::REVOKED), Setback::Dismissed(Duration::from_secs(1)));
        assert_eq!(closed(CloseReason::DRAINED), Setback::Lost(Duration::from_secs(1)));
        assert_eq!(closed(CloseReason::SUPERSEDED), Setback::Superseded);
    }
}
