//! A whole engine, and a peer that sends anything.

use std::time::{Duration, Instant};

use bytes::Bytes;
use protocol::mux::{Breach, Broken, HEADER_LEN, Key, READ_SIZE, Read, Role, Write};

use super::end::{Bounds, End};
use super::frames::RawFrame;

/// What arrives in one read.
const PIECES: [usize; 8] = [1, 5, 11, 12, 13, 100, 4096, READ_SIZE];
/// So much of a payload is made up at most.
const MADE_UP_MAX: u32 = 300_000;
/// So much is received in one run.
const RECEIVED_MAX: usize = 4 << 20;

/// How the peer's bytes come, and what the users at this end do: the first byte.
#[derive(Debug, Clone, Copy)]
struct Manner(u8);

impl Manner {
    fn role(self) -> Role {
        if self.0 & 1 == 0 { Role::Client } else { Role::Server }
    }

    /// Users read everything; else they look at the first bytes and put them back.
    fn reads(self) -> bool {
        self.0 & 2 == 0
    }

    /// Users send back what they read.
    fn answers(self) -> bool {
        self.0 & 4 == 0
    }

    /// The bytes are headers only, and payloads are made up: much of a limit fits into few bytes.
    fn is_headers_only(self) -> bool {
        self.0 & 8 != 0
    }

    /// The peer takes nothing from us.
    fn is_deaf(self) -> bool {
        self.0 & 16 != 0
    }

    fn piece(self) -> usize {
        let piece = PIECES[usize::from(self.0 >> 5)];
        if self.is_headers_only() { piece.max(1000) } else { piece }
    }
}

/// Any bytes from the peer: nothing panics, no bound is broken, and what is sent back are yamux frames that this end may
/// send. The first byte says how the rest arrives.
pub fn raw(data: &[u8]) {
    let [manner, bytes @ ..] = data else { return };
    let manner = Manner(*manner);
    let mut session = Session::new(manner);
    let made_up;
    let bytes = if manner.is_headers_only() {
        made_up = with_payloads(bytes);
        &made_up[..]
    } else {
        bytes
    };
    for piece in bytes.chunks(manner.piece()) {
        if let Err(breach) = session.step(piece) {
            session.end.mux.go_away(breach.code());
            let last = session.end.transmit(usize::MAX, READ_SIZE, session.now);
            let told = |frame: &RawFrame| frame.kind == RawFrame::GO_AWAY && frame.length == 1;
            assert!(last.iter().any(told), "the peer was not told of {breach}");
            return;
        }
    }
    session.leave();
}

/// Every header with as many bytes behind it as it says.
fn with_payloads(headers: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for header in headers.chunks_exact(HEADER_LEN) {
        bytes.extend_from_slice(header);
        let length = u32::from_be_bytes([header[8], header[9], header[10], header[11]]);
        if header[1] == RawFrame::DATA && length <= MADE_UP_MAX {
            bytes.resize(bytes.len() + length as usize, 0x5a);
        }
        if bytes.len() > RECEIVED_MAX {
            break;
        }
    }
    bytes
}

/// This end and its users.
#[derive(Debug)]
struct Session {
    manner: Manner,
    end: End,
    held: Vec<Key>,
    now: Instant,
    steps: u32,
}

impl Session {
    fn new(manner: Manner) -> Self {
        let now = Instant::now();
        let bounds = Bounds {
            receive_first: 64 * 1024,
            send_first: 64 * 1024,
            max_inbound: 64,
            max_outbound: 8,
            max_held: 256 * 1024,
        };
        let mut session = Self {
            manner,
            end: End::new(manner.role(), bounds, false, now),
            held: Vec::new(),
            now,
            steps: 0,
        };
        for n in [0, 10, 40_000] {
            session.open(n);
        }
        session
    }

    fn open(&mut self, n: usize) {
        if let Ok(key) = self.end.mux.open(Bytes::from_static(&[0xa5; 40_000]).slice(..n)) {
            self.hold(key);
        }
    }

    fn hold(&mut self, key: Key) {
        assert!(!self.held.contains(&key), "{key:?} is handed out twice");
        assert!(!self.held.iter().any(|held| held.slot() == key.slot()), "the slot of {key:?} is taken");
        self.held.push(key);
    }

    fn step(&mut self, piece: &[u8]) -> Result<(), Breach> {
        self.now += Duration::from_millis(3);
        self.steps += 1;
        let received = self.end.recv(piece, self.now);
        self.check();
        received?;
        // Users look at their substreams whether they are told or not; only who accepts waits for it.
        while self.end.next_notice().is_some() {}
        while let Some(key) = self.end.accept() {
            self.hold(key);
        }
        self.use_all();
        if self.steps.is_multiple_of(16) {
            self.open(self.steps as usize % 1000);
            self.end.mux.tick(self.now);
        }
        if !self.manner.is_deaf() {
            self.end.transmit(READ_SIZE, 4096, self.now);
            self.end.link.clear();
        }
        self.check();
        Ok(())
    }

    /// Every user does what it can.
    fn use_all(&mut self) {
        let mut held = std::mem::take(&mut self.held);
        held.retain(|key| {
            let stays = self.use_one(*key);
            if !stays {
                self.end.mux.release(*key, self.now);
            }
            stays
        });
        self.held = held;
    }

    /// Whether the user stays.
    fn use_one(&mut self, key: Key) -> bool {
        let mux = &mut self.end.mux;
        if !self.manner.reads() {
            if let Read::Bytes(bytes) = mux.read(key, 100) {
                mux.unread(key, bytes);
            }
            return true;
        }
        loop {
            match mux.read(key, READ_SIZE) {
                Read::Bytes(bytes) if self.manner.answers() => {
                    assert!(!bytes.is_empty() && bytes.len() <= READ_SIZE);
                    let written = mux.write_copy(key, &mut &bytes[..]);
                    if let Write::Broken(why) = written {
                        assert_ne!(why, Broken::Here, "nobody here has ended {key:?}");
                        return false;
                    }
                }
                Read::Bytes(bytes) => assert!(!bytes.is_empty() && bytes.len() <= READ_SIZE),
                Read::Blocked => return true,
                Read::End => {
                    mux.finish(key);
                    return false;
                }
                Read::Broken(why) => {
                    assert_ne!(why, Broken::Here, "nobody here has broken {key:?} off");
                    assert_eq!(mux.broken(key), Some(why));
                    return false;
                }
            }
        }
    }

    fn check(&self) {
        self.end.check();
        let mux = &self.end.mux;
        assert!(self.held.len() <= mux.substreams(), "{} are held here", self.held.len());
    }

    /// All users leave, and nobody's patience lasts for ever.
    fn leave(mut self) {
        while let Some(key) = self.end.accept() {
            self.hold(key);
        }
        for key in std::mem::take(&mut self.held) {
            self.end.mux.finish(key);
            self.end.mux.release(key, self.now);
        }
        self.check();
        self.now += protocol::mux::ORPHAN_TIMEOUT;
        self.end.mux.tick(self.now);
        // Ends that wait for nothing but the link stay until it takes them.
        while self.end.mux.has_output() {
            self.end.transmit(READ_SIZE, 100, self.now);
        }
        assert_eq!(self.end.mux.substreams(), 0);
        assert_eq!(self.end.mux.held(), 0);
    }
}
