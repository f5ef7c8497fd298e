//! D30: a server that is not to be trusted asks a client for what it was not given. Nothing is dialled that its user has
//! not listed.

use std::net::SocketAddr;

use bytes::{Bytes, BytesMut};
use ops::spawn::Spawner;
use protocol::code::Code;
use protocol::control::{
    Control, Outcome, Part, PartAnswer, PartId, Parts, Registered, RegistrationAnswer, WholePart,
};
use protocol::exchange::{Message, RequestHead, Scheme};
use protocol::frame;
use protocol::handshake::{PeerLimits, Welcome};
use protocol::id::{Generation, SessionId};
use protocol::join::{JoinString, Secret32};
use protocol::limits::CONTROL_FRAME_MAX;
use protocol::request::{Head, Kind, Status};
use rustls::pki_types::PrivateKeyDer;
use serde_json::{Value, json};
use tests::fixture::{Ending, Scripted};
use tests::tunnelc::Home;
use tests::wait::{SOON, within};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;
use transport::digest::sha256;
use transport::handshake::Incoming;
use transport::session::{Inbound, ProcessBudget, Session, Substream};
use transport::tls::{server_config, spki_pin};

use crate::stage::with_spawner;

/// What the hostile server and its victim say to each other.
struct Hostile {
    session: Session,
    control: Substream,
    read: BytesMut,
    _inbound: Inbound,
}

/// Where a client dials that falls for it.
struct Trap {
    listener: TcpListener,
    acceptor: TlsAcceptor,
    join: String,
}

impl Trap {
    async fn set() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let made = rcgen::generate_simple_self_signed(vec!["hostile.test".into()]).unwrap();
        let certificate = made.cert.der().clone();
        let join = JoinString {
            credential: "victim".parse().unwrap(),
            secret: Secret32::new(rand::random()),
            address: listener.local_addr().unwrap().to_string().parse().unwrap(),
            pins: vec![spki_pin(&certificate).unwrap()],
        };
        let key = PrivateKeyDer::try_from(made.signing_key.serialize_der()).unwrap();
        let acceptor = server_config(vec![certificate], key).unwrap().into();
        Self { listener, acceptor, join: join.to_string() }
    }

    /// Lets the client in, whoever it is, and grants all that it asks for.
    async fn springs(&self, spawner: &Spawner) -> Hostile {
        let (stream, _) = within("a client", SOON, self.listener.accept()).await.unwrap();
        let incoming = Incoming::read(stream, &self.acceptor).await.unwrap();
        let welcome = Welcome {
            version: incoming.version(),
            features: incoming.features(),
            session: SessionId(1),
            generation: Generation(1),
            limits: PeerLimits::OURS,
            domain: "hostile.test".into(),
        };
        let welcomed = incoming.welcome(welcome, ProcessBudget::new(1 << 30), spawner, spawner.here());
        let (session, mut inbound) = welcomed.await.unwrap();
        let control = within("the control substream", SOON, inbound.accept()).await.unwrap();
        let mut hostile = Hostile { session, control, read: BytesMut::new(), _inbound: inbound };
        let asked =
            hostile.hears(|said| if let Control::Register(it) = said { Some(it) } else { None }).await;
        let grant = |id| {
            let public = format!("t{id}.hostile.test");
            RegistrationAnswer { id, outcome: Outcome::Granted { url: format!("http://{public}"), public } }
        };
        let results = asked.items.iter().map(|item| grant(item.id)).collect();
        hostile.says(Registered { results }).await;
        hostile
    }
}

impl Hostile {
    async fn says(&mut self, message: impl Into<Control>) {
        let mut out = BytesMut::new();
        message.into().encode(&mut out).unwrap();
        self.control.write_all(&out).await.unwrap();
    }

    async fn hears<T>(&mut self, which: impl Fn(Control) -> Option<T>) -> T {
        let hear = async {
            loop {
                while let Some(frame) = frame::decode(&mut self.read, CONTROL_FRAME_MAX).unwrap() {
                    if let Some(found) = Control::decode(&frame).unwrap().and_then(&which) {
                        return found;
                    }
                }
                assert_ne!(self.control.read_buf(&mut self.read).await.unwrap(), 0, "the client has gone");
            }
        };
        within("a word of the client", SOON, hear).await
    }

    /// Hands over a part; what the client says against it.
    async fn hands(&mut self, group: &str, revision: u64, part: Value) -> Option<String> {
        let bytes = Bytes::from(part.to_string());
        let of = PartId { group: group.to_owned(), revision };
        let digest = sha256(&bytes);
        let whole = WholePart { of: of.clone(), digest, bytes };
        let pieces: Vec<Part> = whole.pieces().unwrap().collect();
        for piece in pieces {
            self.says(piece).await;
        }
        let answered = |said| match said {
            Control::PartAnswer(PartAnswer { of: its, refusal }) if its == of => Some(refusal),
            _ => None,
        };
        let refusal = self.hears(answered).await;
        self.says(Parts { items: vec![of.clone()] }).await;
        refusal.map(|text| text.to_string())
    }

    /// What the client says to a substream that begins with these bytes, until it says no more.
    async fn asks(&self, first: impl Into<Bytes>) -> Vec<Message> {
        let mut substream = self.session.open(first.into()).unwrap();
        let mut read = BytesMut::new();
        // However it ends: what was said before is what counts.
        let _ = within("an answer", SOON, substream.read_buf(&mut read)).await;
        let more = async {
            let over = |read: &BytesMut| {
                let said = decoded(&mut read.clone());
                let connected = said.contains(&Message::Status(Status::Connected));
                connected || turned_away(&said).is_some() || answered(&said).is_some()
            };
            while !over(&read) && matches!(substream.read_buf(&mut read).await, Ok(1..)) {}
        };
        within("the rest of the answer", SOON, more).await;
        decoded(&mut read)
    }

    async fn asks_for(&self, kind: Kind, name: &str) -> Vec<Message> {
        self.asks(head(kind, name)).await
    }

    /// Sends a request to a service.
    async fn requests(&self, name: &str, authority: &str, path: &str) -> Vec<Message> {
        let honest = format!("/{}", "a".repeat(path.len() - 1));
        let request = RequestHead {
            method: Bytes::from_static(b"GET"),
            scheme: Scheme::Http,
            authority: Bytes::copy_from_slice(authority.as_bytes()),
            path: Bytes::copy_from_slice(honest.as_bytes()),
            protocol: None,
            expect_continue: false,
            bodyless: true,
            fields: Vec::new(),
        };
        let mut bytes = BytesMut::new();
        request.encode(&mut bytes).unwrap();
        let forged = exchanged(&bytes, &honest, path);
        let mut end = BytesMut::new();
        Message::End.encode(&mut end).unwrap();
        self.asks([&head(Kind::Exchange, name)[..], &forged, &end].concat()).await
    }
}

fn head(kind: Kind, name: &str) -> Bytes {
    let mut out = BytesMut::new();
    let head = Head { kind, name: name.parse().unwrap(), visitor: None, ingress: 0, trace: None };
    head.encode(&mut out).unwrap();
    out.freeze()
}

/// The head of a substream for something that is no name, which no honest program can say.
fn forged(kind: Kind, name: &str) -> Bytes {
    let honest = "a".repeat(name.len());
    exchanged(&head(kind, &honest), &honest, name).into()
}

/// The same bytes with one text in the place of another one that is as long.
fn exchanged(bytes: &[u8], honest: &str, other: &str) -> Vec<u8> {
    let at = bytes.windows(honest.len()).position(|part| part == honest.as_bytes()).unwrap();
    [&bytes[..at], other.as_bytes(), &bytes[at + other.len()..]].concat()
}

fn decoded(read: &mut BytesMut) -> Vec<Message> {
    std::iter::from_fn(|| Message::decode(read).unwrap()).collect()
}

/// The code that a substream was turned away with.
fn turned_away(said: &[Message]) -> Option<Code> {
    said.iter().find_map(|message| match message {
        Message::Status(Status::Refused { code, .. } | Status::Failed { code, .. }) => Some(*code),
        Message::Reset { code, .. } => Some(*code),
        _ => None,
    })
}

/// The status that a service has answered with.
fn answered(said: &[Message]) -> Option<u16> {
    said.iter()
        .find_map(|message| if let Message::Response(head) = message { Some(head.status) } else { None })
}

/// A part with one service.
fn dials(address: impl ToString) -> Value {
    json!({ "services": [{ "name": "app", "servers": [{ "address": address.to_string() }] }] })
}

fn config(inside: SocketAddr, moves: SocketAddr) -> String {
    format!(
        r#"connections = 1
tunnel = [
  {{ name = "web", kind = "http", host = "web", to = "http://{inside}" }},
  {{ name = "cloud", kind = "http", host = "cloud", to = "http://169.254.169.254:80" }},
  {{ name = "cloud6", kind = "tcp", to = "[fd00:ec2::254]:80" }},
  {{ name = "link", kind = "tcp", to = "[fe80::1]:80" }},
  {{ name = "mapped", kind = "tcp", to = "[::ffff:169.254.1.1]:80" }},
  {{ name = "moves", kind = "http", host = "moves", to = "http://{moves}" }},
]
[allow]
dial = ["{inside}", "{moves}", "169.254.169.254:80"]
"#
    )
}

#[test]
fn d30_a_hostile_server_gets_nowhere_that_is_not_listed() {
    with_spawner(async |spawner| {
        let answer = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nhi";
        let inside = Scripted::http(answer, Ending::Fin).await;
        let outside = Scripted::http(answer, Ending::Fin).await;
        let elsewhere = outside.addr();
        let moved = format!(
            "HTTP/1.1 302 Found\r\nLocation: http://{elsewhere}/\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
        );
        let moves = Scripted::http(moved, Ending::Fin).await;
        let (trap, home) = (Trap::set().await, Home::new());
        let client = home.run(&trap.join, &config(inside.addr(), moves.addr()));
        let mut hostile = trap.springs(spawner).await;

        // What there is not: other tunnels, other groups, services of the other end.
        for name in ["~/6", "~/4294967295", "web/app", "billing", "localhost"] {
            for kind in [Kind::Tcp, Kind::Exchange] {
                let said = hostile.asks_for(kind, name).await;
                assert_eq!(turned_away(&said), Some(Code::UNKNOWN_SERVICE), "{kind:?} {name}: {said:?}");
            }
        }
        // A name that is an address is no name.
        for name in [elsewhere.to_string(), format!("http://{elsewhere}"), "unix:/run/x".into(), "~/".into()]
        {
            let said = hostile.asks(forged(Kind::Tcp, &name)).await;
            let code = turned_away(&said);
            assert!(
                [Some(Code::BAD_REQUEST), Some(Code::UNKNOWN_SERVICE)].contains(&code),
                "{name}: {said:?}"
            );
        }
        // A tunnel as what it is not.
        assert_eq!(turned_away(&hostile.asks_for(Kind::Tcp, "~/0").await), Some(Code::UNKNOWN_SERVICE));
        assert_eq!(turned_away(&hostile.asks_for(Kind::Exchange, "~/2").await), Some(Code::UNKNOWN_SERVICE));
        // Listed by mistake: where the machine's own secrets are.
        for name in ["~/2", "~/3", "~/4"] {
            let said = hostile.asks_for(Kind::Tcp, name).await;
            assert_eq!(turned_away(&said), Some(Code::NOT_ALLOWED), "{name}: {said:?}");
        }
        let said = hostile.requests("~/1", "cloud.hostile.test", "/latest/meta-data/").await;
        assert_eq!(turned_away(&said), Some(Code::NOT_ALLOWED), "{said:?}");

        // What the request says does not decide where it goes.
        let authority = elsewhere.to_string();
        for path in
            ["/".to_owned(), format!("//{elsewhere}/"), format!("http://{elsewhere}/"), "*".to_owned()]
        {
            let said = hostile.requests("~/0", &authority, &path).await;
            assert!(
                // A head that can not be read is a reset.
                said.is_empty() || answered(&said).is_some() || turned_away(&said) == Some(Code::BAD_REQUEST),
                "{path}: {said:?}"
            );
        }
        assert!(inside.connections() > 0);
        // Nor does what the service says.
        let said = hostile.requests("~/5", "moves.hostile.test", "/").await;
        assert_eq!(answered(&said), Some(302), "{said:?}");

        // What is handed over has to be allowed, all of it.
        let unlisted = [
            dials(elsewhere),
            dials(format!("http://{elsewhere}")),
            dials(format!("localhost:{}", inside.addr().port())),
            dials("unix:/run/docker.sock"),
            dials("169.254.169.253:80"),
            json!({ "services": [
                { "name": "app", "servers": [{ "address": inside.addr() }, { "address": elsewhere }],
                  "health": { "kind": "tcp", "interval_ms": 10, "timeout_ms": 10, "rise": 1, "fall": 1 } },
            ] }),
            json!({
                "services": [{ "name": "app", "servers": [{ "address": inside.addr() }], "plugins": ["ask"] }],
                "plugins": [{ "name": "ask", "kind": "forward-auth", "settings": { "url": format!("http://{elsewhere}/") } }],
            }),
            json!({ "ingresses": [{ "listen": "127.0.0.1:9000", "kind": "tcp", "to": "app" }] }),
        ];
        for (revision, part) in (1..).zip(unlisted) {
            let refusal = hostile.hands("web", revision, part.clone()).await;
            assert!(refusal.is_some_and(|why| why.contains("add to [allow]")), "{part}");
            let said = hostile.asks_for(Kind::Tcp, "web/app").await;
            assert_eq!(turned_away(&said), Some(Code::UNKNOWN_SERVICE), "{part}: {said:?}");
        }
        // Allowed by mistake.
        assert_eq!(hostile.hands("web", 100, dials("169.254.169.254:80")).await, None);
        let said = hostile.asks_for(Kind::Tcp, "web/app").await;
        assert_eq!(turned_away(&said), Some(Code::NOT_ALLOWED), "{said:?}");
        // What was closed is gone: the part, and the service that a newer part has not.
        assert_eq!(hostile.hands("web", 101, dials(inside.addr())).await, None);
        let said = hostile.asks_for(Kind::Tcp, "web/app").await;
        assert_eq!(said.last(), Some(&Message::Status(Status::Connected)));
        assert_eq!(hostile.hands("web", 102, json!({})).await, None);
        let said = hostile.asks_for(Kind::Tcp, "web/app").await;
        assert_eq!(turned_away(&said), Some(Code::UNKNOWN_SERVICE), "{said:?}");

        assert_eq!(outside.connections(), 0, "somebody was dialled who is not listed");
        assert!(!hostile.session.is_closed(), "the session lives");
        drop(client);
    });
}
