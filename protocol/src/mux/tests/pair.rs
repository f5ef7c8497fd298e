//! Two ends of a session on a link with a virtual clock.

use std::hash::RandomState;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;

use super::wire::{DATA, Pipe, UPDATE};
use crate::mux::{
    Batch, Breach, Broken, Config, Key, Mux, Notice, ProcessBudget, Read, Role, Write, YAMUX_WINDOW,
};

pub(super) use crate::mux::Role::{Client, Server};

pub(super) const MIB: usize = 1024 * 1024;
/// What the product states for itself.
pub(super) const FIRST: u32 = 64 * 1024;

pub(super) fn config(role: Role) -> Config {
    Config {
        role,
        receive_first: FIRST,
        send_first: FIRST,
        max_inbound: 1000,
        max_outbound: 1000,
        max_held: 64 * MIB,
        process: ProcessBudget::new(1024 * MIB),
        hasher: RandomState::new(),
    }
}

pub(super) struct Pair {
    pub(super) client: Mux,
    pub(super) server: Mux,
    /// From the client, and to it.
    pub(super) up: Pipe,
    pub(super) down: Pipe,
    pub(super) now: Instant,
    /// Bytes in one transmission.
    pub(super) batch: usize,
    first: [u32; 2],
}

impl Pair {
    pub(super) fn new() -> Self {
        Self::with(config(Client), config(Server))
    }

    /// A link with a delay each way, whose round trip both ends know already.
    pub(super) fn far(one_way: Duration, rate: Option<u64>) -> Self {
        let mut pair = Self::new();
        pair.link(one_way, rate);
        pair.drive();
        pair
    }

    pub(super) fn with(client: Config, server: Config) -> Self {
        let now = Instant::now();
        let first = [client.send_first.min(YAMUX_WINDOW), server.send_first.min(YAMUX_WINDOW)];
        Self {
            client: Mux::new(client, now),
            server: Mux::new(server, now),
            up: Pipe::default(),
            down: Pipe::default(),
            now,
            batch: 64 * 1024,
            first,
        }
    }

    pub(super) fn link(&mut self, one_way: Duration, rate: Option<u64>) {
        for pipe in [&mut self.up, &mut self.down] {
            pipe.delay = one_way;
            pipe.rate = rate;
        }
    }

    /// Everything arrives in pieces of random lengths up to this.
    pub(super) fn split_both(&mut self, max: usize) {
        self.up.split = Some((max, super::wire::Random(1)));
        self.down.split = Some((max, super::wire::Random(2)));
    }

    pub(super) fn mux(&mut self, role: Role) -> &mut Mux {
        match role {
            Client => &mut self.client,
            Server => &mut self.server,
        }
    }

    /// Sends one batch of this end; whether there was one.
    pub(super) fn send(&mut self, role: Role) -> bool {
        let (mux, pipe, first) = match role {
            Client => (&mut self.client, &mut self.up, self.first[0]),
            Server => (&mut self.server, &mut self.down, self.first[1]),
        };
        if !pipe.has_room(self.now) {
            return false;
        }
        let mut batch = Batch::default();
        mux.transmit(self.batch, self.now, &mut batch);
        assert!(batch.len() < self.batch + 16 * 1024 + 24, "one frame more than asked for at most");
        pipe.send(&mut batch, self.now, first) > 0
    }

    /// Delivers to this end what is due; whether there was something.
    pub(super) fn receive(&mut self, role: Role) -> Result<bool, Breach> {
        let (mux, pipe, back) = match role {
            Client => (&mut self.client, &mut self.down, &mut self.up),
            Server => (&mut self.server, &mut self.up, &mut self.down),
        };
        let known = pipe.arrived.len();
        let reads = pipe.arrive(self.now);
        for frame in &pipe.arrived[known..] {
            if frame.kind == UPDATE {
                let first = if matches!(role, Client) { self.first[0] } else { self.first[1] };
                *back.credit.entry(frame.id).or_insert(first.into()) += i64::from(frame.length);
            }
        }
        let any = !reads.is_empty();
        for mut read in reads {
            mux.recv(&mut read, self.now)?;
            assert!(read.is_empty());
        }
        Ok(any)
    }

    /// One turn of everybody, without time passing; whether anything moved.
    pub(super) fn turn(&mut self) -> bool {
        let sent = self.send(Client) | self.send(Server);
        let mut received = false;
        for role in [Client, Server] {
            received |= self.receive(role).unwrap_or_else(|breach| panic!("{role:?}: {breach}"));
        }
        sent || received
    }

    /// Lets time pass until something arrives or a sender has room again; false if nothing will.
    pub(super) fn wait(&mut self) -> bool {
        let next = [self.up.next(), self.down.next()].into_iter().flatten().min();
        self.now = next.map_or(self.now, |next| next.max(self.now));
        next.is_some()
    }

    /// Until nothing moves any more.
    pub(super) fn drive(&mut self) {
        while self.turn() || self.wait() {}
    }

    /// Time passes, and both ends notice.
    pub(super) fn pass(&mut self, time: Duration) {
        self.now += time;
        self.client.tick(self.now);
        self.server.tick(self.now);
        self.drive();
    }

    /// A substream from the client, accepted by the server.
    pub(super) fn open(&mut self) -> (Key, Key) {
        self.open_with(b"head")
    }

    pub(super) fn open_with(&mut self, first: &'static [u8]) -> (Key, Key) {
        let client = self.client.open(Bytes::from_static(first)).unwrap();
        self.drive();
        let server = self.server.accept().unwrap();
        assert_eq!(self.read(Server, server), (first.to_vec(), Read::Blocked));
        self.drive();
        (client, server)
    }

    pub(super) fn write(&mut self, role: Role, key: Key, bytes: &[u8]) -> Write {
        self.mux(role).write(key, &mut Bytes::copy_from_slice(bytes))
    }

    /// All there is to read now, and what comes behind it.
    pub(super) fn read(&mut self, role: Role, key: Key) -> (Vec<u8>, Read) {
        read_all(self.mux(role), key)
    }

    /// Drives and reads until there is nothing more.
    pub(super) fn drain(&mut self, role: Role, key: Key) -> (Vec<u8>, Read) {
        let mut all = Vec::new();
        loop {
            self.drive();
            let (bytes, then) = self.read(role, key);
            if bytes.is_empty() {
                return (all, then);
            }
            all.extend(bytes);
        }
    }

    pub(super) fn release(&mut self, role: Role, key: Key) {
        let now = self.now;
        self.mux(role).release(key, now);
    }

    pub(super) fn notices(&mut self, role: Role) -> Vec<Notice> {
        std::iter::from_fn(|| self.mux(role).poll_event()).collect()
    }

    /// Nothing is left of any substream, at either end.
    pub(super) fn assert_freed(&self) {
        for (role, mux) in [("client", &self.client), ("server", &self.server)] {
            assert_eq!((mux.substreams(), mux.held()), (0, 0), "{role}");
            assert_eq!(mux.config.process.held(), 0, "{role}");
        }
    }

    /// Frames of substreams that went up.
    pub(super) fn up_frames(&self, id: u32) -> Vec<super::wire::Seen> {
        let ours = self.up.sent.iter().filter(|frame| frame.kind <= UPDATE && frame.id == id);
        ours.copied().collect()
    }

    /// Bytes of payload that went up for a substream.
    pub(super) fn up_bytes(&self, id: u32) -> usize {
        let ours = self.up.sent.iter().filter(|frame| frame.kind == DATA && frame.id == id);
        ours.map(super::wire::Seen::payload).sum()
    }
}

pub(super) fn read_all(mux: &mut Mux, key: Key) -> (Vec<u8>, Read) {
    let mut all = Vec::new();
    loop {
        match mux.read(key, usize::MAX) {
            Read::Bytes(bytes) => {
                assert!(!bytes.is_empty());
                all.extend_from_slice(&bytes);
            }
            other => return (all, other),
        }
    }
}

pub(super) const BY_PEER: Read = Read::Broken(Broken::ByPeer);
pub(super) const HERE: Read = Read::Broken(Broken::Here);

/// The same process budget for several sessions.
pub(super) fn in_process(role: Role, process: &Arc<ProcessBudget>) -> Config {
    Config { process: process.clone(), ..config(role) }
}
