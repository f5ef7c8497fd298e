use std::net::TcpListener as StdListener;
use std::sync::Mutex;

use ops::drain::Drain;
use ops::metrics::Metrics;
use ops::spawn::{Placement, Spawner, Workers};
use proxy::access::LogSink;
use proxy::context::Waits;
use proxy::service::KnownServers;
use serde_json::{Value, json};
use tokio::net::TcpSocket;

use super::*;

struct Scene {
    groups: Groups,
    services: Arc<ServiceTable>,
    _workers: Workers,
}

impl Scene {
    fn allowing(dial: &[&str], listen: &[&str]) -> Self {
        let read = |list: &[&str]| list.iter().map(|text| text.parse().unwrap()).collect();
        let consent = Consent { dial: read(dial), listen: read(listen) };
        let (spawner, workers) = Spawner::start(1, Placement::PerCore).unwrap();
        let context = Context {
            spawner,
            metrics: Metrics::new("test"),
            sink: Arc::new(LogSink),
            drain: Drain::new(),
            drain_connections: false,
            waits: Waits::default(),
            servers: KnownServers::default(),
        };
        let services = Arc::new(ServiceTable::new());
        let groups =
            Groups::new(consent, Kinds::built_in(), services.clone(), Arc::new(Sessions::new(1)), context);
        Self { groups, services, _workers: workers }
    }

    fn prepare(&self, revision: u64, part: &Value) -> Option<String> {
        self.groups.prepare(&whole(revision, part)).refusal.map(String::from)
    }

    fn address_of(&self, service: &str) -> Option<String> {
        let name = ServiceName::Grouped { group: "web".to_owned(), service: service.to_owned() };
        let service = self.services.get(&name)?;
        service.targets().next().map(ToString::to_string)
    }
}

fn id(revision: u64) -> PartId {
    PartId { group: "web".to_owned(), revision }
}

fn whole(revision: u64, part: &Value) -> WholePart {
    let bytes = serde_json::to_vec(part).unwrap();
    WholePart { of: id(revision), digest: sha256(&bytes), bytes: bytes.into() }
}

fn serving(name: &str, address: &str) -> Value {
    json!({ "services": [{ "name": name, "servers": [{ "address": address }] }] })
}

fn listening(address: SocketAddr, to: &str) -> Value {
    json!({ "ingresses": [{ "listen": address.to_string(), "kind": "tcp", "to": to }] })
}

/// What is bound for as long as this process is there.
static BOUND: Mutex<Vec<TcpSocket>> = Mutex::new(Vec::new());

/// An address that is this process' alone, also while nobody listens there: a socket is bound to it that does not listen, so that
/// nobody gets it who asks for any port that is free, and whoever asks for this one does.
fn free() -> SocketAddr {
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_reuseaddr(true).unwrap();
    socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let address = socket.local_addr().unwrap();
    BOUND.lock().unwrap().push(socket);
    address
}

#[test]
fn what_is_not_allowed_is_refused_with_the_line_to_paste() {
    let scene = Scene::allowing(&[], &[]);
    let refusal = scene.prepare(1, &serving("app", "http://127.0.0.1:3000")).unwrap();
    assert_eq!(refusal, r#"add to [allow]: dial = ["127.0.0.1:3000"]"#);
    let door = free();
    let refusal = scene.prepare(1, &listening(door, "billing")).unwrap();
    assert_eq!(refusal, format!(r#"add to [allow]: listen = ["{door}"]"#));
    scene.groups.stand(&[id(1)]);
    assert_eq!(scene.address_of("app"), None);
    assert!(StdListener::bind(door).is_ok(), "nothing listens there");
}

#[test]
fn every_server_of_a_service_must_be_allowed() {
    let scene = Scene::allowing(&["127.0.0.1:3000"], &[]);
    let servers = json!([{ "address": "127.0.0.1:3000" }, { "address": "10.0.0.1:3000" }]);
    let part = json!({ "services": [{ "name": "app", "servers": servers }] });
    assert_eq!(scene.prepare(1, &part).unwrap(), r#"add to [allow]: dial = ["10.0.0.1:3000"]"#);
}

#[test]
fn a_part_is_found_once_it_is_ready_and_used_once_it_stands() {
    let scene = Scene::allowing(&["127.0.0.1:3000-3001"], &[]);
    assert_eq!(scene.prepare(1, &serving("app", "127.0.0.1:3000")), None);
    assert_eq!(scene.address_of("app").as_deref(), Some("127.0.0.1:3000"), "a substream may overtake");
    assert_eq!(scene.groups.stand(&[id(1)]), [""; 0]);
    assert_eq!(scene.prepare(2, &serving("app", "127.0.0.1:3001")), None);
    assert_eq!(scene.address_of("app").as_deref(), Some("127.0.0.1:3000"), "the old one is in use");
    scene.groups.stand(&[id(2), id(1)]);
    assert_eq!(scene.address_of("app").as_deref(), Some("127.0.0.1:3001"));
    scene.groups.stand(&[id(2)]);
    assert_eq!(scene.groups.states()[0].revision, Some(2));
    scene.groups.stand(&[]);
    assert_eq!(scene.address_of("app"), None);
    assert!(scene.groups.states().is_empty());
}

#[test]
fn after_a_refusal_the_last_good_part_stays_in_use() {
    let scene = Scene::allowing(&["127.0.0.1:3000"], &[]);
    assert_eq!(scene.prepare(1, &serving("app", "127.0.0.1:3000")), None);
    scene.groups.stand(&[id(1)]);
    assert!(scene.prepare(2, &serving("app", "127.0.0.1:4000")).is_some());
    scene.groups.stand(&[id(2)]);
    assert_eq!(scene.address_of("app").as_deref(), Some("127.0.0.1:3000"));
    let state = scene.groups.states().remove(0);
    assert_eq!((state.revision, state.refused.unwrap().0), (Some(1), 2));
}

#[test]
fn what_the_user_allows_later_is_looked_at_again_and_what_he_does_not_is_given_up() {
    let scene = Scene::allowing(&[], &[]);
    let consent = |dial: &[&str]| Consent {
        dial: dial.iter().map(|text| text.parse().unwrap()).collect(),
        listen: Vec::new(),
    };
    let changes = scene.groups.changes();
    assert!(scene.prepare(1, &serving("app", "127.0.0.1:3000")).is_some());
    scene.groups.stand(&[id(1)]);
    assert_eq!(scene.groups.allow(consent(&["127.0.0.1:3000"])), [""; 0]);
    assert_eq!(scene.groups.answers(), [(id(1), None)].into());
    assert_eq!(scene.groups.states()[0].revision, Some(1), "it is in use at once, as it was to be");
    assert!(scene.address_of("app").is_some() && changes.has_changed().unwrap());
    let told = scene.groups.allow(consent(&[]));
    assert!(told[0].ends_with(r#"add to [allow]: dial = ["127.0.0.1:3000"]"#), "{told:?}");
    assert_eq!(scene.address_of("app"), None);
    assert!(scene.groups.answers()[&id(1)].is_some());
}

#[test]
fn the_same_refusal_is_told_once() {
    let scene = Scene::allowing(&[], &[]);
    let part = whole(1, &serving("app", "127.0.0.1:3000"));
    assert!(scene.groups.prepare(&part).news);
    assert!(!scene.groups.prepare(&part).news, "the other slot is handed the same");
}

/// A part with one service that names these plugins.
fn plugged(plugins: &Value) -> Value {
    let names: Vec<_> = plugins.as_array().unwrap().iter().map(|plugin| plugin["name"].clone()).collect();
    json!({
        "services": [{ "name": "app", "servers": [{ "address": "127.0.0.1:3000" }], "plugins": names }],
        "plugins": plugins,
    })
}

#[test]
fn a_plugin_of_an_unknown_kind_is_refused_with_the_service_that_it_keeps_away() {
    let scene = Scene::allowing(&["127.0.0.1:3000"], &[]);
    assert_eq!(scene.prepare(1, &serving("app", "127.0.0.1:3000")), None);
    scene.groups.stand(&[id(1)]);
    let wings = plugged(&json!([{ "name": "fly", "kind": "wings", "settings": {} }]));
    let refusal = scene.prepare(2, &wings).unwrap();
    let expected = r#"service "app": plugin "fly": "wings" is no kind of plugin (kinds are: basic-auth, "#;
    assert!(refusal.starts_with(expected), "{refusal}");
    scene.groups.stand(&[id(2)]);
    assert_eq!(scene.groups.states()[0].refused.as_ref().unwrap().1.to_string(), refusal);
    assert!(scene.address_of("app").is_some(), "the last good part stays");
    let settings = json!([{ "name": "r", "kind": "rate-limit", "settings": { "rate": "secret" } }]);
    let refusal = scene.prepare(3, &plugged(&settings)).unwrap();
    assert!(refusal.contains("`rate` is a number") && !refusal.contains("secret"), "{refusal}");
    let nobody = json!({
        "services": [{ "name": "app", "servers": [{ "address": "127.0.0.1:3000" }], "plugins": ["gone"] }],
    });
    let refusal = scene.prepare(4, &nobody).unwrap();
    assert!(refusal.starts_with(r#"service "app": there is no plugin called "gone""#), "{refusal}");
}

#[test]
fn where_a_plugin_connects_to_must_be_allowed() {
    let ask = json!({ "url": "http://auth.lan:9091/verify" });
    let part = plugged(&json!([{ "name": "ask", "kind": "forward-auth", "settings": ask }]));
    let scene = Scene::allowing(&["127.0.0.1:3000"], &[]);
    assert_eq!(scene.prepare(1, &part).unwrap(), r#"add to [allow]: dial = ["auth.lan:9091"]"#);
    let scene = Scene::allowing(&["127.0.0.1:3000", "auth.lan:9091"], &[]);
    assert_eq!(scene.prepare(1, &part), None);
}

#[test]
fn rules_and_plugins_of_an_ingress_are_checked_before_it_opens() {
    let scene = Scene::allowing(&[], &["127.0.0.1:1-65535"]);
    let door = free();
    let part = |kind: &str, more: Value| {
        let mut ingress = json!({ "listen": door.to_string(), "kind": kind, "to": "billing" });
        ingress.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        let limit = json!([{ "name": "r", "kind": "rate-limit", "settings": { "rate": "1/h" } }]);
        json!({ "ingresses": [ingress], "plugins": limit })
    };
    let rule = |plugin: &str| {
        let action = json!({ "forward": [{ "target": "payroll", "weight": 1 }] });
        json!({ "rules": [{ "name": "pay", "action": action, "treatment": { "plugins": [plugin] } }] })
    };
    for (kind, more, wrong) in [
        ("tcp", json!({ "plugins": ["r"] }), "are for HTTP"),
        ("tcp", rule("r"), "are for HTTP"),
        ("http", json!({ "plugins": ["q"] }), "there is no plugin called \"q\""),
        ("http", rule("q"), "rule pay: there is no plugin called \"q\""),
    ] {
        let refusal = scene.prepare(1, &part(kind, more)).unwrap();
        assert!(refusal.contains(wrong), "{refusal}");
    }
    assert_eq!(scene.prepare(1, &part("http", rule("r"))), None);
}

#[test]
fn a_damaged_or_unknown_part_is_refused() {
    let scene = Scene::allowing(&["127.0.0.1:3000"], &[]);
    let damaged = WholePart { digest: [0; 32], ..whole(1, &serving("app", "127.0.0.1:3000")) };
    assert!(scene.groups.prepare(&damaged).refusal.is_some());
    assert!(scene.prepare(1, &json!({ "wings": 2 })).unwrap().contains("wings"));
    assert!(scene.prepare(1, &serving("a/b", "127.0.0.1:3000")).is_some());
    assert!(scene.prepare(1, &listening(free(), "10.0.0.1:80")).is_some());
}

#[test]
fn a_listener_is_proved_kept_and_closed() {
    let (door, taken) = (free(), StdListener::bind("127.0.0.1:0").unwrap());
    let scene = Scene::allowing(&[], &["127.0.0.1:1-65535"]);
    let refusal = scene.prepare(1, &listening(taken.local_addr().unwrap(), "billing")).unwrap();
    assert!(refusal.contains("cannot listen on"), "{refusal}");
    assert_eq!(scene.prepare(1, &listening(door, "billing")), None);
    scene.groups.stand(&[id(1)]);
    assert_eq!(scene.prepare(2, &listening(door, "payroll")), None, "the socket is shared");
    scene.groups.stand(&[id(2), id(1)]);
    assert_eq!(scene.groups.stand(&[id(2)]), [""; 0]);
    assert_eq!(scene.groups.states()[0].listens, [door]);
    assert!(StdListener::bind(door).is_err());
    scene.groups.stand(&[]);
    // The task that accepts lets go of its end a moment later.
    let closed = || StdListener::bind(door).is_ok();
    let since = std::time::Instant::now();
    while !closed() && since.elapsed() < std::time::Duration::from_secs(5) {
        std::thread::yield_now();
    }
    assert!(closed());
}
