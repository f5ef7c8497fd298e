use std::collections::HashMap;
use std::future::Future;
use std::io::ErrorKind as IoErrorKind;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use ops::drain::Drain;
use ops::metrics::Metrics;
use ops::spawn::{Placement, Spawner};
use parking_lot::Mutex;
use policy::rule::Asked;
use protocol::handshake::PeerLimits;
use protocol::id::InstanceId;
use protocol::service_name::ServiceName;
use tokio::io::Interest;
use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::{Notify, Semaphore, watch};
use tokio::time::timeout;
use transport::accept::Listener;
use transport::session::{Inbound, Liveness, ProcessBudget, ReadAhead, Role, Session, SessionConfig, start};

use crate::access::{AccessLine, RequestSink};
use crate::concurrency::Limits;
use crate::context::{Context, Timeouts};
use crate::directory::{Connecting, Directory, Lookup, Public, Route, RouteLabels, Target};
use crate::dispatch::Dispatch;
use crate::fitness::Fitness;
use crate::ingress::{HttpIngress, TcpIngress};
use crate::plugin::Chain;
use crate::responder;
use crate::service::{KnownServers, Service, ServiceTable, ServiceTarget};

/// No test waits longer for anything.
pub(super) const LIMIT: Duration = Duration::from_secs(20);
/// What is promised within a second, on a machine that has other things to do.
pub(super) const A_SECOND: Duration = Duration::from_secs(4);
pub(super) const HOST: &str = "app.test";
pub(super) const PORT: u16 = 2222;

/// Collects access lines.
#[derive(Default)]
pub(super) struct Lines {
    lines: Mutex<Vec<AccessLine>>,
    more: Notify,
}

impl RequestSink for Lines {
    fn request(&self, line: &AccessLine) {
        self.lines.lock().push(line.clone());
        self.more.notify_waiters();
    }
}

impl Lines {
    /// Waits for the line with this index.
    pub(super) async fn line(&self, index: usize) -> AccessLine {
        let found = async {
            loop {
                let more = self.more.notified();
                if let Some(line) = self.lines.lock().get(index) {
                    return line.clone();
                }
                more.await;
            }
        };
        timeout(LIMIT, found).await.unwrap()
    }

    /// Waits until the lines are as `wanted`, within limits; the lines as they are then.
    pub(super) async fn until(&self, wanted: impl Fn(&[AccessLine]) -> bool) -> Vec<AccessLine> {
        let waiting = async {
            loop {
                let more = self.more.notified();
                if wanted(&self.lines.lock()) {
                    return;
                }
                more.await;
            }
        };
        // Whoever asked sees for itself whether it was in vain.
        let _ = timeout(LIMIT / 2, waiting).await;
        self.lines.lock().clone()
    }
}

/// What the visitors of a test are told of names and ports.
pub(super) struct Names {
    http: Mutex<HashMap<String, Lookup>>,
    tcp: Mutex<HashMap<u16, Lookup>>,
    changed: watch::Sender<u64>,
}

impl Directory for Names {
    fn http(&self, asked: &Asked<'_>) -> Lookup {
        self.http.lock().get(asked.host.as_str()).cloned().unwrap_or(Lookup::Unknown)
    }

    fn connection(&self, asked: &Connecting<'_>) -> Lookup {
        self.tcp.lock().get(&asked.to.port()).cloned().unwrap_or(Lookup::Unknown)
    }

    fn changed(&self) -> watch::Receiver<u64> {
        self.changed.subscribe()
    }
}

impl Names {
    pub(super) fn set(&self, host: &str, lookup: Lookup) {
        self.http.lock().insert(host.to_owned(), lookup);
        self.changed.send_modify(|version| *version += 1);
    }

    pub(super) fn set_port(&self, port: u16, lookup: Lookup) {
        self.tcp.lock().insert(port, lookup);
        self.changed.send_modify(|version| *version += 1);
    }
}

/// Both ends.
pub(super) struct World {
    pub(super) server: Context,
    pub(super) client: Context,
    /// What the client's end serves.
    pub(super) table: Arc<ServiceTable>,
    pub(super) server_lines: Arc<Lines>,
    pub(super) client_lines: Arc<Lines>,
    pub(super) names: Arc<Names>,
    /// The server's end of the session.
    pub(super) session: Session,
    pub(super) client_session: Session,
    pub(super) http: SocketAddr,
    pub(super) tcp: SocketAddr,
}

fn context(spawner: &Spawner, lines: &Arc<Lines>, timeouts: Timeouts) -> Context {
    Context {
        spawner: spawner.clone(),
        metrics: Metrics::new("test"),
        sink: lines.clone(),
        drain: Drain::new(),
        drain_connections: true,
        waits: timeouts.into(),
        servers: KnownServers::default(),
    }
}

/// Two sessions that are each other's peer: the client's and the server's.
pub(super) fn sessions(spawner: &Spawner) -> [(Session, Inbound); 2] {
    let (a, b) = duplex(1 << 20);
    [(a, Role::Client), (b, Role::Server)].map(|(io, role)| {
        let liveness = Arc::new(Liveness::new());
        let config = SessionConfig {
            role,
            peer: PeerLimits::OURS,
            liveness: liveness.clone(),
            dead_after: Duration::from_secs(15),
            early: Bytes::new(),
            budget: ProcessBudget::new(1 << 30),
        };
        start(ReadAhead::new(io, liveness), config, spawner, spawner.next_worker())
    })
}

pub(super) fn labels(context: &Context) -> RouteLabels {
    RouteLabels {
        route: "app".into(),
        group: "web".into(),
        service: "app".into(),
        metrics: context.metrics.route("app", "web", "app"),
    }
}

pub(super) fn target(session: &Session, service: u32) -> Target {
    Target {
        member: InstanceId([1; 16]),
        member_name: "edge-1".into(),
        session: session.clone(),
        service: Arc::new(ServiceName::Own(service)),
        labels: None,
        fitness: Fitness::default(),
        over_quota: false,
    }
}

pub(super) fn found(context: &Context, targets: Vec<Target>) -> Lookup {
    let (labels, allow, plugins) = (labels(context), Arc::from([]), Chain::default());
    Lookup::Found(Route { labels, targets, allow, treatment: None, plugins, idle_timeout: None })
}

/// Runs a test against both ends, with the HTTP service and the TCP service at `service`.
pub(super) fn run_with<F>(timeouts: Timeouts, service: SocketAddr, test: impl FnOnce(World) -> F)
where
    F: Future<Output = ()> + Send + 'static,
{
    run_limited(timeouts, Limits::default(), service, test);
}

/// As [`run_with`], with other limits than the usual ones.
pub(super) fn run_limited<F>(
    timeouts: Timeouts,
    limits: Limits,
    service: SocketAddr,
    test: impl FnOnce(World) -> F,
) where
    F: Future<Output = ()> + Send + 'static,
{
    let (spawner, workers) = Spawner::start(2, Placement::PerCore).unwrap();
    workers.block_on(async {
        let (server_lines, client_lines) = (Arc::new(Lines::default()), Arc::new(Lines::default()));
        let server = context(&spawner, &server_lines, timeouts);
        let client = context(&spawner, &client_lines, timeouts);
        let [(client_session, client_inbound), (session, server_inbound)] = sessions(&spawner);
        let table = Arc::new(ServiceTable::new());
        let to: ServiceTarget = service.to_string().parse().unwrap();
        table.insert(
            ServiceName::Own(1),
            Arc::new(Service::http(labels(&client), &to, None, &client).unwrap()),
        );
        table.insert(ServiceName::Own(2), Arc::new(Service::tcp(labels(&client), &to, &client).unwrap()));
        let serving =
            responder::serve(client_inbound, client_session.worker(), table.clone(), client.clone());
        spawner.spawn(client_session.worker(), "responder", serving);

        let names = Names {
            http: Mutex::default(),
            tcp: Mutex::new(HashMap::from([(PORT, found(&server, vec![target(&session, 2)]))])),
            changed: watch::Sender::new(0),
        };
        names.set(HOST, found(&server, vec![target(&session, 1)]));
        let names = Arc::new(names);
        let dispatch = Dispatch::new(names.clone(), timeouts.into(), server.metrics.clone());
        let dispatch = Arc::new(dispatch);
        dispatch.limit_to(limits);
        let permits = Arc::new(Semaphore::new(100));
        let listen = || {
            let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
            (listener.local_addr().unwrap(), Listener::new(listener).unwrap())
        };
        let ((http, http_listener), (tcp, tcp_listener)) = (listen(), listen());
        let ingress = HttpIngress::new("http", dispatch.clone(), server.clone(), Arc::default());
        let (stop, places) = (server.drain.start.child_token(), permits.clone());
        // Listeners belong to the runtime of this thread, where they are polled as well.
        let accepting = async move { ingress.run(http_listener, places, stop).await };
        let ingress = TcpIngress::new("tcp", Public::Port(PORT), dispatch, server.clone());
        let stop = server.drain.start.child_token();
        let accepting_tcp = async move { ingress.run(tcp_listener, permits, stop).await };

        let world = World {
            server,
            client,
            table,
            server_lines,
            client_lines,
            names,
            session,
            client_session,
            http,
            tcp,
        };
        let test = spawner.spawn(spawner.next_worker(), "test", test(world));
        let test = async {
            let ended = timeout(LIMIT, test).await;
            // Substreams of the server's peer are not served in these tests.
            drop(server_inbound);
            ended.unwrap().unwrap();
        };
        tokio::select! {
            () = test => {}
            () = async { tokio::join!(accepting, accepting_tcp); std::future::pending().await } => {}
        }
    });
    assert_eq!(spawner.tasks_panicked(), 0);
    workers.shutdown(Duration::from_secs(2));
}

/// As [`run_with`], with the usual time-outs.
pub(super) fn run<F>(service: SocketAddr, test: impl FnOnce(World) -> F)
where
    F: Future<Output = ()> + Send + 'static,
{
    run_with(Timeouts::default(), service, test);
}

/// Waits until `metrics` say `line`: what a visitor has seen may be counted a moment later.
pub(super) async fn until_counted(metrics: &Metrics, line: &str) {
    let said = async {
        while !metrics.encode().unwrap().lines().any(|other| other == line) {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    let in_time = timeout(LIMIT / 2, said).await;
    assert!(in_time.is_ok(), "{line} in {}", metrics.encode().unwrap());
}

/// What is bound for as long as this process is there.
static BOUND: Mutex<Vec<TcpSocket>> = Mutex::new(Vec::new());

/// An address that is this process' alone, also while nobody listens there: a socket is bound to it that does not listen, so that
/// nobody gets it who asks for any port that is free, and whoever asks for this one does.
pub(super) fn nobody() -> SocketAddr {
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_reuseaddr(true).unwrap();
    socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let address = socket.local_addr().unwrap();
    BOUND.lock().push(socket);
    address
}

/// A service that the test plays by hand.
pub(super) struct ByHand(std::net::TcpListener);

impl ByHand {
    pub(super) fn new() -> Self {
        let listener = std::net::TcpListener::bind(nobody()).unwrap();
        listener.set_nonblocking(true).unwrap();
        Self(listener)
    }

    pub(super) fn addr(&self) -> SocketAddr {
        self.0.local_addr().unwrap()
    }

    /// To be called within the test.
    pub(super) fn listen(self) -> TcpListener {
        TcpListener::from_std(self.0).unwrap()
    }
}

/// How a connection ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum End {
    Fin,
    Reset,
}

/// One end of a TCP connection, read and written as text.
pub(super) struct Peer(pub(super) TcpStream);

impl Peer {
    pub(super) async fn connect(address: SocketAddr) -> Self {
        Self(TcpStream::connect(address).await.unwrap())
    }

    pub(super) async fn accept(listener: &TcpListener) -> Self {
        Self(timeout(LIMIT, listener.accept()).await.unwrap().unwrap().0)
    }

    pub(super) async fn say(&mut self, text: impl AsRef<[u8]>) {
        self.0.write_all(text.as_ref()).await.unwrap();
    }

    /// Reads until what was read ends with `end`.
    pub(super) async fn hear(&mut self, end: &str) -> String {
        let mut heard = Vec::new();
        let reading = async {
            while !heard.ends_with(end.as_bytes()) {
                let byte = self.0.read_u8().await;
                heard.push(byte.unwrap_or_else(|error| {
                    panic!("{error} after {:?}", String::from_utf8_lossy(&heard));
                }));
            }
        };
        let in_time = timeout(LIMIT, reading).await;
        let heard = String::from_utf8(heard).unwrap();
        in_time.unwrap_or_else(|_| panic!("silence after {heard:?}"));
        heard
    }

    /// A head, with its names in lower case as they came.
    pub(super) async fn head(&mut self) -> String {
        self.hear("\r\n\r\n").await
    }

    /// Waits until the connection is reset, and reads nothing.
    pub(super) async fn broken(&self) {
        timeout(LIMIT, self.0.ready(Interest::ERROR)).await.unwrap().unwrap();
    }

    /// Reads to the end.
    pub(super) async fn rest(&mut self) -> (Vec<u8>, End) {
        let mut rest = Vec::new();
        match timeout(LIMIT, self.0.read_to_end(&mut rest)).await.unwrap() {
            Ok(_) => (rest, End::Fin),
            Err(error) if error.kind() == IoErrorKind::ConnectionReset => (rest, End::Reset),
            Err(error) => panic!("{error}"),
        }
    }
}
