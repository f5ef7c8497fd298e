//! Bytes from the peer: cut into frames, and what each of them does.

use std::time::Instant;

use bytes::{Buf, BytesMut};

use super::header::{Flags, HEADER_LEN, Header, Kind};
use super::id::{Key, Role};
use super::session::{Mux, Notice};
use super::state::{Event, Impossible, State};
use super::stream::{Fin, Holder, Stream};
use super::{Breach, DISCARDED_MAX, Useless, WINDOW_MAX, YAMUX_WINDOW};

/// A data frame with less payload than this has more header than payload.
const TINY: u32 = 12;
/// A window update for less than this is not worth its header: an eighth of the smallest first window of ours.
const SMALL_UPDATE: u32 = 8 * 1024;

/// The rest of a data frame.
#[derive(Debug)]
pub(super) struct Body {
    left: u32,
    /// Whose it is; nobody's is thrown away.
    to: Option<Key>,
    fin: bool,
}

impl Mux {
    /// Takes all of `bytes`, which is empty afterwards. Payloads are split off without copying, except small ones; at most
    /// [`READ_SIZE`](super::READ_SIZE) bytes should come at once, in a buffer no larger, because a payload keeps the buffer
    /// alive that it came in.
    ///
    /// # Errors
    /// [`Breach`]: the session is over. The peer should be told by [`Mux::go_away`].
    pub fn recv(&mut self, bytes: &mut BytesMut, now: Instant) -> Result<(), Breach> {
        while !bytes.is_empty() {
            if self.body.is_some() {
                self.recv_body(bytes);
                continue;
            }
            let (buffer, filled) = &mut self.header;
            let n = HEADER_LEN.saturating_sub(*filled).min(bytes.len());
            let end = filled.saturating_add(n);
            if let Some(room) = buffer.get_mut(*filled..end) {
                bytes.copy_to_slice(room);
            }
            *filled = end;
            if end == HEADER_LEN {
                let header = Header::decode(*buffer)?;
                self.header.1 = 0;
                self.frame(header, now)?;
            }
        }
        Ok(())
    }

    fn recv_body(&mut self, bytes: &mut BytesMut) {
        let Some(body) = &mut self.body else { return };
        let n = usize::try_from(body.left).unwrap_or(usize::MAX).min(bytes.len());
        let piece = bytes.split_to(n);
        body.left = body.left.saturating_sub(u32::try_from(n).unwrap_or(u32::MAX));
        let (to, end) = (body.to, body.left == 0);
        let fin = end && body.fin;
        if end {
            self.body = None;
        }
        if let Some(key) = to {
            self.store(key, piece);
            if fin {
                self.peer_finished(key);
            }
        }
    }

    fn frame(&mut self, header: Header, now: Instant) -> Result<(), Breach> {
        match header.kind {
            Kind::Data => self.data(header, now),
            Kind::WindowUpdate => self.window_update(header, now),
            Kind::Ping | Kind::GoAway if header.id != 0 => Err(Breach::Place(header.id)),
            Kind::Ping if header.flags.contains(Flags::ACK) => {
                if self.pings.answered(header.length, now) {
                    return Ok(());
                }
                self.flood.charge(Useless::Pings, now)
            }
            Kind::Ping => {
                self.flood.ping(now)?;
                self.pings.asked(header.length);
                Ok(())
            }
            Kind::GoAway if header.length != 0 => {
                self.peer_went_away = true;
                Err(Breach::GoAway(header.length))
            }
            Kind::GoAway if self.peer_went_away => self.flood.charge(Useless::GoAways, now),
            Kind::GoAway => {
                self.peer_went_away = true;
                Ok(())
            }
        }
    }

    fn data(&mut self, header: Header, now: Instant) -> Result<(), Breach> {
        let Header { flags, id, length, .. } = header;
        let to = self.addressee(header, now)?;
        let Some(key) = to else {
            if length > DISCARDED_MAX {
                return Err(Breach::Window(id));
            }
            self.body = (length > 0).then_some(Body { left: length, to: None, fin: false });
            return Ok(());
        };
        let news = self.has_news(key, flags);
        if length == 0 {
            if !news {
                self.flood.charge(Useless::Empty, now)?;
            }
        } else {
            let Some(stream) = self.streams.get_mut(key) else { return Ok(()) };
            match stream.state.on(Event::RecvData) {
                Ok(state) => stream.state = state,
                Err(Impossible::Breach | Impossible::Ended | Impossible::Broken) => {
                    return Err(Breach::AfterEnd(id));
                }
            }
            if !stream.receive.received(length) {
                return Err(Breach::Window(id));
            }
            // A lone small message is what interactive users send; a heap of them is not.
            if length < TINY && stream.inbox.len() > 0 {
                self.flood.charge(Useless::Tiny, now)?;
            }
        }
        if flags.contains(Flags::RST) {
            self.peer_reset(key, now)?;
            self.body = (length > 0).then_some(Body { left: length, to: None, fin: false });
            return Ok(());
        }
        let fin = flags.contains(Flags::FIN);
        if length > 0 {
            self.body = Some(Body { left: length, to: Some(key), fin });
        } else if fin {
            self.peer_finished(key);
        }
        Ok(())
    }

    fn window_update(&mut self, header: Header, now: Instant) -> Result<(), Breach> {
        let Header { flags, id, length, .. } = header;
        let Some(key) = self.addressee(header, now)? else { return Ok(()) };
        if flags.contains(Flags::RST) {
            return self.peer_reset(key, now);
        }
        if !self.has_news(key, flags) && (length < SMALL_UPDATE || !self.needs_credit(key)) {
            self.flood.charge(Useless::Updates, now)?;
        }
        if let Some(stream) = self.streams.get_mut(key) {
            stream.send_window = stream.send_window.checked_add(length).ok_or(Breach::Credit(id))?;
            self.schedule(key);
        }
        if flags.contains(Flags::FIN) {
            self.peer_finished(key);
        }
        Ok(())
    }

    /// Whom a frame is for, after opening the substream if it says so; None if there is nobody.
    fn addressee(&mut self, header: Header, now: Instant) -> Result<Option<Key>, Breach> {
        let Header { flags, id, .. } = header;
        if id == 0 {
            return Err(Breach::Place(0));
        }
        let found = self.streams.find(id);
        if !flags.contains(Flags::SYN) {
            if found.is_none() {
                self.flood.charge(Useless::Unknown, now)?;
            }
            return Ok(found);
        }
        if self.config.role.owns(id) {
            return Err(Breach::Side(id));
        }
        if found.is_some() {
            return Err(Breach::Twice(id));
        }
        if flags.contains(Flags::RST) {
            self.flood.charge(Useless::Opens, now)?;
            return Ok(None);
        }
        // Who opens on and on but does not take our resets has to be let go of.
        if self.resets.len() > self.config.max_inbound.saturating_add(self.config.max_outbound) {
            return Err(Breach::Flood(Useless::Opens));
        }
        if self.streams.inbound() >= self.config.max_inbound {
            self.flood.charge(Useless::Opens, now)?;
            self.resets.push_back((id, Flags::RST));
            return Ok(None);
        }
        let send_window = self.config.send_first.min(YAMUX_WINDOW);
        let key = self.streams.insert(Stream::new(id, true, self.config.receive_first, send_window));
        if self.accepts.is_empty() {
            self.notices.push_back(Notice::Acceptable);
        }
        self.accepts.push_back(key);
        Ok(Some(key))
    }

    /// Whether the flags of a frame say something that was not known, which makes it worth its header.
    fn has_news(&mut self, key: Key, flags: Flags) -> bool {
        let Some(stream) = self.streams.get_mut(key) else { return false };
        let acknowledges = flags.contains(Flags::ACK) && !std::mem::replace(&mut stream.acknowledged, true);
        let ends = flags.contains(Flags::FIN) && !stream.state.recv_ended();
        acknowledges || ends || flags.contains(Flags::SYN) || flags.contains(Flags::RST)
    }

    /// Whether more credit is of any use here.
    fn needs_credit(&self, key: Key) -> bool {
        let enough = WINDOW_MAX.saturating_mul(2);
        self.streams.get(key).is_some_and(|stream| stream.fin != Fin::Sent && stream.send_window < enough)
    }

    fn peer_finished(&mut self, key: Key) {
        let Some(stream) = self.streams.get_mut(key) else { return };
        if let Ok(state) = stream.state.on(Event::RecvFin) {
            stream.state = state;
        }
        self.budget.retract(stream.receive.lapse());
        self.wake_reader(key);
        self.settle(key);
    }

    fn peer_reset(&mut self, key: Key, now: Instant) -> Result<(), Breach> {
        let Some(stream) = self.streams.get_mut(key) else { return Ok(()) };
        if let Ok(state) = stream.state.on(Event::RecvRst) {
            stream.state = state;
        }
        // Those of a server come as visitors do.
        let unused = stream.inbound && !stream.used && self.config.role == Role::Server;
        let wanted = match stream.holder {
            Holder::User => true,
            // What came whole is still to be read. Other than that, its key in the queue is void.
            Holder::Waiting => stream.state == State::ResetAfterEnd && stream.inbox.len() > 0,
            Holder::Orphan(_) => false,
        };
        self.broke(key);
        if !wanted {
            self.forget(key);
        }
        if unused { self.flood.charge(Useless::Opens, now) } else { Ok(()) }
    }
}
