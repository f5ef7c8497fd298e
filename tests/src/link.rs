//! The path between client and server, as a relay that can go silent, break and be slow.

use std::io;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{ReadHalf, WriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::Instant;

/// What one relayed connection does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mode {
    /// Passes bytes and ends on.
    Flow,
    /// Keeps the sockets and swallows everything: a path that has gone without a word.
    Frozen,
    /// Resets the client's half; the server's half is frozen: the server holds a corpse.
    Orphaned,
    /// Resets both halves.
    Cut,
}

/// How much a recording keeps of a connection.
const RECORDED: usize = 64 * 1024;

/// A direction through a link.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Way {
    /// From whoever dialled.
    Up,
    /// To whoever dialled.
    Down,
}

/// The next bytes this way, over all connections, after which the connection that carries the last of them breaks.
#[derive(Debug)]
struct Armed {
    way: Way,
    left: usize,
}

#[derive(Debug)]
struct Connection {
    mode: watch::Sender<Mode>,
    sent: Arc<Mutex<Vec<u8>>>,
}

#[derive(Debug)]
struct Shared {
    target: SocketAddr,
    newcomers: watch::Sender<Mode>,
    delay: watch::Sender<Duration>,
    armed: Mutex<Option<Armed>>,
    connections: Mutex<Vec<Connection>>,
}

/// A running relay. It ends when dropped.
#[derive(Debug)]
pub struct Link {
    addr: SocketAddr,
    shared: Arc<Shared>,
    _accept: JoinSet<()>,
}

impl Link {
    /// A relay to `target`.
    pub async fn to(target: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let addr = listener.local_addr().unwrap();
        let shared = Arc::new(Shared {
            target,
            newcomers: watch::Sender::new(Mode::Flow),
            delay: watch::Sender::new(Duration::ZERO),
            armed: Mutex::default(),
            connections: Mutex::default(),
        });
        let mut accept = JoinSet::new();
        accept.spawn(serve(listener, Arc::clone(&shared)));
        Self { addr, shared, _accept: accept }
    }

    /// Where it listens.
    #[must_use]
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// The same join string, by way of this link.
    #[must_use]
    pub fn join(&self, join: &str) -> String {
        let (login, rest) = join.rsplit_once('@').unwrap();
        let pins = rest.split_once('?').map(|(_, pins)| format!("?{pins}")).unwrap_or_default();
        format!("{login}@{}{pins}", self.addr)
    }

    /// Delays every byte in both directions by this from now on.
    pub fn delay(&self, by: Duration) {
        self.shared.delay.send_replace(by);
    }

    /// Everything, new connections too, goes silent.
    pub fn freeze(&self) {
        self.shared.newcomers.send_replace(Mode::Frozen);
        self.set_all(Mode::Frozen);
    }

    /// The path is back: new connections flow, and what was frozen is reset, for its bytes are lost.
    pub fn thaw(&self) {
        self.shared.newcomers.send_replace(Mode::Flow);
        self.set_all(Mode::Cut);
    }

    /// The open connections break for the client, while the server hears nothing. New ones flow.
    pub fn orphan(&self) {
        self.set_all(Mode::Orphaned);
    }

    /// Resets all open connections, on both sides. New ones flow.
    pub fn cut(&self) {
        self.set_all(Mode::Cut);
    }

    /// Resets the `n`-th connection ever made through this link.
    pub fn cut_one(&self, n: usize) {
        if let Some(connection) = self.lock().get(n) {
            connection.mode.send_replace(Mode::Cut);
        }
    }

    /// Lets `bytes` more pass this way, and breaks the connection on which one more comes, for both sides. Once.
    pub fn cut_behind(&self, way: Way, bytes: usize) {
        *self.shared.armed() = Some(Armed { way, left: bytes });
    }

    /// Takes back what [`Self::cut_behind`] said; whether it had come to a break.
    pub fn spare(&self) -> bool {
        self.shared.armed().take().is_none()
    }

    /// How many connections were ever made through this link.
    #[must_use]
    pub fn connections(&self) -> usize {
        self.lock().len()
    }

    /// The first bytes that the client sent on the `n`-th connection.
    #[must_use]
    pub fn recorded(&self, n: usize) -> Vec<u8> {
        let connections = self.lock();
        connections.get(n).map(|it| it.sent.lock().unwrap_or_else(PoisonError::into_inner).clone()).unwrap()
    }

    fn set_all(&self, mode: Mode) {
        for connection in self.lock().iter() {
            connection.mode.send_if_modified(|now| {
                let changes = *now != Mode::Cut && *now != mode;
                if changes {
                    *now = mode;
                }
                changes
            });
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Vec<Connection>> {
        self.shared.connections.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Shared {
    fn armed(&self) -> std::sync::MutexGuard<'_, Option<Armed>> {
        self.armed.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How many of `n` bytes that have come may pass before the break; none: there is none among them.
    fn break_within(&self, way: Way, n: usize) -> Option<usize> {
        let mut armed = self.armed();
        let it = armed.as_mut().filter(|armed| armed.way == way)?;
        if n <= it.left {
            it.left -= n;
            return None;
        }
        let pass = it.left;
        *armed = None;
        Some(pass)
    }
}

async fn serve(listener: TcpListener, shared: Arc<Shared>) {
    let mut connections = JoinSet::new();
    loop {
        let Ok((client, _)) = listener.accept().await else {
            continue;
        };
        let mode = watch::Sender::new(*shared.newcomers.borrow());
        let sent = Arc::new(Mutex::new(Vec::new()));
        let watched = mode.subscribe();
        let delay = shared.delay.subscribe();
        let connection = Connection { mode, sent: Arc::clone(&sent) };
        shared.connections.lock().unwrap_or_else(PoisonError::into_inner).push(connection);
        let shared = Arc::clone(&shared);
        connections.spawn(async move {
            // A server that is down looks to the client as it would without us.
            match TcpStream::connect(shared.target).await {
                Ok(server) => relay(client, server, watched, delay, sent, shared).await,
                Err(_) => reset(&client),
            }
        });
    }
}

fn reset(stream: &TcpStream) {
    let _ = socket2::SockRef::from(stream).set_linger(Some(Duration::ZERO));
}

async fn relay(
    mut client: TcpStream,
    mut server: TcpStream,
    mut mode: watch::Receiver<Mode>,
    delay: watch::Receiver<Duration>,
    sent: Arc<Mutex<Vec<u8>>>,
    shared: Arc<Shared>,
) {
    for stream in [&client, &server] {
        let _ = stream.set_nodelay(true);
    }
    let how = {
        let (client_read, client_write) = client.split();
        let (server_read, server_write) = server.split();
        let up = pass(client_read, server_write, mode.clone(), delay.clone(), Some(sent), (&shared, Way::Up));
        let down = pass(server_read, client_write, mode.clone(), delay, None, (&shared, Way::Down));
        let mut told = mode.clone();
        tokio::select! {
            both = async { tokio::try_join!(up, down) } => match both {
                Ok(_) => return,
                Err(_) => Mode::Cut,
            },
            how = told.wait_for(|mode| matches!(mode, Mode::Cut | Mode::Orphaned)) => how.map_or(Mode::Cut, |mode| *mode),
        }
    };
    reset(&client);
    drop(client);
    if how == Mode::Orphaned {
        let swallow = async {
            let _ = tokio::io::copy(&mut server, &mut tokio::io::sink()).await;
            std::future::pending::<()>().await;
        };
        tokio::select! {
            () = swallow => {}
            _ = mode.wait_for(|mode| *mode == Mode::Cut) => {}
        }
    }
    reset(&server);
}

/// One direction, until its end has been passed on.
async fn pass(
    mut read: ReadHalf<'_>,
    mut write: WriteHalf<'_>,
    mode: watch::Receiver<Mode>,
    delay: watch::Receiver<Duration>,
    record: Option<Arc<Mutex<Vec<u8>>>>,
    (shared, way): (&Shared, Way),
) -> io::Result<()> {
    let broken = AtomicBool::new(false);
    let (queue, mut queued) = mpsc::channel::<(Instant, Bytes)>(256);
    let broken = &broken;
    let take = async move {
        let mut buffer = vec![0; 64 * 1024];
        loop {
            let n = read.read(&mut buffer).await?;
            if *mode.borrow() == Mode::Frozen {
                if n == 0 {
                    // Nobody hears of this end.
                    std::future::pending::<()>().await;
                }
                continue;
            }
            if n == 0 {
                return io::Result::Ok(());
            }
            if let Some(record) = &record {
                let mut record = record.lock().unwrap_or_else(PoisonError::into_inner);
                let room = RECORDED.saturating_sub(record.len()).min(n);
                record.extend_from_slice(&buffer[..room]);
            }
            let due = Instant::now() + *delay.borrow();
            let passes = shared.break_within(way, n);
            broken.store(passes.is_some(), Ordering::Relaxed);
            let piece = Bytes::copy_from_slice(&buffer[..passes.unwrap_or(n)]);
            if queue.send((due, piece)).await.is_err() || passes.is_some() {
                return Ok(());
            }
        }
    };
    let give = async {
        while let Some((due, bytes)) = queued.recv().await {
            tokio::time::sleep_until(due).await;
            write.write_all(&bytes).await?;
        }
        if broken.load(Ordering::Relaxed) {
            return Err(io::ErrorKind::ConnectionAborted.into());
        }
        write.shutdown().await
    };
    tokio::try_join!(take, give).map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixture::{Ending, Scripted, Seen, TcpService};
    use crate::visitor::{End, Raw};
    use crate::wait::{SOON, until};

    #[tokio::test]
    async fn it_passes_bytes_and_ends() {
        let service = TcpService::after_fin().await;
        let link = Link::to(service.addr()).await;
        let mut raw = Raw::open(link.addr).await;
        raw.send(crate::pattern::all(300_000)).await;
        raw.finish().await;
        let (answer, end) = raw.rest(SOON).await;
        assert_eq!((answer.as_slice(), end), (b"300000 bytes, intact: true\n".as_slice(), End::Fin));
        assert_eq!(link.recorded(0).len(), RECORDED);
    }

    #[tokio::test]
    async fn it_breaks_for_one_side_or_both() {
        let service = Scripted::tcp("hello", Ending::Hold).await;
        let link = Link::to(service.addr()).await;
        let mut first = Raw::open(link.addr).await;
        first.exactly(5).await;
        link.orphan();
        assert_eq!(first.rest(SOON).await.1, End::Reset);
        assert_eq!(service.seen(0), Some(Seen::Open), "the service holds a corpse");

        let mut second = Raw::open(link.addr).await;
        second.exactly(5).await;
        link.cut();
        assert_eq!(second.rest(SOON).await.1, End::Reset);
        for number in [0, 1] {
            until("a reset", SOON, async || (service.seen(number) == Some(Seen::Reset)).then_some(())).await;
        }
    }

    #[tokio::test]
    async fn it_breaks_behind_so_many_bytes() {
        let service = TcpService::echo().await;
        let link = Link::to(service.addr()).await;
        let mut raw = Raw::open(link.addr).await;
        link.cut_behind(Way::Down, 5);
        raw.send("123").await;
        raw.exactly(3).await;
        raw.send("456789").await;
        assert_eq!(raw.rest(SOON).await, (b"45".to_vec(), End::Reset));
        assert!(link.spare());
        link.cut_behind(Way::Up, 100);
        let mut again = Raw::open(link.addr).await;
        again.send("123").await;
        assert_eq!(again.exactly(3).await, b"123");
        assert!(!link.spare());
    }

    #[tokio::test]
    async fn it_goes_silent_and_comes_back() {
        let service = TcpService::echo().await;
        let link = Link::to(service.addr()).await;
        let mut raw = Raw::open(link.addr).await;
        raw.send("one").await;
        raw.exactly(3).await;
        link.freeze();
        raw.send("two").await;
        assert_eq!(raw.rest(Duration::from_millis(300)).await, (Vec::new(), End::Open));
        link.thaw();
        assert_eq!(raw.rest(SOON).await.1, End::Reset);
        let mut again = Raw::open(link.addr).await;
        again.send("three").await;
        assert_eq!(again.exactly(5).await, b"three");
    }
}
