use std::sync::Arc;
use std::time::{Duration, Instant};

use ops::error_kind::ErrorKind;
use policy::rule::{self, Action};

use super::fixture::*;
use crate::concurrency::Limits;
use crate::context::{Context, Timeouts};
use crate::directory::{Lookup, Route, RouteLabels, Target};
use crate::plugin::Chain;
use crate::rule_answer::RuleAnswer;
use crate::treatment::Treatment;

const GET: &str = "GET /api/a?b=c HTTP/1.1\r\nHost: app.test\r\nX-Own: visitor\r\n\r\n";
const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n";

fn answering(context: &Context, action: &Action) -> Lookup {
    let metrics = context.metrics.route("moved", "", "");
    let labels = RouteLabels { route: "moved".into(), group: "".into(), service: "".into(), metrics };
    Lookup::Answer(labels, Arc::new(RuleAnswer::of(action).unwrap().unwrap()), Chain::default())
}

fn treated(context: &Context, targets: Vec<Target>, written: &rule::Treatment) -> Lookup {
    let Lookup::Found(route) = found(context, targets) else { panic!() };
    Lookup::Found(Route { treatment: Some(Arc::new(Treatment::of(written).unwrap())), ..route })
}

#[test]
fn a_rule_sends_visitors_elsewhere() {
    run(ByHand::new().addr(), |world| async move {
        let to = "https://{host}{path}?{query}".to_owned();
        let redirect = answering(&world.server, &Action::Redirect { status: 308, to });
        world.names.set(HOST, redirect);
        let mut visitor = Peer::connect(world.http).await;
        // The connection goes on.
        for _ in 0..2 {
            visitor.say(GET).await;
            let head = visitor.head().await;
            assert!(head.starts_with("HTTP/1.1 308 "), "{head}");
            assert!(head.contains("location: https://app.test/api/a?b=c\r\n"), "{head}");
            assert!(head.contains("content-length: 0\r\n") && !head.contains("connection: close"), "{head}");
        }
        let line = world.server_lines.line(1).await;
        assert_eq!((line.status, line.error, line.member), (Some(308), None, None));
        assert_eq!(line.route.as_deref(), Some("moved"));
        let metrics = world.server.metrics.encode().unwrap();
        let counted = "tunnel_requests_total{route=\"moved\",group=\"\",service=\"\",code=\"308\"} 2";
        assert!(metrics.contains(counted), "{metrics}");
    });
}

#[test]
fn a_rule_answers_itself_whatever_is_uploaded() {
    run(ByHand::new().addr(), |world| async move {
        let (content_type, body) = (Some("text/plain".to_owned()), "closed today".to_owned());
        let respond = answering(&world.server, &Action::Respond { status: 410, content_type, body });
        world.names.set(HOST, respond);
        let mut visitor = Peer::connect(world.http).await;
        visitor.say("HEAD / HTTP/1.1\r\nHost: app.test\r\n\r\n").await;
        let head = visitor.head().await;
        assert!(head.starts_with("HTTP/1.1 410 ") && head.contains("content-length: 12\r\n"), "{head}");
        assert!(head.contains("content-type: text/plain\r\n"), "{head}");
        visitor
            .say("POST / HTTP/1.1\r\nHost: app.test\r\nContent-Length: 1000000\r\n\r\nonly the start")
            .await;
        let head = visitor.head().await;
        assert!(head.contains("connection: close\r\n"), "{head}");
        assert_eq!(visitor.hear("closed today").await, "closed today");
        assert_eq!(world.server_lines.line(1).await.status, Some(410));
    });
}

#[test]
fn a_rule_changes_host_path_and_fields() {
    let service = ByHand::new();
    run(service.addr(), |world| async move {
        let service = service.listen();
        let set = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        let written = rule::Treatment {
            set_host: Some("inside.lan:81".to_owned()),
            strip_prefix: Some("/api".to_owned()),
            set_headers: vec![set("x-own", "rule"), set("x-forwarded-proto", "https"), set("x-new", "1")],
            ..rule::Treatment::default()
        };
        let lookup = treated(&world.server, vec![target(&world.session, 1)], &written);
        world.names.set(HOST, lookup);
        let mut visitor = Peer::connect(world.http).await;
        visitor.say(GET).await;
        let mut connection = Peer::accept(&service).await;
        let head = connection.head().await;
        assert!(head.starts_with("GET /a?b=c HTTP/1.1\r\nhost: inside.lan:81\r\n"), "{head}");
        for line in ["x-own: rule", "x-forwarded-proto: https", "x-new: 1", "x-forwarded-host: app.test"] {
            assert_eq!(head.matches(line).count(), 1, "{line} in {head}");
        }
        assert!(!head.contains("x-own: visitor") && !head.contains("x-forwarded-proto: http\r\n"), "{head}");
        connection.say(OK).await;
        assert!(visitor.head().await.starts_with("HTTP/1.1 200"));
        // What the visitor asked for is what the access line says.
        assert_eq!(world.server_lines.line(0).await.path.unwrap().as_str(), "/api/a?b=c");
    });
}

#[test]
fn the_timeout_of_a_rule_is_its_own() {
    let service = ByHand::new();
    let timeouts = Timeouts { request: Duration::ZERO, ..Timeouts::default() };
    run_with(timeouts, service.addr(), |world| async move {
        let service = service.listen();
        for (timeout, answered) in [(Duration::from_millis(300), false), (LIMIT, true)] {
            let written = rule::Treatment { timeout: Some(timeout), ..rule::Treatment::default() };
            let lookup = treated(&world.server, vec![target(&world.session, 1)], &written);
            world.names.set(HOST, lookup);
            let (mut visitor, since) = (Peer::connect(world.http).await, Instant::now());
            visitor.say(GET).await;
            let mut connection = Peer::accept(&service).await;
            connection.head().await;
            if answered {
                // The general limit is over.
                connection.say(OK).await;
                assert!(visitor.head().await.starts_with("HTTP/1.1 200"));
            } else {
                let head = visitor.head().await;
                assert!(head.starts_with("HTTP/1.1 504"), "{head}");
                assert!(since.elapsed() >= timeout);
                assert_eq!(connection.rest().await.1, End::Reset);
            }
        }
    });
}

#[test]
fn a_rule_says_how_many_further_members_are_tried() {
    for (retries, tries) in [(Some(0), 1), (None, 2), (Some(1), 2), (Some(2), 3)] {
        let service = ByHand::new();
        run(service.addr(), move |world| async move {
            let service = service.listen();
            let targets = [1, 1, 1].map(|number| target(&world.session, number)).to_vec();
            let written = rule::Treatment { retries, ..rule::Treatment::default() };
            world.names.set(HOST, treated(&world.server, targets, &written));
            let mut visitor = Peer::connect(world.http).await;
            visitor.say(GET).await;
            let mut connections = 0;
            // Whoever may have looked at the request says nothing of it.
            let hanging_up = async {
                loop {
                    Peer::accept(&service).await.head().await;
                    connections += 1;
                }
            };
            let head = tokio::select! {
                head = visitor.head() => head,
                () = hanging_up => unreachable!(),
            };
            assert!(head.starts_with("HTTP/1.1 502") && head.contains("service-cut"), "{head}");
            // Each member gives a connection that was closed a second chance.
            assert_eq!(connections, 2 * tries, "{retries:?}");
        });
    }
}

#[test]
fn a_member_that_has_not_looked_at_a_request_is_none_of_the_further_ones() {
    let service = ByHand::new();
    run(service.addr(), |world| async move {
        let service = service.listen();
        // Only the last one knows the service.
        let targets = [77, 78, 1].map(|number| target(&world.session, number)).to_vec();
        let written = rule::Treatment { retries: Some(0), ..rule::Treatment::default() };
        world.names.set(HOST, treated(&world.server, targets, &written));
        let mut visitor = Peer::connect(world.http).await;
        visitor.say(GET).await;
        let mut connection = Peer::accept(&service).await;
        connection.head().await;
        connection.say(OK).await;
        assert!(visitor.head().await.starts_with("HTTP/1.1 200"));
    });
}

#[test]
fn a_further_target_of_a_rule_goes_by_its_own_name() {
    let service = ByHand::new();
    run(service.addr(), |world| async move {
        let service = service.listen();
        let metrics = world.server.metrics.route("app", "canary", "app-2");
        let labels =
            RouteLabels { route: "app".into(), group: "canary".into(), service: "app-2".into(), metrics };
        let further = Target { labels: Some(Arc::new(labels)), ..target(&world.session, 1) };
        world.names.set(HOST, found(&world.server, vec![target(&world.session, 77), further]));
        let mut visitor = Peer::connect(world.http).await;
        visitor.say(GET).await;
        let mut connection = Peer::accept(&service).await;
        connection.head().await;
        connection.say(OK).await;
        visitor.head().await;
        assert_eq!(world.server_lines.line(0).await.service.as_deref(), Some("app-2"));
    });
}

#[test]
fn who_comes_when_all_places_are_taken_is_told_to_come_again() {
    let service = ByHand::new();
    let limits = Limits { requests: 1, queue: 1, wait: Duration::from_millis(50), ..Limits::default() };
    run_limited(Timeouts::default(), limits, service.addr(), |world| async move {
        let service = service.listen();
        let mut first = Peer::connect(world.http).await;
        first.say(GET).await;
        let mut connection = Peer::accept(&service).await;
        connection.head().await;
        let mut second = Peer::connect(world.http).await;
        second.say(GET).await;
        let head = second.head().await;
        assert!(head.starts_with("HTTP/1.1 503") && head.contains("x-tunnel-error: over-limit"), "{head}");
        assert!(head.contains("retry-after: 1\r\n"), "{head}");
        // A response that is not over holds its place.
        connection.say("HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nha").await;
        first.hear("ha").await;
        let mut second = Peer::connect(world.http).await;
        second.say(GET).await;
        assert!(second.head().await.contains("over-limit"));
        connection.say("lf").await;
        first.hear("lf").await;
        assert_eq!(world.server_lines.line(2).await.error, None);
        let mut third = Peer::connect(world.http).await;
        third.say(GET).await;
        connection.head().await;
        connection.say(OK).await;
        assert!(third.head().await.starts_with("HTTP/1.1 200"));
        assert_eq!(world.server_lines.line(0).await.error, Some(ErrorKind::OverLimit));
    });
}
