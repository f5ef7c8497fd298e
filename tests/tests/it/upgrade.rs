//! Another process of the server takes over, and nobody outside notices.

use std::path::Path;
use std::time::{Duration, Instant};

use futures_util::{SinkExt, StreamExt};
use rustix::process::Signal;
use tests::fixture::{HttpService, TcpService};
use tests::fleet::{Fleet, Plan};
use tests::load::Load;
use tests::tls;
use tests::tunnelc::{Home, SESSIONS};
use tests::tunneld::Tunneld;
use tests::visitor::{self, End, Raw, Visitor, empty, request, websocket};
use tests::wait::{SOON, promised, until, within};
use tokio_tungstenite::tungstenite::Message;

use crate::stage::{HOST, Web, Wire};

/// What random names are made of, in the state directory.
const STATE_KEY: &str = "state.key";

fn long() -> bool {
    std::env::var_os("TUNNEL_FULL").is_some()
}

/// 20 upgrades under 500 requests/s in the long form: none is refused, reset or answered by the server.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn upgrades_under_load_lose_no_request() {
    let (upgrades, rate, between) = if long() { (20, 500, 500) } else { (3, 100, 50) };
    let mut web = Web::up().await;
    let load = Load::on(web.door(), HOST, rate);
    let mut processes = vec![u64::from(web.server.program.pid().as_raw_nonzero().get().unsigned_abs())];
    for _ in 0..upgrades {
        let before = load.asked();
        let upgraded = web.server.upgrade().await;
        assert_eq!((&upgraded["clients"], &upgraded["moved"]), (&1.into(), &1.into()), "{upgraded}");
        processes.push(upgraded["process"].as_u64().unwrap());
        let further = async || (load.asked() > before + between).then_some(());
        until("visitors are answered by the new process", SOON, further).await;
    }
    processes.dedup();
    assert_eq!(processes.len(), upgrades + 1);
    let report = load.end().await;
    println!("{upgrades} upgrades; {report}");
    report.is_flawless(long());
    let (status, _) = web.server.program.ended(SOON).await;
    assert_eq!(status.code(), Some(0), "{}", web.server.program.said());
}

/// What lives long stays with the old process until its drain is over; what is new goes to the new one.
#[tokio::test]
async fn sockets_live_on_in_the_old_process_until_the_deadline() {
    let service = HttpService::start().await;
    let server = Tunneld::configured(|_| "timeouts = { drain = \"6s\" }\n".to_owned(), &[]).await;
    let home = Home::new();
    let tunnel = home.http(&server.join(), service.addr(), &["--host", "demo"]).await;
    let mut web = Web { tunnel, home, server, service };
    let mut old = websocket(web.door(), HOST, "/ws").await.unwrap();
    let began = Instant::now();
    web.server.upgrade().await;
    assert_eq!(web.get("/").await.status, 200);
    for text in ["still", "there"] {
        old.send(Message::text(text)).await.unwrap();
        let back = within("the echo", SOON, old.next()).await.unwrap().unwrap();
        assert_eq!(back, Message::text(text));
    }
    let mut new = websocket(web.door(), HOST, "/ws").await.unwrap();
    let (status, _) = web.server.program.ended(SOON).await;
    assert_eq!(status.code(), Some(0), "{}", web.server.program.said());
    let lived = began.elapsed();
    assert!(lived >= Duration::from_secs(6), "{lived:?}");
    assert!(!matches!(within("the end", SOON, old.next()).await, Some(Ok(Message::Text(_)))));
    new.send(Message::text("x")).await.unwrap();
    assert_eq!(within("the echo", SOON, new.next()).await.unwrap().unwrap(), Message::text("x"));
    web.server.has_sessions(SESSIONS, SOON).await;
}

/// However many clients there are, all of them are at the new process before visitors are: nobody is put off, and nobody who
/// comes meanwhile notices. What a client is told to come back for, it would come back too late for.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_large_fleet_moves_before_its_visitors_do() {
    let (clients, rate) = if long() { (5_000, 50) } else { (400, 20) };
    let mut web = Web::up().await;
    let quotas = ["--quota", "sessions=10000", "--quota", "names=10000", "--host", "*.localhost"];
    let join = web.server.invite("fleet", &quotas).await;
    let seed = rand::random();
    println!("{clients} clients, seed {seed}");
    let fleet = Fleet::start(&[join], Plan { clients, names: 1, spread: true, seed });
    let up = async || (fleet.up() == clients).then_some(());
    until("the fleet is up", Duration::from_secs(120), up).await;
    let (began, before, put_off) = (Instant::now(), fleet.attempts(), fleet.put_off());
    let load = Load::on(web.door(), HOST, rate);
    let upgraded = web.server.upgrade().await;
    let took = began.elapsed();
    let report = load.end().await;
    let attempts = fleet.attempts() - before;
    println!(
        "moved within {took:.1?}, with {attempts} attempts; {report}; what failed: {:?}",
        fleet.failures()
    );
    assert_eq!(upgraded["clients"], clients + 1, "{upgraded}");
    assert_eq!(upgraded["moved"], clients + 1, "{upgraded}");
    assert_eq!(fleet.put_off(), put_off, "somebody was told to come back later");
    assert!(fleet.arrivals(began).len() >= clients);
    report.is_flawless(false);
    web.server.has_sessions(clients as u64 + SESSIONS, SOON).await;
}

/// SIGUSR2; a public port is a socket like all others.
#[tokio::test]
async fn a_public_port_and_its_connections_survive_a_signal() {
    let mut wire = Wire::to_tcp(TcpService::echo().await).await;
    let mut raw = Raw::open(wire.door()).await;
    raw.send("one").await;
    assert_eq!(raw.exactly(3).await, b"one");
    wire.server.program.signal(Signal::USR2);
    let line = wire.server.program.says("another process has taken over", SOON).await;
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
    let home = Home::new();
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
    let service = HttpService::start().await;
    let home = Home::new();
    let bob = server.invite("bob", &["--host", "demo"]).await;
    let _tunnel = home.http(&bob, service.addr(), &["--host", "demo"]).await;
    let mut old = websocket(server.listen().http, HOST, "/ws").await.unwrap();
    old.send(Message::text("x")).await.unwrap();
    within("the echo", SOON, old.next()).await.unwrap().unwrap();
    server.upgrade().await;
    assert!(server.program.is_running());
    assert_eq!(server.admin(&["revoke", "bob"]).await.code, Some(0));
    let revoked = Instant::now();
    let end = within("the end", SOON, old.next()).await;
    assert!(!matches!(end, Some(Ok(Message::Text(_)))), "{end:?}");
    assert!(revoked.elapsed() < promised(Duration::from_secs(2)), "{:?}", revoked.elapsed());
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

/// A client that has come by the port for visitors moves like all others: the new process gets its connection unread.
#[tokio::test]
async fn a_client_at_the_https_port_moves_too() {
    let write = |home: &Path| {
        tls::certificate(home, "wild", &["*.t.localhost"]);
        "domain = \"t.localhost\"\ncertificate = [{ cert = \"wild.pem\", key = \"wild.key\" }]\n".to_owned()
    };
    let mut server = Tunneld::configured(write, &["--https", "127.0.0.1:0"]).await;
    let (service, home) = (HttpService::start().await, Home::new());
    let door = server.listen().https.unwrap();
    let join = server.join();
    let (login, rest) = join.rsplit_once(':').unwrap();
    let join = format!("{login}:{}?{}", door.port(), rest.split_once('?').unwrap().1);
    let _tunnel = home.http(&join, service.addr(), &["--host", "app"]).await;
    let root = tls::read(server.home(), "wild");
    let stream = tls::connect(door, "app.t.localhost", &root).await.unwrap();
    let mut kept = Visitor::over(stream).await.unwrap();
    let ask = || request("GET", "app.t.localhost", "/", empty());
    assert_eq!(kept.whole(ask()).await.unwrap().status, 200);
    let upgraded = server.upgrade().await;
    assert_eq!((&upgraded["clients"], &upgraded["moved"]), (&1.into(), &1.into()), "{upgraded}");
    // A connection that was idle meanwhile is answered once more, and asked to end.
    let last = kept.whole(ask()).await.unwrap();
    assert_eq!((last.status, last.field("connection")), (200, "close"));
    let stream = tls::connect(door, "app.t.localhost", &root).await.unwrap();
    assert_eq!(Visitor::over(stream).await.unwrap().whole(ask()).await.unwrap().status, 200);
}

/// Nothing outlives the first process of a container.
#[tokio::test]
async fn the_first_process_of_a_container_is_not_upgraded() {
    let home = tempfile::tempdir().unwrap();
    let wrapper = ["unshare", "--pid", "--fork", "--kill-child", "--"].map(str::to_owned);
    let loopback = std::net::Ipv4Addr::LOCALHOST.into();
    let server = Tunneld::inside(home, &wrapper, loopback, &[]).await;
    let done = server.admin(&["upgrade"]).await;
    assert_eq!(done.code, Some(1), "{}", done.text());
    assert!(done.stderr.contains("first of its container"), "{}", done.text());
}
