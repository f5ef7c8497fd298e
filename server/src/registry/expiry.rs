//! Credentials that come to their end: those who log in with one hear of it in time, and what it began ends with it.

use std::time::{Duration, Instant, SystemTime};

use policy::ownership::Leaving;
use protocol::control::{CloseReason, Notice, NoticeCode, NoticeLevel};
use protocol::id::Slot;

use super::{Registry, State};
use crate::session::Live;

/// How long before its end a login is told.
const NEAR: Duration = Duration::from_secs(7 * 24 * 3600);

impl Registry {
    /// Ends the sessions whose time is over.
    pub(super) fn end_expired(&self, state: &mut State, now: Instant, clock: SystemTime) {
        for live in state.select(|login| login.expires.is_some_and(|end| end <= clock)) {
            live.cut(CloseReason::EXPIRED, "the credential has expired");
            self.remove(state, &live, Leaving::Lost, now);
        }
    }
}

/// Tells a client that has just logged in, if it can not for much longer. One of its sessions is enough to hear it.
pub(super) fn tell_of_end(live: &Live, clock: SystemTime) {
    let left = live.login.expires.and_then(|end| end.duration_since(clock).ok());
    let Some(left) = left.filter(|left| *left < NEAR && live.login.slot == Slot(0)) else { return };
    let (what, todo) = match live.login.means.certificate {
        Some(_) => ("certificate", "get a new one"),
        None => ("credential", "ask the operator of the server for a new join string"),
    };
    let hours = left.as_secs().div_ceil(3600).max(1);
    let (number, unit) = match hours {
        1 => (1, "hour"),
        2..=48 => (hours, "hours"),
        _ => (hours.div_ceil(24), "days"),
    };
    live.notify(Notice {
        level: NoticeLevel::Warning,
        code: NoticeCode::EXPIRY,
        registration: None,
        text: format!("the {what} of this client ends within {number} {unit}; {todo}").into(),
    });
}
