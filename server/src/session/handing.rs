//! The parts of the configuration that a client is handed, piece by piece: after its login, and whenever they change.
//!
//! What to hand over is not queued but looked up when there is room for it: between two looks parts may come and go, and only
//! what holds at the end is said.

use std::collections::VecDeque;
use std::sync::Arc;

use protocol::control::{Control, PartId, Parts};
use protocol::limits::PART_TIMEOUT;
use tokio::time::Instant;

use crate::registry::{Handed, ToHand};

/// Parts whose answer is remembered as missing; of a client that answers none the oldest are forgotten.
const UNANSWERED: usize = 1_024;

/// What the client of a session was handed, and has not answered.
#[derive(Default)]
pub(super) struct Handing {
    takes_parts: bool,
    /// What there is to say may be other than what was said.
    look: bool,
    /// The pieces of one part; they share its bytes with everybody who is handed it.
    pieces: VecDeque<Control>,
    /// What it was handed of that it is to hold, in order.
    sent: Vec<Arc<Handed>>,
    /// What it was told that it is to hold.
    listed: Option<Vec<PartId>>,
    /// In the order in which they were sent, which is that of the answers.
    unanswered: VecDeque<Unanswered>,
}

struct Unanswered {
    part: Arc<Handed>,
    /// When it is too late for an answer; none before all of it is sent, and after that moment.
    due: Option<Instant>,
}

impl Handing {
    /// Nothing was handed over yet; nothing will be to a client that can not be handed parts.
    pub(super) fn new(takes_parts: bool) -> Self {
        Self { takes_parts, look: takes_parts, ..Self::default() }
    }

    /// What there is to hold may have changed.
    pub(super) fn look(&mut self) {
        self.look = self.takes_parts;
    }

    pub(super) fn has_more(&self) -> bool {
        self.look || !self.pieces.is_empty()
    }

    /// Whether all is sent, and answered or overdue.
    pub(super) fn is_done(&self) -> bool {
        !self.has_more() && self.due().is_none()
    }

    /// The next message; `to_hand` says what there is to hold.
    pub(super) fn next(&mut self, now: Instant, to_hand: impl FnOnce() -> ToHand) -> Option<Control> {
        if let Some(piece) = self.pieces.pop_front() {
            self.sent_piece(now);
            return Some(piece);
        }
        let ToHand { parts, list } = to_hand();
        // What it need not hold any more it may have to hold again, and is handed anew then.
        self.sent.retain(|sent| parts.iter().any(|part| Arc::ptr_eq(part, sent)));
        let new = parts.into_iter().find(|part| !self.sent.iter().any(|sent| Arc::ptr_eq(part, sent)));
        if let Some(part) = new {
            // Its size was checked when it was made.
            self.pieces.extend(part.whole().pieces().into_iter().flatten().map(Control::from));
            if self.unanswered.len() >= UNANSWERED {
                self.unanswered.pop_front();
            }
            self.unanswered.push_back(Unanswered { part: part.clone(), due: None });
            self.sent.push(part);
            let first = self.pieces.pop_front();
            self.sent_piece(now);
            return first;
        }
        self.look = false;
        // Behind the parts, so that the instance has looked at all of them: what it refused it does not hold.
        let items = list.filter(|list| self.listed.as_ref() != Some(list))?;
        self.listed = Some(items.clone());
        Some(Parts { items }.into())
    }

    /// The earliest moment at which it is too late for an answer.
    pub(super) fn due(&self) -> Option<Instant> {
        self.unanswered.iter().filter_map(|part| part.due).min()
    }

    /// The client has answered to the part with this number: to which one. One that has answered before may do so again.
    pub(super) fn answered(&mut self, id: &PartId) -> Option<Arc<Handed>> {
        match self.unanswered.iter().position(|waiting| waiting.part.id() == id) {
            Some(place) => self.unanswered.remove(place).map(|waiting| waiting.part),
            None => self.sent.iter().rev().find(|sent| sent.id() == id).cloned(),
        }
    }

    /// It is too late for these. An answer counts all the same.
    pub(super) fn overdue(&mut self, now: Instant) -> Vec<Arc<Handed>> {
        let late = |part: &mut Unanswered| part.due.take_if(|due| *due <= now).map(|_| part.part.clone());
        self.unanswered.iter_mut().filter_map(late).collect()
    }

    fn sent_piece(&mut self, now: Instant) {
        if let (true, Some(last)) = (self.pieces.is_empty(), self.unanswered.back_mut()) {
            last.due = Some(now + PART_TIMEOUT);
        }
    }
}
