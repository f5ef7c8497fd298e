//! Sessions: they come back by themselves, and share the work. What kills them is in `faults/`.

use std::time::Duration;

use rustix::process::Signal;
use tests::fixture::HttpService;
use tests::link::Link;
use tests::tunnelc::{Home, SESSIONS};
use tests::tunneld::Tunneld;
use tests::visitor;
use tests::wait::{SOON, promised, throughout, until};

use crate::stage::{HOST, Web};

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
async fn a_client_comes_back_after_the_server_was_away_for_a_while() {
    let mut web = Web::up().await;
    web.server.kill();
    let away = async {
        throughout("the client waits", Duration::from_secs(3), async || web.tunnel.program.is_running()).await
    };
    away.await;
    web.server.start_again().await;
    let took = web.server.serves(HOST, SOON).await;
    assert!(took <= promised(Duration::from_secs(3)), "{took:?}");
}

#[tokio::test]
async fn a_broken_link_is_replaced_at_once() {
    let Linked { web, link } = Linked::up().await;
    for _ in 0..5 {
        link.cut();
        let took = web.server.serves(HOST, SOON).await;
        assert!(took <= promised(Duration::from_secs(3)), "{took:?}");
    }
    web.server.has_sessions(SESSIONS, SOON).await;
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
    let told = async || web.tunnel.program.said().to_lowercase().contains("superseded").then_some(());
    until("the older one says why", SOON, told).await;
    let serves = async || web.server.visit(HOST, "/").await == 200;
    throughout("the newer one serves", Duration::from_secs(1), serves).await;
    web.server.has_sessions(SESSIONS, SOON).await;
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
    web.server.has_sessions(0, promised(Duration::from_secs(16))).await;
    web.tunnel.program.signal(Signal::CONT);
    let took = web.server.serves(HOST, SOON).await;
    assert!(took <= promised(Duration::from_secs(5)), "{took:?}");
    web.server.has_sessions(SESSIONS, SOON).await;
}
