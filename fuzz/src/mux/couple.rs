//! An engine and the `yamux` crate, and what has to be true of their substreams: the crate says which bytes have to come.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use protocol::mux::{Broken, Notice, ORPHAN_TIMEOUT, OpenError, Role, YAMUX_WINDOW};
use yamux::{Mode, Stream};

use super::crate_end::CrateEnd;
use super::end::{Bounds, End};
use super::side::{Outcome, Side};
use super::theirs::Theirs;

/// A script writes at most so much.
const WRITTEN_MAX: usize = 3 << 20;
/// What the crate's users read at once.
const BUFFER: usize = 64 * 1024;

/// A substream, seen from both ends.
#[derive(Debug)]
pub(super) struct Substream {
    pub(super) ours: Side,
    theirs: Theirs,
}

/// Both ends.
#[derive(Debug)]
pub(super) struct Couple {
    pub(super) end: End,
    other: CrateEnd,
    pub(super) substreams: Vec<Substream>,
    by_id: HashMap<u32, usize>,
    buffer: Vec<u8>,
    written: usize,
    pub(super) now: Instant,
}

impl Couple {
    pub(super) fn new(setup: u8) -> Self {
        let now = Instant::now();
        let (role, mode) =
            if setup & 1 == 0 { (Role::Client, Mode::Server) } else { (Role::Server, Mode::Client) };
        let receive_first = [16 * 1024, 64 * 1024, 100_000, YAMUX_WINDOW][usize::from(setup >> 1 & 3)];
        let capacity = [usize::MAX, 40_000, 1000, 13][usize::from(setup >> 3 & 3)];
        let (send_first, max_inbound, max_outbound, max_held) = (YAMUX_WINDOW, 512, 512, 128 << 20);
        let bounds = Bounds { receive_first, send_first, max_inbound, max_outbound, max_held };
        Self {
            end: End::new(role, bounds, true, now),
            other: CrateEnd::new(mode, capacity),
            substreams: Vec::new(),
            by_id: HashMap::new(),
            buffer: vec![0; BUFFER],
            written: 0,
            now,
        }
    }

    pub(super) fn choose(&self, ours: bool, which: u8) -> Option<usize> {
        let is_held = |index: &usize| {
            let substream = &self.substreams[*index];
            if ours { substream.ours.key.is_some() } else { substream.theirs.stream.is_some() }
        };
        let held: Vec<usize> = (0..self.substreams.len()).filter(is_held).collect();
        held.get(usize::from(which).checked_rem(held.len())?).copied()
    }

    pub(super) fn open(&mut self, ours: bool, n: usize) {
        let n = self.allowed(n);
        let number = self.substreams.len() * 2;
        let mut side = Side::new(number);
        let mut theirs = Theirs::new(number + 1);
        let id = if ours {
            let key = self.end.mux.open(side.out.piece(n)).ok();
            let Some(key) = key else { unreachable!("there is room for {number}") };
            side.out.written += n;
            side.hold(key);
            key.id()
        } else {
            let stream = self.other.open();
            let id = number_of(&stream);
            theirs.open(stream, n);
            id
        };
        assert_eq!(self.by_id.insert(id, self.substreams.len()), None, "id {id} is used twice");
        self.substreams.push(Substream { ours: side, theirs });
    }

    pub(super) fn accept(&mut self, ours: bool) -> bool {
        if ours {
            let Some(key) = self.end.accept() else { return false };
            self.substreams[self.by_id[&key.id()]].ours.hold(key);
            return true;
        }
        let opened = self.other.run();
        let any = !opened.is_empty();
        for stream in opened {
            let index = self.by_id[&number_of(&stream)];
            self.substreams[index].theirs.stream = Some(stream);
        }
        any
    }

    pub(super) fn read(&mut self, ours: bool, index: usize, max: usize) -> Outcome {
        let Substream { ours: side, theirs } = &mut self.substreams[index];
        if ours {
            if theirs.dropped && side.out.finished {
                // Who drops a substream of the crate whose other way has ended ends its own way, closed or not.
                theirs.out.finished = true;
            }
            let outcome = side.read(&mut self.end.mux, &mut theirs.out, max, usize::MAX);
            if let Outcome::Broken(why) = outcome {
                let allowed = match why {
                    Broken::Here => side.reset,
                    Broken::ByPeer => theirs.dropped,
                    Broken::OverBudget => false,
                };
                assert!(allowed, "substream {index} is broken: {why:?}");
            }
            return outcome;
        }
        theirs.read(side, &mut self.buffer[..max.min(BUFFER)])
    }

    pub(super) fn write(&mut self, ours: bool, index: usize, n: usize) {
        let n = self.allowed(n);
        let Substream { ours: side, theirs } = &mut self.substreams[index];
        if !ours {
            return theirs.write(side, n);
        }
        let outcome = side.write(&mut self.end.mux, n, n.is_multiple_of(2));
        if let Outcome::Broken(why) = outcome {
            let allowed = match why {
                Broken::Here => side.reset || side.out.finished,
                Broken::ByPeer => theirs.dropped,
                Broken::OverBudget => false,
            };
            assert!(allowed, "substream {index} is broken: {why:?}");
        }
    }

    pub(super) fn finish(&mut self, ours: bool, index: usize) {
        let Substream { ours: side, theirs } = &mut self.substreams[index];
        if ours {
            side.finish(&mut self.end.mux);
        } else {
            theirs.close();
        }
    }

    pub(super) fn release(&mut self, ours: bool, index: usize) {
        let Substream { ours: side, theirs } = &mut self.substreams[index];
        if ours {
            side.release(&mut self.end.mux, self.now);
        } else {
            theirs.drop();
        }
    }

    pub(super) fn deliver(&mut self, ours: bool, n: usize) {
        if ours {
            let link = &mut self.end.link;
            let n = n.min(link.len());
            self.other.receive(&link.split_to(n));
        } else {
            let bytes = self.other.take(n);
            assert_eq!(self.end.recv(&bytes, self.now), Ok(()), "the crate was called dishonest");
        }
    }

    /// Time passes.
    pub(super) fn tick(&mut self, after: Duration) {
        self.now += after;
        self.end.mux.tick(self.now);
        for substream in &mut self.substreams {
            substream.ours.grow_old(self.now);
        }
    }

    pub(super) fn listen(&mut self) {
        while let Some(notice) = self.end.next_notice() {
            let (Notice::Readable(key) | Notice::Writable(key)) = notice else { continue };
            let side = &mut self.substreams[self.by_id[&key.id()]].ours;
            match notice {
                Notice::Readable(_) => side.reader_waits = false,
                _ => side.writer_waits = false,
            }
        }
        self.end.check();
    }

    fn allowed(&mut self, n: usize) -> usize {
        let n = n.min(WRITTEN_MAX - self.written);
        self.written += n;
        n
    }

    /// Everything arrives and is read.
    pub(super) fn settle(&mut self) {
        let (mut idle, mut rounds) = (0, 0);
        while idle < 3 {
            rounds += 1;
            assert!(rounds < 100_000, "it never comes to an end");
            let mut progress = self.accept(true) | self.accept(false);
            for index in 0..self.substreams.len() {
                while !self.substreams[index].ours.reader_waits
                    && self.read(true, index, usize::MAX) == Outcome::Progress
                {
                    progress = true;
                }
                while self.read(false, index, BUFFER) == Outcome::Progress {
                    progress = true;
                }
            }
            self.tick(Duration::from_micros(10));
            while self.end.mux.has_output() {
                self.end.transmit(BUFFER, BUFFER, self.now);
            }
            progress |= !self.end.link.is_empty() | self.other.has_sent();
            self.deliver(true, usize::MAX);
            progress |= self.accept(false);
            self.deliver(false, usize::MAX);
            self.listen();
            idle = if progress { 0 } else { idle + 1 };
        }
    }

    pub(super) fn finish_all(&mut self) {
        for index in 0..self.substreams.len() {
            self.finish(true, index);
            self.finish(false, index);
            assert!(
                self.substreams[index].theirs.stream.is_none() || self.substreams[index].theirs.out.finished
            );
        }
    }

    /// Nothing is on its way any more, and all have ended what they wrote, or left.
    pub(super) fn everything_came(&mut self) {
        for index in 0..self.substreams.len() {
            let last = self.read(true, index, usize::MAX);
            let Substream { ours, theirs } = &self.substreams[index];
            let here = ours.key.is_some();
            assert!(
                !here || matches!(last, Outcome::End | Outcome::Broken(_)),
                "substream {index}: {last:?}"
            );
            let is_whole = here && theirs.closed && !ours.reset;
            assert!(!is_whole || theirs.out.ended, "substream {index}, read here: {:?}", theirs.out);
            let last = self.read(false, index, BUFFER);
            let Substream { ours, theirs } = &self.substreams[index];
            let there = theirs.stream.is_some();
            assert!(!there || last == Outcome::End, "substream {index} at the crate: {last:?}");
            let is_whole = there && ours.out.finished && !ours.reset && !ours.expired;
            assert!(!is_whole || ours.out.ended, "substream {index}, read at the crate: {:?}", ours.out);
        }
    }

    /// All leave. What is written to a substream of the crate that was closed and then dropped never gets credit, and no
    /// RST either: it goes when nobody's patience lasts.
    pub(super) fn leave(&mut self) {
        for index in 0..self.substreams.len() {
            self.release(true, index);
            self.release(false, index);
        }
        self.settle();
        self.tick(ORPHAN_TIMEOUT);
        self.settle();
        assert_eq!(self.end.mux.substreams(), 0);
        assert_eq!(self.end.mux.held(), 0);
        // The crate's farewell ends everything at once, so it comes last.
        self.other.close();
        self.deliver(false, usize::MAX);
        assert!(self.end.mux.is_going_away() || self.other.has_sent());
        if self.end.mux.is_going_away() {
            assert_eq!(self.end.mux.open(bytes::Bytes::new()), Err(OpenError::GoingAway));
        }
    }
}

fn number_of(stream: &Stream) -> u32 {
    let Ok(id) = stream.id().to_string().parse() else { unreachable!("an id is a number") };
    id
}
