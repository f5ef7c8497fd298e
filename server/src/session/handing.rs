//! The parts of the configuration that a client is handed after its login, piece by piece.

use std::collections::VecDeque;
use std::sync::Arc;

use protocol::control::{Control, PartId, Parts, WholePart};
use protocol::limits::{PART_TIMEOUT, PARTS_MAX};
use tokio::time::Instant;

use super::Live;
use crate::registry::{Group, Registry};

/// What is still to be sent and to be answered on one session.
pub(super) struct Handing {
    /// Shares the bytes of the parts with everybody who is handed them.
    queue: VecDeque<Control>,
    unanswered: Vec<PartId>,
    /// When it is too late for an answer; none before all is sent.
    due: Option<Instant>,
}

impl Handing {
    /// All that the client of this session is granted; nothing if it can not be handed parts.
    pub(super) fn begin(live: &Arc<Live>, registry: &Registry) -> Self {
        let mut handing = Self { queue: VecDeque::new(), unanswered: Vec::new(), due: None };
        if !live.login.takes_parts {
            return handing;
        }
        let granted = registry.groups_of(live);
        let parts: Vec<WholePart> =
            registry.memberships().of(&granted).take(PARTS_MAX).map(Group::handed).cloned().collect();
        for part in &parts {
            // Their size was checked when they were made.
            handing.queue.extend(part.pieces().into_iter().flatten().map(Control::from));
            handing.unanswered.push(part.of.clone());
        }
        // Behind them, so that the instance has looked at all of them: what it refused it does not hold.
        handing.queue.push_back(Parts { items: handing.unanswered.clone() }.into());
        handing
    }

    pub(super) fn has_more(&self) -> bool {
        !self.queue.is_empty()
    }

    /// The next message.
    pub(super) fn next(&mut self, now: Instant) -> Option<Control> {
        let next = self.queue.pop_front();
        if self.queue.is_empty() && !self.unanswered.is_empty() {
            self.due = Some(now + PART_TIMEOUT);
        }
        next
    }

    /// When it is too late for an answer.
    pub(super) fn due(&self) -> Option<Instant> {
        self.due
    }

    /// The client has answered.
    pub(super) fn answered(&mut self, part: &PartId) {
        self.unanswered.retain(|waiting| waiting != part);
        if self.unanswered.is_empty() {
            self.due = None;
        }
    }

    /// It is too late for these.
    pub(super) fn overdue(&mut self) -> Vec<PartId> {
        self.due = None;
        std::mem::take(&mut self.unanswered)
    }
}
