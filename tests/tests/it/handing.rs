//! What goes wrong while a server hands over to another process, and what the old one has to do after it.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use futures_util::{SinkExt, StreamExt};
use rustix::process::{Pid, Signal, kill_process};
use tests::fixture::{HttpService, TcpService};
use tests::program::{Finished, Program, command, folder};
use tests::tunnelc::Home;
use tests::tunneld::Tunneld;
use tests::visitor::{self, Raw, empty, request, websocket};
use tests::wait::{SOON, promised, until, within};
use tokio::net::TcpStream;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;

use crate::stage::HOST;

/// Of an upgrade that fails for want of an answer.
const SLOW: Duration = Duration::from_secs(30);

/// A server that will be upgraded to a program that says its number and nothing else.
async fn with_a_silent_heir() -> Tunneld {
    let server = Tunneld::installed(|_| String::new()).await;
    server.install("echo $$ > candidate.new; mv candidate.new candidate; exec sleep 600");
    server
}

/// The folder that shows the silent program for as long as there is anything left of it.
async fn heir(server: &Tunneld) -> PathBuf {
    let said = async || std::fs::read_to_string(server.home().join("candidate")).ok();
    let number = until("the next process is there", SOON, said).await.0;
    Path::new("/proc").join(number.trim())
}

async fn upgrade(server: &Tunneld) -> Finished {
    let mut tunneld = command("tunneld", server.home());
    tunneld.arg("--state").arg(server.state()).arg("upgrade");
    Program::start(tunneld).finished(SLOW).await
}

/// What is in the state directory and was not finished.
fn unfinished(server: &Tunneld) -> Vec<String> {
    let entries = std::fs::read_dir(server.state()).unwrap().map(|entry| entry.unwrap().file_name());
    entries.map(|name| name.into_string().unwrap()).filter(|name| name.starts_with('.')).collect()
}

type Socket = WebSocketStream<TcpStream>;

async fn echoes(socket: &mut Socket) {
    socket.send(Message::text("x")).await.unwrap();
    assert_eq!(within("the echo", SOON, socket.next()).await.unwrap().unwrap(), Message::text("x"));
}

async fn ends(socket: &mut Socket, limit: Duration) {
    let end = within("the end of the socket", limit, socket.next()).await;
    assert!(!matches!(end, Some(Ok(Message::Text(_)))), "{end:?}");
}

#[tokio::test]
async fn a_server_that_is_told_to_stop_while_it_hands_over_leaves_nothing_behind() {
    let mut server = with_a_silent_heir().await;
    let (service, home) = (HttpService::start().await, Home::new());
    let _tunnel = home.http(&server.join(), service.addr(), &["--host", "demo"]).await;
    server.program.signal(Signal::USR2);
    let heir = heir(&server).await;
    // Whoever comes second hears that, and what would change something has to wait. Visitors do not.
    server.program.signal(Signal::USR2);
    server.program.says("SIGUSR2: another upgrade is under way", SOON).await;
    let second = upgrade(&server).await;
    assert_eq!(second.code, Some(1), "{}", second.text());
    assert!(second.stderr.contains("another upgrade is under way"), "{}", second.text());
    let invite = server.admin(&["invite", "bob"]).await;
    assert!(invite.code == Some(1) && invite.stderr.contains("is being upgraded"), "{}", invite.text());
    assert_eq!(server.visit(HOST, "/").await, 200);
    assert!(heir.exists());
    server.program.signal(Signal::TERM);
    let (status, _) = server.program.ended(SOON).await;
    assert_eq!(status.code(), Some(0), "{}", server.program.said());
    assert!(!heir.exists(), "an orphan");
    assert_eq!(unfinished(&server), [""; 0]);
    // Told to upgrade and to stop at once, it has the last word in its state directory, whichever it hears first.
    std::fs::remove_file(server.home().join("candidate")).unwrap();
    server.install_again();
    server.start_again().await;
    server.serves(HOST, SOON).await;
    let slow = visitor::try_send(server.listen().http, request("GET", HOST, "/slow?ms=1500", empty()));
    let signals = async {
        let there = async || (service.tally().get(|tally| &tally.waiting) == 1).then_some(());
        until("a request keeps it busy", SOON, there).await;
        server.program.signal(Signal::USR2);
        server.program.signal(Signal::TERM);
        server.program.says("SIGTERM: draining", SOON).await;
        std::fs::remove_file(server.state().join("names.json")).unwrap();
    };
    let (slow, ()) = tokio::join!(slow, signals);
    assert_eq!(slow.unwrap().status, 200);
    let (status, _) = server.program.ended(SOON).await;
    assert_eq!(status.code(), Some(0), "{}", server.program.said());
    assert!(server.state().join("names.json").exists(), "names are kept for the next start");
}

/// The number of the process that was started last, once there are so many.
async fn started(server: &Tunneld, count: usize) -> Pid {
    let lines = async || {
        let said = server.program.said();
        let lines: Vec<_> = said.lines().filter(|line| line.contains("\"message\":\"upgrading\"")).collect();
        let line = lines.get(count - 1)?.split_once("\"process\":")?.1;
        let digits: String = line.chars().take_while(char::is_ascii_digit).collect();
        Pid::from_raw(digits.parse().ok()?)
    };
    until("another process is started", SOON, lines).await.0
}

/// While clients move, both processes are there, and each of them may be told to stop.
#[tokio::test]
async fn whichever_is_told_to_stop_while_clients_move_stops() {
    let (mut server, service) = (Tunneld::start().await, HttpService::start().await);
    let homes = [Home::new(), Home::new()];
    let _tunnel = homes[0].http(&server.join(), service.addr(), &["--host", "demo"]).await;
    let away = homes[1].http(&server.join(), service.addr(), &["--host", "away"]).await;
    let mut socket = websocket(server.listen().http, HOST, "/ws").await.unwrap();
    echoes(&mut socket).await;
    // It is waited for.
    away.program.signal(Signal::STOP);
    server.program.signal(Signal::USR2);
    let new = started(&server, 1).await;
    let logged_in = async || (server.program.said().matches("session began").count() >= 6).then_some(());
    until("the other client is at the new process", SOON, logged_in).await;
    kill_process(new, Signal::TERM).unwrap();
    let line = server.program.says("no upgrade: this process goes on", SOON).await;
    assert!(line.contains("it was told to stop"), "{line}");
    let is_there = |process: Pid| Path::new("/proc").join(process.as_raw_nonzero().to_string()).exists();
    assert!(!is_there(new));
    // It has nowhere else to go, and what it carried meanwhile it carries still.
    let back = async || (server.program.said().matches("session began").count() >= 8).then_some(());
    until("the other client is back", SOON, back).await;
    echoes(&mut socket).await;
    drop(socket);
    server.serves(HOST, SOON).await;
    server.invite("bob", &[]).await;
    server.program.signal(Signal::USR2);
    let new = started(&server, 2).await;
    let serving = async || (server.program.said().matches("tunneld is ready").count() == 3).then_some(());
    until("the next one is ready", SOON, serving).await;
    server.program.signal(Signal::TERM);
    let (status, _) = server.program.ended(SOON).await;
    assert_eq!(status.code(), Some(0), "{}", server.program.said());
    assert!(!is_there(new), "an orphan");
    assert_eq!(unfinished(&server), [""; 0]);
    server.start_again().await;
    assert!(server.admin(&["principals"]).await.stdout.contains("bob"));
}

/// To shut somebody out does not wait until others have moved.
#[tokio::test]
async fn a_revocation_comes_before_an_upgrade() {
    let (server, service) = (Tunneld::start().await, HttpService::start().await);
    let homes = [Home::new(), Home::new()];
    let (_bob, mut bobs) = held(&server, &homes[0], service.addr(), "bob", &[]).await;
    let (eve, mut eves) = held(&server, &homes[1], service.addr(), "eve", &[]).await;
    // It is waited for.
    eve.signal(Signal::STOP);
    server.program.signal(Signal::USR2);
    let new = started(&server, 1).await;
    let sessions = async |count| {
        let there = async || (server.program.said().matches("session began").count() >= count).then_some(());
        until("the other client is there", SOON, there).await;
    };
    sessions(6).await;
    let revoked = server.admin(&["revoke", "eve"]).await;
    assert_eq!(revoked.code, Some(0), "{}", revoked.text());
    ends(&mut eves, promised(Duration::from_secs(2))).await;
    let line = server.program.says("no upgrade: this process goes on", SOON).await;
    assert!(line.contains("shut out"), "{line}");
    assert!(!Path::new("/proc").join(new.as_raw_nonzero().to_string()).exists());
    sessions(8).await;
    echoes(&mut bobs).await;
    server.serves("bob.localhost", SOON).await;
}

#[tokio::test]
async fn a_process_that_does_not_come_up_in_time_is_ended_and_the_old_one_goes_on() {
    let mut server = with_a_silent_heir().await;
    let (service, home) = (HttpService::start().await, Home::new());
    let _tunnel = home.http(&server.join(), service.addr(), &["--host", "demo"]).await;
    let failed = upgrade(&server).await;
    assert_eq!(failed.code, Some(1), "{}", failed.text());
    for part in ["the old process goes on", "not ready within 10 s"] {
        assert!(failed.stderr.contains(part), "{}", failed.text());
    }
    assert!(!heir(&server).await.exists(), "it is ended, and somebody has heard of its end");
    assert_eq!(server.visit(HOST, "/").await, 200);
    server.invite("bob", &[]).await;
    server.install_again();
    assert_eq!(server.upgrade().await["moved"], 1);
    assert_eq!(server.visit(HOST, "/").await, 200);
}

/// Its queue would fill with connections that nobody takes.
#[tokio::test]
async fn a_port_that_the_next_process_does_not_listen_at_refuses_at_once() {
    let echo = TcpService::echo().await;
    let service =
        format!("service = [{{ name = \"echo\", servers = [{{ address = \"{}\" }}] }}]\n", echo.addr());
    let listener = "tcp = [{ listen = \"127.0.0.1:0\", to = \"echo\" }]\n";
    let mut server = Tunneld::installed(|_| service.clone() + listener).await;
    let port = server.ingress(0).await;
    let mut held = Raw::open(port).await;
    held.send("one").await;
    assert_eq!(held.exactly(3).await, b"one");
    std::fs::write(server.home().join("next.toml"), &service).unwrap();
    server.install(&format!("cp next.toml tunneld.toml; exec {} \"$@\"", folder().join("tunneld").display()));
    server.upgrade().await;
    let refused = TcpStream::connect(port).await.map(drop).unwrap_err();
    assert_eq!(refused.kind(), std::io::ErrorKind::ConnectionRefused);
    let said = server.program.says("nothing listens there any more", SOON).await;
    assert!(said.contains(&port.to_string()), "{said}");
    held.send("two").await;
    assert_eq!(held.exactly(3).await, b"two");
    assert!(server.program.is_running(), "the old process has what it had");
}

/// A client that never gives up, with a socket through it at the process that is there.
async fn held(
    server: &Tunneld,
    home: &Home,
    service: SocketAddr,
    name: &str,
    more: &[&str],
) -> (Program, Socket) {
    let host = format!("{name}.localhost");
    let join = server.invite(name, &[&["--host", name], more].concat()).await;
    let tunnel =
        format!("[[tunnel]]\nname = \"{name}\"\nkind = \"http\"\nhost = \"{name}\"\nto = \"{service}\"\n");
    let client = home.run(&join, &tunnel);
    server.serves(&host, SOON).await;
    let mut socket = websocket(server.listen().http, &host, "/ws").await.unwrap();
    echoes(&mut socket).await;
    (client, socket)
}

#[tokio::test]
async fn a_credential_that_ends_ends_at_the_old_process_too() {
    let (mut server, service, home) = (Tunneld::start().await, HttpService::start().await, Home::new());
    let began = Instant::now();
    let (_client, mut socket) = held(&server, &home, service.addr(), "bob", &["--expires", "8s"]).await;
    server.upgrade().await;
    echoes(&mut socket).await;
    ends(&mut socket, SOON).await;
    let lived = began.elapsed();
    assert!(lived < promised(Duration::from_secs(12)), "{lived:?}");
    assert!(server.program.is_running());
    // Two sessions by each.
    let all =
        async || (server.program.said().matches("the credential has expired").count() == 4).then_some(());
    until("both processes have ended its sessions", SOON, all).await;
}

/// What the new process writes is all that the old one hears of it.
#[tokio::test]
async fn a_process_that_can_not_know_who_is_revoked_lets_nobody_stay() {
    let (mut server, service) = (Tunneld::start().await, HttpService::start().await);
    let homes = [Home::new(), Home::new()];
    let (_bob, mut bobs) = held(&server, &homes[0], service.addr(), "bob", &[]).await;
    let (_eve, mut eves) = held(&server, &homes[1], service.addr(), "eve", &[]).await;
    server.upgrade().await;
    let book = server.state().join("credentials.json");
    std::fs::write(&book, "damaged").unwrap();
    let unknown = "what was revoked is not known here";
    server.program.says(unknown, SOON).await;
    // It tries again, and finds a book that is whole.
    assert_eq!(server.admin(&["revoke", "eve"]).await.code, Some(0));
    ends(&mut eves, promised(Duration::from_secs(2))).await;
    echoes(&mut bobs).await;
    std::fs::write(&book, "damaged").unwrap();
    let damaged = Instant::now();
    ends(&mut bobs, SOON).await;
    let lived = damaged.elapsed();
    assert!(lived > Duration::from_secs(3) && lived < promised(Duration::from_secs(8)), "{lived:?}");
    server.program.says("all sessions of this process end", SOON).await;
    server.serves("bob.localhost", SOON).await;
    let (status, _) = server.program.ended(SOON).await;
    assert_eq!(status.code(), Some(0), "with nothing left it ends");
}
