//! Names that go from one registration of an instance to another one of it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use protocol::control::{Outcome, Registration};
use protocol::service_name::ServiceName;

use super::*;

/// What the instance is asked for by a visitor of `host`, and how the tunnel is called.
fn served(world: &World, host: &str) -> Option<(ServiceName, String)> {
    match lookup(world, host) {
        Lookup::Found(route) => {
            Some((ServiceName::clone(&route.targets[0].service), route.labels.route.to_string()))
        }
        _ => None,
    }
}

fn by(id: u32, tunnel: &str) -> Option<(ServiceName, String)> {
    Some((ServiceName::Own(id), tunnel.to_owned()))
}

/// `item` under another name of its tunnel.
fn called(item: Registration, tunnel: &str) -> Registration {
    Registration { name: tunnel.to_owned(), ..item }
}

#[test]
fn a_name_moves_to_the_newer_registration_of_the_same_instance() {
    let world = World::new();
    let slots = [world.session("bob", 1, 1, 0, None), world.session("bob", 1, 1, 1, None)];
    world.register(&slots[0], called(http(0, "bob"), "old")).unwrap();
    assert_eq!(served(&world, "bob.t.example.com"), by(0, "old"));
    world.register(&slots[0], called(http(1, "bob"), "new")).unwrap();
    assert_eq!(served(&world, "bob.t.example.com"), by(1, "new"));
    assert_eq!(world.registry.names().count(&slots[0].login.principal), 1);
    // What the old number stood for has moved, whichever session gives it back.
    slots.iter().for_each(|live| world.registry.unregister(live, &[0], world.now));
    assert_eq!(served(&world, "bob.t.example.com"), by(1, "new"));
    // A session that is late says what was so before, and then what is.
    world.register(&slots[1], called(http(0, "bob"), "old")).unwrap();
    world.register(&slots[1], called(http(1, "bob"), "new")).unwrap();
    world.registry.unregister(&slots[1], &[0], world.now);
    assert_eq!(served(&world, "bob.t.example.com"), by(1, "new"));
    world.registry.unregister(&slots[1], &[1], world.now);
    assert!(is_unknown(&world, "bob.t.example.com"));
}

#[test]
fn a_port_moves_with_its_socket() {
    let world = World::new();
    let live = world.client("default", 1, 1);
    let port = world.register(&live, tcp(0, None)).unwrap();
    let number: u16 = port.parse().unwrap();
    assert_eq!(world.register(&live, called(tcp(1, Some(number)), "new")), Ok(port));
    world.registry.unregister(&live, &[0], world.now);
    assert!(matches!(connection(&world, &Public::Port(number)), Lookup::Found(_)));
}

#[test]
fn names_that_change_places_are_there_throughout() {
    let world = World::new();
    let live = world.client("default", 1, 1);
    let two = |one: &str, other: &str| vec![http(0, one), http(1, other)];
    world.registry.register(&live, two("a", "b"), world.now);
    let over = Arc::new(AtomicBool::new(false));
    let (registry, stop) = (world.registry.clone(), over.clone());
    let visitor = std::thread::spawn(move || {
        let mut looked = 0_u32;
        while !stop.load(Ordering::Relaxed) {
            for host in ["a.t.example.com", "b.t.example.com"] {
                let found = asked(host, "/", "192.0.2.1", |asked| registry.http(asked));
                assert!(matches!(found, Lookup::Found(_)), "{host} after {looked}");
                looked += 1;
            }
        }
        looked
    });
    for turn in 0..2_000 {
        let items = if turn % 2 == 0 { two("b", "a") } else { two("a", "b") };
        let answers = world.registry.register(&live, items, world.now);
        assert!(
            answers.iter().all(|answer| matches!(answer.outcome, Outcome::Granted { .. })),
            "{answers:?}"
        );
    }
    over.store(true, Ordering::Relaxed);
    println!("looked {} times", visitor.join().unwrap());
    assert_eq!(served(&world, "a.t.example.com"), by(0, "web"));
}

#[test]
fn what_is_given_back_with_the_same_message_makes_room_for_another_name() {
    let world = World::new();
    world.invite("ann", &["one".to_owned(), "two".to_owned()], &[], &[], &["names=1".to_owned()], None);
    let live = world.client("ann", 5, 5);
    world.register(&live, http(0, "one")).unwrap();
    assert!(world.register(&live, http(1, "two")).unwrap_err().starts_with("OVER_QUOTA"));
    assert!(world.register(&live, http(0, "two")).is_ok());
    assert!(is_unknown(&world, "one.t.example.com"));
    // It does not count twice.
    let items = vec![http(0, "one"), http(0, "two"), http(0, "one"), http(1, "two")];
    let answers = world.registry.register(&live, items, world.now);
    let granted = answers.iter().filter(|answer| matches!(answer.outcome, Outcome::Granted { .. }));
    assert_eq!(granted.count(), 3, "{answers:?}");
    assert_eq!(world.registry.names().count(&live.login.principal), 1);
}

#[test]
fn a_service_of_a_group_keeps_its_member_while_its_name_moves() {
    let world = World::new();
    let live = world.client("bob", 1, 1);
    world.register(&live, grouped(called(http(0, "bob"), "app"), "web")).unwrap();
    world.register(&live, grouped(called(http(1, "bob"), "app"), "web")).unwrap();
    let members = |service: &str| {
        world.registry.groups().look("web", service, |served| {
            served.behind.iter().map(|behind| ServiceName::clone(&behind.service)).collect::<Vec<_>>()
        })
    };
    assert_eq!(members("app"), Some(vec![ServiceName::Own(1)]));
    world.register(&live, grouped(called(http(1, "bob"), "other"), "web")).unwrap();
    assert_eq!((members("app"), members("other")), (None, Some(vec![ServiceName::Own(1)])));
}

#[test]
fn a_tunnel_that_becomes_a_port_serves_its_group_no_more() {
    let world = World::new();
    let groups = ["shop".to_owned()];
    world.invite("ann", &["app".to_owned()], &["1024-65535".to_owned()], &groups, &[], None);
    let live = world.client("ann", 5, 5);
    let members = || asked("x", "/", "192.0.2.1", |asked| world.registry.members("shop", "web", asked));
    world.register(&live, grouped(http(0, "app"), "shop")).unwrap();
    assert_eq!(members().unwrap().targets.len(), 1);
    world.register(&live, called(grouped(tcp(0, None), "shop"), "web")).unwrap();
    assert!(members().is_none());
}

#[test]
fn a_port_that_is_given_back_and_that_others_share_is_not_picked() {
    let world = World::new();
    let (ports, groups) = (["1024-65535".to_owned()], ["shop".to_owned()]);
    world.invite("ann", &[], &ports, &groups, &[], None);
    world.invite("bob", &[], &ports, &groups, &[], None);
    let (ann, bob) = (world.client("ann", 5, 5), world.client("bob", 6, 6));
    let shared = world.register(&ann, grouped(tcp(0, None), "shop")).unwrap();
    let port = Some(shared.parse().unwrap());
    assert_eq!(world.register(&bob, grouped(tcp(0, port), "shop")), Ok(shared.clone()));
    // It is the first that this tunnel picks.
    let other = world.register(&ann, tcp(0, None)).unwrap();
    assert_ne!(other, shared);
}
