//! `tunnelc run` with a configuration file.

use std::time::Duration;

use tests::fixture::{HttpService, TcpService};
use tests::place::nobody;
use tests::program::Program;
use tests::tunnelc::Home;
use tests::tunneld::Tunneld;
use tests::visitor::{self, Raw};
use tests::wait::{SOON, becomes, throughout, until};

use crate::stage::HOST;

/// The `ops` address that `run` was given.
async fn readiness(ops: std::net::SocketAddr) -> Option<u16> {
    visitor::try_get(ops, "localhost", "/readyz").await.ok().map(|answer| answer.status)
}

#[tokio::test]
async fn one_file_makes_several_tunnels_and_an_ops_listener() {
    let server = Tunneld::start().await;
    let (web, echo, home) = (HttpService::start().await, TcpService::echo().await, Home::new());
    let (port, ops) = (nobody().port(), nobody());
    let client = home.run(
        &server.join(),
        &format!(
            "name = \"edge-1\"\nconnections = 2\nops = \"{ops}\"\n\
             tunnel = [\n\
               {{ name = \"wiki\", kind = \"http\", host = \"demo\", to = \"http://{}\", set_host = \"wiki.lan\" }},\n\
               {{ name = \"echo\", kind = \"tcp\", port = {port}, to = \"{}\", allow = [\"127.0.0.0/8\"] }},\n\
             ]\n",
            web.addr(),
            echo.addr()
        ),
    );
    server.serves(HOST, SOON).await;
    let seen = visitor::get(server.listen().http, HOST, "/headers").await.text();
    assert!(seen.contains("wiki.lan"), "{seen}");
    let open = async || tokio::net::TcpStream::connect(("127.0.0.1", port)).await.ok();
    drop(until("the port is open", SOON, open).await);
    let mut raw = Raw::open(([127, 0, 0, 1], port).into()).await;
    raw.send("hi").await;
    assert_eq!(raw.exactly(2).await, b"hi");
    server.has_sessions(2, SOON).await;
    becomes("the client says that it is ready", SOON, async || readiness(ops).await, |it| *it == Some(200))
        .await;
    assert_eq!(visitor::get(ops, "localhost", "/healthz").await.status, 200);
    assert!(visitor::get(ops, "localhost", "/metrics").await.text().contains("tunnel_"));
    assert!(server.status().await.to_string().contains("edge-1"), "the server knows its name");
    drop(client);
}

#[tokio::test]
async fn one_refused_tunnel_does_not_stop_the_others() {
    let server = Tunneld::start().await;
    let (web, home) = (HttpService::start().await, Home::new());
    let edge = server.invite("edge", &["--host", "demo.localhost"]).await;
    let target = web.addr();
    let mut client = home.run(
        &edge,
        &format!(
            "tunnel = [\n\
               {{ name = \"refused\", kind = \"http\", host = \"other\", to = \"{target}\" }},\n\
               {{ name = \"granted\", kind = \"http\", host = \"demo\", to = \"{target}\" }},\n\
             ]\n"
        ),
    );
    server.serves(HOST, SOON).await;
    client.says("NOT_GRANTED", SOON).await;
    assert!(client.is_running());
}

#[tokio::test]
async fn a_refused_login_is_no_reason_to_exit() {
    let server = Tunneld::start().await;
    let (home, ops) = (Home::new(), nobody());
    let join = server.join().replace("tunnel://default:", "tunnel://nobody1:");
    let config = format!("ops = \"{ops}\"\ntunnel = [{{ name = \"a\", kind = \"http\", to = \"3000\" }}]\n");
    let mut client = home.run(&join, &config);
    until("it answers that it is not ready", SOON, async || {
        (readiness(ops).await == Some(503)).then_some(())
    })
    .await;
    client.says("refused the login", SOON).await;
    throughout("it goes on", Duration::from_secs(1), async || client.is_running()).await;

    drop(client);
    let file = home.write("again.toml", &config);
    let fail_fast = ["run", "--config", file.to_str().unwrap(), "--join", &join, "--fail-fast"];
    let done = home.start(&fail_fast).finished(SOON).await;
    assert_eq!(done.code, Some(3), "{}", done.text());
}

#[tokio::test]
async fn a_bad_file_exits_2_and_shows_the_place() {
    let server = Tunneld::start().await;
    for (config, words) in [
        ("tunel = []\n", &["tunel"][..]),
        ("tunnel = [{ name = \"a\", kind = \"htp\", to = \"3000\" }]\n", &["htp"]),
        ("tunnel = [{ name = \"a\", kind = \"http\" }]\n", &["to"]),
        ("tunnel = [{ name = \"a\", kind = \"http\", to = \"not a target\" }]\n", &["not a target"]),
        ("connections = \"two\"\n", &["connections"]),
        ("connections = 0\n", &["connections"]),
        ("tunnel = [\n", &["tunnelc.toml"]),
        (
            "tunnel = [{ name = \"a\", kind = \"http\", to = \"1\" }, { name = \"a\", kind = \"http\", to = \"2\" }]\n",
            &["a"],
        ),
        (
            "forward = [{ name = \"b\", kind = \"http\", listen = \"127.0.0.1:9000\", to = \"10.0.0.5:80\" }]\n",
            &["not the name of a service"],
        ),
    ] {
        let done = Home::new().run(&server.join(), config).finished(SOON).await;
        assert_eq!(done.code, Some(2), "{config}: {}", done.text());
        for word in words {
            assert!(done.text().contains(word), "{config}: {word} in {}", done.text());
        }
    }
}

#[tokio::test]
async fn the_join_string_and_the_servers_can_stand_in_the_file() {
    let server = Tunneld::start().await;
    let (web, home) = (HttpService::start().await, Home::new());
    let join = server.join();
    let nowhere = join.replace(&server.listen().tunnel.to_string(), "tunnel.invalid:7443");
    let join_file = home.write("credential", &format!("{nowhere}\n"));
    std::fs::set_permissions(&join_file, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
    let config = format!(
        "join_file = \"credential\"\nservers = [\"{}\"]\n\
         tunnel = [{{ name = \"demo\", kind = \"http\", host = \"demo\", to = \"{}\" }}]\n",
        server.listen().tunnel,
        web.addr()
    );
    let file = home.write("tunnelc.toml", &config);
    let _client: Program = home.start(&["run", "--config", file.to_str().unwrap()]);
    server.serves(HOST, SOON).await;
}
