use policy::disabled::{Note, What};

use super::*;

fn what(text: &str) -> What {
    text.parse().unwrap()
}

fn disable(world: &World, text: &str) -> bool {
    world.registry.disable(&world.state, what(text), Note { since: 1, called: None }).unwrap()
}

fn enable(world: &World, text: &str) -> bool {
    world.registry.enable(&world.state, &what(text)).unwrap()
}

fn id(client: u8) -> String {
    format!("{client:02x}").repeat(16)
}

/// Who serves the name of two members of the group `web`, in any order.
fn serving(world: &World) -> Vec<u64> {
    let sessions = targets(world, "bob.t.example.com");
    let all = world.registry.sessions();
    let mut ids: Vec<_> = all
        .iter()
        .filter(|live| sessions.iter().any(|it| it.is_same(live.link())))
        .map(|live| live.id.0)
        .collect();
    ids.sort_unstable();
    ids
}

fn two_members() -> (World, [Arc<Live>; 2]) {
    let world = World::new();
    world.invite("mallory", &["bob".to_owned()], &[], &[], &[], None);
    let members = [world.client("bob", 1, 1), world.client("mallory", 2, 2)];
    for live in &members {
        world.register(live, grouped(http(0, "bob"), "web")).unwrap();
    }
    (world, members)
}

#[test]
fn new_work_goes_to_the_others_and_comes_back() {
    for text in
        [format!("client:bob/{}", id(1)), format!("member:web/bob/{}", id(1)), "principal:bob".to_owned()]
    {
        let (world, [bob, mallory]) = two_members();
        assert_eq!(serving(&world), [bob.id.0, mallory.id.0]);
        assert!(disable(&world, &text) && !disable(&world, &text), "{text}");
        assert_eq!(serving(&world), [mallory.id.0], "{text}");
        assert_eq!((cut(&bob), bob.takes_work()), (None, true), "its session is left alone");
        assert!(enable(&world, &text) && !enable(&world, &text));
        assert_eq!(serving(&world), [bob.id.0, mallory.id.0], "{text}");
    }
}

#[test]
fn what_nobody_else_serves_is_reserved_and_said_to_be_disabled() {
    let world = World::new();
    let live = world.client("default", 1, 1);
    world.register(&live, http(0, "app")).unwrap();
    for text in [format!("client:default/{}", id(1)), format!("host:{HOST}")] {
        assert!(disable(&world, &text));
        assert!(is_reserved(&world, HOST), "{text}");
        assert_eq!(world.registry.disabled_infos()[0].what, text);
        assert!(enable(&world, &text));
        assert_eq!(targets(&world, HOST).len(), 1, "{text}");
    }
    disable(&world, &format!("host:{HOST}"));
    assert_eq!(world.registry.name_infos()[0].state, "disabled");
    enable(&world, &format!("host:{HOST}"));
    disable(&world, "principal:default");
    let info = world.registry.name_infos().remove(0);
    assert_eq!((info.state.as_str(), info.members[0].state.as_str()), ("live", "disabled"));
    assert_eq!(world.registry.session_infos()[0].state, "disabled");
}

#[test]
fn a_member_keeps_its_other_tunnels() {
    let (world, [bob, _]) = two_members();
    world.invite("bob", &["own".to_owned()], &[], &[], &[], None);
    world.register(&bob, http(1, "own")).unwrap();
    disable(&world, &format!("member:web/bob/{}", id(1)));
    assert_eq!(targets(&world, "own.t.example.com").len(), 1);
    disable(&world, "group:web");
    assert!(is_reserved(&world, "bob.t.example.com"));
    assert_eq!(targets(&world, "own.t.example.com").len(), 1);
}

#[test]
fn it_outlives_sessions_and_restarts() {
    let world = World::new();
    disable(&world, &format!("client:default/{}", id(1)));
    let live = world.client("default", 1, 1);
    world.register(&live, http(0, "app")).unwrap();
    assert!(is_reserved(&world, HOST), "who logs in later is meant as well");
    let world = world.restart();
    world.registry.restore_disabled(&world.state).unwrap();
    let live = world.client("default", 1, 3);
    world.register(&live, http(0, "app")).unwrap();
    assert!(is_reserved(&world, HOST));
    enable(&world, &format!("client:default/{}", id(1)));
    assert_eq!(targets(&world, HOST).len(), 1);
}

#[test]
fn a_damaged_list_is_an_error_that_says_what_to_do() {
    let world = World::new();
    for bad in
        ["", "{}", r#"{"version":2,"disabled":[]}"#, r#"{"version":1,"disabled":[{"what":"x","since":1}]}"#]
    {
        world.state.write_atomic("disabled.json", bad.as_bytes()).unwrap();
        let error = world.registry.restore_disabled(&world.state).unwrap_err().to_string();
        assert!(error.contains("disabled.json") && error.contains("restore it"), "{error}");
    }
    assert!(world.registry.disabled().is_empty());
}

#[test]
fn a_disk_that_does_not_take_it_changes_nothing() {
    let (world, [bob, mallory]) = two_members();
    // A directory in the place of the file can not be renamed over.
    std::fs::create_dir_all(world.state.file("disabled.json").join("x")).unwrap();
    let note = Note { since: 1, called: None };
    assert!(world.registry.disable(&world.state, what("principal:bob"), note).is_err());
    assert_eq!(serving(&world), [bob.id.0, mallory.id.0]);
}

#[test]
fn a_kicked_client_may_dial_again_and_finds_its_names() {
    let world = World::new();
    let live = world.client("bob", 1, 1);
    world.register(&live, http(0, "bob")).unwrap();
    let of = Installation { principal: live.login.principal.clone(), client: live.login.client };
    assert_eq!(world.registry.kick(&of, CloseReason::KICKED, "x"), 1);
    assert_eq!(cut(&live), Some(CloseReason::KICKED));
    detach(&world, &live);
    assert!(is_reserved(&world, "bob.t.example.com"));
    let again = world.client("bob", 1, 1);
    assert!(world.register(&again, http(0, "bob")).is_ok());
    assert_eq!(world.registry.kick(&of, CloseReason::KICKED, "x"), 1);
}
