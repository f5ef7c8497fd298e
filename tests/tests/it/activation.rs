//! Sockets that the service manager has opened before the server began.

use std::net::SocketAddr;
use std::path::Path;

use rustix::process::Signal;
use tests::fixture::HttpService;
use tests::peer;
use tests::program::{Finished, Program, command, folder};
use tests::tunnelc::Home;
use tests::visitor;
use tests::wait::{SOON, until};
use tokio::net::TcpStream;

use crate::stage::HOST;

/// What systemd does with a `.socket` unit: opens sockets by name, says where they are, and becomes the service.
const MANAGER: &str = r#"
import fcntl, os, socket, sys
names, program, *arguments = sys.argv[1:]
opened = []
for name in names.split(":"):
    listener = socket.socket()
    listener.bind(("127.0.0.1", 0))
    listener.listen(64)
    print(name, listener.getsockname()[1], flush=True)
    opened.append(fcntl.fcntl(listener, fcntl.F_DUPFD, 100))
for number, descriptor in enumerate(opened):
    os.dup2(descriptor, 3 + number)
    os.close(descriptor)
os.environ.update(LISTEN_FDS=str(len(opened)), LISTEN_PID=str(os.getpid()), LISTEN_FDNAMES=names)
os.execv(program, [program, *arguments])
"#;

/// `tunneld` with sockets of these names.
fn start(home: &Path, names: &str, flags: &[&str]) -> Program {
    let mut manager = peer::command("python3");
    manager.args(["-c", MANAGER, names]).arg(folder().join("tunneld"));
    manager.arg("--state").arg(home.join("state")).args(flags).env("HOME", home).current_dir(home);
    Program::start(manager)
}

async fn port(program: &Program, name: &str) -> SocketAddr {
    let line = program.says(&format!("{name} "), SOON).await;
    SocketAddr::from(([127, 0, 0, 1], line.rsplit_once(' ').unwrap().1.parse().unwrap()))
}

async fn admin(home: &Path, arguments: &[&str]) -> Finished {
    let mut tunneld = command("tunneld", home);
    tunneld.arg("--state").arg(home.join("state")).args(arguments);
    Program::start(tunneld).finished(SOON).await
}

#[tokio::test]
async fn named_sockets_are_the_listeners_and_connections_wait_for_the_server() {
    let home = tempfile::tempdir().unwrap();
    let mut server = start(home.path(), "tunnel:http:ops", &[]);
    let [tunnel, http, ops] =
        [port(&server, "tunnel").await, port(&server, "http").await, port(&server, "ops").await];
    // Nobody accepts yet, and nobody is refused.
    let early = TcpStream::connect(http).await.unwrap();
    let up = async || (admin(home.path(), &["status"]).await.code == Some(0)).then_some(());
    until("the server is up", SOON, up).await;
    let status = admin(home.path(), &["status", "--json"]).await;
    for address in [tunnel, http, ops] {
        assert!(status.stdout.contains(&address.to_string()), "{address}: {}", status.stdout);
    }
    let service = HttpService::start().await;
    let join = std::fs::read_to_string(home.path().join("state/join")).unwrap();
    assert!(join.contains(&tunnel.port().to_string()), "{join}");
    let client = Home::new();
    let _tunnel = client.http(join.trim(), service.addr(), &["--host", "demo"]).await;
    assert_eq!(visitor::get(http, HOST, "/").await.status, 200);
    let mut early = visitor::Visitor::over(early).await.unwrap();
    let asked = visitor::request("GET", HOST, "/", visitor::empty());
    assert_eq!(early.whole(asked).await.unwrap().status, 200);
    assert!(visitor::try_get(ops, "localhost", "/readyz").await.is_ok_and(|answer| answer.status == 200));
    server.signal(Signal::TERM);
    assert_eq!(server.ended(SOON).await.0.code(), Some(0), "{}", server.said());
}

#[tokio::test]
async fn a_socket_that_is_no_listeners_is_refused_with_what_to_do() {
    let home = tempfile::tempdir().unwrap();
    let flags = ["--tunnel", "127.0.0.1:0", "--http", "127.0.0.1:0", "--ops", "127.0.0.1:0"];
    let done = start(home.path(), "http:web", &flags).finished(SOON).await;
    assert_eq!(done.code, Some(2), "{}", done.text());
    for part in ["called \"web\"", "FileDescriptorName=tunnel, http, https or ops"] {
        assert!(done.stderr.contains(part), "{part}: {}", done.stderr);
    }
    let done = start(home.path(), "http", &["--http", "127.0.0.1:1"]).finished(SOON).await;
    assert_eq!(done.code, Some(2), "{}", done.text());
    assert!(done.stderr.contains("write the same address in both places"), "{}", done.stderr);
}
