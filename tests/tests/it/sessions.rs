//! Sessions: they die when the path does, come back by themselves, and a corpse undoes nothing.

use std::time::Duration;

use rustix::process::Signal;
use tests::fixture::HttpService;
use tests::link::Link;
use tests::tunnelc::{Home, SESSIONS};
use tests::tunneld::Tunneld;
use tests::visitor::{self, End, Raw};
use tests::wait::{SOON, throughout, until};

use crate::stage::{HOST, Web};

fn long() -> bool {
    std::env::var_os("TUNNEL_FULL").is_some()
}

/// A tunnel whose client reaches the server over a link.
struct Linked {
    web: Web,
    link: Link,
}

impl Linked {
    async fn up() -> Self {
        let (server, service, home) = (Tunneld::start().await, HttpService::start().await, Home::new());
        let link = Link::to(server.listen().tunnel).await;
        let tunnel = home.http(&link.join(&server.join()), service.addr(), &["--host", "demo"]).await;
        Self { web: Web { tunnel, home, server, service }, link }
    }
}

#[tokio::test]
async fn a_client_comes_back_after_the_server_was_killed() {
    let mut web = Web::up().await;
    let mut slowest = Duration::ZERO;
    for _ in 0..if long() { 20 } else { 3 } {
        assert_eq!(web.get("/").await.status, 200);
        web.server.kill();
        let began = std::time::Instant::now();
        web.server.start_again().await;
        let restarted = began.elapsed();
        web.server.serves(HOST, Duration::from_secs(10)).await;
        slowest = slowest.max(began.elapsed() - restarted);
    }
    assert!(slowest <= Duration::from_secs(3), "{slowest:?} after the restart");
    assert!(web.tunnel.program.is_running());
}

#[tokio::test]
async fn a_client_comes_back_after_the_server_was_away_for_a_while() {
    let mut web = Web::up().await;
    web.server.kill();
    let away = async {
        throughout("the client waits", Duration::from_secs(3), async || web.tunnel.program.is_running()).await
    };
    away.await;
    web.server.start_again().await;
    let took = web.server.serves(HOST, SOON).await;
    assert!(took <= Duration::from_secs(3), "{took:?}");
}

#[tokio::test]
async fn a_broken_link_is_replaced_at_once() {
    let Linked { web, link } = Linked::up().await;
    for _ in 0..5 {
        link.cut();
        let took = web.server.serves(HOST, SOON).await;
        assert!(took <= Duration::from_secs(3), "{took:?}");
    }
    web.server.has_sessions(SESSIONS, SOON).await;
}

/// D01: both ends notice within 10 to 16 s that the path has gone silent, and what was in flight is aborted.
#[tokio::test]
async fn a_silent_path_is_dead_for_both_ends_within_16_seconds() {
    let (server, service, home) = (Tunneld::start().await, HttpService::start().await, Home::new());
    let link = Link::to(server.listen().tunnel).await;
    let config = format!(
        "ops = \"127.0.0.1:0\"\ntunnel = [{{ name = \"demo\", kind = \"http\", host = \"demo\", to = \"{}\" }}]\n",
        service.addr()
    );
    let client = home.run(&link.join(&server.join()), &config);
    server.serves(HOST, SOON).await;

    let mut download = Raw::open(server.listen().http).await;
    download.send(format!("GET /chunked?n=4000000000 HTTP/1.1\r\nHost: {HOST}\r\n\r\n")).await;
    assert!(download.head().await.contains(" 200"));
    download.exactly(100_000).await;
    let mut idle = Raw::open(server.listen().http).await;
    idle.send(format!("GET /sse?n=100&ms=600000 HTTP/1.0\r\nHost: {HOST}\r\n\r\n")).await;
    assert!(idle.head().await.contains(" 200"));
    let connections = link.connections();

    link.freeze();
    let frozen = std::time::Instant::now();
    let limit = Duration::from_secs(18);
    let server_notices = async { server.has_sessions(0, limit).await };
    let client_notices = async {
        let dials_again = async || (link.connections() > connections).then_some(());
        until("the client gives the session up and dials again", limit, dials_again).await.1
    };
    let aborted = async {
        let (body, end) = download.rest(limit).await;
        assert_ne!(end, End::Open);
        assert!(!body.ends_with(b"0\r\n\r\n"), "an abort, not an end");
        assert_eq!(idle.rest(limit).await.1, End::Reset, "only the end delimits this one");
        frozen.elapsed()
    };
    let times = tokio::join!(server_notices, client_notices, aborted);
    for took in [times.0, times.1, times.2] {
        assert!(took >= Duration::from_secs(10) && took <= Duration::from_secs(16), "{times:?}");
    }
    link.thaw();
    let back = server.serves(HOST, SOON).await;
    assert!(back <= Duration::from_secs(3), "{back:?} after the path was back");
    drop(client);
}

/// D02: the server holds a corpse of the session; the client is back at once, and the corpse's death undoes nothing.
#[tokio::test]
async fn a_corpse_is_taken_over_and_undoes_nothing() {
    let Linked { web, link } = Linked::up().await;
    for _ in 0..if long() { 50 } else { 10 } {
        let before = link.connections();
        link.orphan();
        let again = async || (link.connections() > before).then_some(());
        until("the client dials again", SOON, again).await;
        let took = web.server.serves(HOST, SOON).await;
        assert!(took <= Duration::from_secs(3), "{took:?}");
    }
    web.server.has_sessions(SESSIONS, SOON).await;
    // The corpses, if any are left at the server, now die for good.
    for n in 0..link.connections() - 1 {
        link.cut_one(n);
    }
    throughout("the name is served", Duration::from_secs(1), async || {
        web.server.visit(HOST, "/").await == 200
    })
    .await;
    assert!(web.server.metric("tunnel_session_replaced_total").await >= 1.0);
}

#[tokio::test]
async fn a_delayed_path_carries_everything() {
    let Linked { web, link } = Linked::up().await;
    link.delay(Duration::from_millis(50));
    let answer = web.get("/bytes?n=2000000").await;
    assert!(answer.body == tests::pattern::all(2_000_000));
}

#[tokio::test]
async fn several_sessions_of_one_client_share_the_work() {
    let (server, service, home) = (Tunneld::start().await, HttpService::start().await, Home::new());
    let link = Link::to(server.listen().tunnel).await;
    let config = format!(
        "connections = 3\ntunnel = [{{ name = \"demo\", kind = \"http\", host = \"demo\", to = \"{}\" }}]\n",
        service.addr()
    );
    let mut client = home.run(&link.join(&server.join()), &config);
    server.has_sessions(3, SOON).await;
    assert_eq!(server.health().await["clients"], 1);
    server.serves(HOST, SOON).await;

    for n in 0..3 {
        let ask =
            async || visitor::try_get(server.listen().http, HOST, "/").await.is_ok_and(|it| it.status == 200);
        link.cut_one(n);
        throughout("one lost session is no lost request", Duration::from_millis(500), ask).await;
        server.has_sessions(3, SOON).await;
    }
    assert!(client.is_running());
}

#[tokio::test]
async fn a_newer_process_of_the_same_client_supersedes_the_old_one() {
    let mut web = Web::up().await;
    let twin = web.home.copy();
    let mut newer = twin.http(&web.server.join(), web.service.addr(), &["--host", "demo"]).await;
    let (status, _) = web.tunnel.program.ended(SOON).await;
    assert_eq!(status.code(), Some(3), "{}", web.tunnel.program.said());
    assert!(web.tunnel.program.said().to_lowercase().contains("superseded"), "{}", web.tunnel.program.said());
    let serves = async || web.server.visit(HOST, "/").await == 200;
    throughout("the newer one serves", Duration::from_secs(1), serves).await;
    assert_eq!(web.server.sessions().await, SESSIONS);
    assert!(newer.program.is_running());
}

#[tokio::test]
async fn a_lost_name_stays_reserved_for_its_owner_across_a_restart() {
    let mut server = Tunneld::start().await;
    let service = HttpService::start().await;
    let target = service.addr().to_string();
    let alice = server.invite("alice", &["--host", "demo.localhost"]).await;
    let bob = server.invite("bob", &["--host", "demo.localhost"]).await;
    let (alices, bobs) = (Home::new(), Home::new());

    let mut owner = alices.http(&alice, &target, &["--host", "demo"]).await;
    assert_eq!(server.visit(HOST, "/").await, 200);
    owner.program.kill();
    server.has_sessions(0, SOON).await;
    let claim = ["http", &target, "--host", "demo", "--join", &bob];
    bobs.start(&claim).says("NAME_IN_USE", SOON).await;

    server.kill();
    server.start_again().await;
    bobs.start(&claim).says("NAME_IN_USE", SOON).await;

    let _back = alices.http(&alice, &target, &["--host", "demo"]).await;
    server.serves(HOST, SOON).await;
    bobs.start(&claim).says("NAME_IN_USE", SOON).await;
    assert_eq!(server.visit(HOST, "/").await, 200, "the owner is unaffected");
}

#[tokio::test]
async fn the_same_principals_newer_client_takes_a_name_over() {
    let web = Web::up().await;
    let other = HttpService::start().await;
    let newer = Home::new();
    let _tunnel = newer.http(&web.server.join(), other.addr(), &["--host", "demo"]).await;
    let moved = async || {
        web.server.visit(HOST, "/").await;
        (other.tally().get(|tally| &tally.requests) > 0).then_some(())
    };
    until("visits reach the newer client", SOON, moved).await;
}

#[tokio::test]
async fn a_frozen_client_that_wakes_finds_its_way_back() {
    let web = Web::up().await;
    web.tunnel.program.signal(Signal::STOP);
    web.server.has_sessions(0, Duration::from_secs(18)).await;
    web.tunnel.program.signal(Signal::CONT);
    let took = web.server.serves(HOST, SOON).await;
    assert!(took <= Duration::from_secs(5), "{took:?}");
    web.server.has_sessions(SESSIONS, SOON).await;
}
