//! What the holder of a substream at one end does, and what it may see.

use std::time::Instant;

use protocol::mux::{Broken, Key, Mux, ORPHAN_TIMEOUT, Read, Write};

use crate::way::Way;

/// What an operation came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Outcome {
    Progress,
    Blocked,
    End,
    Broken(Broken),
}

/// One end of a substream.
#[derive(Debug)]
pub(super) struct Side {
    /// While it is held.
    pub(super) key: Option<Key>,
    /// What is written here.
    pub(super) out: Way,
    pub(super) reset: bool,
    pub(super) released: Option<Instant>,
    /// It left so long ago that what it had ended need not be sent any more.
    pub(super) expired: bool,
    /// It was held once.
    pub(super) known: bool,
    /// Reading was blocked, and there was no notice since.
    pub(super) reader_waits: bool,
    /// Writing was blocked, and there was no notice since.
    pub(super) writer_waits: bool,
}

impl Side {
    pub(super) fn new(number: usize) -> Self {
        Self {
            key: None,
            out: Way::new(number),
            reset: false,
            released: None,
            expired: false,
            known: false,
            reader_waits: false,
            writer_waits: false,
        }
    }

    pub(super) fn hold(&mut self, key: Key) {
        assert!(!self.known, "{key:?} is handed out twice");
        self.known = true;
        self.key = Some(key);
    }

    /// Reads at most `max` bytes, and puts all but `keep` of them back.
    pub(super) fn read(&mut self, mux: &mut Mux, way: &mut Way, max: usize, keep: usize) -> Outcome {
        let Some(key) = self.key else { return Outcome::Blocked };
        let read = mux.read(key, max);
        if read != Read::Blocked {
            assert!(!self.reader_waits, "who waits to read was not told of {read:?}");
        }
        match read {
            Read::Bytes(mut bytes) => {
                assert!(!bytes.is_empty() && bytes.len() <= max);
                let back = bytes.split_off(keep.min(bytes.len()));
                way.take(&bytes);
                if !back.is_empty() {
                    mux.unread(key, back);
                }
                Outcome::Progress
            }
            Read::End => {
                way.end();
                Outcome::End
            }
            Read::Blocked => {
                assert!(!way.ended, "nothing to read behind the end");
                self.reader_waits = true;
                Outcome::Blocked
            }
            Read::Broken(why) => {
                assert!(!way.ended || self.reset || why == Broken::OverBudget, "broken behind the end");
                assert_eq!(mux.broken(key), Some(why));
                Outcome::Broken(why)
            }
        }
    }

    /// Writes `n` bytes, handing them over or copying them.
    pub(super) fn write(&mut self, mux: &mut Mux, n: usize, copied: bool) -> Outcome {
        let Some(key) = self.key else { return Outcome::Blocked };
        let mut bytes = self.out.piece(n);
        let write = if copied {
            let mut slice = &bytes[..];
            let write = mux.write_copy(key, &mut slice);
            let taken = bytes.len() - slice.len();
            assert!(taken > 0 || write != Write::Ready || n == 0, "there was room for nothing");
            bytes.truncate(taken);
            write
        } else {
            let write = mux.write(key, &mut bytes);
            assert!(write != Write::Ready || bytes.is_empty(), "{} bytes were left", bytes.len());
            bytes = self.out.piece(n);
            write
        };
        match write {
            Write::Ready => {
                assert!(!self.out.finished, "written behind the end");
                self.out.written += bytes.len();
                Outcome::Progress
            }
            Write::Blocked => {
                self.writer_waits = true;
                Outcome::Blocked
            }
            Write::Broken(why) => {
                assert!(!self.writer_waits, "who waits to write was not told of {why:?}");
                Outcome::Broken(why)
            }
        }
    }

    pub(super) fn finish(&mut self, mux: &mut Mux) -> Outcome {
        let Some(key) = self.key else { return Outcome::Blocked };
        match mux.finish(key) {
            Write::Ready => {
                self.out.finished = true;
                // Nothing more is going to be written.
                self.writer_waits = false;
                Outcome::End
            }
            Write::Blocked => unreachable!("an end needs no room"),
            Write::Broken(why) => Outcome::Broken(why),
        }
    }

    pub(super) fn reset(&mut self, mux: &mut Mux) {
        if let Some(key) = self.key {
            mux.reset(key);
            self.reset = true;
        }
    }

    /// The time comes to the ears of this end.
    pub(super) fn grow_old(&mut self, now: Instant) {
        self.expired |= self.released.is_some_and(|then| now >= then + ORPHAN_TIMEOUT);
    }

    pub(super) fn release(&mut self, mux: &mut Mux, now: Instant) {
        if let Some(key) = self.key.take() {
            mux.release(key, now);
            self.released = Some(now);
            self.reader_waits = false;
            self.writer_waits = false;
        }
    }
}
