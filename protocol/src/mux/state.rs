//! The life of a substream as a table: every state, every event, and what comes of it. `state_matrix.txt` is its picture; a
//! test compares the two.

/// Where a substream is in its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum State {
    /// Both ways are open.
    Open,
    /// This end has ended its way; the peer's goes on.
    HalfClosedLocal,
    /// The peer has ended its way; this end's goes on.
    HalfClosedRemote,
    /// Both ways have ended.
    Closed,
    /// This end broke it off.
    ResetLocal,
    /// The peer broke it off, before the end of its way.
    ResetRemote,
    /// The peer broke it off after the end of its way: what it sent is complete, what it was sent is not.
    ResetAfterEnd,
}

/// What happens to a substream.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Event {
    /// This end sends bytes.
    SendData,
    /// This end ends its way.
    SendFin,
    /// This end breaks it off.
    SendRst,
    /// Bytes came.
    RecvData,
    /// Credit came.
    RecvWindow,
    /// The peer ended its way.
    RecvFin,
    /// The peer broke it off.
    RecvRst,
}

/// Why an event can not be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Impossible {
    /// This end has ended its way before.
    Ended,
    /// The substream is broken off.
    Broken,
    /// The peer broke the rules.
    Breach,
}

impl State {
    /// All states.
    pub const ALL: [Self; 7] = [
        Self::Open,
        Self::HalfClosedLocal,
        Self::HalfClosedRemote,
        Self::Closed,
        Self::ResetLocal,
        Self::ResetRemote,
        Self::ResetAfterEnd,
    ];

    /// The state after `event`.
    ///
    /// # Errors
    /// [`Impossible`] leaves the state as it is.
    pub const fn on(self, event: Event) -> Result<Self, Impossible> {
        use Event::{RecvData, RecvFin, RecvRst, RecvWindow, SendData, SendFin, SendRst};
        use State::{
            Closed, HalfClosedLocal, HalfClosedRemote, Open, ResetAfterEnd, ResetLocal, ResetRemote,
        };
        Ok(match (self, event) {
            (Open, SendFin) => HalfClosedLocal,
            (Open, RecvFin) => HalfClosedRemote,
            (HalfClosedLocal, RecvFin) | (HalfClosedRemote, SendFin) => Closed,

            (Open | HalfClosedLocal | HalfClosedRemote | Closed, SendRst) => ResetLocal,
            (Open | HalfClosedLocal, RecvRst) => ResetRemote,
            (HalfClosedRemote | Closed, RecvRst) => ResetAfterEnd,

            (Open | HalfClosedRemote, SendData) | (Open | HalfClosedLocal, RecvData) => self,
            (HalfClosedLocal | Closed, SendData) => return Err(Impossible::Ended),
            (HalfClosedRemote | Closed, RecvData) => return Err(Impossible::Breach),
            // Saying it twice changes nothing.
            (HalfClosedLocal | Closed, SendFin) | (HalfClosedRemote | Closed, RecvFin) => self,
            (Open | HalfClosedLocal | HalfClosedRemote | Closed, RecvWindow) => self,

            (ResetLocal | ResetRemote | ResetAfterEnd, SendData | SendFin) => return Err(Impossible::Broken),
            // What crossed our reset, or the peer's, on the way.
            (
                ResetLocal | ResetRemote | ResetAfterEnd,
                SendRst | RecvData | RecvWindow | RecvFin | RecvRst,
            ) => self,
        })
    }

    /// Whether either end has broken it off.
    #[must_use]
    pub const fn is_reset(self) -> bool {
        matches!(self, Self::ResetLocal | Self::ResetRemote | Self::ResetAfterEnd)
    }

    /// Whether the peer's way is complete: reading comes to an end, not to a break.
    #[must_use]
    pub const fn recv_ended(self) -> bool {
        matches!(self, Self::HalfClosedRemote | Self::Closed | Self::ResetAfterEnd)
    }
}

impl Event {
    /// All events.
    pub const ALL: [Self; 7] = [
        Self::SendData,
        Self::SendFin,
        Self::SendRst,
        Self::RecvData,
        Self::RecvWindow,
        Self::RecvFin,
        Self::RecvRst,
    ];
}

#[cfg(test)]
mod tests {
    use super::*;

    use std::fmt::Write as _;

    /// A change of behaviour is a visible difference in `state_matrix.txt`.
    #[test]
    fn the_matrix_is_as_written() {
        let mut matrix = format!("{:17}", "");
        for event in Event::ALL {
            write!(matrix, "{:18}", format!("{event:?}")).unwrap();
        }
        for state in State::ALL {
            matrix.truncate(matrix.trim_end().len());
            write!(matrix, "\n{:17}", format!("{state:?}")).unwrap();
            for event in Event::ALL {
                let next = match state.on(event) {
                    Ok(next) if next == state => "-".to_owned(),
                    Ok(next) => format!("{next:?}"),
                    Err(error) => format!("! {error:?}"),
                };
                write!(matrix, "{next:18}").unwrap();
            }
        }
        matrix.truncate(matrix.trim_end().len());
        matrix.push('\n');
        assert_eq!(include_str!("state_matrix.txt"), matrix, "\n{matrix}");
    }

    #[test]
    fn nothing_leads_out_of_a_reset() {
        for state in State::ALL.into_iter().filter(|state| state.is_reset()) {
            for event in Event::ALL {
                assert_eq!(state.on(event).unwrap_or(state), state);
            }
        }
    }

    #[test]
    fn a_complete_way_stays_complete_unless_broken_off_here() {
        for state in State::ALL.into_iter().filter(|state| state.recv_ended()) {
            for event in Event::ALL.into_iter().filter(|event| *event != Event::SendRst) {
                assert!(state.on(event).unwrap_or(state).recv_ended(), "{state:?} {event:?}");
            }
        }
    }
}
