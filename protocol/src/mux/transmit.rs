//! Bytes to the peer: frames without payload first, then data in the scheduler's order.

use std::time::Instant;

use super::batch::Batch;
use super::header::{Flags, HEADER_LEN, Header, Kind};
use super::id::Key;
use super::receive_window::{ROUND_TRIP_MAX, ROUND_TRIP_MIN};
use super::session::Mux;
use super::state::State;
use super::stream::{Announce, Fin, Holder, Stream};
use super::{FRAME_MAX, OUTBOX_MAX, YAMUX_WINDOW};

impl Stream {
    /// The flags of its next frame.
    fn announce(&mut self) -> Flags {
        match std::mem::replace(&mut self.announce, Announce::Nothing) {
            Announce::Nothing => Flags::NONE,
            Announce::Syn => Flags::SYN,
            Announce::Ack => Flags::ACK,
        }
    }
}

impl Mux {
    /// Adds frames to `batch` until it has about `max` bytes, at most one frame more, or there is nothing to send now.
    /// What is not taken out waits here, where short messages can still go ahead of it.
    pub fn transmit(&mut self, max: usize, now: Instant, batch: &mut Batch) {
        self.transmit_session(max, now, batch);
        self.transmit_resets(max, batch);
        self.transmit_updates(max, now, batch);
        self.transmit_data(max, batch);
        batch.seal();
    }

    /// Whether a transmission would send something now.
    #[must_use]
    pub fn has_output(&self) -> bool {
        !self.scheduler.is_empty()
            || !self.updates.is_empty()
            || !self.resets.is_empty()
            || self.pings.has_answer()
            || self.go_away.is_some()
    }

    fn transmit_session(&mut self, max: usize, now: Instant, batch: &mut Batch) {
        if let Some(length) = self.go_away.take() {
            batch.header(Header { kind: Kind::GoAway, flags: Flags::NONE, id: 0, length });
        }
        while batch.len() < max
            && let Some(length) = self.pings.answer()
        {
            batch.header(Header { kind: Kind::Ping, flags: Flags::ACK, id: 0, length });
        }
        if let Some(length) = self.pings.ask(now) {
            batch.header(Header { kind: Kind::Ping, flags: Flags::SYN, id: 0, length });
        }
    }

    fn transmit_resets(&mut self, max: usize, batch: &mut Batch) {
        while batch.len() < max
            && let Some((id, flags)) = self.resets.pop_front()
        {
            batch.header(Header { kind: Kind::WindowUpdate, flags, id, length: 0 });
        }
    }

    fn transmit_updates(&mut self, max: usize, now: Instant, batch: &mut Batch) {
        let long = self.is_long();
        while batch.len() < max
            && let Some(key) = self.updates.pop_front()
        {
            let Some(stream) = self.streams.get_mut(key) else { continue };
            stream.update_listed = false;
            if stream.state.is_reset() {
                continue;
            }
            let fresh = stream.announce != Announce::Nothing;
            let mut length = 0_u32;
            if fresh && long {
                length = stream.receive.start_with(YAMUX_WINDOW, now, &mut self.budget);
            }
            if stream.takes_credit() && stream.receive.is_due() {
                let round_trip = self.pings.round_trip_assumed().clamp(ROUND_TRIP_MIN, ROUND_TRIP_MAX);
                self.pings.want();
                let credit = stream.receive.give(now, round_trip, &mut self.budget);
                length = length.saturating_add(credit);
            }
            if length > 0 || fresh {
                let flags = stream.announce();
                batch.header(Header { kind: Kind::WindowUpdate, flags, id: key.id, length });
            }
        }
    }

    fn transmit_data(&mut self, max: usize, batch: &mut Batch) {
        while batch.len() < max
            && let Some(key) = self.scheduler.next()
        {
            let Some(stream) = self.streams.get_mut(key) else { continue };
            if !stream.may_send() {
                self.scheduler.served(key, &mut stream.turn, 0, false);
                continue;
            }
            let n = self
                .scheduler
                .allowance(&mut stream.turn)
                .min(FRAME_MAX)
                .min(usize::try_from(stream.send_window).unwrap_or(usize::MAX))
                .min(stream.outbox.len());
            let length = u32::try_from(n).unwrap_or(0);
            let mut flags = stream.announce();
            let last = stream.fin == Fin::Queued && n == stream.outbox.len();
            if last {
                flags = flags.with(Flags::FIN);
                stream.fin = Fin::Sent;
            }
            batch.header(Header { kind: Kind::Data, flags, id: key.id, length });
            stream.outbox.send(n, batch);
            stream.send_window = stream.send_window.saturating_sub(length);
            self.budget.release(n);
            let more = stream.may_send();
            let room = stream.outbox.len() <= OUTBOX_MAX / 2;
            self.scheduler.served(key, &mut stream.turn, n.saturating_add(HEADER_LEN), more);
            if room {
                self.wake_writer(key);
            }
            self.settle(key);
        }
    }

    /// Once both ways have ended on the wire, the substream's id is free; without a holder, so is everything else.
    pub(super) fn settle(&mut self, key: Key) {
        let Some(stream) = self.streams.get_mut(key) else { return };
        if stream.has_last_bytes() {
            return;
        }
        let closed = stream.state == State::Closed && stream.fin == Fin::Sent;
        let orphan = matches!(stream.holder, Holder::Orphan(_));
        if closed {
            self.streams.unmap(key);
        }
        if orphan {
            // Nobody reads what the peer still sends, or nobody ended what was sent.
            self.break_off(key, super::Broken::Here);
            self.forget(key);
        }
    }
}
