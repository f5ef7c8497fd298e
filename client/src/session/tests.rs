//! A session against a server that is played here.

use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use bytes::{Bytes, BytesMut};
use futures_util::{SinkExt, StreamExt};
use ops::drain::Drain;
use ops::metrics::Metrics;
use ops::spawn::{Placement, Spawner};
use policy::consent::Consent;
use protocol::control::{
    Close, Control, Drain as DrainMessage, Heartbeat, HeartbeatAck, Notice, NoticeCode, NoticeLevel, Outcome,
    RegisterCode, Registered, RegistrationAnswer,
};
use protocol::handshake::{Features, PeerLimits, Welcome};
use protocol::id::{ClientId, CredentialId, Generation, InstanceId};
use protocol::join::Pin;
use protocol::limits::{CONTROL_FRAME_MAX, DEAD_AFTER};
use proxy::access::LogSink;
use proxy::context::{Context, Waits};
use proxy::plugin::Kinds;
use proxy::service::{KnownServers, ServiceTable};
use tokio::io::duplex;
use tokio::sync::mpsc;
use tokio::time::timeout;
use tokio_util::codec::Framed;
use tokio_util::task::TaskTracker;
use transport::frames::FrameCodec;
use transport::login_key::LoginKey;
use transport::session::{Inbound, Liveness, ProcessBudget, Role, Session, SessionConfig, Substream};
use transport::tls::{Trust, client_config};

use super::*;
use crate::events::{Event, Events, Watched};
use crate::groups::Groups;
use crate::login::Login;
use crate::rotation::Rotation;
use crate::sessions::Sessions;
use crate::settings::Mode;
use crate::tunnel::{Tunnel, TunnelKind};
use crate::tunnels::{Standing, Tunnels};

/// A session of a client with one tunnel, and the server at its other end.
struct Scene {
    instance: Arc<Instance>,
    watched: Watched,
    refused: mpsc::Receiver<String>,
    live: Live,
    server: Session,
    control: Framed<Substream, FrameCodec>,
    _inbound: Inbound,
}

fn config(role: Role) -> SessionConfig {
    let liveness = Arc::new(Liveness::new());
    let peer = PeerLimits { max_substreams: 16, ..PeerLimits::OURS };
    let budget = ProcessBudget::new(1 << 30);
    SessionConfig { role, peer, liveness, dead_after: DEAD_AFTER, early: Bytes::new(), budget }
}

fn instance(spawner: &Spawner, mode: Mode) -> (Arc<Instance>, Watched, mpsc::Receiver<String>) {
    let (events, watched) = Events::to_view();
    let (refused, refusal) = mpsc::channel(1);
    let kind = TunnelKind::Http { host: None, set_host: None };
    let to = "3000".parse().unwrap();
    let tunnel =
        Tunnel { name: "web".to_owned(), kind, group: None, allow: Vec::new(), to, plugins: Vec::new() };
    let context = Context {
        spawner: spawner.clone(),
        metrics: Metrics::new("test"),
        sink: Arc::new(LogSink),
        drain: Drain::new(),
        drain_connections: false,
        waits: Waits::default(),
        servers: KnownServers::default(),
    };
    let instance = Arc::new(Instance {
        rotation: parking_lot::Mutex::new(Rotation::default()),
        client: ClientId([1; 16]),
        id: InstanceId([2; 16]),
        login: ArcSwap::from_pointee(Login {
            name: "test".to_owned(),
            credential: CredentialId::parse("me").unwrap(),
            key: LoginKey::from_seed(&[3; 32]).unwrap(),
            tls: client_config(&Trust::Pins(vec![Pin([0; 32])])).unwrap(),
            servers: Vec::new(),
        }),
        mode,
        tunnels: Tunnels::new(vec![tunnel]),
        groups: Groups::new(
            Consent::default(),
            Kinds::built_in(),
            Arc::new(ServiceTable::new()),
            Arc::new(Sessions::new(1)),
            context.clone(),
        ),
        services: Arc::new(ServiceTable::new()),
        sessions: Arc::new(Sessions::new(1)),
        events,
        context,
        budget: ProcessBudget::new(1 << 30),
        registered: TaskTracker::new(),
        refused,
        told: Default::default(),
        started: Instant::now(),
    });
    (instance, watched, refusal)
}

fn run<F: Future<Output = ()>>(mode: Mode, test: impl FnOnce(Scene) -> F) {
    let (spawner, workers) = Spawner::start(1, Placement::PerCore).unwrap();
    workers.block_on(async {
        let (ours, theirs) = duplex(1 << 16);
        let worker = spawner.here();
        let (session, inbound) = transport::session::start(ours, config(Role::Client), &spawner, worker);
        let (server, mut accepted) =
            transport::session::start(theirs, config(Role::Server), &spawner, worker);
        let welcome = Welcome {
            version: 1,
            features: Features::NONE,
            session: SessionId(7),
            generation: Generation(1),
            limits: PeerLimits::OURS,
            domain: "localhost".to_owned(),
        };
        let (instance, watched, refused) = instance(&spawner, mode);
        let live = start(LoggedIn { session, inbound, welcome }, Slot(0), instance.clone());
        let control = accepted.accept().await.unwrap();
        let control = Framed::new(control, FrameCodec::new(CONTROL_FRAME_MAX));
        let scene = Scene { instance, watched, refused, live, server, control, _inbound: accepted };
        timeout(Duration::from_secs(20), test(scene)).await.unwrap();
    });
    assert!(workers.shutdown(Duration::from_secs(5)));
}

impl Scene {
    async fn hears(&mut self) -> Control {
        let frame = self.control.next().await.unwrap().unwrap();
        Control::decode(&frame).unwrap().unwrap()
    }

    async fn says(&mut self, message: impl Into<Control>) {
        let mut bytes = BytesMut::new();
        message.into().encode(&mut bytes).unwrap();
        self.control.send(bytes).await.unwrap();
    }

    /// Hears what every session begins with.
    async fn begins(&mut self) {
        assert!(matches!(self.hears().await, Control::Register(it) if it.items.len() == 1));
        assert!(matches!(self.hears().await, Control::Heartbeat(_)));
    }

    async fn answers(&mut self, outcome: Outcome) {
        self.says(Registered { results: vec![RegistrationAnswer { id: 0, outcome }] }).await;
    }

    async fn grants(&mut self) {
        self.answers(Outcome::Granted { public: "x".to_owned(), url: "http://x".to_owned() }).await;
        assert!(matches!(self.watched.events.recv().await, Some(Event::Ready { .. })));
    }
}

fn refusal(code: RegisterCode) -> Outcome {
    Outcome::Refused { code, text: "taken".into() }
}

const SERVICE: Mode = Mode::Service { fail_fast: false };

#[test]
fn tunnels_are_registered_first_and_heartbeats_answered() {
    run(SERVICE, |mut scene| async move {
        scene.begins().await;
        scene.grants().await;
        assert_eq!(scene.instance.tunnels.standings()[0].1, Standing::Ready { url: "http://x".to_owned() });
        scene.says(Heartbeat { nonce: 9 }).await;
        assert_eq!(scene.hears().await, Control::HeartbeatAck(HeartbeatAck { nonce: 9 }));
    });
}

#[test]
fn a_refused_tunnel_ends_ad_hoc_and_is_told_by_a_service() {
    run(Mode::AdHoc, |mut scene| async move {
        scene.begins().await;
        scene.answers(refusal(RegisterCode::NAME_IN_USE)).await;
        let reason = scene.refused.recv().await.unwrap();
        assert_eq!(
            reason,
            "the server refused the tunnel: NAME_IN_USE: taken; take another with --host NAME or --port PORT"
        );
    });
    run(SERVICE, |mut scene| async move {
        scene.begins().await;
        scene.answers(refusal(RegisterCode::NAME_IN_USE)).await;
        let event = scene.watched.events.recv().await.unwrap();
        assert!(matches!(event, Event::Refused { code: RegisterCode::NAME_IN_USE, .. }), "{event:?}");
    });
}

#[test]
fn a_name_that_is_taken_over_ends_ad_hoc() {
    run(Mode::AdHoc, |mut scene| async move {
        scene.begins().await;
        scene.grants().await;
        let (level, code) = (NoticeLevel::Warning, NoticeCode::NAME_WITHDRAWN);
        scene.says(Notice { level, code, registration: Some(0), text: "taken over".into() }).await;
        assert_eq!(scene.refused.recv().await.unwrap(), "the server ended the tunnel: taken over");
    });
}

#[test]
fn tunnels_that_change_are_told_on_the_session_until_it_steps_back() {
    run(SERVICE, |mut scene| async move {
        scene.begins().await;
        scene.grants().await;
        let kind = TunnelKind::Http { host: None, set_host: None };
        let (to, allow, plugins) = ("4000".parse().unwrap(), Vec::new(), Vec::new());
        let other = Tunnel { name: "other".to_owned(), kind, group: None, allow, to, plugins };
        let moved = Tunnel { to: "5000".parse().unwrap(), ..other.clone() };
        scene.instance.tunnels.replace(vec![other]);
        assert!(matches!(scene.hears().await, Control::Unregister(it) if it.ids == [0]));
        assert!(
            matches!(scene.hears().await, Control::Register(it) if it.items.len() == 1 && it.items[0].id == 1)
        );
        // The server does not care where its service is.
        scene.instance.tunnels.replace(vec![moved]);
        scene.live.retire.cancel();
        assert!(matches!(scene.hears().await, Control::Drain(_)));
        scene.instance.tunnels.replace(Vec::new());
        scene.says(Heartbeat { nonce: 9 }).await;
        assert_eq!(scene.hears().await, Control::HeartbeatAck(HeartbeatAck { nonce: 9 }));
        scene.says(Close { reason: CloseReason::DRAINED, text: "".into() }).await;
        assert_eq!(scene.live.task.await.unwrap(), Over::Drained);
    });
}

#[test]
fn a_close_says_why() {
    run(SERVICE, |mut scene| async move {
        scene.begins().await;
        scene.says(Close { reason: CloseReason::SUPERSEDED, text: "newer".into() }).await;
        let over = scene.live.task.await.unwrap();
        assert_eq!(over, Over::Closed { reason: CloseReason::SUPERSEDED, text: "newer".into() });
        assert_eq!(over.to_string(), "the server ended the session: superseded: newer");
    });
}

#[test]
fn a_lost_link_is_a_loss() {
    run(SERVICE, |mut scene| async move {
        scene.begins().await;
        scene.server.close();
        let over = scene.live.task.await.unwrap();
        assert!(matches!(over, Over::Lost(_)), "{over:?}");
    });
}

#[test]
fn what_only_clients_say_is_a_breach() {
    run(SERVICE, |mut scene| async move {
        scene.begins().await;
        scene.says(protocol::control::Unregister { ids: vec![0] }).await;
        let Control::Close(close) = scene.hears().await else { panic!("no close") };
        assert_eq!(close.reason, CloseReason::PROTOCOL_ERROR);
        assert!(matches!(scene.live.task.await.unwrap(), Over::Broken(_)));
    });
}

#[test]
fn a_drain_asks_for_a_replacement_and_ends_quietly() {
    run(SERVICE, |mut scene| async move {
        scene.begins().await;
        scene.says(DrainMessage { deadline: Duration::from_secs(30) }).await;
        (&mut scene.live.draining).await.unwrap();
        scene.says(Close { reason: CloseReason::DRAINED, text: "".into() }).await;
        assert_eq!(scene.live.task.await.unwrap(), Over::Drained);
    });
}

#[test]
fn the_end_gives_names_back_and_waits_until_the_server_knows() {
    run(SERVICE, |mut scene| async move {
        scene.begins().await;
        scene.grants().await;
        scene.instance.drain().start.cancel();
        scene.instance.registered.close();
        assert!(matches!(scene.hears().await, Control::Unregister(it) if it.ids == [0]));
        let Control::Heartbeat(Heartbeat { nonce }) = scene.hears().await else { panic!("no heartbeat") };
        assert_eq!(scene.instance.registered.len(), 1);
        scene.says(HeartbeatAck { nonce }).await;
        scene.instance.registered.wait().await;
        scene.instance.drain().now.cancel();
        let Control::Close(close) = scene.hears().await else { panic!("no close") };
        assert_eq!(close.reason, CloseReason::SHUTDOWN);
        assert_eq!(scene.live.task.await.unwrap(), Over::Stopped);
    });
}
