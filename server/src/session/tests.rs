use std::time::Duration;

use bytes::{Bytes, BytesMut};
use futures_util::{SinkExt, StreamExt};
use ops::metrics::Metrics;
use protocol::control::{Notice, NoticeCode, NoticeLevel, Outcome, Unregister};
use protocol::limits::CONTROL_FRAME_MAX;
use protocol::request::Status;
use tokio::io::AsyncReadExt;
use tokio_util::codec::Framed;
use transport::frames::FrameCodec;
use transport::session::Session;

use super::*;
use crate::fakes::{Linked, World, http};

/// The client's end of a control substream.
struct Client(Framed<Substream, FrameCodec>);

impl Client {
    async fn open(session: &Session) -> Self {
        let substream = session.open(Bytes::new()).unwrap();
        Self(Framed::new(substream, FrameCodec::new(CONTROL_FRAME_MAX)))
    }

    async fn send(&mut self, message: impl Into<Control>) {
        let mut encoded = BytesMut::new();
        message.into().encode(&mut encoded).unwrap();
        // A server that has cut the session takes nothing more; what it said can still be heard.
        drop(self.0.send(encoded).await);
    }

    /// The next message that `which` is about.
    async fn next<T>(&mut self, which: impl Fn(Control) -> Option<T>) -> T {
        let found = async {
            loop {
                let frame = self.0.next().await.unwrap().unwrap();
                if let Some(found) = Control::decode(&frame).unwrap().and_then(&which) {
                    return found;
                }
            }
        };
        timeout(Duration::from_secs(5), found).await.unwrap()
    }

    async fn closed(&mut self) -> Close {
        self.next(|message| if let Control::Close(close) = message { Some(close) } else { None }).await
    }
}

/// Starts the session's task; the client's session and the handle.
fn start(world: &World) -> (Session, Arc<Live>) {
    let Linked { live, inbound, orders, client } = world.linked("default");
    let context = Context {
        registry: world.registry.clone(),
        metrics: Metrics::new("0"),
        spawner: world.spawner.clone(),
    };
    world.spawner.spawn(live.link().worker(), "test", run(context, live.clone(), inbound, orders));
    (client, live)
}

#[test]
fn heartbeats_go_both_ways_and_measure() {
    let world = World::new();
    let (session, live) = start(&world);
    world.workers.block_on(async {
        let mut client = Client::open(&session).await;
        client.send(HeartbeatAck { nonce: 42 }).await;
        let beat =
            client.next(|m| if let Control::Heartbeat(beat) = m { Some(beat.nonce) } else { None }).await;
        assert!(live.rtt().is_none(), "an acknowledgement of nothing measures nothing");
        client.send(HeartbeatAck { nonce: beat }).await;
        // What is answered after the acknowledgement proves that it was read.
        client.send(Heartbeat { nonce: 43 }).await;
        client.next(|m| matches!(m, Control::HeartbeatAck(HeartbeatAck { nonce: 43 })).then_some(())).await;
        assert!(live.rtt().is_some());
    });
}

#[test]
fn names_are_registered_and_given_back() {
    let world = World::new();
    let (session, live) = start(&world);
    world.workers.block_on(async {
        let mut client = Client::open(&session).await;
        client.send(Register { items: vec![http(3, "app"), http(4, "t.example.com")] }).await;
        let registered = client.next(|m| if let Control::Registered(it) = m { Some(it) } else { None }).await;
        let [first, second] = registered.results.as_slice() else { panic!("{registered:?}") };
        assert_eq!(first.id, 3);
        let url = "http://app.t.example.com:8080".to_owned();
        assert_eq!(first.outcome, Outcome::Granted { public: "app.t.example.com".to_owned(), url });
        assert!(matches!(second.outcome, Outcome::Refused { .. }));
        client.send(Unregister { ids: vec![3] }).await;
        client.send(Heartbeat { nonce: 1 }).await;
        client.next(|m| matches!(m, Control::HeartbeatAck(_)).then_some(())).await;
        assert_eq!(world.registry.names().count(&live.login.principal), 0);
        live.notify(Notice {
            level: NoticeLevel::Info,
            code: NoticeCode::GENERAL,
            registration: None,
            text: "hello".into(),
        });
        client.next(|m| matches!(m, Control::Notice(it) if it.text == "hello").then_some(())).await;
    });
}

#[test]
fn a_cut_session_hears_why_and_is_over_within_a_second() {
    let world = World::new();
    let (session, live) = start(&world);
    world.workers.block_on(async {
        let mut client = Client::open(&session).await;
        client.send(Heartbeat { nonce: 1 }).await;
        client.next(|m| matches!(m, Control::HeartbeatAck(_)).then_some(())).await;
        let since = Instant::now();
        live.cut(CloseReason::REVOKED, "gone");
        live.cut(CloseReason::KICKED, "too late to be the reason");
        let close = client.closed().await;
        assert_eq!((close.reason, close.text.as_str()), (CloseReason::REVOKED, "gone"));
        session.closed().await;
        assert!(since.elapsed() < Duration::from_secs(1));
        assert!(world.registry.sessions().is_empty());
    });
}

#[test]
fn a_session_that_was_cut_before_it_began_hears_why_too() {
    let world = World::new();
    let (session, live) = start(&world);
    live.cut(CloseReason::SUPERSEDED, "another process");
    world.workers.block_on(async {
        let mut client = Client::open(&session).await;
        client.send(Heartbeat { nonce: 1 }).await;
        assert_eq!(client.closed().await.reason, CloseReason::SUPERSEDED);
    });
}

#[test]
fn what_is_no_control_message_ends_the_session() {
    let world = World::new();
    let (session, _) = start(&world);
    world.workers.block_on(async {
        let mut client = Client::open(&session).await;
        drop(client.0.send(BytesMut::from(&[0x30, 0, 0, 0][..])).await);
        assert_eq!(client.closed().await.reason, CloseReason::PROTOCOL_ERROR);
        session.closed().await;
    });
}

#[test]
fn a_flood_of_messages_ends_the_session() {
    let world = World::new();
    let (session, _) = start(&world);
    world.workers.block_on(async {
        let mut client = Client::open(&session).await;
        let mut flood = BytesMut::new();
        (0..1_000).for_each(|nonce| Control::from(HeartbeatAck { nonce }).encode(&mut flood).unwrap());
        drop(client.0.send(flood).await);
        assert_eq!(client.closed().await.reason, CloseReason::FLOOD);
    });
}

#[test]
fn a_second_control_substream_ends_the_session() {
    let world = World::new();
    let (session, _) = start(&world);
    world.workers.block_on(async {
        let mut client = Client::open(&session).await;
        client.send(Heartbeat { nonce: 1 }).await;
        let mut second = Client::open(&session).await;
        second.send(Heartbeat { nonce: 1 }).await;
        assert_eq!(client.closed().await.reason, CloseReason::PROTOCOL_ERROR);
    });
}

#[test]
fn a_request_of_a_client_is_refused_and_the_session_lives() {
    let world = World::new();
    let (session, live) = start(&world);
    world.workers.block_on(async {
        let mut client = Client::open(&session).await;
        client.send(Heartbeat { nonce: 1 }).await;
        client.next(|m| matches!(m, Control::HeartbeatAck(_)).then_some(())).await;
        let mut request = session.open(Bytes::from_static(&[0x30, 0, 0, 0])).unwrap();
        let mut answer = Vec::new();
        timeout(Duration::from_secs(5), request.read_to_end(&mut answer)).await.unwrap().unwrap();
        let text = "services next to the server are not in this version".into();
        let mut refused = BytesMut::new();
        let code = protocol::code::Code::NOT_ALLOWED;
        Status::Refused { code, text }.encode(&mut refused).unwrap();
        assert_eq!(answer, refused);
        assert!(!live.is_over());
    });
}

#[test]
fn a_drained_session_ends_when_its_work_is_done() {
    let world = World::new();
    let (session, live) = start(&world);
    world.workers.block_on(async {
        let mut client = Client::open(&session).await;
        client.send(Heartbeat { nonce: 1 }).await;
        client.next(|m| matches!(m, Control::HeartbeatAck(_)).then_some(())).await;
        live.drain(Duration::from_secs(30), DrainCause::Replaced);
        let within = client.next(|m| if let Control::Drain(it) = m { Some(it.deadline) } else { None }).await;
        assert!(within > Duration::from_secs(29));
        assert_eq!(client.closed().await.reason, CloseReason::DRAINED);
    });
}

#[test]
fn a_client_that_drains_has_no_more_than_our_own_time_for_it() {
    let world = World::new();
    let Linked { live, inbound, orders, client } = world.linked("default");
    let context = Context {
        registry: world.registry.clone(),
        metrics: Metrics::new("0"),
        spawner: world.spawner.clone(),
    };
    let mut order = orders.drain.clone();
    world.spawner.spawn(live.link().worker(), "test", run(context, live, inbound, orders));
    world.workers.block_on(async {
        let mut control = Client::open(&client).await;
        control.send(Drain { deadline: Duration::from_secs(86_400) }).await;
        timeout(Duration::from_secs(5), order.changed()).await.unwrap().unwrap();
        let until = order.borrow().unwrap().until;
        assert!(until <= Instant::now() + DRAIN);
    });
}

#[test]
fn a_client_that_leaves_takes_its_session_with_it() {
    let world = World::new();
    let (session, live) = start(&world);
    let mut changes = world.registry.names().changes();
    world.workers.block_on(async {
        let mut client = Client::open(&session).await;
        client.send(Register { items: vec![http(0, "app")] }).await;
        client.next(|m| matches!(m, Control::Registered(_)).then_some(())).await;
        client.send(Close { reason: CloseReason::SHUTDOWN, text: "bye".into() }).await;
        live.link().closed().await;
        let gone = async {
            while !world.registry.sessions().is_empty() {
                changes.changed().await.unwrap();
            }
        };
        timeout(Duration::from_secs(5), gone).await.unwrap();
        assert_eq!(world.registry.name_infos()[0].state, "reserved");
    });
}
