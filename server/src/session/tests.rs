use std::time::Duration;

use bytes::{Bytes, BytesMut};
use futures_util::{SinkExt, StreamExt};
use ops::metrics::Metrics;
use policy::disabled::{Note, What};
use policy::part::GroupPart;
use protocol::code::Code;
use protocol::control::{
    Health, Notice, NoticeCode, NoticeLevel, Outcome, PartAnswer, PartId, Pieces, ServerHealth, ServerState,
    ServiceHealth, Unregister,
};
use protocol::exchange::Message;
use protocol::frame;
use protocol::limits::CONTROL_FRAME_MAX;
use protocol::request::{Head, Kind, Status};
use proxy::service::Offered;
use tokio_util::codec::{Framed, FramedRead};
use transport::frames::FrameCodec;
use transport::session::{Session, Substream};

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
    start_as(world, "default")
}

fn start_as(world: &World, principal: &str) -> (Session, Arc<Live>) {
    start_with(world, principal, Pulse::default())
}

fn start_with(world: &World, principal: &str, pulse: Pulse) -> (Session, Arc<Live>) {
    let Linked { live, inbound, orders, client } = world.linked(principal);
    let running = run(context(world, pulse), live.clone(), inbound, orders);
    world.spawner.spawn(live.link().worker(), "test", running);
    (client, live)
}

fn context(world: &World, pulse: Pulse) -> Context {
    let (registry, spawner) = (world.registry.clone(), world.spawner.clone());
    Context { registry, metrics: Metrics::new("0"), spawner, pulse }
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
fn heartbeats_come_as_often_as_the_configuration_says() {
    let world = World::new();
    let pulse = Pulse::default();
    pulse.beat_every(Duration::from_millis(20));
    let (session, _live) = start_with(&world, "default", pulse);
    world.workers.block_on(async {
        let (mut client, since) = (Client::open(&session).await, Instant::now());
        for _ in 0..4 {
            client.next(|m| matches!(m, Control::Heartbeat(_)).then_some(())).await;
        }
        assert!(since.elapsed() < Duration::from_secs(5), "the usual pause between two of them");
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
        // A second is promised, and a busy machine adds to it.
        assert!(since.elapsed() < Duration::from_secs(4));
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

/// What the server says first to a substream for a service.
async fn asked(session: &Session, kind: Kind, name: &str) -> Status {
    let head = Head { kind, name: name.parse().unwrap(), visitor: None, ingress: 0, trace: None };
    let mut first = BytesMut::new();
    head.encode(&mut first).unwrap();
    let substream = session.open(first.freeze()).unwrap();
    let mut frames = FramedRead::new(substream, FrameCodec::new(CONTROL_FRAME_MAX));
    let frame = timeout(Duration::from_secs(5), frames.next()).await.unwrap().unwrap().unwrap();
    let mut bytes = BytesMut::new();
    frame::encode(frame.kind, CONTROL_FRAME_MAX, &mut bytes, |w| {
        w.bytes(&frame.payload);
        Ok(())
    })
    .unwrap();
    match Message::decode(&mut bytes).unwrap() {
        Some(Message::Status(status)) => status,
        other => panic!("{other:?}"),
    }
}

fn refused(code: Code) -> Status {
    Status::Refused { code, text: "".into() }
}

#[test]
fn only_what_is_granted_is_reached_and_what_there_is_can_not_be_found_out() {
    let world = World::new();
    for (principal, service, expected) in [
        // Group `web` has an ingress that leads there.
        ("bob", "billing", Status::Accepted),
        ("bob", "payroll", refused(Code::NOT_ALLOWED)),
        ("eve", "billing", refused(Code::NOT_ALLOWED)),
        ("eve", "payroll", refused(Code::NOT_ALLOWED)),
        ("default", "billing", refused(Code::NOT_ALLOWED)),
        ("bob", "web/app", refused(Code::UNKNOWN_SERVICE)),
        ("bob", "~/0", refused(Code::UNKNOWN_SERVICE)),
    ] {
        let (session, live) = start_as(&world, principal);
        world.workers.block_on(async {
            let mut client = Client::open(&session).await;
            client.send(Heartbeat { nonce: 1 }).await;
            client.next(|m| matches!(m, Control::HeartbeatAck(_)).then_some(())).await;
            assert_eq!(asked(&session, Kind::Tcp, service).await, expected, "{principal} {service}");
            assert!(!live.is_over());
        });
    }
}

#[test]
fn a_service_whose_servers_are_all_disabled_is_not_reached_until_one_is_enabled() {
    let world = World::new();
    let only = "server:billing/127.0.0.1:9".parse::<What>().unwrap();
    let (session, _live) = start_as(&world, "bob");
    let reached = || world.workers.block_on(asked(&session, Kind::Tcp, "billing"));
    let _client = world.workers.block_on(async {
        let mut client = Client::open(&session).await;
        client.send(Heartbeat { nonce: 1 }).await;
        client.next(|m| matches!(m, Control::HeartbeatAck(_)).then_some(())).await;
        client
    });
    world.registry.disable(&world.state, only.clone(), Note { since: 1, called: None }).unwrap();
    assert_eq!(reached(), refused(Code::UNKNOWN_SERVICE));
    assert!(world.registry.nearby().targets("billing").is_empty());
    world.registry.enable(&world.state, &only).unwrap();
    assert_eq!(reached(), Status::Accepted);
    assert!(!world.registry.nearby().targets("billing").is_empty());
}

#[test]
fn opens_above_the_rate_are_refused_and_the_session_lives() {
    let world = World::new();
    let (_session, live) = start_as(&world, "bob");
    let reach = Reach::new(live.clone(), world.registry.clone());
    let over = (0..6_000).filter(|_| reach.admit() == Err(Code::OVER_LIMIT)).count();
    assert!(over > 0, "6,000 opens at once, and none above the rate");
    assert!(!live.is_over());
}

/// Members that serve `web/app`.
fn served(world: &World) -> usize {
    world.registry.groups().look("web", "app", |served| served.behind.len()).unwrap_or_default()
}

#[test]
fn a_client_is_handed_the_parts_of_its_groups_and_says_what_became_of_them() {
    let world = World::new();
    let (session, _) = start_as(&world, "bob");
    let state = || {
        let info = world.registry.group_infos().remove(0).members.remove(0);
        (info.member.state, info.reason)
    };
    world.workers.block_on(async {
        let mut client = Client::open(&session).await;
        client.send(Heartbeat { nonce: 1 }).await;
        let mut pieces = Pieces::default();
        let part = client.next(|m| if let Control::Part(part) = m { Some(part) } else { None }).await;
        let whole = pieces.take(part).unwrap().unwrap();
        let part: GroupPart = serde_json::from_slice(&whole.bytes).unwrap();
        assert_eq!((part.services[0].name.as_str(), part.ingresses[0].to.as_str()), ("app", "billing"));
        let of = PartId { group: "web".to_owned(), revision: 7 };
        let stand = client.next(|m| if let Control::Parts(parts) = m { Some(parts) } else { None }).await;
        assert_eq!(stand.items, std::slice::from_ref(&of));
        assert_eq!(state(), ("behind".to_owned(), None));
        assert!(served(&world) == 0);
        let answers = [(None, "ready"), (Some("add to [allow]".into()), "behind"), (None, "ready")];
        for (beat, (refusal, expected)) in (2..).zip(answers) {
            client.send(PartAnswer { of: of.clone(), refusal }).await;
            client.send(Heartbeat { nonce: beat }).await;
            client.next(|m| matches!(m, Control::HeartbeatAck(it) if it.nonce == beat).then_some(())).await;
            assert_eq!(state().0, expected);
            assert_eq!(served(&world), usize::from(expected == "ready"));
        }
    });
}

#[test]
fn a_part_that_changes_is_handed_over_and_the_old_one_stays_until_it_is_idle() {
    let mut world = World::new();
    let (session, _) = start_as(&world, "bob");
    let id = |revision| PartId { group: "web".to_owned(), revision };
    let wanted = || {
        let part = serde_json::json!({ "services": [{ "name": "app", "servers": [{ "address": "127.0.0.1:4000" }] }] });
        crate::fakes::wanted(8, &[("web", part)])
    };
    let part = |m| if let Control::Part(part) = m { Some(part.of) } else { None };
    let list = |m| if let Control::Parts(parts) = m { Some(parts.items) } else { None };
    let mut client = world.workers.block_on(async {
        let mut client = Client::open(&session).await;
        client.send(Heartbeat { nonce: 1 }).await;
        assert_eq!(client.next(part).await, id(7));
        client.send(PartAnswer { of: id(7), refusal: None }).await;
        assert_eq!(client.next(list).await, [id(7)]);
        // Refused once, so that nothing of it stays, and then taken under the same number.
        for refusal in [Some("not yet".into()), None] {
            let answering = async {
                assert_eq!(client.next(part).await, id(8));
                assert_eq!(client.next(list).await, [id(7), id(8)], "ready beside the one in use");
                client.send(PartAnswer { of: id(8), refusal: refusal.clone() }).await;
            };
            let preparing = world.registry.prepare_parts(wanted());
            let (prepared, ()) = futures_util::future::join(preparing, answering).await;
            assert_eq!(prepared.is_ok(), refusal.is_none());
            match prepared {
                Ok(prepared) => world.registry.use_parts(prepared),
                Err(error) => assert!(error.to_string().contains("not yet"), "{error}"),
            }
            let expected = if refusal.is_none() { vec![id(8), id(7)] } else { vec![id(7)] };
            assert_eq!(client.next(list).await, expected);
        }
        assert_eq!(served(&world), 1);
        client
    });
    world.after(Duration::from_secs(60));
    world.workers.block_on(async { assert_eq!(client.next(list).await, [id(8)]) });
}

#[test]
fn a_client_says_how_its_own_services_are_and_nobody_elses() {
    let world = World::new();
    let (session, _) = start_as(&world, "bob");
    let _other = world.session("mallory", 2, 2, 0, None);
    world.workers.block_on(async {
        let mut client = Client::open(&session).await;
        let of = PartId { group: "web".to_owned(), revision: 7 };
        client.next(|m| matches!(m, Control::Parts(_)).then_some(())).await;
        client.send(PartAnswer { of, refusal: None }).await;
        client.send(Register { items: vec![http(3, "bob")] }).await;
        let server = |state| ServerHealth { server: "127.0.0.1:3000".to_owned(), state };
        let health = |service: &str, state| ServiceHealth {
            service: service.parse().unwrap(),
            servers: vec![server(state), server(ServerState::Sick)],
        };
        let tell = |number, state| {
            // The others are not its own: not even a name of a later registration, nor what its group does not have.
            let services = ["web/app", "~/3", "~/4", "web/made-up", "other/app", "billing"];
            Health { number, services: services.map(|service| health(service, state)).into() }
        };
        for (number, state, expected) in
            [(1, ServerState::Ejected, "sick"), (2, ServerState::Healthy, "ready")]
        {
            client.send(tell(number, state)).await;
            client.send(Heartbeat { nonce: number }).await;
            client.next(|m| matches!(m, Control::HeartbeatAck(it) if it.nonce == number).then_some(())).await;
            let members = world.registry.group_infos().remove(0).members;
            let [bob, mallory] = [&members[0].member, &members[1].member];
            assert_eq!((bob.state.as_str(), bob.servers.len()), (expected, 2));
            assert_eq!(bob.servers[0].state, state.as_str());
            assert_eq!((mallory.state.as_str(), mallory.servers.len()), ("behind", 0));
            let name = world.registry.name_infos().remove(0).members.remove(0);
            assert_eq!((name.state.as_str(), name.servers.len()), (expected, 2));
        }
    });
}

#[test]
fn a_client_without_groups_hears_that_it_holds_none() {
    let world = World::new();
    let (session, _) = start_as(&world, "eve");
    world.workers.block_on(async {
        let mut client = Client::open(&session).await;
        client.send(Heartbeat { nonce: 1 }).await;
        let stand = client.next(|m| if let Control::Parts(parts) = m { Some(parts) } else { None }).await;
        assert_eq!(stand.items, []);
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
        pulse: Pulse::default(),
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
fn a_drain_longer_than_any_clock_goes_is_a_long_one() {
    let world = World::new();
    let Linked { live, orders, .. } = world.linked("default");
    live.drain(Duration::MAX, DrainCause::Shutdown);
    assert!(orders.drain.borrow().is_some_and(|order| order.until > Instant::now() + DRAIN));
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

#[test]
fn who_gives_a_name_back_and_leaves_at_once_keeps_none_reserved() {
    let world = World::new();
    let Linked { live, inbound, orders, client: session } = world.linked("default");
    let mut running = Box::pin(run(context(&world, Pulse::default()), live.clone(), inbound, orders));
    world.workers.block_on(async {
        let mut client = Client::open(&session).await;
        client.send(Register { items: vec![http(0, "app")] }).await;
        tokio::select! {
            () = &mut running => panic!("over"),
            () = client.next(|m| matches!(m, Control::Registered(_)).then_some(())) => {}
        }
        // Nobody looks until all of it has come, the end of the link as well.
        client.send(Unregister { ids: vec![0] }).await;
        session.close();
        live.link().closed().await;
        running.await;
        assert!(world.registry.name_infos().is_empty());
    });
}
