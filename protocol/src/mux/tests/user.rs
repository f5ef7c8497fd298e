//! A user of one end of a substream in the simulation: it writes what its plan says, reads what comes, and knows what it
//! has a right to see.

use std::time::Instant;

use bytes::Bytes;

use super::wire::Random;
use crate::mux::{Broken, Key, Mux, Read, Write};

/// How a user ends what it writes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ending {
    Finish,
    Reset,
    /// Leaves without an end.
    Leave,
}

/// What one end of a substream is going to do.
#[derive(Debug, Clone, Copy)]
pub(super) struct Plan {
    seed: u64,
    pub(super) total: usize,
    /// The longest piece that it writes, and reads.
    piece: usize,
    pub(super) ending: Ending,
    /// It leaves when it has read so many bytes, whatever it has written.
    pub(super) reads_at_most: usize,
}

impl Plan {
    pub(super) fn new(random: &mut Random) -> Self {
        let up_to = 1 << random.below(20);
        let longest = [10, 1000, 100_000][random.below(3)];
        Self {
            seed: random.next(),
            total: random.below(up_to.min(longest * 1000)),
            piece: 1 + random.below(longest),
            ending: match random.below(10) {
                0 => Ending::Reset,
                1 => Ending::Leave,
                _ => Ending::Finish,
            },
            reads_at_most: if random.below(8) == 0 { random.below(50_000) } else { usize::MAX },
        }
    }

    fn byte(&self, at: usize) -> u8 {
        (self.seed.rotate_left((at % 61) as u32) ^ (at / 61) as u64) as u8
    }

    fn bytes(&self, from: usize, n: usize) -> Vec<u8> {
        (from..from + n).map(|at| self.byte(at)).collect()
    }
}

/// How a way ended for its reader.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Seen {
    End,
    Broken(Broken),
    /// It stopped reading by its own choice.
    Enough,
}

#[derive(Debug)]
pub(super) struct User {
    pub(super) plan: Plan,
    /// What the peer writes.
    theirs: Plan,
    key: Key,
    pub(super) written: usize,
    pub(super) read: usize,
    pub(super) wrote_all: bool,
    pub(super) seen: Option<Seen>,
    pub(super) gone: bool,
}

impl User {
    pub(super) fn new(key: Key, plan: Plan, theirs: Plan, written: usize) -> Self {
        Self { plan, theirs, key, written, read: 0, wrote_all: false, seen: None, gone: false }
    }

    /// The first bytes of a substream go with its opening.
    pub(super) fn first(plan: &Plan) -> Bytes {
        plan.bytes(0, plan.piece.min(plan.total)).into()
    }

    /// Runs until there is nothing to do, or for some pieces; whether it wants to run again without being told to.
    pub(super) fn run(&mut self, mux: &mut Mux, now: Instant, random: &mut Random) -> bool {
        for _ in 0..=random.below(20) {
            if self.gone {
                return false;
            }
            let write_first = random.below(2) == 0;
            let mut moved = write_first && self.write(mux);
            moved |= self.read(mux, random);
            moved |= !write_first && self.write(mux);
            if self.wrote_all && self.seen.is_some() {
                mux.release(self.key, now);
                self.gone = true;
            } else if !moved {
                return false;
            }
        }
        true
    }

    pub(super) fn leave(&mut self, mux: &mut Mux, now: Instant) {
        if !std::mem::replace(&mut self.gone, true) {
            mux.release(self.key, now);
        }
    }

    fn write(&mut self, mux: &mut Mux) -> bool {
        if self.wrote_all {
            return false;
        }
        if self.written == self.plan.total {
            return self.end(mux);
        }
        let piece = self.plan.bytes(self.written, self.plan.piece.min(self.plan.total - self.written));
        let length = piece.len();
        let (result, taken) = if self.written.is_multiple_of(2) {
            let result = mux.write(self.key, &mut piece.into());
            (result, if result == Write::Ready { length } else { 0 })
        } else {
            let mut rest = &piece[..];
            let result = mux.write_copy(self.key, &mut rest);
            (result, length - rest.len())
        };
        self.written += taken;
        if let Write::Broken(_) = result {
            self.wrote_all = true;
        }
        result != Write::Blocked
    }

    /// Who leaves before the end is sent has no right that it is.
    fn end(&mut self, mux: &mut Mux) -> bool {
        match self.plan.ending {
            Ending::Finish => {
                mux.finish(self.key);
                self.wrote_all = mux.poll_flush(self.key) != Write::Blocked;
                return self.wrote_all;
            }
            Ending::Reset => mux.reset(self.key),
            Ending::Leave => {}
        }
        (self.seen, self.wrote_all) = (Some(Seen::Enough), true);
        true
    }

    fn read(&mut self, mux: &mut Mux, random: &mut Random) -> bool {
        if self.seen.is_some() {
            return false;
        }
        if self.read >= self.plan.reads_at_most {
            (self.seen, self.wrote_all) = (Some(Seen::Enough), true);
            return true;
        }
        match mux.read(self.key, 1 + random.below(self.plan.piece)) {
            Read::Blocked => return false,
            Read::Bytes(bytes) => {
                let expected = self.theirs.bytes(self.read, bytes.len());
                assert!(bytes == expected, "not what was written, behind byte {}", self.read);
                self.read += bytes.len();
            }
            Read::End => self.seen = Some(Seen::End),
            Read::Broken(why) => self.seen = Some(Seen::Broken(why)),
        }
        true
    }
}
