use super::*;

use std::sync::Arc;
use std::time::Duration;

use ops::spawn::{Placement, Spawner};
use protocol::handshake::{Features, PeerLimits, Reject, RejectCode, VERSION, Welcome};
use protocol::id::{ClientId, Generation, InstanceId, SessionId, Slot};
use protocol::join::Pin;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::timeout;
use tokio_rustls::{TlsAcceptor, TlsConnector};

use crate::login_key::LoginKey;
use crate::session::ProcessBudget;
use crate::tls::{Trust, client_config, server_config, spki_pin};

struct Identity {
    certificate: CertificateDer<'static>,
    key: PrivateKeyDer<'static>,
}

impl Identity {
    fn new() -> Self {
        let made = rcgen::generate_simple_self_signed(vec!["tunnel.test".into()]).unwrap();
        Self {
            certificate: made.cert.der().clone(),
            key: PrivateKeyDer::try_from(made.signing_key.serialize_der()).unwrap(),
        }
    }

    fn pin(&self) -> Pin {
        spki_pin(&self.certificate).unwrap()
    }

    fn acceptor(&self) -> TlsAcceptor {
        server_config(vec![self.certificate.clone()], self.key.clone_key()).unwrap().into()
    }
}

fn draft() -> HelloDraft {
    HelloDraft {
        takes_parts: true,
        client: ClientId([1; 16]),
        instance: InstanceId([2; 16]),
        slot: Slot(0),
        replaces: None,
        credential: "somebody".parse().unwrap(),
        name: "here".into(),
        agent: "test/1".into(),
    }
}

fn budget() -> Arc<ProcessBudget> {
    ProcessBudget::new(1 << 30)
}

fn name() -> ServerName<'static> {
    ServerName::try_from("tunnel.test").unwrap()
}

async fn pair() -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let dialled = TcpStream::connect(listener.local_addr().unwrap());
    let (dialled, accepted) = tokio::join!(dialled, listener.accept());
    (dialled.unwrap(), accepted.unwrap().0)
}

fn run<F: Future<Output = ()> + Send + 'static>(test: impl FnOnce(Spawner) -> F) {
    let (spawner, workers) = Spawner::start(1, Placement::PerCore).unwrap();
    let test = test(spawner);
    workers.block_on(async { timeout(Duration::from_secs(20), test).await.unwrap() });
    workers.shutdown(Duration::from_secs(2));
}

fn welcome() -> Welcome {
    Welcome {
        version: VERSION,
        features: Features::OURS,
        session: SessionId(7),
        generation: Generation(8),
        limits: PeerLimits { first_window: 262_144, max_substreams: 100 },
        domain: "localhost".into(),
    }
}

async fn client(
    stream: TcpStream,
    trust: Trust,
    key: LoginKey,
    spawner: Spawner,
) -> Result<LoggedIn, LoginError> {
    let tls = client_config(&trust).unwrap();
    let place = Place { spawner: &spawner, worker: spawner.here(), budget: budget() };
    login(stream, name(), tls, draft(), &key, place).await
}

#[test]
fn a_login_is_proved_and_becomes_a_session() {
    run(|spawner| async move {
        let identity = Identity::new();
        let (dialled, accepted) = pair().await;
        let key = LoginKey::from_seed(&[3; 32]).unwrap();
        let public = key.public().unwrap();
        let trust = Trust::Pins(vec![identity.pin()]);
        let client = spawner.spawn(spawner.here(), "test", client(dialled, trust, key, spawner.clone()));

        let incoming = Incoming::read(accepted, &identity.acceptor()).await.unwrap();
        assert_eq!(incoming.hello().name, "here");
        assert!(public.verify(incoming.login_message(), &incoming.hello().proof));
        let stranger = LoginKey::from_seed(&[4; 32]).unwrap().public().unwrap();
        assert!(!stranger.verify(incoming.login_message(), &incoming.hello().proof));
        let (server, _inbound) =
            incoming.welcome(welcome(), budget(), &spawner, spawner.here()).await.unwrap();
        let mut client = client.await.unwrap().unwrap();
        assert_eq!(client.welcome.session, SessionId(7));
        let mut opened = server.open(bytes::Bytes::from_static(b"hi")).unwrap();
        let mut there = client.inbound.accept().await.unwrap();
        there.write_all(b"ho").await.unwrap();
        let mut answer = [0; 2];
        opened.read_exact(&mut answer).await.unwrap();
        assert_eq!(&answer, b"ho");
    });
}

#[test]
fn a_refusal_says_why() {
    run(|spawner| async move {
        let identity = Identity::new();
        let (dialled, accepted) = pair().await;
        let trust = Trust::Pins(vec![identity.pin()]);
        let key = LoginKey::from_seed(&[3; 32]).unwrap();
        let client = spawner.spawn(spawner.here(), "test", client(dialled, trust, key, spawner.clone()));
        let incoming = Incoming::read(accepted, &identity.acceptor()).await.unwrap();
        let reject = Reject { code: RejectCode::DENIED, text: "who are you?".into(), retry_after: None };
        incoming.reject(reject.clone()).await.unwrap();
        match client.await.unwrap().unwrap_err() {
            LoginError::Rejected(got) => assert_eq!(got, reject),
            other => panic!("{other}"),
        }
    });
}

#[test]
fn a_wrong_key_is_refused_before_anything_is_said() {
    run(|spawner| async move {
        let (identity, expected) = (Identity::new(), Identity::new());
        let (dialled, accepted) = pair().await;
        let trust = Trust::Pins(vec![expected.pin()]);
        let key = LoginKey::from_seed(&[3; 32]).unwrap();
        let client = spawner.spawn(spawner.here(), "test", client(dialled, trust, key, spawner.clone()));
        assert!(Incoming::read(accepted, &identity.acceptor()).await.is_err());
        match client.await.unwrap().unwrap_err() {
            LoginError::WrongKey(mismatch) => {
                assert_eq!(mismatch.got, identity.pin());
                assert_eq!(mismatch.expected, [expected.pin()]);
            }
            other => panic!("{other}"),
        }
    });
}

/// The classic mistake of a pinning client: to check the certificate and not that the peer holds its key.
#[test]
fn the_right_certificate_with_another_key_is_refused() {
    run(|spawner| async move {
        #[derive(Debug)]
        struct Stolen(Arc<rustls::sign::CertifiedKey>);
        impl rustls::server::ResolvesServerCert for Stolen {
            fn resolve(&self, _: rustls::server::ClientHello<'_>) -> Option<Arc<rustls::sign::CertifiedKey>> {
                Some(self.0.clone())
            }
        }
        let (victim, thief) = (Identity::new(), Identity::new());
        let key = crate::tls::provider().key_provider.load_private_key(thief.key.clone_key()).unwrap();
        let stolen = rustls::sign::CertifiedKey::new(vec![victim.certificate.clone()], key);
        let mut config = rustls::ServerConfig::builder_with_provider(crate::tls::provider())
            .with_protocol_versions(&[&rustls::version::TLS13])
            .unwrap()
            .with_no_client_auth()
            .with_cert_resolver(Arc::new(Stolen(Arc::new(stolen))));
        config.alpn_protocols = vec![b"tunnel/1".to_vec()];

        let (dialled, accepted) = pair().await;
        let trust = Trust::Pins(vec![victim.pin()]);
        let key = LoginKey::from_seed(&[3; 32]).unwrap();
        let client = spawner.spawn(spawner.here(), "test", client(dialled, trust, key, spawner.clone()));
        assert!(Incoming::read(accepted, &TlsAcceptor::from(Arc::new(config))).await.is_err());
        let error = client.await.unwrap().unwrap_err();
        assert!(matches!(error, LoginError::Untrusted(_) | LoginError::Tls(_)), "{error}");
    });
}

#[test]
fn a_ca_is_checked_with_its_name() {
    run(|spawner| async move {
        let identity = Identity::new();
        for (roots, good) in [(identity.certificate.clone(), true), (Identity::new().certificate, false)] {
            let (dialled, accepted) = pair().await;
            let key = LoginKey::from_seed(&[3; 32]).unwrap();
            let trust = Trust::Roots(vec![roots]);
            let client = spawner.spawn(spawner.here(), "test", client(dialled, trust, key, spawner.clone()));
            let incoming = Incoming::read(accepted, &identity.acceptor()).await;
            assert_eq!(incoming.is_ok(), good);
            drop(incoming);
            let error = client.await.unwrap().unwrap_err();
            assert_eq!(matches!(error, LoginError::Untrusted(_)), !good, "{error}");
        }
    });
}

async fn speak(
    identity: &Identity,
    alpn: &[u8],
    bytes: &[u8],
) -> (Result<Incoming, HandshakeError>, Vec<u8>) {
    let (dialled, accepted) = pair().await;
    let mut tls = (*client_config(&Trust::Pins(vec![identity.pin()])).unwrap()).clone();
    tls.alpn_protocols = if alpn.is_empty() { vec![] } else { vec![alpn.to_vec()] };
    let peer = async {
        let mut answer = Vec::new();
        if let Ok(mut stream) = TlsConnector::from(Arc::new(tls)).connect(name(), dialled).await {
            stream.write_all(bytes).await.unwrap();
            stream.flush().await.unwrap();
            // The other end may close without a word.
            let _ = stream.read_to_end(&mut answer).await;
        }
        answer
    };
    let acceptor = identity.acceptor();
    tokio::join!(Incoming::read(accepted, &acceptor), peer)
}

#[test]
fn what_is_no_hello_gets_a_typed_refusal() {
    run(|_| async move {
        let identity = Identity::new();
        for bytes in [&[1, 0, 0, 2, 0xff, 0xff][..], &[0x01, 0xff, 0xff, 0xff], b"GET / HTTP/1.1\r\n\r\n"] {
            let (result, answer) = speak(&identity, b"tunnel/1", bytes).await;
            assert!(matches!(result.unwrap_err(), HandshakeError::Malformed(_)), "{bytes:?}");
            let mut answer = BytesMut::from(&answer[..]);
            let frame = frame::decode(&mut answer, 16_384).unwrap().unwrap();
            match protocol::handshake::ServerReply::decode(&frame).unwrap() {
                protocol::handshake::ServerReply::Reject(reject) => {
                    assert_eq!(reject.code, RejectCode::MALFORMED);
                }
                other => panic!("{other:?}"),
            }
        }
    });
}

#[test]
fn without_our_protocol_in_alpn_nothing_is_read() {
    run(|_| async move {
        let identity = Identity::new();
        let (result, answer) = speak(&identity, b"", b"x").await;
        assert!(matches!(result.unwrap_err(), HandshakeError::NoAlpn));
        assert!(answer.is_empty());
        let (result, _) = speak(&identity, b"h2", b"x").await;
        assert!(matches!(result.unwrap_err(), HandshakeError::Io(_)));
    });
}

/// The last words of a session arrive although the peer is sending: closing with unread bytes would be a reset.
#[test]
fn last_words_arrive_on_a_busy_session() {
    run(|spawner| async move {
        for round in 0..20 {
            let identity = Identity::new();
            let (dialled, accepted) = pair().await;
            let key = LoginKey::from_seed(&[3; 32]).unwrap();
            let trust = Trust::Pins(vec![identity.pin()]);
            let client = spawner.spawn(spawner.here(), "test", client(dialled, trust, key, spawner.clone()));
            let incoming = Incoming::read(accepted, &identity.acceptor()).await.unwrap();
            let (server, _inbound) =
                incoming.welcome(welcome(), budget(), &spawner, spawner.here()).await.unwrap();
            let mut client = client.await.unwrap().unwrap();
            let mut words = server.open(bytes::Bytes::from_static(b"hello ")).unwrap();
            let mut heard = client.inbound.accept().await.unwrap();
            let mut bulk = client.session.open(bytes::Bytes::from_static(b"bulk")).unwrap();
            let sending = spawner.spawn(spawner.here(), "test", async move {
                while bulk.write_all(&[0; 65_536]).await.is_ok() {}
            });
            words.write_all(b"goodbye").await.unwrap();
            server.close();
            let mut said = Vec::new();
            // The session dies behind them.
            heard.read_to_end(&mut said).await.unwrap_err();
            assert_eq!(String::from_utf8_lossy(&said), "hello goodbye", "round {round}");
            sending.await.unwrap();
        }
    });
}
