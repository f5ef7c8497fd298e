//! What an operator tells a running server about what it serves, and what is kept of it.

use std::os::unix::fs::PermissionsExt;

use protocol::handshake::{RejectCode, ServerReply};
use serde_json::Value;
use tests::fixture::HttpService;
use tests::tunnelc::{Home, SESSIONS};
use tests::tunneld::Tunneld;
use tests::visitor::{self, Raw};
use tests::wait::{SOON, until};
use tests::wire::{HandMade, Reply};

use crate::stage::{HOST, Web};

/// Runs a command of an operator, which must go well.
async fn order(server: &Tunneld, words: &[&str]) -> String {
    let done = server.admin(words).await;
    assert_eq!(done.code, Some(0), "{words:?}: {}", done.text());
    done.stdout
}

fn client_of(status: &Value) -> String {
    status["sessions"][0]["client"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn what_is_disabled_finishes_its_work_and_gets_no_more_until_it_is_enabled() {
    let mut web = Web::up().await;
    web.server.has_sessions(SESSIONS, SOON).await;
    let client = client_of(&web.server.status().await);
    let mut running = Raw::open(web.door()).await;
    running
        .send(format!("GET /chunked?n=3000000 HTTP/1.1\r\nHost: {HOST}\r\nConnection: close\r\n\r\n"))
        .await;
    running.head().await;
    let said = order(&web.server, &["disable", &client]).await;
    assert!(said.contains(&format!("client:default/{client} is disabled")), "{said}");
    let (body, end) = running.rest(SOON).await;
    assert!(body.ends_with(b"0\r\n\r\n") && end == visitor::End::Fin, "old work finishes");

    let refused = web.get("/").await;
    assert_eq!((refused.status, refused.field("x-tunnel-error")), (503, "no-member"));
    let status = web.server.status().await;
    assert_eq!(status["names"][0]["members"][0]["state"], "disabled");
    assert_eq!(status["sessions"][0]["state"], "disabled");
    assert_eq!(status["disabled"][0]["what"], format!("client:default/{client}"));
    assert_eq!(web.server.metric("tunnel_disabled").await, 1.0);
    assert_eq!(web.server.sessions().await, SESSIONS, "its sessions stay");
    assert!(order(&web.server, &["disable", &client]).await.contains("already"));

    web.server.kill();
    web.server.start_again().await;
    web.server.has_sessions(SESSIONS, SOON).await;
    assert_eq!(web.get("/").await.status, 503, "also after a restart");
    order(&web.server, &["enable", &client]).await;
    assert_eq!(web.get("/").await.status, 200);
    let again = web.server.admin(&["enable", &client]).await;
    assert_eq!(again.code, Some(1), "{}", again.text());
    assert!(again.text().contains("is not disabled"), "{}", again.text());
}

/// Requests that went to each of two services while ten came, and how these were answered.
async fn ten(server: &Tunneld, services: [&HttpService; 2]) -> ([u64; 2], Vec<u16>) {
    let counts = || services.map(|service| service.tally().get(|tally| &tally.requests));
    let before = counts();
    let mut answers = Vec::new();
    for _ in 0..10 {
        answers.push(server.visit("app.localhost", "/").await);
    }
    let after = counts();
    answers.sort_unstable();
    answers.dedup();
    ([after[0] - before[0], after[1] - before[1]], answers)
}

#[tokio::test]
async fn one_server_of_a_service_is_disabled_and_its_others_go_on() {
    let (one, other) = (HttpService::start().await, HttpService::start().await);
    let config = |weight: u32| {
        let server =
            |of: &HttpService| format!("{{ address = \"http://{}\", weight = {weight} }}", of.addr());
        let (one, other) = (server(&one), server(&other));
        format!(
            "service = [{{ name = \"billing\", servers = [{one}, {other}] }}]\n\
             rule = [{{ name = \"app\", host = \"app.localhost\", to = \"billing\" }}]\n"
        )
    };
    let first = config(1);
    let mut server = Tunneld::configured(|_| first, &[]).await;
    let both = [&one, &other];
    assert_eq!(ten(&server, both).await, ([5, 5], vec![200]));

    // Its requests are finished.
    let mut running = Raw::open(server.listen().http).await;
    let long = "GET /sse?n=20&ms=50 HTTP/1.1\r\nHost: app.localhost\r\nConnection: close\r\n\r\n";
    running.send(long).await;
    running.head().await;
    let word = format!("billing/{}", one.addr());
    let what = format!("server:billing/http://{}", one.addr());
    let said = order(&server, &["disable", &word]).await;
    assert!(said.contains(&format!("{what} is disabled")), "{said}");
    assert_eq!(ten(&server, both).await, ([0, 10], vec![200]));
    let (body, end) = running.rest(SOON).await;
    assert!(body.ends_with(b"0\r\n\r\n") && end == visitor::End::Fin, "old work finishes");

    // It is told apart from what is sick.
    let asked = order(&server, &["status", "app.localhost"]).await;
    assert!(asked.contains(&format!("server http://{} disabled", one.addr())), "{asked}");
    assert!(asked.contains(&format!("server http://{} healthy", other.addr())), "{asked}");
    assert_eq!(server.status().await["disabled"][0]["what"], *what);
    let labelled =
        |state: &str| format!("tunnel_service_servers{{group=\"\",service=\"billing\",state=\"{state}\"}} 1");
    let metrics = visitor::get(server.listen().ops, "localhost", "/metrics").await.text();
    for state in ["disabled", "healthy"] {
        assert!(metrics.contains(&labelled(state)), "{state}: {metrics}");
    }

    // Also in another configuration, and in another process.
    let applied = crate::live::apply(&server, &config(3), &[]).await;
    assert_eq!(applied.code, Some(0), "{}", applied.text());
    assert_eq!(ten(&server, both).await, ([0, 10], vec![200]));
    server.kill();
    server.start_again().await;
    assert_eq!(ten(&server, both).await, ([0, 10], vec![200]));

    order(&server, &["disable", &format!("server:billing/http://{}", other.addr())]).await;
    let nobody = visitor::get(server.listen().http, "app.localhost", "/").await;
    assert_eq!((nobody.status, nobody.field("x-tunnel-error")), (503, "no-member"));
    let routes = order(&server, &["routes"]).await;
    assert!(routes.contains("nobody") && routes.contains("0/2 servers"), "{routes}");
    order(&server, &["enable", &word]).await;
    assert_eq!(ten(&server, both).await, ([10, 0], vec![200]));
    order(&server, &["enable", &format!("server:billing/{}", other.addr())]).await;
    assert_eq!(ten(&server, both).await, ([5, 5], vec![200]));
    for (unknown, why) in
        [("billing/10.0.0.5:80", "nothing here"), ("server:bill/10.0.0.5:80", "nothing here")]
    {
        let refused = server.admin(&["disable", unknown]).await;
        assert!(refused.code == Some(1) && refused.text().contains(why), "{}", refused.text());
    }
}

#[tokio::test]
async fn hosts_rules_and_groups_are_disabled_by_their_names() {
    let config = r#"
domain = "t.example.com"
rule = [
  { name = "app", host = "app", respond = { body = "hello" } },
  { name = "api", host = "app", path_prefix = "/api", respond = { body = "api" } },
]
principal = [{ name = "bob", groups = ["app"] }]
"#;
    let server = Tunneld::configured(|_| config.to_owned(), &[]).await;
    let visit = async |path| server.visit("app.t.example.com", path).await;
    assert_eq!((visit("/").await, visit("/api").await), (200, 200));
    order(&server, &["disable", "api"]).await;
    assert_eq!((visit("/").await, visit("/api").await), (200, 503));
    order(&server, &["enable", "rule:api"]).await;
    order(&server, &["disable", "host:app"]).await;
    assert_eq!((visit("/").await, visit("/api").await), (503, 503));
    let asked = order(&server, &["status", "app"]).await;
    assert!(asked.contains("disabled: host:app.t.example.com, "), "{asked}");
    order(&server, &["enable", "app.t.example.com"]).await;
    assert_eq!((visit("/").await, visit("/api").await), (200, 200));

    // A rule and a host are called so, and it is not for the server to guess.
    let ambiguous = server.admin(&["disable", "app"]).await;
    assert_eq!(ambiguous.code, Some(1), "{}", ambiguous.text());
    for word in ["rule:app", "host:app.t.example.com"] {
        assert!(ambiguous.text().contains(word), "{word}: {}", ambiguous.text());
    }
    let unknown = server.admin(&["disable", "nothing"]).await;
    assert_eq!(unknown.code, Some(1), "{}", unknown.text());
    assert!(unknown.text().contains("tunneld status"), "{}", unknown.text());
    let server_of_a_service = server.admin(&["disable", "web/app@127.0.0.1:3000"]).await;
    assert_eq!(server_of_a_service.code, Some(2), "{}", server_of_a_service.text());
    assert!(server_of_a_service.text().contains("next to clients can not be disabled"));
    let wrong = server.admin(&["disable", "port:x"]).await;
    assert_eq!(wrong.code, Some(2), "{}", wrong.text());
    let json = order(&server, &["disable", "principal:bob", "--json"]).await;
    let json: Value = serde_json::from_str(&json).unwrap();
    assert_eq!((&json["what"], &json["changed"]), (&"principal:bob".into(), &true.into()));
    let status = order(&server, &["status"]).await;
    assert!(status.contains("disabled (1)\n  principal:bob, "), "{status}");
}

#[tokio::test]
async fn who_is_kicked_may_come_back() {
    let web = Web::up().await;
    web.server.has_sessions(SESSIONS, SOON).await;
    let before = web.server.status().await;
    let client = client_of(&before);
    let kicked = order(&web.server, &["kick", &client]).await;
    assert!(kicked.contains(&format!("sessions ended: {SESSIONS}")), "{kicked}");
    let newest =
        |status: &Value| status["sessions"].as_array().unwrap().iter().map(|it| it["session"].as_u64()).max();
    until("new sessions", SOON, async || {
        let now = web.server.status().await;
        let count = now["sessions"].as_array().unwrap().len() as u64;
        (newest(&now) > newest(&before) && count == SESSIONS).then_some(())
    })
    .await;
    web.server.serves(HOST, SOON).await;
    let nobody = web.server.admin(&["kick", "nobody"]).await;
    assert_eq!(nobody.code, Some(1), "{}", nobody.text());
}

#[tokio::test]
async fn an_address_that_failed_too_often_is_let_in_again() {
    let server = Tunneld::start().await;
    let alice = server.invite("alice", &["--host", "demo.localhost"]).await;
    let secret = alice.find('@').unwrap() - 5;
    let wrong = format!(
        "{}{}{}",
        &alice[..secret],
        if &alice[secret..=secret] == "A" { "B" } else { "A" },
        &alice[secret + 1..]
    );
    let attempt = async |join: &str| {
        let mut peer = HandMade::dial(join).await;
        peer.say(&peer.hello()).await;
        match peer.reply(SOON).await {
            Reply::Said(ServerReply::Reject(reject)) => Some(reject.code),
            _ => None,
        }
    };
    while attempt(&wrong).await != Some(RejectCode::THROTTLED) {}
    assert_eq!(attempt(&alice).await, Some(RejectCode::THROTTLED));
    let other = order(&server, &["unban", "192.0.2.1"]).await;
    assert!(other.contains("was not banned"), "{other}");
    let said = order(&server, &["unban", "127.0.0.1"]).await;
    assert!(said.contains("may log in again"), "{said}");
    assert_eq!(attempt(&alice).await, None, "it is in");
}

#[tokio::test]
async fn what_operators_did_is_kept_without_secrets() {
    let mut server = Tunneld::start().await;
    let join = server.invite("bob", &["--host", "demo"]).await;
    order(&server, &["disable", "principal:bob"]).await;
    assert_eq!(server.admin(&["kick", "nobody"]).await.code, Some(1));
    order(&server, &["status"]).await;
    server.admin(&["explain", "GET", "http://demo.localhost/"]).await;
    order(&server, &["revoke", "bob"]).await;
    server.kill();

    // Also while nobody runs: that may be why one looks.
    let kept: Value = serde_json::from_str(&order(&server, &["audit", "--json"]).await).unwrap();
    let kept = kept.as_array().unwrap();
    let said: Vec<_> =
        kept.iter().map(|it| (it["what"].as_str().unwrap(), it["result"].as_str().unwrap())).collect();
    assert_eq!(said, [("invite", "done"), ("disable", "done"), ("kick", "not-found"), ("revoke", "done")]);
    let uid = format!("uid {}", rustix::process::getuid().as_raw());
    assert!(kept.iter().all(|it| it["who"].as_str().unwrap().starts_with(&uid)), "{kept:?}");
    assert_eq!((&kept[0]["words"]["name"], &kept[3]["words"]["name"]), (&"bob".into(), &"bob".into()));
    let table = order(&server, &["audit", "--last", "1"]).await;
    assert!(table.contains("revoke") && !table.contains("kick"), "{table}");

    let path = server.state().join("audit.log");
    assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    let secret = join.split([':', '@']).nth(2).unwrap();
    assert_eq!(secret.len(), 43, "{join}");
    let text = std::fs::read_to_string(&path).unwrap();
    assert!(!text.contains(secret), "{text}");
    server.program.says("an operator's command", SOON).await;
}

#[tokio::test]
async fn a_disabled_member_leaves_the_load_to_the_others() {
    let server = Tunneld::start().await;
    let services = [HttpService::start().await, HttpService::start().await];
    let homes = [Home::new(), Home::new()];
    let mut tunnels = Vec::new();
    for (n, (home, service)) in homes.iter().zip(&services).enumerate() {
        let name = format!("edge-{n}");
        let join = server.invite(&name, &["--host", "demo", "--group", "web"]).await;
        tunnels.push(home.http(&join, service.addr(), &["--host", "demo", "--group", "web"]).await);
    }
    let status = server.status().await;
    let sessions = status["sessions"].as_array().unwrap();
    let first = sessions.iter().find(|it| it["principal"] == "edge-0").unwrap();
    let member = format!("member:web/edge-0/{}", first["client"].as_str().unwrap());
    let requests = |service: &HttpService| service.tally().get(|tally| &tally.requests);
    order(&server, &["disable", &member]).await;
    let before = requests(&services[0]);
    for _ in 0..10 {
        assert_eq!(server.visit(HOST, "/").await, 200);
    }
    assert_eq!((requests(&services[0]), requests(&services[1])), (before, 10));
    order(&server, &["enable", &member]).await;
    for _ in 0..10 {
        assert_eq!(server.visit(HOST, "/").await, 200);
    }
    assert!(requests(&services[0]) > before);
}
