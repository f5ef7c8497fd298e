use super::*;

use std::sync::Arc;

use ops::spawn::{Placement, Spawner};
use protocol::handshake::PeerLimits;
use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex};
use tokio::net::{TcpSocket, TcpStream};
use tokio::time::timeout;

use crate::session::{Inbound, Liveness, ProcessBudget, Role, Session, SessionConfig, start};

const LIMITS: IdleLimits = IdleLimits { open: None, half_closed: Duration::from_secs(300) };

struct Scene {
    /// The visitor's end of the connection that is relayed.
    visitor: TcpStream,
    /// The far end of the substream.
    far: Substream,
    relayed: ops::spawn::Task<Relayed>,
    session: Session,
    inbound: Inbound,
    far_session: Session,
    _far_inbound: Inbound,
}

async fn scene(spawner: &Spawner, limits: IdleLimits) -> Scene {
    scene_with(spawner, limits, None).await
}

/// `buffer` is what each end of the visitor's connection may hold in the kernel, bytes; none: as much as it likes.
async fn scene_with(spawner: &Spawner, limits: IdleLimits, buffer: Option<u32>) -> Scene {
    let (a, b) = duplex(1 << 20);
    let session = |io, role| {
        let config = SessionConfig {
            role,
            peer: PeerLimits::OURS,
            liveness: Arc::new(Liveness::new()),
            dead_after: Duration::from_secs(15),
            early: Bytes::new(),
            budget: ProcessBudget::new(1 << 30),
        };
        start(io, config, spawner, spawner.here())
    };
    let (near, near_inbound) = session(a, Role::Server);
    let (far_session, mut far_inbound) = session(b, Role::Client);
    let substream = near.open(Bytes::from_static(b"!")).unwrap();
    let mut far = far_inbound.accept().await.unwrap();
    assert_eq!(far.read_u8().await.unwrap(), b'!');

    let socket = || {
        let socket = TcpSocket::new_v4().unwrap();
        if let Some(bytes) = buffer {
            socket.set_recv_buffer_size(bytes).unwrap();
            socket.set_send_buffer_size(bytes).unwrap();
        }
        socket
    };
    let listener = socket();
    listener.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let listener = listener.listen(1).unwrap();
    let visitor = socket().connect(listener.local_addr().unwrap()).await.unwrap();
    let (local, _) = listener.accept().await.unwrap();
    let relayed = spawner.spawn(
        spawner.here(),
        "relay",
        relay(local.into(), substream, Bytes::from_static(b"early "), false, limits),
    );
    let (inbound, _far_inbound) = (near_inbound, far_inbound);
    Scene { visitor, far, relayed, session: near, inbound, far_session, _far_inbound }
}

fn run<F: Future<Output = ()> + Send + 'static>(test: impl FnOnce(Spawner) -> F) {
    let (spawner, workers) = Spawner::start(1, Placement::PerCore).unwrap();
    let test = test(spawner);
    workers.block_on(async { timeout(Duration::from_secs(20), test).await.unwrap() });
    workers.shutdown(Duration::from_secs(2));
}

#[test]
fn each_way_ends_by_itself() {
    run(|spawner| async move {
        let Scene { mut visitor, mut far, relayed, .. } = scene(&spawner, LIMITS).await;
        visitor.write_all(b"request").await.unwrap();
        visitor.shutdown().await.unwrap();
        let mut request = String::new();
        far.read_to_string(&mut request).await.unwrap();
        assert_eq!(request, "request");
        // The other way is still open.
        far.write_all(b"answer").await.unwrap();
        far.shutdown().await.unwrap();
        let mut answer = String::new();
        visitor.read_to_string(&mut answer).await.unwrap();
        assert_eq!(answer, "early answer");
        let relayed = relayed.await.unwrap();
        assert_eq!(relayed.end, RelayEnd::Clean);
        assert_eq!((relayed.to_substream, relayed.from_substream), (7, 12));
    });
}

#[test]
fn a_reset_of_the_connection_resets_the_substream() {
    run(|spawner| async move {
        let Scene { visitor, mut far, relayed, .. } = scene(&spawner, LIMITS).await;
        crate::socket::abort(visitor);
        assert_eq!(
            far.read_to_end(&mut Vec::new()).await.unwrap_err().kind(),
            io::ErrorKind::ConnectionReset
        );
        assert_eq!(relayed.await.unwrap().end, RelayEnd::LocalReset);
    });
}

#[test]
fn a_reset_of_the_substream_resets_the_connection() {
    run(|spawner| async move {
        let Scene { mut visitor, far, relayed, .. } = scene(&spawner, LIMITS).await;
        far.reset();
        let error = visitor.read_to_end(&mut Vec::new()).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::ConnectionReset);
        assert_eq!(relayed.await.unwrap().end, RelayEnd::SubstreamReset);
    });
}

#[test]
fn the_death_of_the_session_resets_the_connection_even_if_half_closed() {
    run(|spawner| async move {
        let Scene { mut visitor, mut far, relayed, session, .. } = scene(&spawner, LIMITS).await;
        visitor.shutdown().await.unwrap();
        assert_eq!(far.read(&mut [0]).await.unwrap(), 0);
        session.close();
        let error = visitor.read_to_end(&mut Vec::new()).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::ConnectionReset);
        assert_eq!(relayed.await.unwrap().end, RelayEnd::SessionLost);
    });
}

#[test]
fn silence_has_a_limit() {
    run(|spawner| async move {
        let limits = IdleLimits { open: Some(Duration::from_millis(50)), ..LIMITS };
        let Scene { mut visitor, relayed, far: _far, .. } = scene(&spawner, limits).await;
        visitor.read_to_end(&mut Vec::new()).await.unwrap_err();
        assert_eq!(relayed.await.unwrap().end, RelayEnd::Idle);
        let limits = IdleLimits { half_closed: Duration::from_millis(50), ..LIMITS };
        let Scene { mut visitor, relayed, far: _far, .. } = scene(&spawner, limits).await;
        visitor.shutdown().await.unwrap();
        assert_eq!(relayed.await.unwrap().end, RelayEnd::Idle);
    });
}

#[test]
fn a_reset_is_noticed_behind_an_upload_that_nobody_takes() {
    run(|spawner| async move {
        let Scene { mut visitor, mut far, relayed, .. } = scene(&spawner, LIMITS).await;
        // More than the window, the substream and the sockets hold.
        let piece = vec![1; 1 << 20];
        let mut written = 0;
        while let Ok(n) = timeout(Duration::from_millis(100), visitor.write(&piece)).await {
            written += n.unwrap();
        }
        assert!(written > 0);
        crate::socket::reset_on_close(&visitor).unwrap();
        drop(visitor);
        assert_eq!(relayed.await.unwrap().end, RelayEnd::LocalReset);
        let error = far.read_to_end(&mut Vec::new()).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::ConnectionReset);
    });
}

/// The far end has ended its way, and the visitor has seen it.
async fn ended_down(scene: &mut Scene) {
    scene.far.shutdown().await.unwrap();
    scene.visitor.read_to_end(&mut Vec::new()).await.unwrap();
}

#[test]
fn who_still_writes_is_told_of_the_break_though_nobody_reads_the_substream_any_more() {
    run(|spawner| async move {
        let mut scene = scene(&spawner, LIMITS).await;
        ended_down(&mut scene).await;
        scene.far.reset();
        assert_eq!(scene.relayed.await.unwrap().end, RelayEnd::SubstreamReset);
    });
    run(|spawner| async move {
        let mut scene = scene(&spawner, LIMITS).await;
        ended_down(&mut scene).await;
        scene.session.close();
        assert_eq!(scene.relayed.await.unwrap().end, RelayEnd::SessionLost);
    });
}

#[test]
fn a_reset_is_noticed_behind_the_end_of_an_upload() {
    run(|spawner| async move {
        let Scene { mut visitor, mut far, relayed, .. } = scene(&spawner, LIMITS).await;
        visitor.shutdown().await.unwrap();
        assert_eq!(far.read(&mut [0]).await.unwrap(), 0);
        crate::socket::reset_on_close(&visitor).unwrap();
        drop(visitor);
        assert_eq!(relayed.await.unwrap().end, RelayEnd::LocalReset);
    });
}

#[test]
fn an_answer_that_has_come_whole_reaches_a_slow_reader_whatever_happens_then() {
    for session_dies in [false, true] {
        run(move |spawner| async move {
            // What fits into the first window of the substream, and not into the visitor's connection.
            let (answer, buffer) = (vec![3; 60 * 1024], Some(4096));
            let Scene { mut visitor, mut far, mut relayed, session, mut inbound, far_session, _far_inbound } =
                scene_with(&spawner, LIMITS, buffer).await;
            far.write_all(&answer).await.unwrap();
            far.shutdown().await.unwrap();
            // This comes behind it on the link.
            let _behind = far_session.open(Bytes::from_static(b"!")).unwrap();
            inbound.accept().await.unwrap();
            if session_dies {
                session.close()
            } else {
                far.reset()
            }
            // Longer than the relay's patience with what was cut.
            let over = timeout(2 * BREAK_TIMEOUT, &mut relayed).await;
            assert!(over.is_err(), "it still has something to deliver: {over:?}");
            let mut all = Vec::new();
            visitor.read_to_end(&mut all).await.unwrap();
            assert_eq!(all.len(), "early ".len() + answer.len());
            let end = if session_dies { RelayEnd::SessionLost } else { RelayEnd::SubstreamReset };
            assert_eq!(relayed.await.unwrap().end, end);
        });
    }
}

#[test]
fn a_session_that_dies_before_a_stuck_reader_has_all_is_called_lost() {
    run(|spawner| async move {
        let Scene { visitor: _visitor, mut far, relayed, session, .. } = scene(&spawner, LIMITS).await;
        let piece = vec![3; 1 << 20];
        while timeout(Duration::from_millis(100), far.write_all(&piece)).await.is_ok() {}
        session.close();
        assert_eq!(relayed.await.unwrap().end, RelayEnd::SessionLost);
    });
}

#[test]
fn bulk_passes_both_ways_at_once() {
    run(|spawner| async move {
        const SIZE: usize = 8 << 20;
        let Scene { visitor, far, relayed, .. } = scene(&spawner, LIMITS).await;
        let (mut visitor_read, mut visitor_write) = visitor.into_split();
        let (mut far_read, mut far_write) = tokio::io::split(far);
        let send = async {
            visitor_write.write_all(&vec![1; SIZE]).await.unwrap();
            visitor_write.shutdown().await.unwrap();
        };
        let send_back = async {
            far_write.write_all(&vec![2; SIZE]).await.unwrap();
            far_write.shutdown().await.unwrap();
        };
        let (mut there, mut back) = (Vec::new(), Vec::new());
        let (there_read, back_read) = (far_read.read_to_end(&mut there), visitor_read.read_to_end(&mut back));
        let (_, _, there_read, back_read) = tokio::join!(send, send_back, there_read, back_read);
        assert_eq!(there_read.unwrap(), SIZE);
        assert_eq!(back_read.unwrap(), SIZE + "early ".len());
        assert_eq!(relayed.await.unwrap().end, RelayEnd::Clean);
    });
}

/// What a kill of this process looks like to the visitor: the kernel closes the socket.
#[test]
fn a_relay_that_is_dropped_is_no_end() {
    run(|spawner| async move {
        let Scene { mut visitor, far: _far, relayed, .. } = scene(&spawner, LIMITS).await;
        let mut early = [0; 6];
        visitor.read_exact(&mut early).await.unwrap();
        relayed.abort();
        let error = visitor.read_to_end(&mut Vec::new()).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::ConnectionReset);
    });
}
