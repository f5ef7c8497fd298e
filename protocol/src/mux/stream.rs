//! One substream: its state, what it holds, and its windows.

use std::time::{Duration, Instant};

use super::id::Key;
use super::inbox::Inbox;
use super::outbox::Outbox;
use super::receive_window::ReceiveWindow;
use super::scheduler::Turn;
use super::state::State;
use super::{ABORT_TIMEOUT, Broken, LINK_TIMEOUT, ORPHAN_TIMEOUT};

/// What the first frame of this end still has to say.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Announce {
    /// Nothing, it was said.
    Nothing,
    /// That it opens the substream.
    Syn,
    /// That it has accepted it.
    Ack,
}

/// The end of this end's way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fin {
    /// Not asked for.
    No,
    /// To be sent behind what was written.
    Queued,
    /// On its way.
    Sent,
}

/// Who holds the substream at this end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Holder {
    /// Nobody yet: it waits to be accepted.
    Waiting,
    /// Somebody, who reads and writes.
    User,
    /// Nobody any more: what was written still goes out, until then.
    Orphan(Instant),
}

#[derive(Debug)]
pub(super) struct Stream {
    pub(super) id: u32,
    /// Which of all substreams of the session it is.
    pub(super) generation: u32,
    pub(super) state: State,
    /// Why, if the state says that this end broke it off.
    pub(super) why: Broken,
    pub(super) holder: Holder,
    pub(super) inbound: bool,
    pub(super) announce: Announce,
    pub(super) inbox: Inbox,
    pub(super) receive: ReceiveWindow,
    pub(super) outbox: Outbox,
    /// Bytes that the peer still takes.
    pub(super) send_window: u32,
    pub(super) fin: Fin,
    /// A reset came before all that was written was sent.
    pub(super) lost: bool,
    /// What it had to read was dropped because too much was held.
    pub(super) truncated: bool,
    pub(super) turn: Turn,
    /// It is in the queue for window updates.
    pub(super) update_listed: bool,
    /// Its holder has taken a byte.
    pub(super) used: bool,
    /// The peer has said that it accepted it.
    pub(super) acknowledged: bool,
    pub(super) reader_waits: bool,
    /// Its holder can not read now, but wants to know when it breaks.
    pub(super) watched: bool,
    pub(super) writer_waits: bool,
}

impl Stream {
    pub(super) fn new(id: u32, inbound: bool, receive_first: u32, send_window: u32) -> Self {
        Self {
            id,
            generation: 0,
            state: State::Open,
            why: Broken::Here,
            holder: if inbound { Holder::Waiting } else { Holder::User },
            inbound,
            announce: if inbound { Announce::Ack } else { Announce::Syn },
            inbox: Inbox::default(),
            receive: ReceiveWindow::new(receive_first),
            outbox: Outbox::default(),
            send_window,
            fin: Fin::No,
            lost: false,
            truncated: false,
            turn: Turn::default(),
            update_listed: false,
            used: false,
            acknowledged: inbound,
            reader_waits: false,
            watched: false,
            writer_waits: false,
        }
    }

    pub(super) fn key(&self, slot: usize) -> Key {
        Key { slot, id: self.id, generation: self.generation }
    }

    /// Bytes that it holds, both ways.
    pub(super) fn held(&self) -> usize {
        self.inbox.len().saturating_add(self.outbox.len())
    }

    /// Whether there is something to send that may be sent.
    pub(super) fn may_send(&self) -> bool {
        if self.state.is_reset() {
            return false;
        }
        if self.outbox.is_empty() { self.fin == Fin::Queued } else { self.send_window > 0 }
    }

    /// Whether something of it is worth waiting for once its holder has left: what was ended, and what needs no credit.
    pub(super) fn has_last_bytes(&self) -> bool {
        self.fin == Fin::Queued || (!self.outbox.is_empty() && self.send_window > 0)
    }

    /// Whether the peer takes all that waits, whatever it does.
    pub(super) fn has_credit_for_all(&self) -> bool {
        usize::try_from(self.send_window).is_ok_and(|credit| self.outbox.len() <= credit)
    }

    /// How long its last bytes go on being sent once its holder has left.
    pub(super) fn patience(&self) -> Duration {
        match self.fin {
            Fin::Queued if self.has_credit_for_all() => LINK_TIMEOUT,
            Fin::Queued => ORPHAN_TIMEOUT,
            Fin::No | Fin::Sent => ABORT_TIMEOUT,
        }
    }

    /// Why it is broken, if it is.
    pub(super) fn broken(&self) -> Option<Broken> {
        match self.state {
            _ if self.truncated => Some(Broken::OverBudget),
            State::ResetRemote | State::ResetAfterEnd => Some(Broken::ByPeer),
            State::ResetLocal => Some(self.why),
            State::Open | State::HalfClosedLocal | State::HalfClosedRemote | State::Closed => None,
        }
    }

    /// Whether the peer can still send, so that credit is of use to it.
    pub(super) fn takes_credit(&self) -> bool {
        matches!(self.state, State::Open | State::HalfClosedLocal) && self.holder == Holder::User
    }
}
