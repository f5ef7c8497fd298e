//! One end of a session: what its holders of substreams ask of it.

use std::collections::VecDeque;
use std::hash::RandomState;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::{Buf, Bytes};

use super::budget::{Budget, ProcessBudget};
use super::flood::FloodBudget;
use super::header::{Flags, HEADER_LEN};
use super::id::{Key, Role};
use super::ping::Pings;
use super::scheduler::Scheduler;
use super::state::{Event, State};
use super::stream::{Announce, Fin, Holder, Stream};
use super::streams::Streams;
use super::{Broken, LONG_LINK, OUTBOX_MAX, OpenError, YAMUX_WINDOW};

/// Accepted substreams that may wait for their holder to write first.
const UNACKNOWLEDGED_MAX: usize = 1024;

/// How a session behaves. Every number is a bound, see the module.
#[derive(Debug, Clone)]
pub struct Config {
    /// Which end this is.
    pub role: Role,
    /// Bytes that this end takes on a new substream before its first window update, as it told the peer. A peer that was
    /// not told may use the 262,144 of yamux.
    pub receive_first: u32,
    /// The same of the peer; what is above 262,144 is not used.
    pub send_first: u32,
    /// Substreams of the peer that are held at once; further ones are reset.
    pub max_inbound: usize,
    /// Substreams of this end that are held at once; further ones are refused.
    pub max_outbound: usize,
    /// Bytes held at most.
    pub max_held: usize,
    /// The bytes of all sessions together.
    pub process: Arc<ProcessBudget>,
    /// Keeps a peer from choosing ids that all fall into one bucket.
    pub hasher: RandomState,
}

/// What reading comes to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Read {
    /// Bytes, never none.
    Bytes(Bytes),
    /// The peer's way is complete.
    End,
    /// Nothing now; [`Notice::Readable`] says when.
    Blocked,
    /// It was broken off.
    Broken(Broken),
}

/// What writing comes to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Write {
    /// There is room, or it was taken.
    Ready,
    /// No room now; [`Notice::Writable`] says when.
    Blocked,
    /// Nothing more can be written.
    Broken(Broken),
}

/// Something that a task waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Notice {
    /// [`Mux::accept`] has something.
    Acceptable,
    /// Reading this substream, which was [`Read::Blocked`], comes to something.
    Readable(Key),
    /// Writing this substream, which was [`Write::Blocked`], comes to something.
    Writable(Key),
}

/// One end of a session.
#[derive(Debug)]
pub struct Mux {
    pub(super) config: Config,
    pub(super) streams: Streams,
    pub(super) scheduler: Scheduler,
    pub(super) budget: Budget,
    pub(super) flood: FloodBudget,
    pub(super) pings: Pings,
    pub(super) notices: VecDeque<Notice>,
    /// Opened by the peer, and not yet accepted.
    pub(super) accepts: VecDeque<Key>,
    /// To be reset at the peer: ids, because there need not be a substream any more.
    pub(super) resets: VecDeque<(u32, Flags)>,
    /// Substreams with a window update, SYN or ACK to send.
    pub(super) updates: VecDeque<Key>,
    /// Accepted, and not yet answered by anything.
    pub(super) unacknowledged: VecDeque<Key>,
    /// Left by their holders while something of theirs is still to be sent.
    pub(super) orphans: Vec<Key>,
    /// A GOAWAY to send.
    pub(super) go_away: Option<u32>,
    pub(super) peer_went_away: bool,
    /// Substreams forgotten since the queues above were last rid of them.
    pub(super) forgotten: usize,
    /// The header that is being received.
    pub(super) header: ([u8; HEADER_LEN], usize),
    /// The payload that is being received.
    pub(super) body: Option<super::recv::Body>,
}

impl Mux {
    /// A new end. Its first transmission asks for the round trip.
    #[must_use]
    pub fn new(config: Config, now: Instant) -> Self {
        Self {
            streams: Streams::new(config.role, config.hasher.clone()),
            budget: Budget::new(config.max_held, config.process.clone()),
            config,
            scheduler: Scheduler::default(),
            flood: FloodBudget::new(now),
            pings: Pings::default(),
            notices: VecDeque::new(),
            accepts: VecDeque::new(),
            resets: VecDeque::new(),
            updates: VecDeque::new(),
            unacknowledged: VecDeque::new(),
            orphans: Vec::new(),
            go_away: None,
            peer_went_away: false,
            forgotten: 0,
            header: ([0; HEADER_LEN], 0),
            body: None,
        }
    }

    /// Opens a substream whose first bytes are `first`, however many. It waits for nothing: the peer learns of it with the
    /// next transmission, and what is above its window follows as it reads.
    ///
    /// # Errors
    /// [`OpenError`]; nothing was sent.
    pub fn open(&mut self, first: Bytes) -> Result<Key, OpenError> {
        if self.peer_went_away {
            return Err(OpenError::GoingAway);
        }
        if self.streams.outbound() >= self.config.max_outbound {
            return Err(OpenError::Full);
        }
        let id = self.streams.fresh_id();
        let send_window = self.config.send_first.min(YAMUX_WINDOW);
        let stream = Stream::new(id, false, self.config.receive_first, send_window);
        let key = self.streams.insert(stream);
        if first.is_empty() || self.is_long() {
            self.list_update(key);
        }
        self.enqueue(key, first);
        self.shed();
        Ok(key)
    }

    /// The next substream that the peer opened.
    pub fn accept(&mut self) -> Option<Key> {
        loop {
            let key = self.accepts.pop_front()?;
            let long = self.is_long();
            // It may have been reset in the meantime, and forgotten.
            let Some(stream) = self.streams.get_mut(key) else { continue };
            stream.holder = Holder::User;
            if long {
                self.list_update(key);
            } else {
                self.acknowledge_later(key);
            }
            return Some(key);
        }
    }

    /// The next bytes, at most `max`, without copying. Taking them is consuming them: the peer may send as many more.
    pub fn read(&mut self, key: Key, max: usize) -> Read {
        let Some(stream) = self.streams.get_mut(key) else { return Read::Broken(Broken::Here) };
        if let Some(bytes) = stream.inbox.pop(max) {
            stream.used = true;
            stream.receive.consumed(bytes.len());
            let due = stream.receive.is_due() && stream.takes_credit();
            self.budget.release(bytes.len());
            if due {
                self.list_update(key);
            }
            return Read::Bytes(bytes);
        }
        if stream.state.recv_ended() && !stream.truncated {
            return Read::End;
        }
        if let Some(broken) = stream.broken() {
            return Read::Broken(broken);
        }
        stream.reader_waits = true;
        Read::Blocked
    }

    /// Puts bytes back that were read and not used; the latest first.
    pub fn unread(&mut self, key: Key, bytes: Bytes) {
        let Some(stream) = self.streams.get_mut(key) else { return };
        stream.receive.put_back(bytes.len());
        self.budget.charge(bytes.len());
        stream.inbox.unpop(bytes);
        self.shed();
    }

    /// Whether there is room to write.
    pub fn poll_write(&mut self, key: Key) -> Write {
        let Some(stream) = self.streams.get_mut(key) else { return Write::Broken(Broken::Here) };
        if let Some(broken) = stream.broken() {
            return Write::Broken(broken);
        }
        if stream.state.on(Event::SendData).is_err() {
            return Write::Broken(Broken::Here);
        }
        if stream.outbox.len() >= OUTBOX_MAX {
            stream.writer_waits = true;
            return Write::Blocked;
        }
        Write::Ready
    }

    /// Takes `bytes`, all of them, if there is room for any.
    pub fn write(&mut self, key: Key, bytes: &mut Bytes) -> Write {
        let room = self.poll_write(key);
        if room == Write::Ready {
            self.enqueue(key, std::mem::take(bytes));
            self.shed();
        }
        room
    }

    /// Copies the beginning of `bytes`, at least one if there is room, and advances it.
    pub fn write_copy(&mut self, key: Key, bytes: &mut &[u8]) -> Write {
        let room = self.poll_write(key);
        if room != Write::Ready {
            return room;
        }
        if let Some(stream) = self.streams.get_mut(key) {
            let n = OUTBOX_MAX.saturating_sub(stream.outbox.len()).min(bytes.len());
            stream.outbox.copy(bytes.get(..n).unwrap_or_default());
            bytes.advance(n);
            self.budget.charge(n);
            self.schedule(key);
            self.shed();
        }
        room
    }

    /// Whether all that was written has been transmitted; a reset can not take it back then.
    pub fn poll_flush(&mut self, key: Key) -> Write {
        let Some(stream) = self.streams.get_mut(key) else { return Write::Broken(Broken::Here) };
        if stream.lost
            && let Some(broken) = stream.broken()
        {
            return Write::Broken(broken);
        }
        if stream.outbox.is_empty() {
            return Write::Ready;
        }
        stream.writer_waits = true;
        Write::Blocked
    }

    /// Ends this end's way, behind what was written. Twice is as good as once.
    pub fn finish(&mut self, key: Key) -> Write {
        let Some(stream) = self.streams.get_mut(key) else { return Write::Broken(Broken::Here) };
        match stream.state.on(Event::SendFin) {
            Ok(state) => {
                stream.state = state;
                if stream.fin == Fin::No {
                    stream.fin = Fin::Queued;
                    self.schedule(key);
                }
                Write::Ready
            }
            Err(_) => Write::Broken(stream.broken().unwrap_or(Broken::Here)),
        }
    }

    /// Breaks the substream off. What was received and not read, or written and not sent, is gone.
    pub fn reset(&mut self, key: Key) {
        self.break_off(key, Broken::Here);
    }

    /// The holder leaves, and the key is void. A substream whose ways have not ended is broken off, but what was written goes out
    /// first: all of it if it was ended, else what the peer has given credit for.
    pub fn release(&mut self, key: Key, now: Instant) {
        let Some(stream) = self.streams.get_mut(key) else { return };
        if stream.has_last_bytes() && !stream.state.is_reset() {
            let deadline = now.checked_add(stream.patience()).unwrap_or(now);
            stream.holder = Holder::Orphan(deadline);
            let unread = stream.inbox.clear();
            self.budget.release(unread);
            self.orphans.push(key);
            return;
        }
        let complete = stream.state == State::Closed && stream.fin == Fin::Sent;
        if !complete {
            self.break_off(key, Broken::Here);
        }
        self.forget(key);
    }

    /// Why the substream is broken, even while bytes wait to be read.
    #[must_use]
    pub fn broken(&self, key: Key) -> Option<Broken> {
        self.streams.get(key).map_or(Some(Broken::Here), Stream::broken)
    }

    /// Whether all that the peer wrote is here, to its end: whatever happens now, none of it is missing.
    #[must_use]
    pub fn is_whole(&self, key: Key) -> bool {
        self.streams.get(key).is_some_and(|stream| stream.state.recv_ended() && !stream.truncated)
    }

    /// Whether the end of this end's way is on the wire.
    #[must_use]
    pub fn has_finished(&self, key: Key) -> bool {
        self.streams.get(key).is_some_and(|stream| stream.fin == Fin::Sent)
    }

    /// Asks for [`Notice::Readable`] when the substream breaks: for who can not read now, because nobody takes what it reads.
    pub fn watch(&mut self, key: Key) {
        if let Some(stream) = self.streams.get_mut(key) {
            stream.watched = true;
        }
    }

    /// The next notice.
    pub fn poll_event(&mut self) -> Option<Notice> {
        self.notices.pop_front()
    }

    /// To be called now and then, some times a second: sends what nobody else has a reason to send.
    pub fn tick(&mut self, now: Instant) {
        while let Some(key) = self.unacknowledged.pop_front() {
            self.list_update(key);
        }
        for key in std::mem::take(&mut self.orphans) {
            match self.streams.get(key).map(|stream| stream.holder) {
                // An end alone needs no credit and holds no bytes: it waits for the link, not for the peer.
                Some(Holder::Orphan(deadline)) if deadline <= now && !self.has_end_alone(key) => {
                    self.break_off(key, Broken::Here);
                    self.forget(key);
                }
                Some(Holder::Orphan(_)) => self.orphans.push(key),
                // Its last bytes went out.
                Some(Holder::User | Holder::Waiting) | None => {}
            }
        }
        if self.budget.is_wanted() {
            for stream in self.streams.iter_mut() {
                if stream.receive.is_idle(now) {
                    self.budget.retract(stream.receive.lapse());
                }
            }
        }
        // Others may have taken up what was free when these bytes came.
        self.shed();
    }

    fn has_end_alone(&self, key: Key) -> bool {
        self.streams.get(key).is_some_and(|stream| stream.fin == Fin::Queued && stream.outbox.is_empty())
    }

    /// Whether this end's way has ended, and the peer has given credit for all of it.
    #[must_use]
    pub fn needs_no_credit(&self, key: Key) -> bool {
        self.streams.get(key).is_some_and(|stream| stream.fin != Fin::No && stream.has_credit_for_all())
    }

    /// Tells the peer to open no more substreams (0), or that it broke the rules (1).
    pub fn go_away(&mut self, code: u32) {
        self.go_away = Some(code);
    }

    /// Whether the peer takes no more substreams.
    #[must_use]
    pub fn is_going_away(&self) -> bool {
        self.peer_went_away
    }

    /// Substreams that there have been in all, opened by either end; from 2^32 on they are counted anew.
    #[must_use]
    pub fn substreams_ever(&self) -> u32 {
        self.streams.ever()
    }

    /// Substreams held here, both ways.
    #[must_use]
    pub fn substreams(&self) -> usize {
        self.streams.inbound().saturating_add(self.streams.outbound())
    }

    /// Bytes held here: received and unread, written and unsent.
    #[must_use]
    pub fn held(&self) -> usize {
        self.budget.held()
    }

    /// The shortest of the latest round trips, once there is one.
    #[must_use]
    pub fn round_trip(&self) -> Option<Duration> {
        self.pings.round_trip()
    }

    /// What the holder writes first says that it was accepted. If it writes nothing, the next tick says it.
    fn acknowledge_later(&mut self, key: Key) {
        self.unacknowledged.push_back(key);
        if self.unacknowledged.len() > UNACKNOWLEDGED_MAX
            && let Some(oldest) = self.unacknowledged.pop_front()
        {
            self.list_update(oldest);
        }
    }

    pub(super) fn is_long(&self) -> bool {
        self.pings.round_trip().is_some_and(|round_trip| round_trip >= LONG_LINK)
    }

    fn enqueue(&mut self, key: Key, bytes: Bytes) {
        if let Some(stream) = self.streams.get_mut(key) {
            self.budget.charge(bytes.len());
            stream.outbox.push(bytes);
            self.schedule(key);
        }
    }

    pub(super) fn schedule(&mut self, key: Key) {
        if let Some(stream) = self.streams.get_mut(key)
            && stream.may_send()
        {
            self.scheduler.add(key, &mut stream.turn, stream.outbox.len());
        }
    }

    pub(super) fn list_update(&mut self, key: Key) {
        if let Some(stream) = self.streams.get_mut(key)
            && !stream.update_listed
        {
            stream.update_listed = true;
            self.updates.push_back(key);
        }
    }

    pub(super) fn wake_reader(&mut self, key: Key) {
        if let Some(stream) = self.streams.get_mut(key)
            && std::mem::take(&mut stream.reader_waits)
        {
            self.notices.push_back(Notice::Readable(key));
        }
    }

    pub(super) fn wake_writer(&mut self, key: Key) {
        if let Some(stream) = self.streams.get_mut(key)
            && std::mem::take(&mut stream.writer_waits)
        {
            self.notices.push_back(Notice::Writable(key));
        }
    }

    /// Resets a substream from this end.
    pub(super) fn break_off(&mut self, key: Key, why: Broken) {
        let Some(stream) = self.streams.get_mut(key) else { return };
        if stream.state.is_reset() || (stream.state == State::Closed && stream.fin == Fin::Sent) {
            return;
        }
        if let Ok(state) = stream.state.on(Event::SendRst) {
            stream.state = state;
            stream.why = why;
        }
        match stream.announce {
            // The peer never heard of it.
            Announce::Syn => {}
            Announce::Ack => self.resets.push_back((key.id, Flags::RST.with(Flags::ACK))),
            Announce::Nothing => self.resets.push_back((key.id, Flags::RST)),
        }
        let unread = stream.inbox.clear();
        self.budget.release(unread);
        self.broke(key);
    }

    /// What every reset does, whoever made it.
    pub(super) fn broke(&mut self, key: Key) {
        if let Some(stream) = self.streams.get_mut(key) {
            stream.reader_waits |= std::mem::take(&mut stream.watched);
            let unsent = stream.outbox.clear();
            stream.lost |= unsent > 0;
            self.budget.release(unsent);
            self.budget.retract(stream.receive.lapse());
        }
        self.streams.unmap(key);
        self.wake_reader(key);
        self.wake_writer(key);
    }
}
