//! Plugins that a service names: at the end that dials, around what comes over the wire.

use std::future::pending;
use std::sync::Arc;
use std::time::Duration;

use http::HeaderValue;
use ops::error_kind::ErrorKind;
use ops::metrics::PluginFailure;
use parking_lot::Mutex;
use protocol::service_name::ServiceName;
use serde_json::json;

use super::fixture::*;
use super::plugins::{built, marking};
use crate::access::AccessLine;
use crate::context::Timeouts;
use crate::plugin::{
    Call, Chain, Flow, OnFailure, Plugin, PluginError, Plugins, RequestHead, ResponseHead, Seat,
};
use crate::service::{Service, ServiceTarget};

const GET: &str = "GET /a HTTP/1.1\r\nHost: app.test\r\n\r\n";
const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi";

/// Has the service go through these at the client's end.
fn guard(world: &World, address: std::net::SocketAddr, chain: Chain) {
    let to: ServiceTarget = address.to_string().parse().unwrap();
    let service = Service::http(labels(&world.client), &to, None, &world.client).unwrap().plugged(chain);
    world.table.insert(ServiceName::Own(1), Arc::new(service));
}

fn started(world: &World, seats: Vec<Seat>) -> Chain {
    let mut plugins = Plugins::default();
    let names: Vec<_> = seats.iter().map(|seat| seat.name.clone()).collect();
    seats.into_iter().for_each(|seat| plugins.add(seat).unwrap());
    plugins.start(&world.client);
    plugins.chain(&names).unwrap()
}

#[test]
fn what_a_plugin_of_the_service_changes_reaches_it_and_the_visitor() {
    let service = ByHand::new();
    let address = service.addr();
    run(address, move |world| async move {
        let service = service.listen();
        guard(&world, address, marking());
        let mut visitor = Peer::connect(world.http).await;
        visitor.say("POST /a HTTP/1.1\r\nHost: app.test\r\nX-Own: 1\r\nContent-Length: 3\r\n\r\nabc").await;
        let mut connection = Peer::accept(&service).await;
        let head = connection.hear("abc").await;
        assert!(head.starts_with("POST /b?c=d HTTP/1.1\r\n"), "{head}");
        for line in
            ["x-user: alice", "x-forwarded-for: 127.0.0.1", "x-own: 1", "content-length: 3", "host: app.test"]
        {
            assert!(head.contains(&format!("{line}\r\n")), "{line} in {head}");
        }
        assert!(!head.contains("9.9.9.9"), "{head}");
        connection.say(OK).await;
        let head = visitor.head().await;
        assert!(head.contains("x-mark: 7\r\n") && head.contains("content-length: 2\r\n"), "{head}");
        visitor.hear("hi").await;
        // The line has what was asked for.
        let line = world.client_lines.line(0).await;
        assert_eq!((line.path.unwrap().path(), line.status), ("/a", Some(200)));
        // The connection is as good as before.
        visitor.say(GET).await;
        connection.head().await;
        connection.say(OK).await;
        assert!(visitor.head().await.contains("x-mark: 7\r\n"));
    });
}

#[test]
fn a_plugin_of_the_service_answers_before_it_is_asked() {
    let service = ByHand::new();
    let address = service.addr();
    run(address, move |world| async move {
        let service = service.listen();
        let mark = json!({ "response": { "set": { "x-set": "1" } } });
        let deny = json!({ "deny": ["127.0.0.1"] });
        guard(&world, address, started(&world, vec![built("headers", mark), built("ip-allow", deny)]));
        let mut visitor = Peer::connect(world.http).await;
        visitor.say(GET).await;
        let head = visitor.head().await;
        assert!(head.starts_with("HTTP/1.1 403 Forbidden\r\n"), "{head}");
        for line in ["x-tunnel-error: denied", "x-set: 1"] {
            assert!(head.contains(&format!("{line}\r\n")), "{line} in {head}");
        }
        visitor.hear("\n").await;
        let lines = world.client_lines.line(0).await;
        assert_eq!((lines.status, lines.error), (Some(403), Some(ErrorKind::Denied)));
        // Of a HEAD only the head comes, and the connection goes on.
        let mut visitor = Peer::connect(world.http).await;
        visitor.say("HEAD /a HTTP/1.1\r\nHost: app.test\r\n\r\n").await;
        assert!(visitor.head().await.starts_with("HTTP/1.1 403 "));
        visitor.say(GET).await;
        assert!(visitor.head().await.starts_with("HTTP/1.1 403 "));
        // Nobody reads a body that is on its way.
        let mut visitor = Peer::connect(world.http).await;
        visitor.say("POST /a HTTP/1.1\r\nHost: app.test\r\nContent-Length: 100000000\r\n\r\nabc").await;
        assert!(visitor.head().await.starts_with("HTTP/1.1 403 "));
        // A visitor that waits to be asked for its body is not.
        let mut visitor = Peer::connect(world.http).await;
        visitor
            .say("POST /a HTTP/1.1\r\nHost: app.test\r\nExpect: 100-continue\r\nContent-Length: 3\r\n\r\n")
            .await;
        assert!(visitor.head().await.starts_with("HTTP/1.1 403 "));
        let asked = tokio::time::timeout(Duration::ZERO, service.accept()).await;
        assert!(asked.is_err(), "the service was connected to");
    });
}

/// Fails in one way or another, in one phase or the other.
#[derive(Clone, Copy)]
enum Broken {
    Panic,
    LatePanic,
    Slow,
    ResponseError,
    ResponsePanic,
}

impl Plugin for Broken {
    fn on_request<'a>(&'a self, request: &'a mut RequestHead) -> Call<'a, Flow> {
        request.headers.insert("x-half-done", HeaderValue::from_static("1"));
        match self {
            Self::Panic => panic!("at once"),
            Self::LatePanic => Call::later(async { panic!("late") }),
            Self::Slow => Call::later(pending()),
            Self::ResponseError | Self::ResponsePanic => Call::now(Flow::Pass),
        }
    }

    fn on_response<'a>(&'a self, _: &'a RequestHead, response: &'a mut ResponseHead) -> Call<'a, ()> {
        if matches!(self, Self::ResponseError | Self::ResponsePanic) {
            response.headers.insert("x-half-done", HeaderValue::from_static("1"));
        }
        match self {
            Self::ResponseError => Call::failed(PluginError::new("no luck")),
            Self::ResponsePanic => Call::later(async { panic!("late") }),
            Self::Panic | Self::LatePanic | Self::Slow => Call::now(()),
        }
    }
}

#[test]
fn a_plugin_that_fails_at_the_end_that_dials_is_contained() {
    let service = ByHand::new();
    let address = service.addr();
    run(address, move |world| async move {
        let service = service.listen();
        let cases = [
            (Broken::Panic, PluginFailure::Panic, false),
            (Broken::LatePanic, PluginFailure::Panic, false),
            (Broken::Slow, PluginFailure::Timeout, false),
            (Broken::ResponseError, PluginFailure::Error, true),
            (Broken::ResponsePanic, PluginFailure::Panic, true),
        ];
        for (number, (broken, reason, asks)) in cases.into_iter().enumerate() {
            let name = format!("broken-{number}");
            for on_failure in [OnFailure::Open, OnFailure::Closed] {
                let (limit, plugin) = (Duration::from_millis(50), Arc::new(broken));
                let seat = Seat::new(name.as_str().into(), "test".into(), on_failure, limit, plugin);
                guard(&world, address, started(&world, vec![seat]));
                let mut visitor = Peer::connect(world.http).await;
                visitor.say(GET).await;
                let open = on_failure == OnFailure::Open;
                let mut connection = None;
                if open || asks {
                    let connection = connection.insert(Peer::accept(&service).await);
                    let head = connection.head().await;
                    assert_eq!(head.contains("x-half-done"), asks, "{name} {head}");
                    connection.say(OK).await;
                }
                let head = visitor.head().await;
                if open {
                    assert!(
                        head.starts_with("HTTP/1.1 200 ") && !head.contains("x-half-done"),
                        "{name} {head}"
                    );
                    visitor.hear("hi").await;
                } else {
                    assert!(head.starts_with("HTTP/1.1 500 "), "{name} {head}");
                    assert!(head.contains("x-tunnel-error: internal\r\n"), "{name} {head}");
                }
            }
            assert_eq!(world.client.metrics.plugin(&name).failures(reason), 2, "{name}");
        }
    });
}

#[test]
fn a_request_is_accepted_while_a_plugin_at_the_end_that_dials_takes_its_time() {
    let service = ByHand::new();
    let address = service.addr();
    let timeouts = Timeouts { open: Duration::from_millis(300), ..Timeouts::default() };
    run_with(timeouts, address, move |world| async move {
        let service = service.listen();
        let limit = 3 * timeouts.open;
        let seat = Seat::new("slow".into(), "test".into(), OnFailure::Open, limit, Arc::new(Broken::Slow));
        guard(&world, address, started(&world, vec![seat]));
        let mut visitor = Peer::connect(world.http).await;
        visitor.say(GET).await;
        let mut connection = Peer::accept(&service).await;
        connection.head().await;
        connection.say(OK).await;
        let head = visitor.head().await;
        assert!(head.starts_with("HTTP/1.1 200 "), "{head}");
    });
}

type Ends = Vec<(Option<u16>, Option<ErrorKind>)>;

/// Notes how requests end.
struct Noting(Arc<Mutex<Ends>>);

impl Plugin for Noting {
    fn on_end(self: Arc<Self>, line: &AccessLine) -> Call<'static, ()> {
        self.0.lock().push((line.status, line.error));
        Call::now(())
    }
}

#[test]
fn a_plugin_of_the_service_hears_how_requests_end() {
    let service = ByHand::new();
    let address = service.addr();
    run(address, move |world| async move {
        let listener = service.listen();
        let ends = Arc::new(Mutex::new(Vec::new()));
        let plugin = Arc::new(Noting(ends.clone()));
        let seat = Seat::new("note".into(), "test".into(), OnFailure::Closed, LIMIT, plugin);
        guard(&world, address, started(&world, vec![seat]));
        let mut visitor = Peer::connect(world.http).await;
        visitor.say(GET).await;
        let mut connection = Peer::accept(&listener).await;
        connection.head().await;
        connection.say(OK).await;
        visitor.hear("hi").await;
        world.client_lines.line(0).await;
        // A body that is cut.
        visitor.say(GET).await;
        connection.head().await;
        connection.say("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhi").await;
        visitor.hear("hi").await;
        drop(connection);
        visitor.rest().await;
        world.client_lines.line(1).await;
        // Nobody listens.
        drop(listener);
        let mut visitor = Peer::connect(world.http).await;
        visitor.say(GET).await;
        assert!(visitor.head().await.starts_with("HTTP/1.1 502 "));
        world.client_lines.line(2).await;
        let expected = [
            (Some(200), None),
            (Some(200), Some(ErrorKind::ServiceCut)),
            (None, Some(ErrorKind::ServiceRefused)),
        ];
        while ends.lock().len() < expected.len() {
            tokio::task::yield_now().await;
        }
        assert_eq!(*ends.lock(), expected);
    });
}

#[test]
fn an_upgrade_goes_through_the_plugins_of_its_service() {
    let service = ByHand::new();
    let address = service.addr();
    run(address, move |world| async move {
        let listener = service.listen();
        guard(&world, address, marking());
        let mut visitor = Peer::connect(world.http).await;
        visitor
            .say("GET /ws HTTP/1.1\r\nHost: app.test\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n")
            .await;
        let mut connection = Peer::accept(&listener).await;
        let head = connection.head().await;
        assert!(head.contains("upgrade: websocket\r\n") && head.contains("x-user: alice\r\n"), "{head}");
        connection
            .say("HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\nhi")
            .await;
        let head = visitor.head().await;
        assert!(head.starts_with("HTTP/1.1 101 ") && head.contains("x-mark: 7\r\n"), "{head}");
        visitor.hear("hi").await;
        visitor.say("there").await;
        connection.hear("there").await;
    });
}

/// Says when it was begun and when it was dropped.
struct Held(Arc<tokio::sync::watch::Sender<u8>>);

struct Dropped(Arc<tokio::sync::watch::Sender<u8>>);

impl Drop for Dropped {
    fn drop(&mut self) {
        self.0.send_replace(2);
    }
}

impl Plugin for Held {
    fn on_request<'a>(&'a self, _: &'a mut RequestHead) -> Call<'a, Flow> {
        let dropped = Dropped(self.0.clone());
        self.0.send_replace(1);
        Call::later(async move {
            pending::<()>().await;
            drop(dropped);
            Ok(Flow::Pass)
        })
    }
}

#[test]
fn a_visitor_that_goes_away_ends_a_call_at_the_end_that_dials() {
    let service = ByHand::new();
    let address = service.addr();
    run(address, move |world| async move {
        let (states, mut state) = tokio::sync::watch::channel(0);
        let plugin = Arc::new(Held(Arc::new(states)));
        let limit = Duration::from_secs(60);
        let seat = Seat::new("held".into(), "test".into(), OnFailure::Closed, limit, plugin);
        guard(&world, address, started(&world, vec![seat]));
        let mut visitor = Peer::connect(world.http).await;
        visitor.say(GET).await;
        tokio::time::timeout(LIMIT, state.wait_for(|state| *state == 1)).await.unwrap().unwrap();
        drop(visitor);
        tokio::time::timeout(LIMIT, state.wait_for(|state| *state == 2)).await.unwrap().unwrap();
    });
}

#[test]
fn a_service_with_plugins_takes_no_connections() {
    let service = ByHand::new();
    let address = service.addr();
    run(address, move |world| async move {
        let listener = service.listen();
        let to: ServiceTarget = address.to_string().parse().unwrap();
        let tcp = Service::tcp(labels(&world.client), &to, &world.client).unwrap().plugged(marking());
        world.table.insert(ServiceName::Own(2), Arc::new(tcp));
        // The reset may be faster than whoever looks whether it is connected.
        match tokio::net::TcpStream::connect(world.tcp).await {
            Ok(visitor) => assert_eq!(Peer(visitor).rest().await.1, End::Reset),
            Err(error) => assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset),
        }
        let asked = tokio::time::timeout(Duration::ZERO, listener.accept()).await;
        assert!(asked.is_err(), "plugins were passed by");
    });
}
