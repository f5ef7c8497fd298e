use std::sync::Arc;
use std::time::Duration;

use http::HeaderValue;
use ops::error_kind::ErrorKind;
use serde_json::{Value, json};

use super::fixture::*;
use crate::access::AccessKind;
use crate::context::Timeouts;
use crate::directory::Lookup;
use crate::plugin::{Call, Chain, Flow, Kinds, OnFailure, Plugin, Plugins, RequestHead, ResponseHead, Seat};

const GET: &str = "GET /a HTTP/1.1\r\nHost: app.test\r\n\r\n";

/// Lets the name of the tests go through plugins, in this order.
fn plug(world: &World, seats: Vec<Seat>) {
    let mut plugins = Plugins::default();
    let names: Vec<_> = seats.iter().map(|seat| seat.name.clone()).collect();
    for seat in seats {
        plugins.add(seat).unwrap();
    }
    plugins.start(&world.server);
    plug_chain(world, plugins.chain(&names).unwrap());
}

fn plug_chain(world: &World, plugins: Chain) {
    let Lookup::Found(mut route) = found(&world.server, vec![target(&world.session, 1)]) else {
        unreachable!()
    };
    route.plugins = plugins;
    world.names.set(HOST, Lookup::Found(route));
}

pub(super) fn built(kind: &str, keys: Value) -> Seat {
    let Value::Object(keys) = keys else { unreachable!() };
    Kinds::built_in().build(kind, kind, keys).unwrap()
}

#[test]
fn an_answer_of_a_plugin_has_a_line_like_every_other() {
    let service = ByHand::new();
    run(service.addr(), |world| async move {
        plug(&world, vec![built("ip-allow", json!({ "deny": ["127.0.0.1"] }))]);
        let mut visitor = Peer::connect(world.http).await;
        visitor.say(GET).await;
        let head = visitor.head().await;
        assert!(head.starts_with("HTTP/1.1 403 Forbidden\r\n"), "{head}");
        assert!(head.contains("x-tunnel-error: denied\r\n"), "{head}");
        let line = world.server_lines.line(0).await;
        assert_eq!((line.status, line.error), (Some(403), Some(ErrorKind::Denied)));
        assert_eq!((line.route.as_deref(), line.member.as_deref()), (Some("app"), None));
        assert_eq!(world.server.metrics.route("app", "web", "app").errors(ErrorKind::Denied), 1);
        // A rate is a limit, and one connection carries the answers of both.
        plug(
            &world,
            vec![
                built("rate-limit", json!({ "rate": "1/h" })),
                built(
                    "headers",
                    json!({
                        "response": { "set": { "x-set": "1" } },
                    }),
                ),
            ],
        );
        visitor.hear("\n").await;
        let service = service.listen();
        let mut visitor = Peer::connect(world.http).await;
        visitor.say(GET).await;
        let mut connection = Peer::accept(&service).await;
        connection.head().await;
        connection.say("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi").await;
        let head = visitor.head().await;
        assert!(head.contains("x-set: 1\r\n") && head.contains("content-length: 2\r\n"), "{head}");
        visitor.hear("hi").await;
        visitor.say(GET).await;
        let head = visitor.head().await;
        assert!(
            head.starts_with("HTTP/1.1 429 ") && head.contains("x-tunnel-error: over-limit\r\n"),
            "{head}"
        );
        assert!(head.contains("retry-after: 3600\r\n") && !head.contains("x-set"), "{head}");
        assert_eq!(world.server_lines.line(2).await.error, Some(ErrorKind::OverLimit));
    });
}

/// Marks what it sees, and finds its own mark again.
struct Marking;

#[derive(Clone)]
struct Mark(u8);

impl Plugin for Marking {
    fn on_request<'a>(&'a self, request: &'a mut RequestHead) -> Call<'a, Flow> {
        Call::later(async move {
            tokio::task::yield_now().await;
            request.path = "/b?c=d".parse().unwrap_or_else(|_| request.path.clone());
            request.headers.insert("x-user", HeaderValue::from_static("alice"));
            request.headers.insert("x-forwarded-for", HeaderValue::from_static("9.9.9.9"));
            request.extensions.insert(Mark(7));
            Ok(Flow::Pass)
        })
    }

    fn on_response<'a>(&'a self, request: &'a RequestHead, response: &'a mut ResponseHead) -> Call<'a, ()> {
        let mark = request.extensions.get::<Mark>().map_or(0, |mark| mark.0);
        response.headers.insert("x-mark", HeaderValue::from(u16::from(mark)));
        Call::now(())
    }
}

pub(super) fn marking() -> Chain {
    let limit = Duration::from_secs(20);
    let seat = Seat::new("mark".into(), "test".into(), OnFailure::Closed, limit, Arc::new(Marking));
    Chain::new(vec![Arc::new(seat)])
}

#[test]
fn what_a_plugin_changes_reaches_the_service_and_the_visitor() {
    let service = ByHand::new();
    run(service.addr(), |world| async move {
        let service = service.listen();
        plug_chain(&world, marking());
        let mut visitor = Peer::connect(world.http).await;
        // A visitor can not have it removed on the way.
        visitor
            .say("POST /a HTTP/1.1\r\nHost: app.test\r\nConnection: close, x-user, x-own\r\nX-Own: 1\r\nContent-Length: 3\r\n\r\nabc")
            .await;
        let mut connection = Peer::accept(&service).await;
        let head = connection.hear("abc").await;
        assert!(head.starts_with("POST /b?c=d HTTP/1.1\r\n"), "{head}");
        assert!(
            head.contains("x-user: alice\r\n") && head.contains("x-forwarded-for: 127.0.0.1\r\n"),
            "{head}"
        );
        assert!(!head.contains("9.9.9.9") && !head.contains("x-own"), "{head}");
        assert!(head.contains("content-length: 3\r\n"), "{head}");
        connection.say("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi").await;
        let head = visitor.head().await;
        assert!(head.contains("x-mark: 7\r\n"), "{head}");
        visitor.hear("hi").await;
        // The log has what the visitor asked for.
        assert_eq!(world.server_lines.line(0).await.path.unwrap().path(), "/a");
    });
}

#[test]
fn plugins_see_upgrades_and_pages_of_ours() {
    let service = ByHand::new();
    run(service.addr(), |world| async move {
        let listener = service.listen();
        plug_chain(&world, marking());
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
        assert!(
            head.contains("upgrade: websocket\r\n") && head.contains("connection: upgrade\r\n"),
            "{head}"
        );
        assert!(head.contains("x-mark: 7\r\n"), "{head}");
        visitor.hear("hi").await;
        drop((visitor, connection));
        assert_eq!(world.server_lines.line(0).await.kind, AccessKind::Upgrade);
        // Nobody listens any more: the page that says so goes through the plugins as well.
        drop(listener);
        let mut visitor = Peer::connect(world.http).await;
        visitor.say(GET).await;
        let head = visitor.head().await;
        assert!(head.starts_with("HTTP/1.1 502 ") && head.contains("x-mark: 7\r\n"), "{head}");
    });
}

#[test]
fn a_request_goes_through_its_plugins_once_whatever_becomes_of_the_members() {
    let service = ByHand::new();
    run(service.addr(), |world| async move {
        let service = service.listen();
        let [(_, _inbound), (dead, _)] = sessions(&world.server.spawner);
        let Lookup::Found(mut route) =
            found(&world.server, vec![target(&dead, 1), target(&world.session, 1)])
        else {
            unreachable!()
        };
        let mut plugins = Plugins::default();
        plugins.add(built("rate-limit", json!({ "rate": "1/h" }))).unwrap();
        route.plugins = plugins.chain(&["rate-limit"]).unwrap();
        world.names.set(HOST, Lookup::Found(route));
        let mut visitor = Peer::connect(world.http).await;
        visitor.say(GET).await;
        dead.close();
        let mut connection = Peer::accept(&service).await;
        connection.head().await;
        connection.say("HTTP/1.1 204 No Content\r\n\r\n").await;
        assert!(visitor.head().await.starts_with("HTTP/1.1 204"));
    });
}

/// A service that is asked whether visitors may pass, played by hand.
async fn decider(world: &World, keys: Value) -> tokio::net::TcpListener {
    let decider = ByHand::new();
    let mut keys = keys;
    keys["url"] = json!(format!("http://{}/verify?x=1", decider.addr()));
    plug(world, vec![built("forward-auth", keys)]);
    decider.listen()
}

#[test]
fn another_service_lets_a_visitor_pass_and_says_who_it_is() {
    let service = ByHand::new();
    run(service.addr(), |world| async move {
        let service = service.listen();
        let keys = json!({ "response_headers": ["x-team"], "principal_header": "x-user", "timeout": "20s" });
        let decider = decider(&world, keys).await;
        let mut visitor = Peer::connect(world.http).await;
        visitor
            .say("PUT /a?b=c HTTP/1.1\r\nHost: App.test:8080\r\nCookie: s=1\r\nX-User: root\r\nX_Team: root\r\nX-Private: 1\r\nX-Forwarded-Method: GET\r\nContent-Length: 0\r\n\r\n")
            .await;
        let mut asked = Peer::accept(&decider).await;
        let head = asked.head().await;
        assert!(head.starts_with("GET /verify?x=1 HTTP/1.1\r\n"), "{head}");
        for line in [
            "x-forwarded-method: PUT",
            "x-forwarded-proto: http",
            "x-forwarded-host: app.test:8080",
            "x-forwarded-uri: /a?b=c",
            "x-forwarded-for: 127.0.0.1",
            "cookie: s=1",
        ] {
            assert!(head.contains(&format!("{line}\r\n")), "{line} in {head}");
        }
        assert!(!head.contains("x-private") && !head.contains("root"), "{head}");
        asked
            .say("HTTP/1.1 200 OK\r\nX-User: alice\r\nX-Team: a\r\nX-Other: 1\r\nContent-Length: 2\r\n\r\nok")
            .await;
        let mut connection = Peer::accept(&service).await;
        let head = connection.head().await;
        assert!(head.contains("x-user: alice\r\n") && head.contains("x-team: a\r\n"), "{head}");
        assert!(!head.contains("root") && !head.contains("x-other"), "{head}");
        connection.say("HTTP/1.1 204 No Content\r\n\r\n").await;
        assert!(visitor.head().await.starts_with("HTTP/1.1 204"));
    });
}

#[test]
fn what_another_service_says_instead_is_the_answer() {
    let service = ByHand::new();
    run(service.addr(), |world| async move {
        let decider = decider(&world, json!({ "timeout": "20s" })).await;
        let mut visitor = Peer::connect(world.http).await;
        visitor.say(GET).await;
        let mut asked = Peer::accept(&decider).await;
        asked.head().await;
        asked
            .say("HTTP/1.1 302 Found\r\nLocation: https://login.test/\r\nSet-Cookie: a=1\r\nSet-Cookie: b=2\r\nConnection: x-hop\r\nX-Hop: 1\r\nContent-Length: 5\r\n\r\nlogin")
            .await;
        let head = visitor.head().await;
        assert!(head.starts_with("HTTP/1.1 302 Found\r\n"), "{head}");
        assert!(
            head.contains("location: https://login.test/\r\n") && head.contains("set-cookie: b=2\r\n"),
            "{head}"
        );
        assert!(head.contains("content-length: 5\r\n") && !head.contains("x-hop"), "{head}");
        visitor.hear("login").await;
        let line = world.server_lines.line(0).await;
        assert_eq!((line.status, line.error), (Some(302), None));
        visitor.say(GET).await;
        asked.head().await;
        asked.say("HTTP/1.1 401 Unauthorized\r\nWWW-Authenticate: Bearer\r\nContent-Length: 0\r\n\r\n").await;
        let head = visitor.head().await;
        assert!(head.starts_with("HTTP/1.1 401 ") && head.contains("www-authenticate: Bearer\r\n"), "{head}");
        assert!(head.contains("x-tunnel-error: denied\r\n"), "{head}");
        assert_eq!(world.server_lines.line(1).await.error, Some(ErrorKind::Denied));
    });
}

#[test]
fn nobody_passes_while_nobody_decides() {
    let service = ByHand::new();
    run(service.addr(), |world| async move {
        let silent = decider(&world, json!({ "timeout": "50ms" })).await;
        let mut visitor = Peer::connect(world.http).await;
        visitor.say(GET).await;
        let head = visitor.head().await;
        assert!(head.starts_with("HTTP/1.1 500 ") && head.contains("x-tunnel-error: internal\r\n"), "{head}");
        drop(silent);
        let mut visitor = Peer::connect(world.http).await;
        visitor.say(GET).await;
        assert!(visitor.head().await.starts_with("HTTP/1.1 500 "));
        // An answer that does not end is none.
        let endless = decider(&world, json!({ "timeout": "20s" })).await;
        let mut visitor = Peer::connect(world.http).await;
        visitor.say(GET).await;
        let mut asked = Peer::accept(&endless).await;
        asked.head().await;
        asked.say("HTTP/1.1 403 Forbidden\r\nContent-Length: 100000\r\n\r\n").await;
        asked.say("x".repeat(70_000)).await;
        assert!(visitor.head().await.starts_with("HTTP/1.1 500 "));
        assert_eq!(world.server_lines.line(0).await.error, Some(ErrorKind::Internal));
    });
}

#[test]
fn who_may_not_come_in_hears_nothing_of_members() {
    let service = ByHand::new();
    let patient = Timeouts { member: LIMIT * 2, ..Timeouts::default() };
    run_with(patient, service.addr(), |world| async move {
        let mut plugins = Plugins::default();
        plugins.add(built("rate-limit", json!({ "rate": "1/h" }))).unwrap();
        let mark = json!({ "response": { "set": { "x-set": "1" } } });
        plugins.add(built("headers", mark)).unwrap();
        plugins.start(&world.server);
        let chain = plugins.chain(&["headers", "rate-limit"]).unwrap();
        world.names.set(HOST, Lookup::Reserved(labels(&world.server), chain.clone()));
        // One of the two may come in, and waits.
        let (mut one, mut other) = (Peer::connect(world.http).await, Peer::connect(world.http).await);
        one.say(GET).await;
        other.say(GET).await;
        let (told, mut waiting) = tokio::select! {
            head = one.head() => (head, other),
            head = other.head() => (head, one),
        };
        assert!(told.starts_with("HTTP/1.1 429 ") && told.contains("x-set: 1\r\n"), "{told}");
        // A member comes, and the request is not asked about once more.
        let service = service.listen();
        let Lookup::Found(mut route) = found(&world.server, vec![target(&world.session, 1)]) else {
            unreachable!()
        };
        route.plugins = chain;
        world.names.set(HOST, Lookup::Found(route));
        let mut connection = Peer::accept(&service).await;
        connection.head().await;
        connection.say("HTTP/1.1 204 No Content\r\n\r\n").await;
        let head = waiting.head().await;
        assert!(head.starts_with("HTTP/1.1 204") && head.contains("x-set: 1\r\n"), "{head}");
    });
}

#[test]
fn the_page_that_says_that_there_is_no_member_goes_through_the_plugins() {
    let service = ByHand::new();
    let hasty = Timeouts { member: Duration::ZERO, ..Timeouts::default() };
    run_with(hasty, service.addr(), |world| async move {
        world.names.set(HOST, Lookup::Reserved(labels(&world.server), marking()));
        let mut visitor = Peer::connect(world.http).await;
        visitor.say(GET).await;
        let head = visitor.head().await;
        assert!(head.starts_with("HTTP/1.1 503 ") && head.contains("x-mark: 7\r\n"), "{head}");
        assert!(head.contains("x-tunnel-error: no-member\r\n"), "{head}");
    });
}
