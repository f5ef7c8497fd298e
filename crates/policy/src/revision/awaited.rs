//! A revision that undoes itself unless somebody confirms it.

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// The operator's word that is waited for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Awaited {
    /// What is in force again if nobody confirms; 0 is no configuration.
    pub back_to: u64,
    /// When, in seconds since 1970.
    pub until: u64,
    /// How long that was at the start, in seconds.
    pub seconds: u64,
}

impl Awaited {
    /// How long there is left at `now`, in seconds since 1970. A clock that was set back gives no more time than there was.
    #[must_use]
    pub fn left(&self, now: u64) -> Duration {
        Duration::from_secs(self.until.saturating_sub(now).min(self.seconds))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_time_that_is_left_is_never_more_than_there_was() {
        let awaited = Awaited { back_to: 1, until: 1_300, seconds: 300 };
        let left = |now| awaited.left(now).as_secs();
        assert_eq!([left(1_000), left(1_299), left(1_300), left(9_999), left(0)], [300, 1, 0, 0, 300]);
    }
}
