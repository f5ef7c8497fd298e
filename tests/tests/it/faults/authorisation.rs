//! D29: who may have which name, and who may ask operators' pages. The whole table is held at the registry
//! (`server/src/registry/tests/authorisation.rs`); here with real programs, over a restart.

use std::os::unix::fs::PermissionsExt;

use tests::fixture::HttpService;
use tests::tunnelc::Home;
use tests::tunneld::Tunneld;
use tests::visitor::{self, empty, request};
use tests::wait::SOON;

use crate::stage::HOST;

#[tokio::test]
async fn d29_a_name_outlives_its_server_for_its_owner_alone() {
    let mut server = Tunneld::start().await;
    let service = HttpService::start().await;
    let alice = server.invite("alice", &["--host", "demo"]).await;
    let bob = server.invite("bob", &["--host", "*.localhost"]).await;
    let alices = Home::new();
    let tunnel = alices.http(&alice, service.addr(), &["--host", "demo"]).await;
    assert_eq!(server.visit(HOST, "/").await, 200);
    let names = server.state().join("names.json");
    let kept = async || std::fs::read_to_string(&names).is_ok_and(|text| text.contains(HOST)).then_some(());
    tests::wait::until("the name is written down", SOON, kept).await;
    server.kill();
    drop(tunnel);
    server.start_again().await;

    let bobs = Home::new();
    let thief = bobs.start(&["http", "1", "--host", "demo", "--join", &bob]);
    let said = thief.says("NAME_IN_USE", SOON).await;
    assert!(!said.contains("alice"), "{said}");
    assert_eq!(server.visit(HOST, "/").await, 503, "it is somebody's");
    for reserved in ["www.localhost", "api.localhost", "localhost"] {
        let greedy = Home::new();
        let claim = greedy.start(&["http", "1", "--host", reserved, "--join", &bob]);
        claim.says("NOT_GRANTED", SOON).await;
    }
    let _tunnel = alices.http(&alice, service.addr(), &["--host", "demo"]).await;
    assert_eq!(server.visit(HOST, "/").await, 200);
}

#[tokio::test]
async fn d29_operators_pages_change_nothing_and_are_for_no_other_site() {
    let server = Tunneld::start().await;
    let ops = server.listen().ops;
    for path in ["/healthz", "/readyz", "/metrics", "/v1/status", "/v1/revoke"] {
        for method in ["POST", "PUT", "DELETE", "OPTIONS"] {
            let mut asked = request(method, "rebound.example.com", path, empty());
            let headers = asked.headers_mut();
            headers.insert("origin", "https://evil.example.com".parse().unwrap());
            headers.insert("access-control-request-method", "POST".parse().unwrap());
            let answer = visitor::try_send(ops, asked).await.unwrap();
            assert!(matches!(answer.status, 404 | 405), "{method} {path}: {}", answer.status);
            let allowed = answer.headers.keys().find(|name| name.as_str().starts_with("access-control"));
            assert_eq!(allowed, None, "{method} {path}");
        }
    }
    let mut asked = request("GET", "localhost", "/metrics", empty());
    asked.headers_mut().insert("origin", "https://evil.example.com".parse().unwrap());
    let answer = visitor::try_send(ops, asked).await.unwrap();
    assert_eq!((answer.status, answer.field("access-control-allow-origin")), (200, ""));
    let mode = |path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(server.state().join("admin.sock")), 0o600);
    assert_eq!(mode(server.state()), 0o700);
}
