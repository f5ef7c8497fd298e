//! The quick start of the interface, as a new user meets it.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use rustix::process::Signal;
use tests::fixture::{HttpService, TcpService};
use tests::place::nobody;
use tests::program::Program;
use tests::tunnelc::{Home, SESSIONS, public};
use tests::tunneld::Tunneld;
use tests::visitor;
use tests::wait::{SOON, until};
use tokio::net::TcpListener;

use crate::stage::{HOST, Web};

fn mode(path: &Path) -> u32 {
    std::fs::metadata(path).unwrap().permissions().mode() & 0o777
}

#[tokio::test]
async fn the_server_makes_identity_and_state_and_prints_one_line_to_copy() {
    let server = Tunneld::start().await;
    let line = server.program.says("tunnelc http 3000 --join '", SOON).await;
    let join = server.join();
    assert!(join.starts_with("tunnel://default:"), "{join}");
    assert!(join.contains(&format!("@{}?pin=sha256-", server.listen().tunnel)), "{join}");
    assert!(line.contains(&format!("tunnelc http 3000 --join '{join}'")), "{line}");
    assert_eq!(mode(&server.state()), 0o700);
    for entry in std::fs::read_dir(server.state()).unwrap().map(Result::unwrap) {
        if entry.file_type().unwrap().is_file() {
            assert_eq!(mode(&entry.path()), 0o600, "{}", entry.path().display());
        }
    }
}

#[tokio::test]
async fn the_identity_survives_a_restart() {
    let mut server = Tunneld::start().await;
    let before = server.join();
    server.kill();
    server.start_again().await;
    assert_eq!(server.join(), before);
}

#[tokio::test]
async fn a_web_service_is_public_with_two_commands() {
    let web = Web::up().await;
    assert_eq!(web.tunnel.host(), HOST);
    assert_eq!(web.tunnel.public().port, web.door().port());
    let answer = web.get("/").await;
    assert_eq!((answer.status, answer.text().as_str()), (200, "hello from behind the tunnel\n"));
}

#[tokio::test]
async fn each_request_is_a_line_when_piped() {
    let web = Web::up().await;
    web.get("/status/418").await;
    let line = web.tunnel.program.says("/status/418", SOON).await;
    assert!(line.contains("GET") && line.contains("418"), "{line}");
}

#[tokio::test]
async fn a_service_that_is_not_there_yet_is_a_warning() {
    let server = Tunneld::start().await;
    let (home, target) = (Home::new(), nobody());
    let mut tunnel = home.http(&server.join(), target, &["--host", "demo"]).await;
    let warned = async || tunnel.program.said().to_lowercase().contains("nothing listens").then_some(());
    until("a warning that nothing listens", SOON, warned).await;
    assert_eq!(server.visit(HOST, "/").await, 502);

    let _service = HttpService::start_on(TcpListener::bind(target).await.unwrap());
    assert_eq!(server.visit(HOST, "/").await, 200);
    assert!(tunnel.program.is_running());
}

#[tokio::test]
async fn a_random_name_is_the_same_after_a_restart() {
    let (server, service, home) = (Tunneld::start().await, HttpService::start().await, Home::new());
    let first = home.http(&server.join(), service.addr(), &[]).await;
    let name = first.host().to_owned();
    assert!(name.ends_with(".localhost"), "{name}");
    assert_eq!(server.visit(&name, "/").await, 200);
    drop(first);
    let second = home.http(&server.join(), service.addr(), &[]).await;
    assert_eq!(second.host(), name);
}

#[tokio::test]
async fn a_picked_port_is_the_same_after_a_restart() {
    let (server, service, home) = (Tunneld::start().await, TcpService::echo().await, Home::new());
    let first = home.tcp(&server.join(), service.addr(), &[]).await;
    let port = first.public().port;
    assert!(port >= 1024);
    drop(first);
    let second = home.tcp(&server.join(), service.addr(), &[]).await;
    assert_eq!(second.public().port, port);
}

#[tokio::test]
async fn a_join_string_is_remembered_read_from_a_file_and_from_the_environment() {
    let (server, service) = (Tunneld::start().await, HttpService::start().await);
    let (join, target) = (server.join(), service.addr().to_string());
    let serves = async |home: &Home, program: &Program, host: &str| {
        let found = public(program, &target, &join, SOON).await;
        assert_eq!(found.host, format!("{host}.localhost"));
        assert_eq!(server.visit(&found.host, "/").await, 200);
        assert!(home.state().exists());
    };

    let home = Home::new();
    let joined = home.command(&["join", &join]).await;
    assert_eq!(joined.code, Some(0), "{}", joined.text());
    serves(&home, &home.start(&["http", &target, "--host", "remembered"]), "remembered").await;

    let home = Home::new();
    let file = home.write("join.txt", &format!("{join}\n"));
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o600)).unwrap();
    let from_file =
        home.start(&["http", &target, "--host", "from-file", "--join-file", file.to_str().unwrap()]);
    serves(&home, &from_file, "from-file").await;

    let home = Home::new();
    let mut command = home.prepare(&["http", &target, "--host", "from-env"]);
    command.env("TUNNEL_JOIN", &join);
    serves(&home, &Program::start(command), "from-env").await;
}

#[tokio::test]
async fn two_programs_on_one_state_directory_are_two_clients() {
    let (server, service, home) = (Tunneld::start().await, HttpService::start().await, Home::new());
    let mut first = home.http(&server.join(), service.addr(), &["--host", "one"]).await;
    let mut second = home.http(&server.join(), service.addr(), &["--host", "two"]).await;
    assert_eq!(server.visit("one.localhost", "/").await, 200);
    assert_eq!(server.visit("two.localhost", "/").await, 200);
    assert_eq!(server.health().await["clients"], 2);
    assert!(first.program.is_running() && second.program.is_running());
}

#[tokio::test]
async fn an_interrupt_ends_the_client_and_frees_its_name_at_once() {
    let mut web = Web::up().await;
    web.tunnel.program.signal(Signal::INT);
    let (status, _) = web.tunnel.program.ended(SOON).await;
    assert_eq!(status.code(), Some(0));
    // A name that is lost and not given back is kept for a minute, and answers 503.
    let free = async || (web.get("/").await.status == 404).then_some(());
    until("a clean goodbye frees the name", SOON, free).await;
}

#[tokio::test]
async fn logs_as_json_are_json() {
    let server = Tunneld::with(&["--log", "json"]).await;
    let (service, home) = (HttpService::start().await, Home::new());
    let target = service.addr().to_string();
    let tunnel = home.start(&["http", &target, "--join", &server.join(), "--host", "demo", "--log", "json"]);
    server.serves(HOST, SOON).await;
    for program in [&server.program, &tunnel] {
        program.says("{", SOON).await;
        for line in program.stderr() {
            serde_json::from_str::<serde_json::Value>(&line)
                .unwrap_or_else(|error| panic!("{error}: {line}"));
        }
    }
}

#[tokio::test]
async fn no_secret_is_in_any_log_metric_or_command_line() {
    let server = Tunneld::start().await;
    let (service, home) = (HttpService::start().await, Home::new());
    let join = server.join();
    let secret = join.split_once(':').unwrap().1.split_once(':').unwrap().1.split_once('@').unwrap().0;
    let mut command = home.prepare(&["http", &service.addr().to_string(), "--host", "demo"]);
    command.env("TUNNEL_JOIN", &join).env("RUST_LOG", "trace");
    let tunnel = Program::start(command);
    server.serves(HOST, SOON).await;

    assert!(!tunnel.said().contains(secret), "in what tunnelc says");
    assert!(!server.program.stderr().join("\n").contains(secret), "in the server's log");
    let metrics = visitor::get(server.listen().ops, "localhost", "/metrics").await.text();
    assert!(!metrics.contains(secret), "in the metrics");
    for entry in std::fs::read_dir(server.state()).unwrap().map(Result::unwrap) {
        let text = std::fs::read(entry.path()).unwrap_or_default();
        let holds = text.windows(secret.len()).any(|part| part == secret.as_bytes());
        assert_eq!(holds, entry.file_name() == "join", "{}", entry.path().display());
    }
}

#[tokio::test]
async fn operators_see_health_readiness_and_metrics() {
    let web = Web::up().await;
    web.get("/").await;
    web.server.has_sessions(SESSIONS, SOON).await;
    let health = web.server.health().await;
    assert_eq!(health["status"], "healthy");
    assert_eq!((&health["clients"], &health["sessions"]), (&1.into(), &SESSIONS.into()));
    assert!(health["uptime"].is_number() && health["version"].is_string(), "{health}");
    assert_eq!(visitor::get(web.server.listen().ops, "localhost", "/readyz").await.status, 200);
    for (name, least) in [
        ("tunnel_requests_total", 1.0),
        ("tunnel_sessions", 1.0),
        ("tunnel_bytes_total", 1.0),
        ("tunnel_tasks_alive", 1.0),
        ("tunnel_build_info", 1.0),
    ] {
        web.server.counts(name, &[], |count| count >= least).await;
    }
    let metrics = visitor::get(web.server.listen().ops, "localhost", "/metrics").await.text();
    assert!(!metrics.contains("demo.localhost"), "a raw host is no label");
}
