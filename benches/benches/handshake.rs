//! What a login costs both ends together: TCP, TLS 1.3 with the pin checked, the proof signed and verified, a session
//! on each side.
#![expect(clippy::unwrap_used, reason = "a bench that fails shows nothing")]

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use criterion::{Criterion, criterion_group, criterion_main};
use ops::spawn::{Placement, Spawner};
use protocol::handshake::{Features, PeerLimits, VERSION, Welcome};
use protocol::id::{ClientId, Generation, InstanceId, SessionId, Slot};
use rustls::ClientConfig;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;
use transport::handshake::{HelloDraft, Incoming, Place, login};
use transport::login_key::{LoginKey, PublicKey};
use transport::session::{ProcessBudget, Session};
use transport::tls::{Trust, client_config, server_config, spki_pin};

/// Who logs in where, made once.
struct Parties {
    acceptor: TlsAcceptor,
    trust: Arc<ClientConfig>,
    key: LoginKey,
    public: PublicKey,
}

fn budget() -> Arc<ProcessBudget> {
    ProcessBudget::new(1 << 30)
}

impl Parties {
    fn new() -> Self {
        let made = rcgen::generate_simple_self_signed(vec!["tunnel.test".into()]).unwrap();
        let certificate: CertificateDer<'static> = made.cert.der().clone();
        let private = PrivateKeyDer::try_from(made.signing_key.serialize_der()).unwrap();
        let pin = spki_pin(&certificate).unwrap();
        let key = LoginKey::from_seed(&[3; 32]).unwrap();
        Self {
            acceptor: server_config(vec![certificate], private).unwrap().into(),
            trust: client_config(&Trust::Pins(vec![pin])).unwrap(),
            public: key.public().unwrap(),
            key,
        }
    }

    async fn dial(&self, to: SocketAddr, spawner: &Spawner) -> Session {
        let stream = TcpStream::connect(to).await.unwrap();
        let draft = HelloDraft {
            takes_parts: true,
            client: ClientId([1; 16]),
            instance: InstanceId([2; 16]),
            slot: Slot(0),
            replaces: None,
            credential: "somebody".parse().unwrap(),
            name: "bench".into(),
            agent: "bench".into(),
        };
        let name = ServerName::try_from("tunnel.test").unwrap();
        let trust = self.trust.clone();
        let place = Place { spawner, worker: spawner.here(), budget: budget() };
        login(stream, name, trust, draft, &self.key, place).await.unwrap().session
    }

    async fn admit(&self, listener: &TcpListener, spawner: &Spawner) -> Session {
        let (stream, _) = listener.accept().await.unwrap();
        let incoming = Incoming::read(stream, &self.acceptor).await.unwrap();
        assert!(self.public.verify(incoming.login_message(), &incoming.hello().proof));
        let welcome = Welcome {
            version: VERSION,
            features: Features::OURS,
            session: SessionId(1),
            generation: Generation(1),
            limits: PeerLimits::OURS,
            domain: "localhost".into(),
        };
        incoming.welcome(welcome, budget(), spawner, spawner.here()).await.unwrap().0
    }
}

fn handshake(c: &mut Criterion) {
    let (spawner, workers) = Spawner::start(1, Placement::PerCore).unwrap();
    let parties = Parties::new();
    let listener = workers.block_on(TcpListener::bind("127.0.0.1:0")).unwrap();
    let addr = listener.local_addr().unwrap();
    c.bench_function("login, both ends", |b| {
        b.iter_custom(|logins| {
            let mut spent = Duration::ZERO;
            for _ in 0..logins {
                workers.block_on(async {
                    let began = Instant::now();
                    let (client, server) =
                        tokio::join!(parties.dial(addr, &spawner), parties.admit(&listener, &spawner));
                    spent += began.elapsed();
                    client.close();
                    server.close();
                    tokio::join!(client.closed(), server.closed());
                });
            }
            spent
        });
    });
    drop(listener);
    workers.shutdown(Duration::from_secs(2));
}

criterion_group!(benches, handshake);
criterion_main!(benches);
