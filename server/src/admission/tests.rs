mod certificates;
mod revocations;

use std::net::SocketAddr;
use std::time::{Duration, SystemTime};

use ops::sockets::Sockets;
use ops::spawn::Worker;
use protocol::handshake::{Reject, RejectCode};
use protocol::id::{ClientId, CredentialId, InstanceId, Slot};
use rustls_pki_types::ServerName;
use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;
use tokio::time::timeout;
use transport::handshake::{HelloDraft, LoggedIn, LoginError, Place, login};
use transport::login_key::LoginKey;
use transport::session::ProcessBudget;
use transport::tls::{Trust, client_config};

use super::*;
use crate::fakes::World;
use crate::identity::{NewGrants, ServerKey, Which};
use crate::listeners::bind_port;

/// A server that listens, over a world.
struct Server {
    world: World,
    door: Arc<Door>,
    address: SocketAddr,
    tls: Arc<rustls::ClientConfig>,
    pin: protocol::join::Pin,
}

impl Server {
    fn start() -> Self {
        let world = World::new();
        let key = ServerKey::load_or_create(&world.state, &["localhost".to_owned()]).unwrap();
        let sessions = Context {
            registry: world.registry.clone(),
            metrics: Metrics::new("0"),
            spawner: world.spawner.clone(),
            pulse: Pulse::default(),
        };
        let (drain, alone) = (CancellationToken::new(), CancellationToken::new());
        alone.cancel();
        let budget = ProcessBudget::new(1 << 30);
        let door = Door::new(key.tls.clone(), world.identity.clone(), sessions, budget, drain, alone);
        let door = Arc::new(door);
        let sockets = bind_port(&Sockets::default(), &["127.0.0.1".parse().unwrap()], 0).unwrap();
        let address = sockets[0].local_addr().unwrap();
        let sockets = sockets.iter().map(|socket| socket.try_clone().unwrap()).collect();
        listen(&door, sockets, &CancellationToken::new());
        let tls = client_config(&Trust::Pins(vec![key.pin])).unwrap();
        Self { world, door, address, tls, pin: key.pin }
    }

    async fn log_in(&self, credential: &str, client: u8, key: &LoginKey) -> Result<LoggedIn, LoginError> {
        let draft = HelloDraft {
            takes_parts: true,
            client: ClientId([client; 16]),
            instance: InstanceId([client; 16]),
            slot: Slot(0),
            replaces: None,
            credential: CredentialId::parse(credential).unwrap(),
            name: "laptop".to_owned(),
            agent: "test/0".to_owned(),
        };
        let stream = TcpStream::connect(self.address).await.unwrap();
        let name = ServerName::try_from("localhost").unwrap();
        let place =
            Place { spawner: &self.world.spawner, worker: Worker(0), budget: ProcessBudget::new(1 << 30) };
        login(stream, name, self.tls.clone(), draft, key, place).await
    }

    /// With the right key.
    fn enter(&self, credential: &str, client: u8) -> Result<LoggedIn, LoginError> {
        self.world
            .with_key(credential, |key| self.world.workers.block_on(self.log_in(credential, client, key)))
    }

    /// With a wrong one.
    fn guess(&self, credential: &str) -> Reject {
        let wrong = LoginKey::from_seed(&[9; 32]).unwrap();
        rejected(self.world.workers.block_on(self.log_in(credential, 1, &wrong)))
    }
}

fn rejected(login: Result<LoggedIn, LoginError>) -> Reject {
    match login {
        Err(LoginError::Rejected(reject)) => reject,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_login_is_welcomed_and_known() {
    let server = Server::start();
    let entered = server.enter("bob", 1).unwrap();
    assert_eq!(entered.welcome.domain, "t.example.com");
    // The welcome is sent before the session is known.
    let mut changes = server.world.registry.names().changes();
    server.world.workers.block_on(async {
        while server.world.registry.sessions().is_empty() {
            timeout(Duration::from_secs(5), changes.changed()).await.unwrap().unwrap();
        }
    });
    let live = server.world.registry.sessions().remove(0);
    assert_eq!((live.login.principal.as_str(), live.id), ("bob", entered.welcome.session));
    let used = live.login.means.key.as_ref().unwrap();
    assert!(server.world.identity.book().credential(used).unwrap().last_used.at().is_some());
}

#[test]
fn an_unknown_credential_and_a_wrong_proof_look_the_same() {
    let server = Server::start();
    let (unknown, wrong) = (server.guess("nobody"), server.guess("bob"));
    assert_eq!(unknown, wrong);
    assert_eq!(unknown.code, RejectCode::DENIED);
    assert!(server.world.registry.sessions().is_empty());
}

#[test]
fn who_fails_too_often_waits_and_nobody_else_does() {
    let server = Server::start();
    let first_ban = (0..20).map(|_| server.guess("bob")).find(|reject| reject.code != RejectCode::DENIED);
    let ban = first_ban.unwrap();
    assert_eq!(ban.code, RejectCode::THROTTLED);
    assert!(ban.retry_after.is_some_and(|wait| wait > Duration::from_secs(50)));
    assert_eq!(rejected(server.enter("bob", 1)).code, RejectCode::THROTTLED);
    assert!(server.enter("eve", 2).is_ok());
}

#[test]
fn an_expired_credential_is_told_so() {
    let server = Server::start();
    server.world.invite("old", &[], &[], &[], &[], Some(SystemTime::now()));
    assert_eq!(rejected(server.enter("old", 1)).code, RejectCode::EXPIRED);
    assert_eq!(server.guess("old").code, RejectCode::DENIED);
}

#[test]
fn a_revoked_credential_is_unknown() {
    let server = Server::start();
    server.world.identity.change(|book| book.revoke("bob", &Which::All, 1)).unwrap();
    assert_eq!(rejected(server.enter("bob", 1)), server.guess("nobody"));
}

#[test]
fn the_quota_of_sessions_is_told() {
    let server = Server::start();
    server.world.invite("bob", &[], &[], &[], &["sessions=1".to_owned()], None);
    let _kept = server.world.client("bob", 1, 1);
    let reject = rejected(server.enter("bob", 2));
    assert_eq!(reject.code, RejectCode::OVER_QUOTA);
    assert!(reject.text.contains("1 session"), "{}", reject.text);
}

#[test]
fn a_draining_server_lets_nobody_in() {
    let server = Server::start();
    // The listener goes with the drain; whoever was accepted before is told.
    let (ours, theirs) = server.world.workers.block_on(async {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        (listener.accept().await.unwrap(), client)
    });
    server.door.drain.cancel();
    let draft = HelloDraft {
        takes_parts: true,
        client: ClientId([1; 16]),
        instance: InstanceId([1; 16]),
        slot: Slot(0),
        replaces: None,
        credential: CredentialId::parse("bob").unwrap(),
        name: String::new(),
        agent: String::new(),
    };
    let name = ServerName::try_from("localhost").unwrap();
    let (tls, spawner) = (server.tls.clone(), &server.world.spawner);
    let stream = ours.0.into_std().unwrap();
    let reject = server.world.with_key("bob", |key| {
        server.world.workers.block_on(async {
            let place = Place { spawner, worker: Worker(0), budget: ProcessBudget::new(1 << 30) };
            let client = login(theirs, name, tls, draft, key, place);
            let entered = server.door.lobby.enter(ours.1.ip(), Instant::now()).unwrap();
            let deciding = login::run(&server.door, &entered.place, stream, ours.1);
            let (let_in, answer) = tokio::join!(deciding, client);
            assert!(let_in.is_none());
            rejected(answer)
        })
    });
    assert_eq!(reject.code, RejectCode::DRAINING);
    assert!(reject.retry_after.is_some());
}

#[test]
fn who_can_not_be_bound_for_the_disks_sake_is_to_come_again() {
    let server = Server::start();
    let world = &server.world;
    let id = CredentialId::parse("bob").unwrap();
    let mut once = world.identity.book().credential(&id).unwrap().clone();
    once.once = true;
    world.identity.change(|book| book.invite(NewGrants::default(), once)).unwrap();

    assert!(world.state.hand_over(Duration::from_secs(1)));
    let reject = rejected(server.enter("bob", 1));
    assert_eq!(reject.code, RejectCode::DRAINING);
    assert!(reject.retry_after.is_some());
    world.state.take_back();

    // A folder in the place of the file: it can not be written.
    let file = world.state.path().join("credentials.json");
    std::fs::remove_file(&file).unwrap();
    std::fs::create_dir(&file).unwrap();
    let reject = rejected(server.enter("bob", 1));
    assert_eq!(reject.code, RejectCode::BUSY);
    assert!(reject.retry_after.is_some());
    std::fs::remove_dir(&file).unwrap();

    assert!(server.enter("bob", 1).is_ok());
    assert_eq!(rejected(server.enter("bob", 2)).code, RejectCode::DENIED);
}

#[test]
fn silent_connections_keep_nobody_out() {
    let server = Server::start();
    let mut silent: Vec<TcpStream> = server.world.workers.block_on(async {
        let mut silent = Vec::new();
        for _ in 0..3 * UNAUTHENTICATED_PER_ADDRESS {
            silent.push(TcpStream::connect(server.address).await.unwrap());
        }
        silent
    });
    assert!(server.enter("eve", 1).is_ok());
    // The oldest had to go for it, long before its time was over.
    let closed =
        server.world.workers.block_on(async { timeout(Duration::from_secs(3), silent[0].read_u8()).await });
    assert!(closed.is_ok());
}

#[test]
fn a_shut_door_keeps_clients_waiting_and_sends_those_elsewhere_who_came_by_another_listener() {
    let server = Server::start();
    let (elsewhere, mut sent) = mpsc::channel(1);
    server.door.shut(elsewhere);
    server.world.with_key("bob", |key| {
        server.world.workers.block_on(async {
            let mut login = std::pin::pin!(server.log_in("bob", 1, key));
            let waits = timeout(Duration::from_millis(200), &mut login).await;
            assert!(waits.is_err(), "it is neither let in nor refused");
            let other = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
            let client = TcpStream::connect(other.local_addr().unwrap()).await.unwrap();
            take(&server.door, other.accept().unwrap().0, client.local_addr().unwrap());
            let (_, peer) = timeout(Duration::from_secs(5), sent.recv()).await.unwrap().unwrap();
            assert_eq!(peer, client.local_addr().unwrap());
            server.door.open();
            timeout(Duration::from_secs(5), login).await.unwrap().unwrap();
        });
    });
}
