//! The server as a service of systemd, as systemd speaks to it and hears it: sockets by name, words to a socket in no file
//! system, and only those of the main process.

use std::io::IoSliceMut;
use std::mem::MaybeUninit;
use std::net::SocketAddr;
use std::os::fd::{AsFd, OwnedFd};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::UnixDatagram;
use std::path::Path;
use std::time::Duration;

use rustix::io::Errno;
use rustix::net::sockopt::set_socket_passcred;
use rustix::net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, recvmsg};
use rustix::process::{Pid, Signal, kill_process};
use tests::fixture::HttpService;
use tests::peer;
use tests::program::{Finished, Program, command, folder};
use tests::tunnelc::Home;
use tests::visitor;
use tests::wait::{SOON, until};

use crate::stage::HOST;

/// What systemd does to start a service: it opens the sockets of its `.socket` units, numbers them from 3, says in the
/// environment how many they are, what they are called and whose, and becomes the program.
const EXECUTOR: &str = r#"
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
me = str(os.getpid())
os.environ.update(LISTEN_FDS=str(len(opened)), LISTEN_PID=me, LISTEN_FDNAMES=names, WATCHDOG_PID=me)
os.execv(program, [program, *arguments])
"#;

/// How often the service has to say that it is alive.
const WATCHDOG: Duration = Duration::from_millis(600);

/// Where systemd listens; what others than the main process say is not heard (`NotifyAccess=main`).
struct Manager {
    socket: UnixDatagram,
    name: String,
    main: Pid,
}

impl Manager {
    fn start() -> Self {
        let name = format!("/tunnel/notify/{}/{:016x}", std::process::id(), rand::random::<u64>());
        let address = std::os::unix::net::SocketAddr::from_abstract_name(&name).unwrap();
        let socket = UnixDatagram::bind_addr(&address).unwrap();
        socket.set_nonblocking(true).unwrap();
        set_socket_passcred(&socket, true).unwrap();
        Self { socket, name, main: Pid::INIT }
    }

    /// The next message, and who said it.
    fn next(&self) -> Option<(Pid, String)> {
        let (mut said, mut space) = ([0; 4096], [MaybeUninit::uninit(); 256]);
        let mut control = RecvAncillaryBuffer::new(&mut space);
        let socket = self.socket.as_fd();
        let received =
            match recvmsg(socket, &mut [IoSliceMut::new(&mut said)], &mut control, RecvFlags::empty()) {
                Ok(received) => received,
                Err(Errno::AGAIN) => return None,
                Err(error) => panic!("{error}"),
            };
        let mut from = None;
        for message in control.drain() {
            match message {
                RecvAncillaryMessage::ScmCredentials(credentials) => from = Some(credentials.pid),
                RecvAncillaryMessage::ScmRights(rights) => drop(rights.collect::<Vec<OwnedFd>>()),
                _ => {}
            }
        }
        Some((from.unwrap(), String::from_utf8(said[..received.bytes].to_vec()).unwrap()))
    }

    /// Waits for a message of the main process that has `field`; its value. The fields before are passed over.
    async fn hears(&mut self, field: &str) -> String {
        let what = format!("{field} of the service");
        let hear = async || {
            while let Some((from, said)) = self.next() {
                let value = said.lines().find_map(|line| line.strip_prefix(field)?.strip_prefix('='));
                if let Some(value) = value.filter(|_| from == self.main) {
                    assert!(said.ends_with('\n'), "{said:?}");
                    return Some((value.to_owned(), said.clone()));
                }
            }
            None
        };
        let ((value, said), _) = until(&what, SOON, hear).await;
        if field == "RELOADING" {
            // Without it systemd takes the reload for failed.
            assert!(said.contains("\nMONOTONIC_USEC="), "{said:?}");
        }
        value
    }
}

/// A service of systemd.
struct Service {
    manager: Manager,
    program: Program,
    home: tempfile::TempDir,
}

impl Service {
    fn start(names: &str, config: &str) -> Self {
        let (home, mut manager) = (tempfile::tempdir().unwrap(), Manager::start());
        let (state, file) = (home.path().join("state"), home.path().join("tunneld.toml"));
        std::fs::write(&file, config).unwrap();
        let mut executor = peer::command("python3");
        executor.args(["-c", EXECUTOR, names]).arg(folder().join("tunneld"));
        executor.arg("--config").arg(file).current_dir(home.path()).env("HOME", home.path());
        executor
            .env("STATE_DIRECTORY", state)
            .env("INVOCATION_ID", "0")
            .env("NOTIFY_SOCKET", format!("@{}", manager.name));
        executor.env("WATCHDOG_USEC", WATCHDOG.as_micros().to_string());
        let program = Program::start(executor);
        manager.main = program.pid();
        Self { manager, program, home }
    }

    async fn port(&self, name: &str) -> SocketAddr {
        let line = self.program.says(&format!("{name} "), SOON).await;
        SocketAddr::from(([127, 0, 0, 1], line.rsplit_once(' ').unwrap().1.parse().unwrap()))
    }

    fn config(&self) -> std::path::PathBuf {
        self.home.path().join("tunneld.toml")
    }
}

async fn tunneld(home: &Path, arguments: &[&str]) -> Finished {
    let mut tunneld = command("tunneld", home);
    tunneld.arg("--state").arg(home.join("state")).args(arguments);
    Program::start(tunneld).finished(SOON).await
}

/// The whole life of a service: start, reload for better and worse, upgrade, stop.
#[tokio::test]
async fn a_service_of_systemd_says_what_it_does_all_its_life() {
    let mut service = Service::start("tunnel:http:ops", "timeouts = { drain = \"3s\" }\n");
    let (http, ops) = (service.port("http").await, service.port("ops").await);
    assert_eq!(service.manager.hears("READY").await, "1");
    assert!(visitor::try_get(ops, "localhost", "/readyz").await.is_ok_and(|answer| answer.status == 200));
    let join = std::fs::read_to_string(service.home.path().join("state/join")).unwrap();
    let (web, client) = (HttpService::start().await, Home::new());
    let _tunnel = client.http(join.trim(), web.addr(), &["--host", "demo"]).await;
    for _ in 0..3 {
        assert_eq!(service.manager.hears("WATCHDOG").await, "1");
    }
    for config in ["timeouts = { drain = \"4s\" }\n", "nonsense\n", "timeouts = { drain = \"4s\" }\n"] {
        std::fs::write(service.config(), config).unwrap();
        service.program.signal(Signal::HUP);
        assert_eq!(service.manager.hears("RELOADING").await, "1");
        assert_eq!(service.manager.hears("READY").await, "1");
    }
    let done = tunneld(service.home.path(), &["upgrade"]).await;
    assert_eq!(done.code, Some(0), "{}", done.text());
    let number: i32 = service.manager.hears("MAINPID").await.parse().unwrap();
    let old = std::mem::replace(&mut service.manager.main, Pid::from_raw(number).unwrap());
    assert_ne!(service.manager.main, old);
    // It has the same sockets, is watched in the place of the old one, and takes over its part entirely.
    assert_eq!(service.manager.hears("WATCHDOG").await, "1");
    assert_eq!(visitor::get(http, HOST, "/").await.status, 200);
    kill_process(service.manager.main, Signal::HUP).unwrap();
    assert_eq!(service.manager.hears("RELOADING").await, "1");
    assert_eq!(service.manager.hears("READY").await, "1");
    assert_eq!(service.program.ended(SOON).await.0.code(), Some(0), "{}", service.program.said());
    assert_eq!(service.manager.hears("WATCHDOG").await, "1");
    kill_process(service.manager.main, Signal::TERM).unwrap();
    assert_eq!(service.manager.hears("STOPPING").await, "1");
    // One that has ended runs no program, whether or not its parent has noticed.
    let program = format!("/proc/{number}/exe");
    let gone = async || std::fs::read_link(&program).is_err().then_some(());
    until("the service has ended", SOON, gone).await;
}

/// What is said to one process is not another one's.
#[tokio::test]
async fn sockets_of_another_process_are_not_taken() {
    let home = tempfile::tempdir().unwrap();
    let mut other = command("tunneld", home.path());
    let flags = ["--tunnel", "127.0.0.1:0", "--http", "127.0.0.1:0", "--ops", "127.0.0.1:0"];
    other.args(flags).arg("--state").arg(home.path().join("state"));
    other.envs([("LISTEN_FDS", "2"), ("LISTEN_PID", "1"), ("LISTEN_FDNAMES", "http:web")]);
    let mut other = Program::start(other);
    let up = async || (tunneld(home.path(), &["status"]).await.code == Some(0)).then_some(());
    until("the server is up", SOON, up).await;
    other.signal(Signal::TERM);
    assert_eq!(other.ended(SOON).await.0.code(), Some(0), "{}", other.said());
}
