//! What a client's probes find is known at the server: a member without a healthy server goes last, and is shown.

use std::os::unix::net::UnixListener as StdListener;
use std::path::Path;

use tests::program::Program;
use tests::tunnelc::{Home, SESSIONS};
use tests::tunneld::Tunneld;
use tests::visitor;
use tests::wait::{SOON, until};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixListener;
use tokio::task::JoinSet;

const HOST: &str = "app.t.example.com";
/// Of each client its own: both are told the same.
const SOCKET: &str = "/proc/self/cwd/app.sock";

/// A service next to one client, which answers with its name, until it is dropped.
fn service(home: &Path, name: &'static str) -> JoinSet<()> {
    let path = home.join("app.sock");
    let _ = std::fs::remove_file(&path);
    let listener = StdListener::bind(path).unwrap();
    listener.set_nonblocking(true).unwrap();
    let listener = UnixListener::from_std(listener).unwrap();
    let mut serving = JoinSet::new();
    serving.spawn(async move {
        let mut connections = JoinSet::new();
        loop {
            let (mut connection, _) = listener.accept().await.unwrap();
            connections.spawn(async move {
                let (mut head, mut byte) = (Vec::new(), [0]);
                while !head.ends_with(b"\r\n\r\n") {
                    if connection.read(&mut byte).await.unwrap_or(0) == 0 {
                        return;
                    }
                    head.push(byte[0]);
                }
                let answer = format!(
                    "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: {}\r\n\r\n{name}",
                    name.len()
                );
                let _ = connection.write_all(answer.as_bytes()).await;
            });
        }
    });
    serving
}

fn join(home: &Home, join: &str) -> Program {
    home.run(join, &format!("allow = {{ dial = [\"unix:{SOCKET}\"] }}\n"))
}

#[tokio::test]
async fn a_member_whose_servers_are_sick_goes_last_and_is_shown() {
    let config = format!(
        "domain = \"t.example.com\"\n\
         principal = [{{ name = \"edge\", groups = [\"web\"] }}]\n\
         rule = [{{ name = \"app\", host = \"app\", to = \"web/app\" }}]\n\
         [[group]]\nname = \"web\"\n\
         service = [{{ name = \"app\", servers = [{{ address = \"unix:{SOCKET}\" }}], \
         health = {{ kind = \"http\", path = \"/\", interval = \"100ms\", rise = 1, fall = 2 }} }}]\n"
    );
    let server = Tunneld::configured(|_| config, &[]).await;
    let secret = server.invite("edge", &[]).await;
    let homes = [Home::new(), Home::new()];
    let folders = homes.each_ref().map(|home| home.state().parent().unwrap().to_owned());
    let _first = service(&folders[0], "first");
    let second = service(&folders[1], "second");
    let _members = homes.each_ref().map(|home| join(home, &secret));
    server.has_sessions(2 * SESSIONS, SOON).await;
    let states = async || {
        let status = server.status().await;
        let members = status["groups"][0]["members"].as_array().unwrap().clone();
        let mut states: Vec<_> = members
            .iter()
            .map(|member| format!("{} {}", member["state"].as_str().unwrap(), member["servers"][0]["state"]))
            .collect();
        states.sort();
        states
    };
    let are = async |expected: [&str; 2]| {
        until(&format!("members are {expected:?}"), SOON, async || {
            (states().await == expected).then_some(())
        })
        .await;
    };
    let answer = async || visitor::get(server.listen().http, HOST, "/").await;
    are(["ready \"healthy\"", "ready \"healthy\""]).await;
    let mut seen: Vec<String> = Vec::new();
    for _ in 0..4 {
        seen.push(answer().await.text());
    }
    assert!(seen.contains(&"first".to_owned()) && seen.contains(&"second".to_owned()), "{seen:?}");

    drop(second);
    are(["ready \"healthy\"", "sick \"sick\""]).await;
    let shown = server.admin(&["status", "web"]).await;
    assert!(shown.stdout.contains(&format!("app: unix:{SOCKET} sick")), "{}", shown.text());
    let failed = server.metric("tunnel_retries").await;
    for _ in 0..6 {
        let answer = answer().await;
        assert_eq!((answer.status, answer.text().as_str()), (200, "first"));
    }
    let scraped = visitor::get(server.listen().ops, "localhost", "/metrics").await.text();
    assert!(scraped.contains("tunnel_group_members{group=\"web\",state=\"sick\"} 1"), "{scraped}");
    assert!(
        scraped.contains("tunnel_service_servers{group=\"web\",service=\"app\",state=\"sick\"} 1"),
        "{scraped}"
    );
    assert!(
        (server.metric("tunnel_retries").await - failed).abs() < 0.5,
        "somebody asked the sick one first"
    );

    let _second = service(&folders[1], "second");
    are(["ready \"healthy\"", "ready \"healthy\""]).await;
    until("both answer again", SOON, async || (answer().await.text() == "second").then_some(())).await;
}
