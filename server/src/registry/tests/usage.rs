use bytes::Bytes;

use super::*;

/// Whether a visitor of the name would find room.
fn has_room(world: &World) -> bool {
    match lookup(world, "bob.t.example.com") {
        Lookup::Found(route) => !route.targets[0].over_quota,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_principal_carries_no_more_than_it_may_whatever_its_clients() {
    let world = World::new();
    world.invite("bob", &[], &[], &[], &["requests=3".to_owned()], None);
    let one = world.client("bob", 1, 1);
    world.register(&one, http(0, "bob")).unwrap();
    let two = world.client("bob", 2, 2);
    let mut carried = Vec::new();
    // The first substream of each is taken for its control substream.
    for live in [&one, &two] {
        carried.push(live.link().open(Bytes::from_static(b"x")).unwrap());
    }
    assert!(has_room(&world));
    carried.push(one.link().open(Bytes::from_static(b"x")).unwrap());
    carried.push(two.link().open(Bytes::from_static(b"x")).unwrap());
    assert!(has_room(&world));
    carried.push(two.link().open(Bytes::from_static(b"x")).unwrap());
    assert!(!has_room(&world));
    let usage = |live: &Live| {
        world.registry.sessions().iter().filter(|it| it.login.principal == live.login.principal).count()
    };
    assert_eq!(usage(&one), 2);

    // It is the operator's to raise, for those who are there.
    world.invite("bob", &[], &[], &[], &["requests=4".to_owned()], None);
    world.registry.limit(&one.login.principal);
    assert!(has_room(&world));
    world.invite("bob", &[], &[], &[], &["requests=3".to_owned()], None);
    world.registry.limit(&one.login.principal);
    assert!(!has_room(&world));
    // What a client carries goes with it.
    detach(&world, &two);
    assert!(has_room(&world));
}
