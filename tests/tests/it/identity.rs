//! Who may come in, and who may have what.

use std::time::Duration;

use protocol::handshake::{RejectCode, ServerReply};
use protocol::id::Slot;
use tests::fixture::{HttpService, TcpService};
use tests::link::Link;
use tests::program::Finished;
use tests::tunnelc::{Home, SESSIONS};
use tests::tunneld::Tunneld;
use tests::visitor::Raw;
use tests::wait::{SOON, promised, until};
use tests::wire::{HandMade, Reply};

use crate::stage::{HOST, Web};

/// Another character of base64url in the place of the one at `at`.
fn altered(text: &str, at: usize) -> String {
    let other = if text.as_bytes()[at] == b'A' { 'B' } else { 'A' };
    format!("{}{other}{}", &text[..at], &text[at + 1..])
}

async fn try_to_join(join: &str) -> Finished {
    let home = Home::new();
    home.command(&["http", "3000", "--host", "demo", "--join", join]).await
}

fn rejected(reply: &Reply, code: RejectCode) -> bool {
    matches!(reply, Reply::Said(ServerReply::Reject(reject)) if reject.code == code)
}

#[tokio::test]
async fn a_wrong_secret_and_an_unknown_id_are_refused_alike() {
    let server = Tunneld::start().await;
    let join = server.join();
    let secret_at = join.find("default:").unwrap() + "default:".len() + 3;
    let wrong_secret = try_to_join(&altered(&join, secret_at)).await;
    let unknown_id = try_to_join(&join.replace("tunnel://default:", "tunnel://nobody1:")).await;
    for refused in [&wrong_secret, &unknown_id] {
        assert_eq!(refused.code, Some(3), "{}", refused.text());
        assert!(refused.text().contains("refused the login"), "{}", refused.text());
    }
    let same = |text: String| text.replace("nobody1", "ID").replace("default", "ID");
    let reason = |text: String| same(text).split("refused the login").nth(1).map(str::to_owned);
    assert_eq!(reason(wrong_secret.text()), reason(unknown_id.text()));
    server.counts("tunnel_auth_failures_total", &[], |count| count >= 2.0).await;
    assert_eq!(server.sessions().await, 0);
}

#[tokio::test]
async fn without_a_pin_the_certificate_decides() {
    let (server, other) = (Tunneld::start().await, Tunneld::start().await);
    let join = server.join();
    let no_pin = join.split('?').next().unwrap();
    let certificate = |of: &Tunneld| of.state().join("tls.crt").to_str().unwrap().to_owned();
    // Neither the roots of the system nor the certificate of another server vouch for this one.
    let by_system = try_to_join(no_pin).await;
    let home = Home::new();
    let wrong = certificate(&other);
    let by_other = home.command(&["http", "3000", "--join", no_pin, "--ca-file", &wrong]).await;
    for refused in [by_system, by_other] {
        assert_eq!(refused.code, Some(3), "{}", refused.text());
        assert!(refused.text().contains("not trusted"), "{}", refused.text());
    }
    assert_eq!(server.sessions().await, 0);
    let right = certificate(&server);
    let _tunnel = home.http(no_pin, "127.0.0.1:3000", &["--host", "demo", "--ca-file", &right]).await;
    server.has_sessions(SESSIONS, SOON).await;
}

#[tokio::test]
async fn a_wrong_pin_is_refused_by_the_client_before_it_says_anything() {
    let server = Tunneld::start().await;
    let join = server.join();
    let link = Link::to(server.listen().tunnel).await;
    let wrong =
        altered(&link.join(&join), link.join(&join).find("pin=sha256-").unwrap() + "pin=sha256-".len() + 3);
    let refused = try_to_join(&wrong).await;
    assert!(matches!(refused.code, Some(1 | 3)), "{}", refused.text());
    let text = refused.text().to_lowercase();
    assert!(text.contains("key") || text.contains("pin"), "it says what is wrong: {text}");
    assert_eq!(server.metric("tunnel_auth_failures_total").await, 0.0, "nothing was tried at the server");
}

#[tokio::test]
async fn a_broken_join_string_is_wrong_usage_and_says_what_to_do() {
    for join in [
        "",
        "tunnel://",
        "http://example.org",
        "tunnel://default@127.0.0.1:7443?pin=sha256-AAAA",
        "tunnel://default:c2hvcnQ@127.0.0.1:7443",
        "tunnel://default:AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA@127.0.0.1:7443?pin=md5-AAAA",
        "tunnel://default:AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA@127.0.0.1",
    ] {
        let refused = try_to_join(join).await;
        assert_eq!(refused.code, Some(2), "{join:?}: {}", refused.text());
        assert!(refused.text().contains("join string"), "{join:?}: {}", refused.text());
        assert!(!refused.text().contains("AAAAAAAAAAAAAAAAAA"), "the secret is repeated: {}", refused.text());
    }
}

#[tokio::test]
async fn nobody_listening_is_retried_and_told() {
    let server = Tunneld::start().await;
    let join = server.join();
    let elsewhere = join.replace(&server.listen().tunnel.to_string(), &tests::place::nobody().to_string());
    let mut client = Home::new().start(&["http", "3000", "--join", &elsewhere]);
    let told = async || client.said().to_lowercase().contains("refused").then_some(());
    until("the client says that nobody answers", SOON, told).await;
    assert!(client.is_running(), "{}", client.said());
}

#[tokio::test]
async fn a_captured_login_is_worthless() {
    let server = Tunneld::start().await;
    let join = server.join();

    let mut first = HandMade::dial(&join).await;
    let hello = first.hello();
    first.say(&hello).await;
    assert!(matches!(first.reply(SOON).await, Reply::Said(ServerReply::Welcome(_))));

    let mut second = HandMade::dial(&join).await;
    second.say(&hello).await;
    assert!(
        rejected(&second.reply(SOON).await, RejectCode::DENIED),
        "the proof belongs to the first connection"
    );

    let mut third = HandMade::dial(&join).await;
    let mut other = third.hello();
    other.slot = Slot(1);
    third.say(&other).await;
    assert!(rejected(&third.reply(SOON).await, RejectCode::DENIED), "the proof covers the slot");

    let mut fourth = HandMade::dial(&join).await;
    let mut other = fourth.hello();
    other.client = hello.client;
    fourth.say(&other).await;
    assert!(rejected(&fourth.reply(SOON).await, RejectCode::DENIED), "the proof covers the client");
}

#[tokio::test]
async fn captured_bytes_on_a_new_connection_are_worthless() {
    let (server, service, home) = (Tunneld::start().await, HttpService::start().await, Home::new());
    let link = Link::to(server.listen().tunnel).await;
    let _tunnel = home.http(&link.join(&server.join()), service.addr(), &["--host", "demo"]).await;
    let mut replay = Raw::open(server.listen().tunnel).await;
    replay.send(link.recorded(0)).await;
    let (_, end) = replay.rest(SOON).await;
    assert_ne!(end, tests::visitor::End::Open);
    server.has_sessions(SESSIONS, SOON).await;
}

#[tokio::test]
async fn failed_logins_are_throttled_and_others_are_not() {
    let server = Tunneld::start().await;
    let join = server.join();
    let alice = server.invite("alice", &["--host", "demo.localhost"]).await;
    let wrong = altered(&alice, alice.find('@').unwrap() - 5);
    let mut codes = Vec::new();
    for _ in 0..14 {
        let mut attempt = HandMade::dial(&wrong).await;
        let hello = attempt.hello();
        attempt.say(&hello).await;
        let Reply::Said(ServerReply::Reject(reject)) = attempt.reply(SOON).await else { panic!("let in") };
        codes.push(reject.code);
    }
    assert_eq!(codes[0], RejectCode::DENIED);
    assert_eq!(*codes.last().unwrap(), RejectCode::THROTTLED, "{codes:?}");
    let mut other = HandMade::dial(&join).await;
    let hello = other.hello();
    other.say(&hello).await;
    assert!(matches!(other.reply(SOON).await, Reply::Said(ServerReply::Welcome(_))), "another credential");
}

#[tokio::test]
async fn what_is_not_granted_is_refused() {
    let server = Tunneld::start().await;
    let (service, echo) = (HttpService::start().await, TcpService::echo().await);
    let guest = server.invite("guest", &[]).await;
    let (web, raw) = (service.addr().to_string(), echo.addr().to_string());
    for claim in [
        vec!["http", &web, "--host", "demo"],
        vec!["http", &web, "--host", "localhost"],
        vec!["http", &web, "--host", "www.example.org"],
        vec!["tcp", &raw],
        vec!["tcp", &raw, "--port", "22222"],
        vec!["http", &web, "--group", "web"],
    ] {
        let home = Home::new();
        let tunnel = home.start(&[claim.as_slice(), &["--join", &guest]].concat());
        tunnel.says("NOT_GRANTED", SOON).await;
    }
    assert_eq!(server.visit(HOST, "/").await, 404);
}

#[tokio::test]
async fn who_has_no_host_granted_gets_one_random_subdomain() {
    let server = Tunneld::start().await;
    let (service, home) = (HttpService::start().await, Home::new());
    let guest = server.invite("guest", &[]).await;
    let tunnel = home.http(&guest, service.addr(), &[]).await;
    let name = tunnel.host().to_owned();
    assert!(
        name.strip_suffix(".localhost").is_some_and(|label| label.len() >= 8 && !label.contains('.')),
        "{name}"
    );
    assert_eq!(server.visit(&name, "/").await, 200);
    drop(tunnel);
    assert_eq!(home.http(&guest, service.addr(), &[]).await.host(), name);
    let another = Home::new();
    assert_ne!(another.http(&guest, service.addr(), &[]).await.host(), name);
}

#[tokio::test]
async fn what_is_granted_is_given() {
    let server = Tunneld::start().await;
    let (service, echo) = (HttpService::start().await, TcpService::echo().await);
    let free = tests::place::nobody().port().to_string();
    let edge = server
        .invite("edge", &["--host", "*.edge.localhost", "--host", "demo.localhost", "--port", &free])
        .await;
    let (one, two, three) = (Home::new(), Home::new(), Home::new());
    let _web = one.http(&edge, service.addr(), &["--host", "demo"]).await;
    let _wild = two.http(&edge, service.addr(), &["--host", "a.edge.localhost"]).await;
    let port = three.tcp(&edge, echo.addr(), &["--port", &free]).await;
    assert_eq!(server.visit(HOST, "/").await, 200);
    assert_eq!(server.visit("a.edge.localhost", "/").await, 200);
    assert_eq!(port.public().port.to_string(), free);
    let deeper = Home::new();
    let claim = deeper.start(&["http", "3000", "--host", "b.a.edge.localhost", "--join", &edge]);
    claim.says("NOT_GRANTED", SOON).await;
}

#[tokio::test]
async fn principals_are_listed() {
    let server = Tunneld::start().await;
    server.invite("alice", &["--host", "demo.localhost", "--port", "2200-2300"]).await;
    let listed = server.admin(&["principals"]).await;
    assert_eq!(listed.code, Some(0));
    for word in ["default", "alice", "demo.localhost", "2200-2300"] {
        assert!(listed.stdout.contains(word), "{word}: {}", listed.stdout);
    }
    let json = server.admin(&["principals", "--json"]).await;
    let value: serde_json::Value = serde_json::from_str(&json.stdout).unwrap();
    assert!(value.to_string().contains("alice"));
    assert!(!json.stdout.contains("tunnel://"), "no secret is kept to be shown");
}

#[tokio::test]
async fn revoking_ends_sessions_and_frees_names_within_a_second_and_for_good() {
    let mut server = Tunneld::start().await;
    let service = HttpService::start().await;
    let alice = server.invite("alice", &["--host", "demo.localhost"]).await;
    let bob = server.invite("bob", &["--host", "demo.localhost"]).await;
    let (alices, bobs) = (Home::new(), Home::new());
    let mut tunnel = alices.http(&alice, service.addr(), &["--host", "demo"]).await;
    assert_eq!(server.visit(HOST, "/").await, 200);

    let mut running = Raw::open(server.listen().http).await;
    running.send(format!("GET /chunked?n=1000000000 HTTP/1.1\r\nHost: {HOST}\r\n\r\n")).await;
    running.head().await;
    let revoked = server.admin(&["revoke", "alice"]).await;
    assert_eq!(revoked.code, Some(0), "{}", revoked.text());
    server.has_sessions(0, promised(Duration::from_secs(1))).await;
    assert_ne!(running.rest(promised(Duration::from_secs(1))).await.1, tests::visitor::End::Open);
    let (status, _) = tunnel.program.ended(SOON).await;
    assert_eq!(status.code(), Some(3), "{}", tunnel.program.said());
    let told = async || tunnel.program.said().to_lowercase().contains("revoked").then_some(());
    until("the client says why", SOON, told).await;

    let _bobs_now = bobs.http(&bob, service.addr(), &["--host", "demo"]).await;
    assert_eq!(server.visit(HOST, "/").await, 200, "the name is free at once");

    server.kill();
    server.start_again().await;
    assert_eq!(try_to_join(&alice).await.code, Some(3), "also after a restart");
}

#[tokio::test]
async fn the_default_principal_can_be_revoked_and_stays_so() {
    let mut server = Tunneld::start().await;
    let join = server.join();
    let revoked = server.admin(&["revoke", "default"]).await;
    assert_eq!(revoked.code, Some(0), "{}", revoked.text());
    assert_eq!(try_to_join(&join).await.code, Some(3));
    server.kill();
    server.start_again().await;
    assert_eq!(try_to_join(&join).await.code, Some(3));
    assert_eq!(server.admin(&["revoke", "nobody"]).await.code, Some(1), "nobody of that name");
}

#[tokio::test]
async fn a_second_principal_cannot_take_a_live_name() {
    let server = Tunneld::start().await;
    let service = HttpService::start().await;
    let alice = server.invite("alice", &["--host", "demo.localhost"]).await;
    let bob = server.invite("bob", &["--host", "demo.localhost"]).await;
    let (alices, bobs) = (Home::new(), Home::new());
    let _owner = alices.http(&alice, service.addr(), &["--host", "demo"]).await;
    let claim = bobs.start(&["http", "1", "--host", "DEMO.localhost.", "--join", &bob]);
    let said = claim.says("NAME_IN_USE", SOON).await;
    assert!(!said.contains("alice"), "it does not say whose it is: {said}");
    assert_eq!(server.visit(HOST, "/").await, 200);
}

#[tokio::test]
async fn two_clients_of_the_default_principal_do_not_need_to_know_of_each_other() {
    let web = Web::up().await;
    let (echo, other) = (TcpService::echo().await, Home::new());
    let tunnel = other.tcp(&web.server.join(), echo.addr(), &[]).await;
    let mut raw = Raw::open(tunnel.tcp()).await;
    raw.send("hi").await;
    assert_eq!(raw.exactly(2).await, b"hi");
    assert_eq!(web.server.health().await["clients"], 2);
}

#[tokio::test]
async fn a_principal_carries_no_more_requests_than_it_may() {
    let server = Tunneld::start().await;
    let (service, home) = (HttpService::start().await, Home::new());
    let alice = server.invite("alice", &["--host", "demo", "--quota", "requests=1"]).await;
    let _tunnel = home.http(&alice, service.addr(), &["--host", "demo"]).await;
    assert_eq!(server.visit(HOST, "/").await, 200);
    let run = async || {
        let mut running = Raw::open(server.listen().http).await;
        running.send(format!("GET /chunked?n=1000000000 HTTP/1.1\r\nHost: {HOST}\r\n\r\n")).await;
        running.head().await.contains(" 200 ").then_some(running)
    };
    // The one before may be over for its visitor a moment before it is for the server.
    let (running, _) = until("there is room for one", SOON, run).await;
    let over = tests::visitor::get(server.listen().http, HOST, "/").await;
    assert_eq!((over.status, over.field("x-tunnel-error")), (503, "over-limit"));
    running.reset();
    server.serves(HOST, SOON).await;
    let listed = server.admin(&["principals", "--json"]).await.stdout;
    assert!(listed.contains("\"max_requests\": 1"), "{listed}");
    let wrong = server.admin(&["invite", "alice", "--quota", "bytes=1"]).await;
    assert_eq!(wrong.code, Some(2), "{}", wrong.text());
}

#[tokio::test]
async fn an_invitation_that_has_run_out_ends_what_it_began_and_is_refused_for_good() {
    let (server, service, home) = (Tunneld::start().await, HttpService::start().await, Home::new());
    let join = server.invite("bob", &["--host", "demo", "--expires", "4s"]).await;
    let tunnel = home.http(&join, service.addr(), &["--host", "demo"]).await;
    assert_eq!(server.visit(HOST, "/").await, 200);
    let bob = async || {
        let told = server.admin(&["principals", "--json"]).await;
        let json: serde_json::Value = serde_json::from_str(&told.stdout).unwrap();
        let all = json["principals"].as_array().unwrap();
        all.iter().find(|it| it["name"] == "bob").unwrap()["credentials"][0].clone()
    };
    let credential = bob().await;
    let (expires, used) =
        (credential["expires"].as_u64().unwrap(), credential["last_used"].as_u64().unwrap());
    assert!(expires > used && used > 0, "{credential}");
    assert!(server.admin(&["principals"]).await.stdout.contains("in "), "when it ends");

    server.has_sessions(0, SOON).await;
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs();
    assert!((expires..expires + 2 + SOON.as_secs()).contains(&now), "{now}, {expires}");
    tunnel.program.says("the credential has expired", SOON).await;
    assert!(server.admin(&["principals"]).await.stdout.contains("expired"));
    let refused = try_to_join(&join).await;
    assert_eq!(refused.code, Some(3), "{}", refused.text());
    assert!(
        refused.text().contains("has expired; ask the operator for a new join string"),
        "{}",
        refused.text()
    );
    let doctor = home.command(&["doctor", "--join", &join]).await;
    assert!(doctor.text().contains("tunneld invite NAME"), "{}", doctor.text());
    // Another join string of the same principal is good.
    let next = server.invite("bob", &[]).await;
    let other = Home::new();
    let _again = other.http(&next, service.addr(), &["--host", "demo"]).await;
    assert_eq!(server.visit(HOST, "/").await, 200);
}
