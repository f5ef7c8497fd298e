//! Our end: a session over whatever byte stream a test has.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use ops::spawn::{Placement, Spawner};
use protocol::handshake::PeerLimits;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, split};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::timeout;
use transport::session::{Inbound, Liveness, ProcessBudget, ReadAhead, Role, Session, SessionConfig, start};

/// No wait takes longer, whatever else the machine does.
const SOON: Duration = Duration::from_secs(20);

/// Runs a test beside one worker, within a deadline.
pub(crate) fn run<F: Future<Output = ()>>(test: impl FnOnce(Spawner) -> F) {
    let (spawner, workers) = Spawner::start(1, Placement::PerCore).unwrap();
    workers.block_on(async { timeout(SOON, test(spawner)).await.expect("it came to an end") });
    workers.shutdown(Duration::from_secs(2));
}

pub(crate) fn config(role: Role) -> SessionConfig {
    SessionConfig {
        role,
        // A peer that knows nothing of ours takes what yamux says.
        peer: PeerLimits { first_window: protocol::mux::YAMUX_WINDOW, ..PeerLimits::OURS },
        liveness: Arc::new(Liveness::new()),
        dead_after: Duration::from_secs(15),
        early: Bytes::new(),
        budget: ProcessBudget::new(1 << 30),
    }
}

pub(crate) fn begin<T>(io: T, role: Role, spawner: &Spawner) -> (Session, Inbound)
where
    T: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    begin_with(io, config(role), spawner)
}

pub(crate) fn begin_with<T>(io: T, config: SessionConfig, spawner: &Spawner) -> (Session, Inbound)
where
    T: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    start(ReadAhead::new(io, config.liveness.clone()), config, spawner, spawner.here())
}

/// The two ends of a connection.
pub(crate) async fn tcp() -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let connected = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
    let accepted = listener.accept().await.unwrap().0;
    for end in [&connected, &accepted] {
        end.set_nodelay(true).unwrap();
    }
    (connected, accepted)
}

/// Bytes in which every mistake shows: those of another seed, or of another place, differ.
pub(crate) fn pattern(seed: usize, length: usize) -> Vec<u8> {
    let mut word = u64::try_from(seed).unwrap() << 40;
    let mut bytes = vec![0; length.next_multiple_of(8)];
    for place in bytes.chunks_exact_mut(8) {
        word += 1;
        place.copy_from_slice(&word.wrapping_mul(0x9E37_79B9_7F4A_7C15).to_be_bytes());
    }
    bytes.truncate(length);
    bytes
}

/// Sends `out` and its end, and at the same time takes what comes, to its end.
pub(crate) async fn exchange<S: AsyncRead + AsyncWrite + Unpin>(stream: &mut S, out: &[u8]) -> Vec<u8> {
    let (mut reader, mut writer) = split(stream);
    let mut got = Vec::new();
    let write = async {
        writer.write_all(out).await.unwrap();
        writer.shutdown().await.unwrap();
    };
    let read = async { reader.read_to_end(&mut got).await.unwrap() };
    tokio::join!(write, read);
    got
}
