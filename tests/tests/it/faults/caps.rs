//! D15: every limit is reached, overstepped and left again: who oversteps it is told so, it is counted, nobody else
//! notices, and a second later there is room again.

use std::io::ErrorKind;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::{Duration, Instant};

use bytes::BytesMut;
use futures_util::future::join_all;
use ops::spawn::Spawner;
use protocol::control::{
    Control, Outcome, Register, RegisterCode, Registration, RegistrationKind, Unregister,
};
use protocol::frame;
use protocol::handshake::RejectCode;
use protocol::id::{ClientId, InstanceId, Slot};
use protocol::join::JoinString;
use protocol::limits::CONTROL_FRAME_MAX;
use rustls::pki_types::ServerName;
use tests::fixture::{Ending, HttpService};
use tests::tunnelc::Home;
use tests::tunneld::Tunneld;
use tests::visitor::{Answer, End, Raw, Visitor, empty, request};
use tests::wait::{SOON, promised, until, within};
use tests::wire::HandMade;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};
use transport::handshake::{HelloDraft, LoggedIn, LoginError, Place, login};
use transport::login_key::LoginKey;
use transport::session::{Inbound, ProcessBudget, Session, Substream};
use transport::tls::{Trust, client_config};

use crate::stage::{HOST, Web, with_spawner};

/// A route that is not the one which is full.
const OTHER: &str = "other.localhost";
/// By then there is room again.
const AGAIN: Duration = Duration::from_secs(1);
/// Connections from one address that have not logged in.
const UNAUTHENTICATED: usize = 32;
/// The address that most visitors have, and one that others have.
const HERE: Ipv4Addr = Ipv4Addr::LOCALHOST;
const THERE: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 2);

/// A server behind which a tunnel and a rule lead to a service, with limits of its own.
async fn limited(limits: &str) -> (Tunneld, HttpService, Home, tests::tunnelc::Tunnelc) {
    let (service, home) = (HttpService::start().await, Home::new());
    let config = format!(
        "limits = {{ {limits} }}\nservice = [{{ name = \"other\", servers = [{{ address = \"http://{}\" }}] }}]\n\
         rule = [{{ name = \"other\", host = \"{OTHER}\", to = \"other\" }}]\n",
        service.addr()
    );
    let server = Tunneld::configured(|_| config, &[]).await;
    let tunnel = home.http(&server.join(), service.addr(), &["--host", "demo"]).await;
    (server, service, home, tunnel)
}

async fn counted(server: &Tunneld, reason: &str) -> f64 {
    server.metric(&format!("tunnel_guard_closed_total{{reason=\"{reason}\"}}")).await
}

/// Waits for the count of one more.
async fn one_more_than(server: &Tunneld, reason: &str, before: f64) {
    let label = format!("reason=\"{reason}\"");
    server.counts("tunnel_guard_closed_total", &[&label], |count| count == before + 1.0).await;
}

async fn connect(from: Ipv4Addr, to: SocketAddr) -> TcpStream {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind(SocketAddr::new(IpAddr::V4(from), 0)).unwrap();
    within("a connection", SOON, socket.connect(to)).await.unwrap()
}

async fn get(from: Ipv4Addr, server: &Tunneld, host: &str, path: &str) -> Answer {
    let mut visitor = Visitor::over(connect(from, server.listen().http).await).await.unwrap();
    within("an answer", SOON, visitor.whole(request("GET", host, path, empty()))).await.unwrap()
}

/// Connections that have not logged in: the one that sits there longest goes.
async fn strangers() {
    let (server, _service, _home, _tunnel) = limited("").await;
    let door = server.listen().tunnel;
    let mut sitting = join_all((0..UNAUTHENTICATED).map(|_| Raw::open(door))).await;
    let before = counted(&server, "too-many").await;
    let one_more = Raw::open(door).await;
    assert_ne!(sitting[0].rest(promised(AGAIN)).await.1, End::Open, "the one that sat there longest goes");
    for raw in &mut sitting[1..] {
        assert_eq!(raw.rest(Duration::from_millis(1)).await.1, End::Open, "and no other");
    }
    one_more_than(&server, "too-many", before).await;
    // Who proves itself is let in all the same.
    let began = Instant::now();
    HandMade::log_in(&server.join()).await;
    assert!(began.elapsed() < promised(AGAIN), "{:?}", began.elapsed());
    assert_eq!(server.visit(HOST, "/").await, 200);
    drop((sitting, one_more));
}

/// What a request may be: at the limit it passes, above it it is refused.
async fn requests() {
    // A service that has no limits of its own.
    let answer = "HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";
    let web = Web::scripted(answer, Ending::Fin).await;
    let server = &web.server;
    let ask = async |target: &str, fields: &str| {
        let mut raw = Raw::open(server.listen().http).await;
        raw.send(format!("GET {target} HTTP/1.1\r\nHost: {HOST}\r\n{fields}\r\n")).await;
        raw.head().await.split_whitespace().nth(1).unwrap().parse::<u16>().unwrap()
    };
    // With `Host` they are a hundred.
    let fields = |count: usize| "x: y\r\n".repeat(count - 1);
    let target = |length: usize| format!("/{}", "t".repeat(length - 1));
    let head = |length: usize| {
        let rest = format!("GET / HTTP/1.1\r\nHost: {HOST}\r\n\r\n").len() + "x: \r\n".len();
        format!("x: {}\r\n", "y".repeat(length - rest))
    };
    type Request<'a> = (&'a str, &'a str);
    let refused = async |what: &str, (most, over): (Request<'_>, Request<'_>), status: u16| {
        let before = counted(server, "large-head").await;
        assert_eq!(ask(most.0, most.1).await, 200, "{what}, at the limit");
        assert_eq!(counted(server, "large-head").await, before, "{what}, at the limit");
        assert_eq!(ask(over.0, over.1).await, status, "{what}, above it");
        one_more_than(server, "large-head", before).await;
        assert_eq!(ask("/", "").await, 200, "after {what}");
    };
    refused("fields", (("/", &fields(100)), ("/", &fields(101))), 431).await;
    refused("target", ((&target(16 << 10), ""), (&target((16 << 10) + 1), "")), 414).await;
    refused("head", (("/", &head(64 << 10)), ("/", &head((64 << 10) + 1))), 431).await;
}

/// Requests that are worked on at once: of all, of one visitor, of one route, at one client.
async fn concurrent(limit: &str, others: Option<(Ipv4Addr, &str)>) {
    let (server, service, _home, _tunnel) = limited(&format!("{limit} = 3, max_queued_requests = 0")).await;
    let over = r#"kind="over-limit""#;
    let mut slow = Vec::new();
    for _ in 0..3 {
        let mut raw = Raw::of(connect(HERE, server.listen().http).await);
        raw.send(format!("GET /slow?ms=600000 HTTP/1.1\r\nHost: {HOST}\r\n\r\n")).await;
        slow.push(raw);
    }
    let full = async || (service.tally().get(|tally| &tally.waiting) == 3).then_some(());
    until("three are being worked on", SOON, full).await;
    server.counts("tunnel_errors_total", &[over], |count| count == 0.0).await;
    let refused = get(HERE, &server, HOST, "/").await;
    assert!([429, 503].contains(&refused.status), "{limit}: {refused:?}");
    assert_eq!(refused.field("x-tunnel-error"), "over-limit", "{limit}");
    server.counts("tunnel_errors_total", &[over], |count| count > 0.0).await;
    if let Some((from, host)) = others {
        assert_eq!(get(from, &server, host, "/").await.status, 200, "{limit}: others work");
    }
    slow.pop().unwrap().reset();
    let again = async || (get(HERE, &server, HOST, "/").await.status == 200).then_some(());
    let (_, took) = until("there is room again", SOON, again).await;
    assert!(took <= promised(AGAIN), "{limit}: {took:?}");
}

/// Connections of visitors, with few descriptors.
async fn connections() {
    let wrapper = ["sh", "-c", "ulimit -n 560; exec \"$0\" \"$@\""].map(str::to_owned);
    let home = tempfile::tempdir().unwrap();
    let server = Tunneld::inside(home, &wrapper, IpAddr::V4(HERE), &[]).await;
    let door = server.listen().http;
    let mut open = Vec::new();
    let refused = loop {
        // The reset may come before the notice that the connection stands.
        let mut raw = match within("a connection", SOON, TcpStream::connect(door)).await {
            Ok(stream) => Raw::of(stream),
            Err(error) if error.kind() == ErrorKind::ConnectionReset => break End::Reset,
            Err(error) => panic!("{error}"),
        };
        raw.send(format!("GET / HTTP/1.1\r\nHost: {HOST}\r\n\r\n")).await;
        match raw.some().await {
            Ok(answer) => assert!(answer.starts_with(b"HTTP/1.1 404")),
            Err(end) => break end,
        }
        open.push(raw);
    };
    assert_eq!((open.len(), refused), (32, End::Reset));
    server.counts("tunnel_accept_errors_total", &[], |count| count >= 1.0).await;
    // Clients and operators are not concerned.
    HandMade::log_in(&server.join()).await;
    assert_eq!(server.health().await["status"], "healthy");
    open.pop();
    let again = async || tests::visitor::try_get(door, HOST, "/").await.ok();
    let (answer, took) = until("there is room again", SOON, again).await;
    assert!(answer.status == 404 && took <= promised(AGAIN), "{took:?}: {answer:?}");
}

/// A client that says what it is told to.
struct Client {
    session: Session,
    control: Substream,
    read: BytesMut,
    _inbound: Inbound,
}

impl Client {
    async fn log_in(join: &str, spawner: &Spawner) -> Result<Self, LoginError> {
        let join: JoinString = join.parse().unwrap();
        let draft = HelloDraft {
            client: ClientId(rand::random()),
            instance: InstanceId(rand::random()),
            takes_parts: false,
            slot: Slot(0),
            replaces: None,
            credential: join.credential.clone(),
            name: "caps".into(),
            agent: "tests".into(),
        };
        let stream = TcpStream::connect((join.address.host(), join.address.port())).await.unwrap();
        let tls = client_config(&Trust::Pins(join.pins.clone())).unwrap();
        let key = LoginKey::from_seed(join.secret.expose()).unwrap();
        let name = ServerName::try_from("tunnel.invalid").unwrap();
        let place = Place { spawner, worker: spawner.here(), budget: ProcessBudget::new(1 << 30) };
        let LoggedIn { session, inbound, .. } = login(stream, name, tls, draft, &key, place).await?;
        let control = session.open(Default::default()).unwrap();
        Ok(Self { session, control, read: BytesMut::new(), _inbound: inbound })
    }

    async fn say(&mut self, message: impl Into<Control>) {
        let mut out = BytesMut::new();
        message.into().encode(&mut out).unwrap();
        self.control.write_all(&out).await.unwrap();
    }

    async fn register(&mut self, id: u32, host: &str) -> Outcome {
        let kind = RegistrationKind::Http { host: Some(host.to_owned()) };
        let item = Registration { id, name: format!("t{id}"), kind, group: None, allow: Vec::new() };
        self.say(Register { items: vec![item] }).await;
        let answered = async {
            loop {
                while let Some(frame) = frame::decode(&mut self.read, CONTROL_FRAME_MAX).unwrap() {
                    if let Some(Control::Registered(mut it)) = Control::decode(&frame).unwrap() {
                        return it.results.remove(0).outcome;
                    }
                }
                assert_ne!(self.control.read_buf(&mut self.read).await.unwrap(), 0, "the session ended");
            }
        };
        within("an answer", SOON, answered).await
    }
}

/// Names and sessions of one principal.
async fn quotas(spawner: &Spawner) {
    let (server, _service, _home, _tunnel) = limited("").await;
    let quotas = ["--host", "*.localhost", "--quota", "names=2", "--quota", "sessions=2"];
    let join = server.invite("bob", &quotas).await;
    let mut first = Client::log_in(&join, spawner).await.unwrap();
    let granted = |outcome: &Outcome| matches!(outcome, Outcome::Granted { .. });
    assert!(granted(&first.register(1, "one").await) && granted(&first.register(2, "two").await));
    let before = counted(&server, "over-quota").await;
    match first.register(3, "three").await {
        Outcome::Refused { code, text } => assert_eq!(code, RegisterCode::OVER_QUOTA, "{text}"),
        granted => panic!("{granted:?}"),
    }
    one_more_than(&server, "over-quota", before).await;
    assert!(!first.session.is_closed());
    assert_eq!(server.visit(HOST, "/").await, 200, "others work");
    first.say(Unregister { ids: vec![1] }).await;
    assert!(granted(&first.register(3, "three").await), "there is room again");

    let second = Client::log_in(&join, spawner).await.unwrap();
    let before = counted(&server, "over-quota").await;
    match Client::log_in(&join, spawner).await {
        Err(LoginError::Rejected(reject)) => assert_eq!(reject.code, RejectCode::OVER_QUOTA, "{reject:?}"),
        other => panic!("{:?}", other.map(|_| "a third session")),
    }
    one_more_than(&server, "over-quota", before).await;
    assert!(Client::log_in(&server.join(), spawner).await.is_ok(), "others come in");
    second.session.close();
    let again = async || Client::log_in(&join, spawner).await.ok();
    let (_, took) = until("there is room again", SOON, again).await;
    assert!(took <= promised(AGAIN), "{took:?}");
}

#[tokio::test]
async fn d15_caps_of_strangers_and_requests() {
    tokio::join!(strangers(), requests(), connections());
}

#[tokio::test]
async fn d15_caps_of_concurrent_requests() {
    tokio::join!(
        concurrent("max_concurrent_requests", None),
        concurrent("max_requests_per_visitor", Some((THERE, HOST))),
        concurrent("max_requests_per_route", Some((HERE, OTHER))),
        // What is next to the server is at no client.
        concurrent("max_requests_per_client", Some((HERE, OTHER))),
    );
}

#[test]
fn d15_caps_of_a_principal() {
    with_spawner(async |spawner| quotas(spawner).await);
}
