//! Clients that log in honestly and then misbehave: it costs them their session, and nobody else anything.

use bytes::{Bytes, BytesMut};
use futures_util::future::join_all;
use ops::spawn::Spawner;
use protocol::code::Code;
use protocol::control::{Control, Register, Registration, RegistrationKind};
use protocol::exchange::Message;
use protocol::frame::FrameType;
use protocol::id::{ClientId, InstanceId, Slot};
use protocol::join::JoinString;
use protocol::request::{Head, Kind, Status};
use rustls::pki_types::ServerName;
use tests::tunnelc::SESSIONS;
use tests::wait::{SOON, within};
use tests::wire::frame;
use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;
use transport::handshake::{HelloDraft, LoggedIn, Place, login};
use transport::login_key::LoginKey;
use transport::session::ProcessBudget;
use transport::tls::{Trust, client_config};

use crate::stage::{Web, with_spawner};

async fn honest_login(join: &str, spawner: &Spawner) -> LoggedIn {
    let join: JoinString = join.parse().unwrap();
    let stream = TcpStream::connect((join.address.host(), join.address.port())).await.unwrap();
    let draft = HelloDraft {
        takes_parts: true,
        client: ClientId(rand::random()),
        instance: InstanceId(rand::random()),
        slot: Slot(0),
        replaces: None,
        credential: join.credential.clone(),
        name: "hostile".into(),
        agent: "tests".into(),
    };
    let tls = client_config(&Trust::Pins(join.pins.clone())).unwrap();
    let key = LoginKey::from_seed(join.secret.expose()).unwrap();
    let name = ServerName::try_from("tunnel.invalid").unwrap();
    let place = Place { spawner, worker: spawner.here(), budget: ProcessBudget::new(1 << 30) };
    login(stream, name, tls, draft, &key, place).await.unwrap()
}

fn heartbeat() -> Bytes {
    let mut out = BytesMut::new();
    Control::Heartbeat(protocol::control::Heartbeat { nonce: 1 }).encode(&mut out).unwrap();
    out.freeze()
}

#[test]
fn bad_control_messages_end_that_session_alone() {
    with_spawner(async |spawner| {
        let web = Web::up().await;
        let register = FrameType::REGISTER.0;
        for (what, bytes) in [
            ("an oversized message", frame(register, 64 * 1024 + 1, b"")),
            ("a message of zeros", frame(register, 8, &[0xff; 8])),
            ("an unknown message that must be known", frame(0x2f, 0, b"")),
            ("a handshake frame", frame(FrameType::HELLO.0, 0, b"")),
            ("noise", vec![0x5a; 300]),
            ("nothing at all", Vec::new()),
        ] {
            let LoggedIn { session, inbound: _inbound, .. } = honest_login(&web.server.join(), spawner).await;
            let control = (!bytes.is_empty()).then(|| session.open(bytes.into()).unwrap());
            within(&format!("the end of the session after {what}"), SOON, session.closed()).await;
            if let Some(mut control) = control {
                let mut said = Vec::new();
                let _ = within("the control substream's end", SOON, control.read_to_end(&mut said)).await;
            }
            assert_eq!(web.get("/").await.status, 200, "after {what}");
        }
        web.server.has_sessions(SESSIONS, SOON).await;
    });
}

#[test]
fn messages_of_a_later_version_are_passed_over() {
    with_spawner(async |spawner| {
        let web = Web::up().await;
        let LoggedIn { session, inbound: _inbound, .. } = honest_login(&web.server.join(), spawner).await;
        let bytes = [&frame(0xf0, 5, b"later")[..], &heartbeat()].concat();
        let mut control = session.open(bytes.into()).unwrap();
        let mut header = [0; 4];
        within("an answer to the heartbeat", SOON, control.read_exact(&mut header)).await.unwrap();
        assert_eq!(header[0], FrameType::HEARTBEAT_ACK.0);
        assert!(!session.is_closed());
    });
}

#[test]
fn what_a_client_may_not_reach_is_refused_and_the_session_lives() {
    with_spawner(async |spawner| {
        let web = Web::up().await;
        let LoggedIn { session, inbound: _inbound, .. } = honest_login(&web.server.join(), spawner).await;
        let _control = session.open(heartbeat()).unwrap();
        for name in ["billing", "~/0", "web/app"] {
            let mut out = BytesMut::new();
            let head =
                Head { kind: Kind::Tcp, name: name.parse().unwrap(), visitor: None, ingress: 0, trace: None };
            head.encode(&mut out).unwrap();
            let mut substream = session.open(out.freeze()).unwrap();
            let mut answer = Vec::new();
            within("an answer", SOON, substream.read_to_end(&mut answer)).await.unwrap();
            match Message::decode(&mut BytesMut::from(&answer[..])).unwrap() {
                Some(Message::Status(Status::Refused { code, .. })) => {
                    assert!([Code::NOT_ALLOWED, Code::UNKNOWN_SERVICE].contains(&code), "{name}: {code:?}");
                }
                other => panic!("{name}: {other:?}"),
            }
        }
        assert!(!session.is_closed());
    });
}

#[test]
fn half_said_requests_are_given_up() {
    with_spawner(async |spawner| {
        let web = Web::up().await;
        let LoggedIn { session, inbound: _inbound, .. } = honest_login(&web.server.join(), spawner).await;
        let _control = session.open(heartbeat()).unwrap();
        let half = Bytes::from(frame(FrameType::HEAD.0, 40, b"half"));
        let opened: Vec<_> = (0..20).map(|_| session.open(half.clone())).collect();
        let ends = opened.into_iter().map(|substream| async {
            let mut substream = substream.unwrap();
            within("an end", SOON, substream.read_to_end(&mut Vec::new())).await
        });
        join_all(ends).await;
        assert_eq!(web.get("/").await.status, 200);
    });
}

#[test]
fn names_that_are_no_names_are_refused_one_by_one() {
    with_spawner(async |spawner| {
        let web = Web::up().await;
        let LoggedIn { session, inbound: _inbound, .. } = honest_login(&web.server.join(), spawner).await;
        let hosts = ["..", "a b", "*", "xn--", "-a", "a.b.c.localhost", "ü"];
        let items = hosts.iter().zip(1..).map(|(host, id)| Registration {
            id,
            name: format!("t{id}"),
            kind: RegistrationKind::Http { host: Some((*host).to_owned()) },
            group: None,
            allow: Vec::new(),
        });
        let mut out = BytesMut::new();
        Control::Register(Register { items: items.collect() }).encode(&mut out).unwrap();
        let mut control = session.open(out.freeze()).unwrap();
        let mut answer = BytesMut::new();
        let registered = async {
            loop {
                if let Some(frame) = protocol::frame::decode(&mut answer, 64 * 1024).unwrap()
                    && let Some(Control::Registered(registered)) = Control::decode(&frame).unwrap()
                {
                    return registered;
                }
                assert_ne!(control.read_buf(&mut answer).await.unwrap(), 0, "the session ended");
            }
        };
        let registered = within("an answer", SOON, registered).await;
        assert_eq!(registered.results.len(), hosts.len());
        for (result, host) in registered.results.iter().zip(hosts) {
            let refused = matches!(result.outcome, protocol::control::Outcome::Refused { .. });
            assert!(refused || host == "a.b.c.localhost", "{host:?}: {result:?}");
        }
    });
}
