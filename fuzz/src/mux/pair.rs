//! Two engines and a link between them, and what has to be true of their substreams.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use protocol::mux::{Broken, Notice, Role};

use super::end::{Bounds, End};
use super::side::{Outcome, Side};

/// A script writes at most so much: a fuzzer that only copies bytes finds nothing.
const WRITTEN_MAX: usize = 3 << 20;
/// So much goes on to the link at once while things are brought to an end.
const BATCH: usize = 64 * 1024;

/// A substream, seen from both ends.
#[derive(Debug)]
pub(super) struct Substream {
    /// The end that opened it.
    pub(super) opener: usize,
    pub(super) sides: [Side; 2],
}

/// Two ends.
#[derive(Debug)]
pub(super) struct Pair {
    pub(super) ends: [End; 2],
    pub(super) substreams: Vec<Substream>,
    by_id: HashMap<u32, usize>,
    pub(super) now: Instant,
    written: usize,
}

impl Pair {
    pub(super) fn new(client: Bounds, server: Bounds) -> Self {
        let now = Instant::now();
        let ends = [End::new(Role::Client, client, true, now), End::new(Role::Server, server, true, now)];
        Self { ends, substreams: Vec::new(), by_id: HashMap::new(), now, written: 0 }
    }

    /// Opens a substream with `n` bytes.
    pub(super) fn open(&mut self, at: usize, n: usize) {
        let n = self.allowed(n);
        let number = self.substreams.len() * 2;
        let mut sides = [Side::new(number), Side::new(number + 1)];
        let (end, side) = (&mut self.ends[at], &mut sides[at]);
        end.holds_more(n);
        let Ok(key) = end.mux.open(side.out.piece(n)) else { return };
        side.hold(key);
        side.out.written += n;
        assert_eq!(self.by_id.insert(key.id(), self.substreams.len()), None, "an id is used twice");
        self.substreams.push(Substream { opener: at, sides });
        self.listen();
    }

    pub(super) fn accept(&mut self, at: usize) -> bool {
        let Some(key) = self.ends[at].accept() else { return false };
        let substream = &mut self.substreams[self.by_id[&key.id()]];
        assert_ne!(substream.opener, at, "its own substream was accepted");
        substream.sides[at].hold(key);
        true
    }

    /// The substream that a script means.
    pub(super) fn choose(&self, at: usize, which: u8) -> Option<usize> {
        let held = |substream: &&usize| self.substreams[**substream].sides[at].key.is_some();
        let all: Vec<usize> = (0..self.substreams.len()).collect();
        let held: Vec<usize> = all.iter().filter(held).copied().collect();
        held.get(usize::from(which).checked_rem(held.len())?).copied()
    }

    pub(super) fn read(&mut self, at: usize, index: usize, max: usize, keep: usize) -> Outcome {
        let (here, there) = pair(&mut self.substreams[index].sides, at);
        let end = &mut self.ends[at];
        let outcome = here.read(&mut end.mux, &mut there.out, max.max(1), keep);
        // What is put back is held again, whatever came in the meantime.
        end.holds_more(0);
        self.judge(at, index, outcome)
    }

    pub(super) fn write(&mut self, at: usize, index: usize, n: usize, copied: bool) -> Outcome {
        let n = self.allowed(n);
        let end = &mut self.ends[at];
        end.holds_more(n);
        let outcome = self.substreams[index].sides[at].write(&mut end.mux, n, copied);
        self.judge(at, index, outcome)
    }

    pub(super) fn finish(&mut self, at: usize, index: usize) -> Outcome {
        let outcome = self.substreams[index].sides[at].finish(&mut self.ends[at].mux);
        self.judge(at, index, outcome)
    }

    pub(super) fn reset(&mut self, at: usize, index: usize) {
        self.substreams[index].sides[at].reset(&mut self.ends[at].mux);
        self.listen();
    }

    pub(super) fn release(&mut self, at: usize, index: usize) {
        self.substreams[index].sides[at].release(&mut self.ends[at].mux, self.now);
        self.listen();
    }

    pub(super) fn transmit(&mut self, at: usize, max: usize, step: usize) {
        self.ends[at].transmit(max, step, self.now);
        self.listen();
    }

    /// Lets `n` bytes of what `at` sent arrive.
    pub(super) fn deliver(&mut self, at: usize, n: usize) {
        let (from, to) = pair(&mut self.ends, at);
        let bytes = from.link.split_to(n.min(from.link.len()));
        assert_eq!(to.recv(&bytes, self.now), Ok(()), "an honest end was called dishonest");
        self.listen();
    }

    pub(super) fn pass(&mut self, time: Duration) {
        self.now += time;
    }

    pub(super) fn tick(&mut self, at: usize) {
        self.ends[at].mux.tick(self.now);
        for substream in &mut self.substreams {
            substream.sides[at].grow_old(self.now);
        }
        self.listen();
    }

    /// Everybody hears what happened.
    fn listen(&mut self) {
        for (at, end) in self.ends.iter_mut().enumerate() {
            while let Some(notice) = end.next_notice() {
                let (Notice::Readable(key) | Notice::Writable(key)) = notice else { continue };
                let side = &mut self.substreams[self.by_id[&key.id()]].sides[at];
                match notice {
                    Notice::Readable(_) => side.reader_waits = false,
                    _ => side.writer_waits = false,
                }
            }
            end.check();
        }
    }

    /// Whether a substream may be broken for this reason.
    fn judge(&mut self, at: usize, index: usize, outcome: Outcome) -> Outcome {
        self.listen();
        let Outcome::Broken(why) = outcome else { return outcome };
        let (here, there) = pair(&mut self.substreams[index].sides, at);
        let allowed = match why {
            Broken::Here => here.reset || here.out.finished,
            Broken::OverBudget => self.ends[at].over,
            Broken::ByPeer => {
                there.reset || there.released.is_some() || self.ends[1 - at].over || self.may_refuse(1 - at)
            }
        };
        assert!(allowed, "substream {index} is broken: {why:?}");
        outcome
    }

    /// Whether more may have been opened at an end than it takes.
    fn may_refuse(&self, at: usize) -> bool {
        let opened = self.substreams.iter().filter(|substream| substream.opener != at).count();
        opened > self.ends[at].bounds.max_inbound
    }

    fn allowed(&mut self, n: usize) -> usize {
        let n = n.min(WRITTEN_MAX - self.written);
        self.written += n;
        n
    }

    /// Everything arrives, is read and is answered, as far as those who wait are told to go on.
    pub(super) fn settle(&mut self) {
        let mut idle = 0;
        let mut rounds = 0;
        while idle < 3 {
            rounds += 1;
            assert!(rounds < 20_000, "it never comes to an end");
            let mut progress = false;
            for at in 0..2 {
                while self.accept(at) {
                    progress = true;
                }
                for index in 0..self.substreams.len() {
                    while !self.substreams[index].sides[at].reader_waits
                        && self.read(at, index, usize::MAX, usize::MAX) == Outcome::Progress
                    {
                        progress = true;
                    }
                }
                self.tick(at);
                while self.ends[at].mux.has_output() {
                    self.transmit(at, BATCH, BATCH);
                }
                progress |= !self.ends[at].link.is_empty();
                self.deliver(at, usize::MAX);
            }
            // So little that nobody's patience ends by it.
            self.pass(Duration::from_micros(10));
            idle = if progress { 0 } else { idle + 1 };
        }
    }

    /// Nothing is on its way and all has been read: nobody waits for room.
    pub(super) fn nobody_waits_to_write(&self) {
        for (index, substream) in self.substreams.iter().enumerate() {
            for side in &substream.sides {
                assert!(!side.writer_waits, "the writer of substream {index} was not told of room");
            }
        }
    }

    pub(super) fn finish_all(&mut self) {
        for index in 0..self.substreams.len() {
            for at in 0..2 {
                self.finish(at, index);
            }
        }
    }

    /// Nothing is on its way any more, and everybody has ended what they wrote, or left: who still holds a substream saw
    /// all of it, or saw that it is broken.
    pub(super) fn everything_came(&mut self) {
        for index in 0..self.substreams.len() {
            for at in 0..2 {
                if self.substreams[index].sides[at].key.is_some() {
                    let last = self.read(at, index, usize::MAX, usize::MAX);
                    assert!(matches!(last, Outcome::End | Outcome::Broken(_)), "substream {index}: {last:?}");
                }
                if self.is_undisturbed(at, index) {
                    let way = &self.substreams[index].sides[1 - at].out;
                    assert!(way.ended, "substream {index}, read at {at}: {way:?}");
                }
            }
        }
    }

    /// Whether the reader at this end had every right to all that was written.
    fn is_undisturbed(&self, at: usize, index: usize) -> bool {
        let Substream { opener, sides } = &self.substreams[index];
        let (reader, writer) = (&sides[at], &sides[1 - at]);
        // What was ended goes out for a while. If it was nothing, who has not accepted it by then need not see it.
        let left_early =
            writer.expired || (writer.released.is_some() && !reader.known && writer.out.written == 0);
        let refused = self.may_refuse(1 - opener);
        let over = self.ends.iter().any(|end| end.over);
        let here = reader.reset || reader.released.is_some();
        writer.out.finished && !writer.reset && !left_early && !here && !refused && !over
    }

    pub(super) fn release_all(&mut self) {
        for index in 0..self.substreams.len() {
            for at in 0..2 {
                self.release(at, index);
            }
        }
    }

    /// After all has been released and has arrived, nothing is left.
    pub(super) fn nothing_is_left(&self) {
        for end in &self.ends {
            assert_eq!(end.mux.substreams(), 0);
            assert_eq!(end.mux.held(), 0);
            assert!(!end.mux.has_output());
        }
    }
}

/// The one at this end, and the other.
fn pair<T>(both: &mut [T; 2], at: usize) -> (&mut T, &mut T) {
    let [first, second] = both;
    if at == 0 { (first, second) } else { (second, first) }
}
