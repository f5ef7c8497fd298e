use super::*;

use std::io::{self, ErrorKind};
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};

use futures_util::FutureExt;
use ops::spawn::{Placement, Workers};
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, ReadBuf, duplex};
use tokio::time::timeout;

const DEAD_AFTER: Duration = Duration::from_secs(15);

struct Ends {
    client: (Session, Inbound),
    server: (Session, Inbound),
}

fn spawner() -> (Spawner, Workers) {
    Spawner::start(1, Placement::PerCore).unwrap()
}

fn config(role: Role, dead_after: Duration) -> SessionConfig {
    SessionConfig {
        role,
        peer: PeerLimits::OURS,
        liveness: Arc::new(Liveness::new()),
        dead_after,
        early: Bytes::new(),
        budget: ProcessBudget::new(1 << 30),
    }
}

fn begin(io: DuplexStream, role: Role, dead_after: Duration, spawner: &Spawner) -> (Session, Inbound) {
    let config = config(role, dead_after);
    let io = ReadAhead::new(io, config.liveness.clone());
    start(io, config, spawner, spawner.here())
}

fn ends(spawner: &Spawner) -> Ends {
    let (a, b) = duplex(1 << 20);
    Ends {
        client: begin(a, Role::Client, DEAD_AFTER, spawner),
        server: begin(b, Role::Server, DEAD_AFTER, spawner),
    }
}

/// Runs a test on its own worker, within a deadline.
fn run<F: Future<Output = ()> + Send + 'static>(test: impl FnOnce(Spawner) -> F) {
    let (spawner, workers) = spawner();
    let test = test(spawner);
    workers.block_on(async { timeout(Duration::from_secs(20), test).await.unwrap() });
    workers.shutdown(Duration::from_secs(2));
}

#[test]
fn bytes_and_ends_pass_both_ways() {
    run(|spawner| async move {
        let mut ends = ends(&spawner);
        let mut opened = ends.server.0.open(Bytes::from_static(b"head")).unwrap();
        let mut accepted = ends.client.1.accept().await.unwrap();
        accepted.write_all(b"answer").await.unwrap();
        accepted.shutdown().await.unwrap();
        opened.write_all(b" and body").await.unwrap();
        opened.shutdown().await.unwrap();
        let (mut there, mut back) = (String::new(), String::new());
        accepted.read_to_string(&mut there).await.unwrap();
        opened.read_to_string(&mut back).await.unwrap();
        assert_eq!((there.as_str(), back.as_str()), ("head and body", "answer"));
    });
}

#[test]
fn a_dropped_substream_reads_as_a_reset() {
    run(|spawner| async move {
        let mut ends = ends(&spawner);
        let opened = ends.server.0.open(Bytes::from_static(b"head")).unwrap();
        let mut accepted = ends.client.1.accept().await.unwrap();
        opened.reset();
        let mut bytes = Vec::new();
        let error = accepted.read_to_end(&mut bytes).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::ConnectionReset);
        assert_eq!(bytes, b"head");
    });
}

#[test]
fn the_death_of_a_session_is_no_end_of_its_substreams() {
    run(|spawner| async move {
        let mut ends = ends(&spawner);
        let mut opened = ends.server.0.open(Bytes::from_static(b"head")).unwrap();
        let mut accepted = ends.client.1.accept().await.unwrap();
        // Half-closed substreams are told too.
        accepted.shutdown().await.unwrap();
        ends.client.0.close();
        assert_eq!(ends.client.0.closed().await, SessionEnd::Closed);
        assert_ne!(ends.server.0.closed().await, SessionEnd::Closed);
        let error = accepted.read_to_end(&mut Vec::new()).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::ConnectionAborted);
        let error = opened.write_all(&[0; 1 << 20]).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::ConnectionAborted);
        assert_eq!(ends.server.0.open(Bytes::new()).unwrap_err(), OpenError::Lost);
    });
}

/// A link that fails once its peer `is_gone`: no write arrives, and what came before is not read ahead of the first one.
struct Failing {
    io: DuplexStream,
    is_gone: Arc<AtomicBool>,
    has_failed: bool,
}

impl AsyncRead for Failing {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.has_failed || !self.is_gone.load(Ordering::SeqCst) {
            return Pin::new(&mut self.io).poll_read(cx, buf);
        }
        Poll::Pending
    }
}

impl AsyncWrite for Failing {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        if self.is_gone.load(Ordering::SeqCst) {
            self.has_failed = true;
            return Poll::Ready(Err(ErrorKind::BrokenPipe.into()));
        }
        Pin::new(&mut self.io).poll_write(cx, bytes)
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

#[test]
fn what_a_peer_said_before_it_left_is_heard_though_nothing_reaches_it_any_more() {
    run(|spawner| async move {
        let (here, there) = duplex(1 << 20);
        let (peer, mut inbound) = begin(there, Role::Client, DEAD_AFTER, &spawner);
        let config = config(Role::Server, DEAD_AFTER);
        let is_gone = Arc::new(AtomicBool::new(false));
        let here = Failing { io: here, is_gone: is_gone.clone(), has_failed: false };
        let here = ReadAhead::new(here, config.liveness.clone());
        let (session, _inbound) = start(here, config, &spawner, spawner.here());
        let mut asked = session.open(Bytes::from_static(b"question")).unwrap();

        let mut answer = inbound.accept().await.unwrap();
        is_gone.store(true, Ordering::SeqCst);
        answer.write_all(b"answer").await.unwrap();
        answer.shutdown().await.unwrap();
        peer.close();
        assert_eq!(peer.closed().await, SessionEnd::Closed);

        asked.write_all(b" and more").await.unwrap();
        let mut heard = String::new();
        asked.read_to_string(&mut heard).await.unwrap();
        assert_eq!(heard, "answer");
        assert_eq!(session.closed().await, SessionEnd::ClosedByPeer);
    });
}

#[test]
fn a_silent_peer_is_dead() {
    run(|spawner| async move {
        let (io, _kept_open) = duplex(1 << 16);
        let (session, _inbound) = begin(io, Role::Server, Duration::from_millis(700), &spawner);
        assert_eq!(session.closed().await, SessionEnd::Silent);
        assert!(session.idle_for() >= Duration::from_millis(700));
    });
}

#[test]
fn garbage_ends_the_session_as_a_breach() {
    run(|spawner| async move {
        let (io, mut peer) = duplex(1 << 16);
        let (session, _inbound) = begin(io, Role::Server, DEAD_AFTER, &spawner);
        peer.write_all(&[0xff; 64]).await.unwrap();
        assert!(matches!(session.closed().await, SessionEnd::Breach(_)));
    });
}

#[test]
fn substreams_beyond_the_limit_of_the_peer_are_refused_here() {
    run(|spawner| async move {
        let (a, b) = duplex(1 << 20);
        let mut settings = config(Role::Server, DEAD_AFTER);
        settings.peer.max_substreams = 2;
        let (server, _) = start(a, settings, &spawner, spawner.here());
        let (_client, mut inbound) = begin(b, Role::Client, DEAD_AFTER, &spawner);
        let first = server.open(Bytes::from_static(b"1")).unwrap();
        let _second = server.open(Bytes::from_static(b"2")).unwrap();
        assert_eq!(server.open(Bytes::from_static(b"3")).unwrap_err(), OpenError::Full);
        assert_eq!(server.substreams_open(), 2);
        // An orderly end gives its place back at once.
        let mut accepted = inbound.accept().await.unwrap();
        accepted.shutdown().await.unwrap();
        let mut first = first;
        assert_eq!(first.read(&mut [0]).await.unwrap(), 0);
        drop(first);
        assert!(server.open(Bytes::from_static(b"3")).is_ok());
    });
}

#[test]
fn a_large_first_write_arrives_whole() {
    run(|spawner| async move {
        let mut ends = ends(&spawner);
        let first = Bytes::from(vec![7; 700_000]);
        let session = ends.server.0.clone();
        let sent = first.clone();
        let opener = spawner.spawn(spawner.here(), "test", async move {
            session.open(sent).unwrap().shutdown().await.unwrap();
        });
        let mut accepted = ends.client.1.accept().await.unwrap();
        let mut bytes = Vec::new();
        accepted.read_to_end(&mut bytes).await.unwrap();
        opener.await.unwrap();
        assert!(bytes == first);
    });
}

#[test]
fn a_shutdown_waits_for_a_slow_reader_so_that_a_drop_cuts_nothing() {
    run(|spawner| async move {
        let mut ends = ends(&spawner);
        let mut writer = ends.server.0.open(Bytes::from(vec![7; 300_000])).unwrap();
        let mut reader = ends.client.1.accept().await.unwrap();
        let mut bytes = vec![0; 10_000];
        reader.read_exact(&mut bytes).await.unwrap();
        assert!(writer.shutdown().now_or_never().is_none(), "more is written than the peer takes");
        let ended = async {
            writer.shutdown().await.unwrap();
            drop(writer);
        };
        let read = async {
            let mut rest = Vec::new();
            reader.read_to_end(&mut rest).await.unwrap();
            assert_eq!(rest.len(), 290_000);
        };
        tokio::join!(ended, read);
    });
}

#[test]
fn an_end_that_the_link_did_not_live_to_carry_is_an_error() {
    run(|spawner| async move {
        let ends = ends(&spawner);
        let mut substream = ends.server.0.open(Bytes::from_static(b"head")).unwrap();
        substream.flush().await.unwrap();
        ends.server.0.close();
        ends.server.0.closed().await;
        let error = substream.shutdown().await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::ConnectionAborted);
    });
}

#[test]
fn bytes_read_behind_the_handshake_are_not_lost() {
    run(|spawner| async move {
        // What a client's session says first, recorded.
        let (io, mut wire) = duplex(1 << 16);
        let (client, _) = begin(io, Role::Client, DEAD_AFTER, &spawner);
        let _substream = client.open(Bytes::from_static(b"early")).unwrap();
        let mut early = Vec::new();
        while !early.ends_with(b"early") {
            wire.read_buf(&mut early).await.unwrap();
        }
        let (io, _peer) = duplex(1 << 16);
        let mut settings = config(Role::Server, DEAD_AFTER);
        settings.early = early.into();
        let (_server, mut inbound) = start(io, settings, &spawner, spawner.here());
        let mut accepted = inbound.accept().await.unwrap();
        let mut bytes = [0; 5];
        accepted.read_exact(&mut bytes).await.unwrap();
        assert_eq!(&bytes, b"early");
    });
}
