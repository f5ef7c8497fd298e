use std::collections::HashMap;

use ops::metrics::Metrics;
use policy::balance::{Balance, HashKey};
use policy::host_pattern::HostPattern;
use policy::rule::{Action, Matcher, Rule, Treatment, WeightedTarget};
use protocol::control::Registration;
use proxy::directory::Route;
use proxy::plugin::Plugins;
use proxy::routes::RouteCause;

use super::*;
use crate::config::Relayed;
use crate::registry::Relays;

fn rule(name: &str, host: &str, action: Action) -> Rule {
    let host = Some(HostPattern::parse(host).unwrap());
    let matcher = Matcher { host, ..Matcher::default() };
    Rule { name: name.into(), matcher, action, treatment: Treatment::default() }
}

fn to(targets: &[(&str, u32)]) -> Action {
    let target =
        |(text, weight): &(&str, u32)| WeightedTarget { target: text.parse().unwrap(), weight: *weight };
    Action::Forward(targets.iter().map(target).collect())
}

fn route_by(world: &World, rules: Vec<Rule>, balances: &[(&str, Balance)]) {
    let balances: HashMap<_, _> =
        balances.iter().map(|(group, balance)| (Arc::from(*group), balance.clone())).collect();
    world.registry.route_by(Routing::new(rules, balances, &Plugins::default(), &Metrics::new("0")).unwrap());
}

/// A tunnel of the group `web` under a name of its own.
fn serving(service: &str, host: &str) -> Registration {
    let mut item = grouped(http(0, host), "web");
    item.name = service.to_owned();
    item
}

fn found(world: &World, host: &str, path: &str, client: &str) -> Route {
    match asked(host, path, client, |asked| world.registry.http(asked)) {
        Lookup::Found(route) => route,
        other => panic!("{other:?}"),
    }
}

/// A world in which `bob` serves `web/app` and `mallory` `web/app` as well, at hosts that differ.
fn two_members() -> (World, [Arc<Live>; 2]) {
    let world = World::new();
    world.invite("bob", &["one".to_owned()], &[], &["web".to_owned()], &[], None);
    world.invite("mallory", &["two".to_owned()], &[], &["web".to_owned()], &[], None);
    let (bob, mallory) = (world.client("bob", 1, 1), world.client("mallory", 2, 2));
    world.register(&bob, serving("app", "one")).unwrap();
    world.register(&mallory, serving("app", "two")).unwrap();
    (world, [bob, mallory])
}

#[test]
fn a_rule_reaches_the_members_of_a_group_by_the_name_of_the_service() {
    let (world, [bob, mallory]) = two_members();
    route_by(&world, vec![rule("app", "app.example.com", to(&[("web/app", 1)]))], &[]);
    let firsts: Vec<Route> = (0..2).map(|_| found(&world, "app.example.com", "/", "192.0.2.1")).collect();
    assert!(!firsts[0].targets[0].session.is_same(&firsts[1].targets[0].session), "round-robin");
    assert_eq!(firsts[0].targets.len(), 2);
    let labels = &firsts[0].labels;
    assert_eq!((&*labels.route, &*labels.group, &*labels.service), ("app", "web", "app"));
    // Registered names stay what they are.
    assert!(targets(&world, "one.t.example.com")[0].is_same(bob.link()));

    detach(&world, &bob);
    let route = found(&world, "app.example.com", "/", "192.0.2.1");
    assert_eq!(route.targets.len(), 1);
    assert!(route.targets[0].session.is_same(mallory.link()));
    world.registry.unregister(&mallory, &[0], world.now);
    assert!(is_reserved(&world, "app.example.com"), "it is configured, and nobody is there");
    assert!(asked("a.test", "/", "::1", |asked| world.registry.members("web", "app", asked)).is_none());
}

#[test]
fn rules_come_before_registered_names_and_without_them_all_is_as_before() {
    let (world, [bob, _]) = two_members();
    let body = "closed".to_owned();
    let closed = Action::Respond { status: 503, content_type: None, body };
    route_by(&world, vec![rule("closed", "one.t.example.com", closed)], &[]);
    let Lookup::Answer(labels, ..) = lookup(&world, "one.t.example.com") else { panic!() };
    assert_eq!((&*labels.route, &*labels.group), ("closed", ""));
    route_by(&world, vec![], &[]);
    assert!(targets(&world, "one.t.example.com")[0].is_same(bob.link()));
}

#[test]
fn a_visitor_who_waits_hears_of_new_rules_and_members() {
    let world = World::new();
    let mut changed = world.registry.changed();
    changed.mark_unchanged();
    route_by(&world, vec![rule("app", "app.example.com", to(&[("web/web", 1)]))], &[]);
    assert!(changed.has_changed().unwrap());
    assert!(is_reserved(&world, "app.example.com"));
    let bob = world.client("bob", 1, 1);
    changed.mark_unchanged();
    world.register(&bob, grouped(http(0, "bob"), "web")).unwrap();
    assert!(changed.has_changed().unwrap());
    assert_eq!(found(&world, "app.example.com", "/", "192.0.2.1").targets.len(), 1);
}

#[test]
fn weights_share_requests_and_the_other_target_follows_for_retries() {
    let world = World::new();
    world.invite("bob", &["one".to_owned(), "two".to_owned()], &[], &["web".to_owned()], &[], None);
    let bob = world.client("bob", 1, 1);
    world.register(&bob, serving("app", "one")).unwrap();
    let canary = Registration { id: 1, ..serving("canary", "two") };
    world.register(&bob, canary).unwrap();
    let targets = to(&[("web/app", 9), ("web/canary", 1), ("web/absent", 5)]);
    route_by(&world, vec![rule("app", "app.example.com", targets)], &[]);
    let routes: Vec<Route> = (0..300).map(|_| found(&world, "app.example.com", "/", "192.0.2.1")).collect();
    for route in &routes {
        let further = route.targets[1].labels.as_ref().unwrap();
        assert_eq!(route.targets.len(), 2);
        assert_ne!(route.labels.service, further.service);
        assert!(route.targets[0].labels.is_none());
    }
    let canaries = routes.iter().filter(|route| &*route.labels.service == "canary").count();
    assert!((1..150).contains(&canaries), "{canaries} of 300");
}

#[test]
fn a_group_balances_as_it_is_told() {
    let (world, _live) = two_members();
    let rules = || vec![rule("app", "app.example.com", to(&[("web/app", 1)]))];
    route_by(&world, rules(), &[("web", Balance::Hash(HashKey::ClientIp))]);
    let first = |client: &str| found(&world, "app.example.com", "/", client).targets.swap_remove(0).session;
    let same = |client: &str| first(client).is_same(&first(client));
    assert!((0..50).all(|last| same(&format!("192.0.2.{last}"))));
    let differs = |last: &u8| !first(&format!("192.0.2.{last}")).is_same(&first("192.0.2.0"));
    assert!((0..50).any(|last| differs(&last)));

    route_by(&world, rules(), &[("web", Balance::LeastConnections)]);
    let busy = first("192.0.2.1");
    let _open = busy.open(bytes::Bytes::new()).unwrap();
    let _more = busy.open(bytes::Bytes::new()).unwrap();
    assert!((0..10).all(|_| !first("192.0.2.1").is_same(&busy)));
}

#[test]
fn whom_a_member_does_not_let_in_no_rule_lets_in() {
    let world = World::new();
    let bob = world.client("bob", 1, 1);
    let mut item = grouped(http(0, "bob"), "web");
    item.allow = vec!["192.0.2.0/24".to_owned()];
    world.register(&bob, item).unwrap();
    route_by(&world, vec![rule("app", "app.example.com", to(&[("web/web", 1)]))], &[]);
    let route = found(&world, "app.example.com", "/", "198.51.100.1");
    assert!(!route.admits("198.51.100.1".parse().unwrap()));
    assert!(route.admits("192.0.2.1".parse().unwrap()));
}

#[test]
fn rules_that_can_not_be_followed_are_all_named() {
    let mut bad_field = rule("field", "a.test", to(&[("web/app", 1)]));
    bad_field.treatment.set_headers = vec![("connection".to_owned(), "close".to_owned())];
    let rules = vec![
        rule("good", "a.test", to(&[("web/app", 1)])),
        bad_field,
        rule("moved", "a.test", Action::Redirect { status: 200, to: "/".to_owned() }),
        rule("nobody", "a.test", to(&[("web/app", 0)])),
    ];
    let errors = Routing::new(rules, HashMap::new(), &Plugins::default(), &Metrics::new("0")).unwrap_err();
    let names: Vec<&str> = errors.iter().map(|error| &*error.rule).collect();
    assert_eq!(names, ["field", "moved", "nobody"]);
    assert_eq!(errors[2].cause, RouteCause::NoTarget);
    assert_eq!(errors[2].to_string(), "rule nobody: none of its targets has any weight");
}

fn relayed(to: &str, allow: &[&str]) -> Relayed {
    let allow = allow.iter().map(|net| net.parse().unwrap()).collect();
    Relayed { to: to.parse().unwrap(), allow, idle_timeout: Some(Duration::from_secs(7)) }
}

/// Connections to `[::]:1` go to `web/app`, to `[::]:2` to the service next to the server.
fn relay(world: &World, balance: Balance) -> [Public; 2] {
    let listeners = ["[::]:1".parse().unwrap(), "[::]:2".parse().unwrap()];
    let mut relays = Relays::default();
    let metrics = Metrics::new("0");
    relays.add_tcp(listeners[0], &relayed("web/app", &["10.0.0.0/8"]), &metrics);
    relays.add_tcp(listeners[1], &relayed("billing", &[]), &metrics);
    let balances = HashMap::from([(Arc::from("web"), balance)]);
    let routing = Routing::new(Vec::new(), balances, &Plugins::default(), &metrics).unwrap();
    world.registry.route_by(routing.with_relays(relays));
    listeners.map(Public::Listener)
}

fn carried(world: &World, to: &Public, client: [u8; 4]) -> Route {
    match world.registry.connection(&Connecting { to, client: client.into() }) {
        Lookup::Found(route) => route,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_configured_listener_leads_to_the_members_of_a_group() {
    let (world, [bob, mallory]) = two_members();
    let [web, _] = relay(&world, Balance::RoundRobin);
    let route = carried(&world, &web, [10, 1, 1, 1]);
    assert_eq!((route.targets.len(), route.idle_timeout), (2, Some(Duration::from_secs(7))));
    assert!(route.admits([10, 9, 9, 9].into()) && !route.admits([192, 0, 2, 1].into()));
    assert_eq!((&*route.labels.route, &*route.labels.service), ("tcp:1", "app"));
    let next = carried(&world, &web, [10, 1, 1, 1]);
    assert!(!next.targets[0].session.is_same(&route.targets[0].session), "round-robin");

    detach(&world, &bob);
    detach(&world, &mallory);
    assert!(matches!(connection(&world, &web), Lookup::Reserved(..)));
    assert!(matches!(connection(&world, &Public::Listener("[::]:3".parse().unwrap())), Lookup::Unknown));
}

#[test]
fn a_hash_is_of_the_address_for_connections_whatever_it_is_of_for_requests() {
    for key in [HashKey::ClientIp, HashKey::Path, HashKey::Header("x".to_owned())] {
        let (world, [bob, _]) = two_members();
        let [web, _] = relay(&world, Balance::Hash(key));
        let first = |client| carried(&world, &web, client).targets[0].session.is_same(bob.link());
        let firsts: Vec<bool> = (0..64).map(|last| first([10, 0, 0, last])).collect();
        assert!(firsts.contains(&true) && firsts.contains(&false), "{firsts:?}");
        assert!((0..64).all(|last| first([10, 0, 0, last]) == firsts[usize::from(last)]));
    }
}

#[test]
fn whom_the_members_do_not_let_in_the_listener_does_not_either() {
    let (world, _members) = two_members();
    let live = world.client("bob", 3, 3);
    world.invite("bob", &["three".to_owned()], &[], &["web".to_owned()], &[], None);
    let mut item = serving("app", "three");
    item.allow = vec!["10.1.0.0/16".to_owned()];
    world.register(&live, item).unwrap();
    let [web, _] = relay(&world, Balance::RoundRobin);
    for (client, expected) in [([10, 1, 0, 1], true), ([10, 2, 0, 1], false), ([192, 0, 2, 1], false)] {
        assert_eq!(carried(&world, &web, client).admits(client.into()), expected, "{client:?}");
    }
}

#[test]
fn a_configured_listener_leads_next_to_the_server() {
    let world = World::new();
    let [_, billing] = relay(&world, Balance::RoundRobin);
    // Its session is up in a moment.
    let deadline = Instant::now() + Duration::from_secs(10);
    let found =
        || matches!(connection(&world, &billing), Lookup::Found(route) if route.labels.group.is_empty());
    while !found() {
        assert!(Instant::now() < deadline, "nothing leads there");
        std::thread::yield_now();
    }
}

#[test]
fn a_port_of_the_configuration_is_nobodys() {
    let world = World::new();
    world.invite("ann", &[], &["2200-2201".to_owned()], &[], &[], None);
    let ann = world.client("ann", 9, 9);
    assert!(world.register(&ann, tcp(0, Some(2200))).unwrap_err().starts_with("NAME_IN_USE"));
    // Nor is it picked for somebody, whichever comes first in its order.
    assert_ne!(world.register(&ann, tcp(1, None)).as_deref(), Ok("2200"));
}

#[test]
fn what_the_configuration_has_by_now_is_not_reserved_after_a_restart() {
    let world = World::new();
    let kept = r#"{"names":[{"name":"http:rules.t.example.com","principal":"bob","group":"~1","tunnel":"web"},
                   {"name":"http:other.t.example.com","principal":"bob","group":"~1","tunnel":"web"}]}"#;
    world.state.write_atomic("names.json", kept.as_bytes()).unwrap();
    let world = world.restart();
    assert!(is_unknown(&world, "rules.t.example.com"));
    assert!(is_reserved(&world, "other.t.example.com"));
}
