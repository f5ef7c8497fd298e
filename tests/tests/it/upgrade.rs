//! Another process of the server takes over, and nobody outside notices.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use rustix::process::Signal;
use tests::fixture::TcpService;
use tests::tunnelc::SESSIONS;
use tests::tunneld::Tunneld;
use tests::visitor::{self, End, Raw, Visitor, empty, request, websocket};
use tests::wait::{SOON, until, within};
use tokio::task::JoinSet;
use tokio::time::{MissedTickBehavior, interval};
use tokio_tungstenite::tungstenite::Message;

use crate::stage::{HOST, Web, Wire};

/// What random names are made of, in the state directory.
const STATE_KEY: &str = "state.key";

fn long() -> bool {
    std::env::var_os("TUNNEL_FULL").is_some()
}

/// What visitors have seen.
#[derive(Debug, Default)]
struct Seen {
    answered: AtomicU64,
    /// The first things that were no answer of the service.
    wrong: std::sync::Mutex<Vec<String>>,
    stop: AtomicBool,
}

impl Seen {
    fn wrong(&self, what: String) {
        self.wrong.lock().unwrap().push(what);
    }

    /// One visitor who asks again and again, over connections that are kept as long as the server keeps them, or over a
    /// new one each time.
    async fn ask(self: Arc<Self>, to: SocketAddr, every: Duration, keeps: bool) {
        let mut ticks = interval(every);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut kept: Option<Visitor> = None;
        while !self.stop.load(Ordering::Relaxed) {
            ticks.tick().await;
            let mut connection = match kept.take() {
                Some(connection) => connection,
                None => match Visitor::connect(to).await {
                    Ok(connection) => connection,
                    Err(error) => return self.wrong(format!("refused: {error}")),
                },
            };
            match connection.whole(request("GET", HOST, "/", empty())).await {
                Ok(answer) if answer.status == 200 => {
                    self.answered.fetch_add(1, Ordering::Relaxed);
                    if keeps && answer.field("connection") != "close" {
                        kept = Some(connection);
                    }
                }
                Ok(answer) => return self.wrong(format!("{}: {}", answer.status, answer.text())),
                Err(error) => return self.wrong(format!("reset: {error:?}")),
            }
        }
    }
}

/// 20 upgrades under 500 requests/s in the long form: none is refused, reset or answered by the server.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn upgrades_under_load_lose_no_request() {
    let (upgrades, rate) = if long() { (20, 500) } else { (3, 100) };
    let mut web = Web::up().await;
    let seen = Arc::new(Seen::default());
    let mut visitors = JoinSet::new();
    for number in 0..20 {
        let every = Duration::from_secs(20) / rate;
        visitors.spawn(seen.clone().ask(web.door(), every, number % 2 == 0));
    }
    let mut processes = vec![u64::from(web.server.program.pid().as_raw_nonzero().get().unsigned_abs())];
    for _ in 0..upgrades {
        let before = seen.answered.load(Ordering::Relaxed);
        let upgraded = web.server.upgrade().await;
        assert_eq!((&upgraded["clients"], &upgraded["moved"]), (&1.into(), &1.into()), "{upgraded}");
        processes.push(upgraded["process"].as_u64().unwrap());
        let further = async || (seen.answered.load(Ordering::Relaxed) > before + 50).then_some(());
        until("visitors are answered by the new process", SOON, further).await;
        assert_eq!(*seen.wrong.lock().unwrap(), [""; 0]);
    }
    processes.dedup();
    assert_eq!(processes.len(), upgrades + 1);
    seen.stop.store(true, Ordering::Relaxed);
    while let Some(ended) = within("visitors end", SOON, visitors.join_next()).await {
        ended.unwrap();
    }
    assert_eq!(*seen.wrong.lock().unwrap(), [""; 0]);
    let (status, _) = web.server.program.ended(Duration::from_secs(15)).await;
    assert_eq!(status.code(), Some(0), "{}", web.server.program.said());
    println!("{upgrades} upgrades, {} requests, all answered", seen.answered.load(Ordering::Relaxed));
}

/// What lives long stays with the old process until its drain is over; what is new goes to the new one.
#[tokio::test]
async fn sockets_live_on_in_the_old_process_until_the_deadline() {
    let service = tests::fixture::HttpService::start().await;
    let server = Tunneld::configured(|_| "timeouts = { drain = \"6s\" }\n".to_owned(), &[]).await;
    let home = tests::tunnelc::Home::new();
    let tunnel = home.http(&server.join(), service.addr(), &["--host", "demo"]).await;
    let mut web = Web { tunnel, home, server, service };
    let mut old = websocket(web.door(), HOST, "/ws").await.unwrap();
    web.server.upgrade().await;
    assert_eq!(web.get("/").await.status, 200);
    for text in ["still", "there"] {
        old.send(Message::text(text)).await.unwrap();
        let back = within("the echo", SOON, old.next()).await.unwrap().unwrap();
        assert_eq!(back, Message::text(text));
    }
    let mut new = websocket(web.door(), HOST, "/ws").await.unwrap();
    let (status, took) = web.server.program.ended(Duration::from_secs(12)).await;
    assert_eq!(status.code(), Some(0), "{}", web.server.program.said());
    assert!(took >= Duration::from_secs(3), "{took:?}");
    assert!(!matches!(within("the end", SOON, old.next()).await, Some(Ok(Message::Text(_)))));
    new.send(Message::text("x")).await.unwrap();
    assert_eq!(within("the echo", SOON, new.next()).await.unwrap().unwrap(), Message::text("x"));
    web.server.has_sessions(SESSIONS, SOON).await;
}

/// SIGUSR2; a public port is a socket like all others.
#[tokio::test]
async fn a_public_port_and_its_connections_survive_a_signal() {
    let mut wire = Wire::to_tcp(TcpService::echo().await).await;
    let mut raw = Raw::open(wire.door()).await;
    raw.send("one").await;
    assert_eq!(raw.exactly(3).await, b"one");
    wire.server.program.signal(Signal::USR2);
    let line = wire.server.program.says("another process has taken over", Duration::from_secs(20)).await;
    let number = line.split_once("process").unwrap().1;
    let digits: String =
        number.chars().skip_while(|c| !c.is_ascii_digit()).take_while(char::is_ascii_digit).collect();
    wire.server.adopt(digits.parse().unwrap_or_else(|error| panic!("{error}: {line}")));
    raw.send("two").await;
    assert_eq!(raw.exactly(3).await, b"two");
    let mut new = Raw::open(wire.door()).await;
    new.send("new").await;
    assert_eq!(new.exactly(3).await, b"new");
    assert_eq!(wire.server.status().await["names"][0]["state"], "live");
    wire.server.program.kill();
    assert_eq!(raw.rest(SOON).await.1, End::Reset);
    new.send("and").await;
    assert_eq!(new.exactly(3).await, b"and");
}

/// A new process that does not come up changes nothing, and the operator hears why.
#[tokio::test]
async fn a_failed_upgrade_changes_nothing_and_says_why() {
    let mut web = Web::up().await;
    let key = web.server.state().join(STATE_KEY);
    let good = std::fs::read(&key).unwrap();
    std::fs::write(&key, "damaged").unwrap();
    let done = web.server.admin(&["upgrade"]).await;
    assert_eq!(done.code, Some(1), "{}", done.text());
    let said = done.text();
    assert!(said.contains("the old process goes on") && said.contains(STATE_KEY), "{said}");
    assert_eq!(web.get("/").await.status, 200);
    assert!(web.server.program.is_running());
    // It writes, and lets clients in, as before.
    let bob = web.server.invite("bob", &["--host", "wiki"]).await;
    let home = tests::tunnelc::Home::new();
    let _tunnel = home.http(&bob, web.service.addr(), &["--host", "wiki"]).await;
    std::fs::write(&key, good).unwrap();
    assert_eq!(web.server.upgrade().await["moved"], 2);
    assert_eq!((web.get("/").await.status, web.server.visit("wiki.localhost", "/").await), (200, 200));
    let principals = web.server.admin(&["principals"]).await;
    assert!(principals.stdout.contains("bob"), "{}", principals.text());
}

/// Whoever is revoked at the new process is out at the old one too.
#[tokio::test]
async fn a_revocation_reaches_the_old_process() {
    let mut server = Tunneld::start().await;
    let service = tests::fixture::HttpService::start().await;
    let home = tests::tunnelc::Home::new();
    let bob = server.invite("bob", &["--host", "demo"]).await;
    let _tunnel = home.http(&bob, service.addr(), &["--host", "demo"]).await;
    let mut old = websocket(server.listen().http, HOST, "/ws").await.unwrap();
    old.send(Message::text("x")).await.unwrap();
    within("the echo", SOON, old.next()).await.unwrap().unwrap();
    server.upgrade().await;
    assert!(server.program.is_running());
    assert_eq!(server.admin(&["revoke", "bob"]).await.code, Some(0));
    let revoked = std::time::Instant::now();
    let end = within("the end", SOON, old.next()).await;
    assert!(!matches!(end, Some(Ok(Message::Text(_)))), "{end:?}");
    assert!(revoked.elapsed() < Duration::from_secs(2), "{:?}", revoked.elapsed());
}

/// The new process is one like the old one: it ends when it is asked to, and leaves nothing behind.
#[tokio::test]
async fn the_new_process_drains_as_the_old_one_would() {
    let mut web = Web::up().await;
    web.server.upgrade().await;
    let heir = web.server.heir().unwrap();
    let drained = web.server.admin(&["drain", "--json"]).await;
    assert_eq!(drained.code, Some(0), "{}", drained.text());
    assert!(drained.stdout.contains("\"cut\": 0"), "{}", drained.stdout);
    // A process that has ended runs no program, whether or not its parent has noticed.
    let program = format!("/proc/{}/exe", heir.as_raw_nonzero());
    let gone = async || std::fs::read_link(&program).is_err().then_some(());
    until("the new process is gone", SOON, gone).await;
    assert!(!web.server.state().join("admin.sock").exists());
    assert!(visitor::try_get(web.door(), HOST, "/").await.is_err());
}
