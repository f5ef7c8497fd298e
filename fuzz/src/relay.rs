//! The relay between a real connection and a real session, and whatever the users at the two far ends do.
#![expect(clippy::expect_used, clippy::panic, reason = "a target says by panicking what it found")]

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, LazyLock, Mutex, mpsc};
use std::time::Duration;

use arbitrary::{Arbitrary, Result, Unstructured};
use bytes::Bytes;
use ops::spawn::{Placement, Spawner, Workers};
use protocol::handshake::PeerLimits;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, duplex, split};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::signal::unix::{SignalKind, signal};
use tokio::time::{Instant, sleep, timeout};
use transport::relay::{IdleLimits, RelayEnd, relay as run_relay};
use transport::session::{Inbound, Liveness, ProcessBudget, Role, Session, SessionConfig, start};

use crate::size::size;
use crate::way::Way;

const PIECES_MAX: usize = 6;
/// Nothing that a script says takes longer.
const PATIENCE: Duration = Duration::from_secs(10);
const LIMITS: IdleLimits = IdleLimits { open: None, half_closed: Duration::from_secs(60) };

/// One worker for all runs, and who waits for it; both end with the process.
static SPAWNER: LazyLock<(Spawner, Mutex<Workers>)> = LazyLock::new(|| {
    let (spawner, workers) = Spawner::start(1, Placement::PerCore).expect("threads can be started");
    // A fuzzer's `main` leaves the signal deadly that a write to a closed connection brings. A handler stays for ever.
    drop(workers.block_on(async { signal(SignalKind::pipe()).expect("a signal can be handled") }));
    (spawner, Mutex::new(workers))
});
/// Addresses of visitors: ports that wait for stray segments would run out.
static VISITORS: AtomicU32 = AtomicU32::new(0x7f01_0000);

/// What the user of one end does.
#[derive(Debug, Clone)]
struct Plan {
    pieces: Vec<usize>,
    /// It ends what it writes; else it leaves.
    finishes: bool,
    /// It leaves when it has read so much.
    reads_at_most: Option<usize>,
}

impl<'a> Arbitrary<'a> for Plan {
    fn arbitrary(u: &mut Unstructured<'a>) -> Result<Self> {
        let pieces = (0..u.int_in_range(0..=PIECES_MAX)?)
            .map(|_| Ok(size(u8::arbitrary(u)?)))
            .collect::<Result<_>>()?;
        let finishes = u.ratio(3, 4)?;
        let reads_at_most = if u.ratio(1, 4)? { Some(size(u8::arbitrary(u)?)) } else { None };
        Ok(Self { pieces, finishes, reads_at_most })
    }
}

impl Plan {
    /// What its peer may read.
    fn way(&self, number: usize) -> Way {
        let mut way = Way::new(number);
        way.written = self.pieces.iter().sum();
        way.finished = self.finishes;
        way
    }

    fn leaves(&self) -> bool {
        !self.finishes || self.reads_at_most.is_some()
    }
}

/// A visitor and a service do what they want; what arrives is what was sent, an end is an end, a reset a reset, and the
/// relay is over soon behind them.
pub fn relay(data: &[u8]) {
    let Ok(plans) = <[Plan; 2]>::arbitrary(&mut Unstructured::new(data)) else { return };
    let (spawner, workers) = &*SPAWNER;
    let (done, result) = mpsc::channel();
    spawner.spawn(spawner.here(), "run", async move {
        let run = timeout(PATIENCE, run(&plans));
        drop(done.send(run.await.map_err(|_| format!("{plans:?} do not come to an end"))));
    });
    match result.recv() {
        Ok(Ok(())) => {}
        Ok(Err(error)) => panic!("{error}"),
        Err(_) => panic!("a check has failed"),
    }
    // Behind a run nothing may be left, and a leak is looked for: what a task that is about to end still holds looks like
    // one, for a `BytesMut` that was read to its end points behind its memory.
    let workers = workers.lock().expect("no run panics while it waits");
    assert!(workers.block_on(spawner.wait_idle(Instant::now() + PATIENCE)), "a task outlives its session");
}

/// Whether everybody ends and reads everything, so that nothing may be missing.
fn is_orderly([visitor, service]: &[Plan; 2]) -> bool {
    !visitor.leaves() && !service.leaves()
}

async fn run(plans: &[Plan; 2]) {
    let (spawner, _) = &*SPAWNER;
    let (local, visitor) = connection(plans[0].leaves()).await.expect("the loopback works");
    let (near, far) = sessions(spawner);
    let substream = near.0.open(Bytes::from_static(b"!")).expect("the session is new");
    let (sessions, mut inbound) = ([near.0, far.0], far.1);
    let mut service = inbound.accept().await.expect("the session lives");
    assert_eq!(service.read_u8().await.ok(), Some(b'!'));

    let relayed = run_relay(local.into(), substream, Bytes::new(), false, LIMITS);
    let visitor = live(visitor, &plans[0], 0, plans[1].way(1));
    let service = live(service, &plans[1], 1, plans[0].way(0));
    let (relayed, visitor, service) = tokio::join!(relayed, visitor, service);

    if is_orderly(plans) {
        assert_eq!(relayed.end, RelayEnd::Clean, "{plans:?}");
        assert!(visitor.ended && service.ended, "{plans:?}");
        assert_eq!(relayed.to_substream, service.read as u64);
        assert_eq!(relayed.from_substream, visitor.read as u64);
    }
    assert!(relayed.to_substream >= service.read as u64, "more came than was passed on");
    assert!(relayed.from_substream >= visitor.read as u64, "more came than was passed on");
    // All holders are gone: both ends forget the substream, which the caller's patience bounds.
    while sessions.iter().any(|session| session.substreams_open() > 0) {
        sleep(Duration::from_millis(1)).await;
    }
    for session in sessions {
        session.close();
        session.closed().await;
    }
}

/// The two ends of a connection; the second is reset when it is dropped early.
async fn connection(resets: bool) -> io::Result<(TcpStream, TcpStream)> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
    let from = Ipv4Addr::from_bits(VISITORS.fetch_add(1, Ordering::Relaxed));
    let socket = TcpSocket::new_v4()?;
    socket.bind(SocketAddr::from((from, 0)))?;
    let visitor = socket.connect(listener.local_addr()?).await?;
    if resets {
        visitor.set_zero_linger()?;
    }
    Ok((listener.accept().await?.0, visitor))
}

fn sessions(spawner: &Spawner) -> ((Session, Inbound), (Session, Inbound)) {
    let (a, b) = duplex(1 << 16);
    let session = |io, role| {
        let config = SessionConfig {
            role,
            peer: PeerLimits::OURS,
            liveness: Arc::new(Liveness::new()),
            dead_after: PATIENCE,
            early: Bytes::new(),
            budget: ProcessBudget::new(1 << 30),
        };
        start(io, config, spawner, spawner.here())
    };
    (session(a, Role::Server), session(b, Role::Client))
}

/// Writes and reads at once, as planned; what was read.
async fn live<S: AsyncRead + AsyncWrite>(stream: S, plan: &Plan, number: usize, mut theirs: Way) -> Way {
    let (mut reader, mut writer) = split(stream);
    let write = async {
        let mut ours = Way::new(number);
        for n in &plan.pieces {
            if writer.write_all(&ours.piece(*n)).await.is_err() {
                return Ok(());
            }
            ours.written += n;
        }
        if !plan.finishes {
            return Err(Left);
        }
        drop(writer.shutdown().await);
        Ok(())
    };
    let read = async {
        let mut buffer = vec![0; 50_000];
        loop {
            if plan.reads_at_most.is_some_and(|most| theirs.read >= most) {
                return Err(Left);
            }
            match reader.read(&mut buffer).await {
                Ok(0) => {
                    theirs.end();
                    return Ok(());
                }
                Ok(n) => theirs.take(&buffer[..n]),
                Err(_) => return Ok(()),
            }
        }
    };
    // Who leaves leaves at once, whatever it still wanted to do.
    drop(tokio::try_join!(write, read));
    theirs
}

/// Says that somebody leaves.
struct Left;
