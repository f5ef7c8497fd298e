//! Our sessions beside those of the `yamux` crate, each with both ends on one worker and a TCP connection of the loopback in
//! between: bulk, round trips, and substreams that come and go. No TLS: only the multiplexers differ.
#![expect(clippy::unwrap_used, reason = "a bench that fails shows nothing")]

#[path = "../../crates/transport/tests/yamux/crate_peer.rs"]
#[expect(dead_code, reason = "the tests do more with it")]
mod crate_peer;

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use criterion::measurement::WallTime;
use criterion::{BenchmarkGroup, Criterion, Throughput, criterion_group, criterion_main};
use ops::spawn::{Placement, Spawner, Workers};
use protocol::handshake::PeerLimits;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use transport::session::{Inbound, Liveness, ProcessBudget, Role, Session, SessionConfig, Substream, start};
use yamux::Mode;

use crate_peer::{CratePeer, CrateStream};

const BULK: usize = 32 << 20;
const PIECE: usize = 64 * 1024;

/// One end of a session, whoever made it.
trait End: Send {
    type Stream: AsyncRead + AsyncWrite + Unpin + Send + 'static;

    fn new(io: TcpStream, client: bool, spawner: &Spawner) -> Self;
    async fn open(&self) -> Self::Stream;
    async fn accept(&mut self) -> Self::Stream;
}

struct Ours(Session, Inbound);

impl End for Ours {
    type Stream = Substream;

    fn new(io: TcpStream, client: bool, spawner: &Spawner) -> Self {
        let config = SessionConfig {
            role: if client { Role::Client } else { Role::Server },
            peer: PeerLimits::OURS,
            liveness: Arc::new(Liveness::new()),
            dead_after: Duration::from_secs(15),
            early: Bytes::new(),
            budget: ProcessBudget::new(1 << 30),
        };
        let (session, inbound) = start(io, config, spawner, spawner.here());
        Self(session, inbound)
    }

    async fn open(&self) -> Substream {
        self.0.open(Bytes::new()).unwrap()
    }

    async fn accept(&mut self) -> Substream {
        self.1.accept().await.unwrap()
    }
}

impl End for CratePeer {
    type Stream = CrateStream;

    fn new(io: TcpStream, client: bool, spawner: &Spawner) -> Self {
        Self::start(io, if client { Mode::Client } else { Mode::Server }, spawner)
    }

    async fn open(&self) -> CrateStream {
        Self::open(self).await
    }

    async fn accept(&mut self) -> CrateStream {
        Self::accept(self).await.unwrap()
    }
}

/// Both ends of a session, and where they run.
struct Pair<E> {
    client: E,
    server: E,
    workers: Workers,
}

impl<E: End> Pair<E> {
    fn new() -> Self {
        let (spawner, workers) = Spawner::start(1, Placement::PerCore).unwrap();
        let (client, server) = workers.block_on(async {
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            let client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
            let (server, _) = listener.accept().await.unwrap();
            client.set_nodelay(true).unwrap();
            server.set_nodelay(true).unwrap();
            (E::new(client, true, &spawner), E::new(server, false, &spawner))
        });
        Self { client, server, workers }
    }

    /// A substream, at both ends.
    async fn substream(client: &E, server: &mut E) -> (E::Stream, E::Stream) {
        tokio::join!(client.open(), server.accept())
    }

    /// [`BULK`] bytes over `n` substreams together.
    fn bulk(&mut self, n: usize) {
        let Self { client, server, workers } = self;
        workers.block_on(async {
            let mut tasks = JoinSet::new();
            for _ in 0..n {
                let (mut reader, mut writer) = Self::substream(client, server).await;
                tasks.spawn(async move {
                    let piece = vec![7; PIECE];
                    for _ in 0..BULK / n / PIECE {
                        writer.write_all(&piece).await.unwrap();
                    }
                    writer.shutdown().await.unwrap();
                });
                tasks.spawn(async move {
                    let mut buffer = vec![0; PIECE];
                    while reader.read(&mut buffer).await.unwrap() > 0 {}
                });
            }
            tasks.join_all().await;
        });
    }

    fn round_trip(&self, near: &mut E::Stream, far: &mut E::Stream) {
        self.workers.block_on(async {
            let mut message = [1; 64];
            near.write_all(&message).await.unwrap();
            near.flush().await.unwrap();
            far.read_exact(&mut message).await.unwrap();
            far.write_all(&message).await.unwrap();
            far.flush().await.unwrap();
            near.read_exact(&mut message).await.unwrap();
        });
    }

    fn come_and_go(&mut self) {
        let Self { client, server, workers } = self;
        workers.block_on(async {
            let (mut near, mut far) = Self::substream(client, server).await;
            let mut byte = [1];
            near.write_all(&byte).await.unwrap();
            near.shutdown().await.unwrap();
            far.read_exact(&mut byte).await.unwrap();
            far.write_all(&byte).await.unwrap();
            far.shutdown().await.unwrap();
            near.read_exact(&mut byte).await.unwrap();
        });
    }
}

fn run<E: End>(group: &mut BenchmarkGroup<'_, WallTime>, name: &str, what: impl Fn(&mut Pair<E>)) {
    let mut pair = Pair::<E>::new();
    group.bench_function(name, |b| b.iter(|| what(&mut pair)));
    pair.workers.shutdown(Duration::from_secs(1));
}

fn bulk(c: &mut Criterion) {
    for n in [1, 8] {
        let mut group = c.benchmark_group(format!("session: 32 MiB, {n} substreams"));
        group.throughput(Throughput::Bytes(BULK as u64)).sample_size(20);
        run::<Ours>(&mut group, "ours", |pair| pair.bulk(n));
        run::<CratePeer>(&mut group, "the crate", |pair| pair.bulk(n));
        group.finish();
    }
}

fn round_trips<E: End>(group: &mut BenchmarkGroup<'_, WallTime>, name: &str) {
    let mut pair = Pair::<E>::new();
    let Pair { client, server, workers } = &mut pair;
    let (mut near, mut far) = workers.block_on(Pair::substream(client, server));
    group.bench_function(name, |b| b.iter(|| pair.round_trip(&mut near, &mut far)));
    drop((near, far));
    pair.workers.shutdown(Duration::from_secs(1));
}

fn small(c: &mut Criterion) {
    let mut group = c.benchmark_group("session: a round trip of 64 bytes");
    round_trips::<Ours>(&mut group, "ours");
    round_trips::<CratePeer>(&mut group, "the crate");
    group.finish();
    let mut group = c.benchmark_group("session: open, a byte both ways, both ends");
    run::<Ours>(&mut group, "ours", Pair::come_and_go);
    run::<CratePeer>(&mut group, "the crate", Pair::come_and_go);
    group.finish();
}

criterion_group!(benches, bulk, small);
criterion_main!(benches);
