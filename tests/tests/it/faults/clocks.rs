//! D10: clocks that jump, and processes that stand still.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use futures_util::{SinkExt, StreamExt};
use rustix::process::Signal;
use tests::fixture::HttpService;
use tests::program::Program;
use tests::tunnelc::{Home, SESSIONS};
use tests::tunneld::Tunneld;
use tests::visitor::websocket;
use tests::wait::{SOON, promised, throughout, until, within};
use tokio_tungstenite::tungstenite::Message;

use super::long;
use crate::stage::{HOST, Web};

/// Where Debian has the library.
const LIBRARY: &str = "faketime/libfaketime.so.1";

/// The clock of programs that were started with it, as a file says: the wall clock alone, time spans are as they are.
struct FakeClock(PathBuf);

impl FakeClock {
    fn new(folder: &Path) -> Self {
        let clock = Self(folder.join("clock"));
        clock.set("+0");
        clock
    }

    fn set(&self, shift: &str) {
        std::fs::write(&self.0, shift).unwrap();
    }

    fn environment(&self) -> Vec<(&'static str, OsString)> {
        let libraries = std::fs::read_dir("/usr/lib").unwrap().filter_map(Result::ok);
        let library = libraries.map(|folder| folder.path().join(LIBRARY)).find(|path| path.exists());
        vec![
            ("LD_PRELOAD", library.unwrap_or_else(|| panic!("faketime is not there: make peers")).into()),
            ("FAKETIME_TIMESTAMP_FILE", self.0.clone().into()),
            ("FAKETIME_NO_CACHE", "1".into()),
            ("FAKETIME_DONT_FAKE_MONOTONIC", "1".into()),
        ]
    }
}

#[tokio::test]
async fn d10_a_wall_clock_that_jumps_disconnects_nobody() {
    let folder = tempfile::tempdir().unwrap();
    let clock = FakeClock::new(folder.path());
    let (service, home) = (HttpService::start().await, Home::new());
    let server = Tunneld::within(clock.environment()).await;
    let target = service.addr().to_string();
    let mut tunnelc = home.prepare(&["http", &target, "--host", "demo", "--join", &server.join()]);
    tunnelc.envs(clock.environment());
    let client = Program::start(tunnelc);
    server.serves(HOST, SOON).await;
    server.has_sessions(SESSIONS, SOON).await;
    let ids = async || {
        let status = server.status().await;
        let sessions = status["sessions"].as_array().unwrap().clone();
        sessions.iter().map(|session| session["session"].clone()).collect::<Vec<_>>()
    };
    let before = ids().await;
    let mut socket = websocket(server.listen().http, HOST, "/ws").await.unwrap();
    for shift in ["+1d", "-1d", "+0"] {
        clock.set(shift);
        throughout("visitors are served", Duration::from_millis(1_500), async || {
            server.visit(HOST, "/").await == 200
        })
        .await;
        socket.send(Message::text(shift)).await.unwrap();
        let back = within("the echo", SOON, socket.next()).await.unwrap().unwrap();
        assert_eq!(back, Message::text(shift));
    }
    assert_eq!(ids().await, before, "{}", server.program.said());
    // The clock did jump for them.
    clock.set("+1d");
    let tomorrow = server.invite("bob", &["--host", "wiki"]).await;
    assert!(!tomorrow.is_empty());
    let principals = server.admin(&["principals", "--json"]).await;
    let principals: serde_json::Value = serde_json::from_str(&principals.stdout).unwrap();
    let created = principals["principals"][0]["credentials"][0]["created"].as_u64().unwrap();
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs();
    assert!(created > now + 80_000, "{created} is not a day behind {now}");
    assert!(!client.said().contains("lost"), "{}", client.said());
}

/// The time that the server tells visitors is its own, not what the machine says that asks.
#[tokio::test]
async fn d10_a_clock_that_is_wrong_by_hours_is_found_by_the_doctor() {
    let folder = tempfile::tempdir().unwrap();
    let clock = FakeClock::new(folder.path());
    let (server, home) = (Tunneld::start().await, Home::new());
    for (shift, says) in [("+2h", "ahead of that of"), ("-2h", "behind that of"), ("+0", "as that of")] {
        clock.set(shift);
        let mut doctor = home.prepare(&["doctor", "--join", &server.join()]);
        doctor.envs(clock.environment());
        let done = Program::start(doctor).finished(SOON).await;
        assert!(done.stdout.contains(says), "{shift}: {}", done.text());
        assert_eq!(done.stdout.contains("set the clock"), shift != "+0", "{shift}: {}", done.text());
    }
}

/// What stands still for less than it takes to be dead has missed nothing.
async fn stands_still_for_a_while(stopped: impl Fn(&Web) -> &Program) {
    let web = Web::up().await;
    let mut socket = websocket(web.door(), HOST, "/ws").await.unwrap();
    stopped(&web).signal(Signal::STOP);
    throughout("it stands still", Duration::from_secs(8), async || true).await;
    stopped(&web).signal(Signal::CONT);
    socket.send(Message::text("x")).await.unwrap();
    let back = within("the echo", promised(Duration::from_secs(2)), socket.next()).await.unwrap().unwrap();
    assert_eq!(back, Message::text("x"));
    assert!(!web.tunnel.program.said().to_lowercase().contains("lost"), "{}", web.tunnel.program.said());
}

#[tokio::test]
async fn d10_a_client_that_stands_still_for_a_while_is_not_lost() {
    stands_still_for_a_while(|web| &web.tunnel.program).await;
}

#[tokio::test]
async fn d10_a_server_that_stands_still_for_a_while_is_not_lost() {
    stands_still_for_a_while(|web| &web.server.program).await;
}

/// A server that stands still is dead for its client after 15 s. It is back 5 s after it goes on, and once only.
#[tokio::test]
async fn d10_a_server_that_stands_still_is_found_again() {
    let web = Web::up().await;
    web.server.program.signal(Signal::STOP);
    let stopped = Instant::now();
    let lost = async || web.tunnel.program.said().to_lowercase().contains("lost").then_some(());
    until("the client gives it up", promised(Duration::from_secs(16)), lost).await;
    assert!(stopped.elapsed() >= Duration::from_secs(10), "{:?}", stopped.elapsed());
    if long() {
        throughout("it stands still", Duration::from_secs(60) - stopped.elapsed(), async || true).await;
    }
    web.server.program.signal(Signal::CONT);
    let took = web.server.serves(HOST, SOON).await;
    assert!(took <= promised(Duration::from_secs(5)), "{took:?}");
    web.server.has_sessions(SESSIONS, SOON).await;
    let status = web.server.status().await;
    let members = status["names"][0]["members"].as_array().unwrap();
    assert_eq!(members.len(), 1, "{status}");
}
