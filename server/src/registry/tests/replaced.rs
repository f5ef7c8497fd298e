//! Names and grants of a configuration that takes the place of another one.

use policy::grant::Grants;

use super::*;
use crate::registry::Configured;

fn wanted(hosts: &[&str], ports: &[u16]) -> Configured {
    let hosts = hosts.iter().map(|host| Host::parse(host).unwrap()).collect();
    Configured { hosts, ports: ports.iter().copied().collect() }
}

fn configure(world: &World, principals: &[(&str, Grants)]) {
    let principal = |(name, grants): &(&str, Grants)| (Principal::parse(name).unwrap(), grants.clone());
    world.identity.configure(principals.iter().map(principal).collect::<Vec<_>>());
}

fn hosts(patterns: &[&str]) -> Grants {
    Grants { hosts: patterns.iter().map(|host| host.parse().unwrap()).collect(), ..Grants::default() }
}

#[test]
fn a_name_that_a_client_holds_is_named_with_its_holder_and_stays_theirs() {
    let world = World::new();
    let live = world.client("default", 1, 1);
    world.register(&live, http(0, "app")).unwrap();
    let held = world.registry.want_names(wanted(&[HOST, "free.t.example.com"], &[]), false).unwrap_err();
    let said: Vec<_> = held.iter().map(ToString::to_string).collect();
    assert_eq!(said, ["app.t.example.com is held by default (client \"laptop\")"]);
    detach(&world, &live);
    let held = world.registry.want_names(wanted(&[HOST], &[]), false).unwrap_err();
    assert_eq!(held[0].to_string(), "app.t.example.com is reserved for default");
    let live = world.client("default", 1, 1);
    world.register(&live, http(0, "app")).unwrap();
    world.register(&live, http(1, "free")).unwrap();
}

#[test]
fn a_name_that_is_taken_goes_at_the_switch_and_its_holder_is_told() {
    let world = World::new();
    let linked = world.linked("default");
    world.register(&linked.live, http(5, "app")).unwrap();
    let port: u16 = world.register(&linked.live, tcp(6, None)).unwrap().parse().unwrap();
    let names = world.registry.want_names(wanted(&[HOST], &[port]), true).unwrap();
    assert!(!targets(&world, HOST).is_empty(), "it is theirs until then");
    let other = world.client("default", 2, 2);
    assert!(world.register(&other, http(0, "app")).unwrap_err().starts_with("NAME_IN_USE"));
    let taken = world.registry.use_names(names);
    assert_eq!(taken.len(), 2);
    assert!(is_unknown(&world, HOST));
    let mut notices = linked.orders.notices;
    let mut ids: Vec<_> = std::iter::from_fn(|| notices.try_recv().ok())
        .map(|notice| {
            assert_eq!(notice.code.name(), Some("name-withdrawn"));
            notice.registration.unwrap()
        })
        .collect();
    ids.sort_unstable();
    assert_eq!(ids, [5, 6]);
    assert!(!world.registry.ports().has(port));
    assert!(world.register(&linked.live, http(5, "app")).unwrap_err().starts_with("NAME_IN_USE"));
    // The next configuration has neither.
    world.registry.use_names(world.registry.want_names(wanted(&[], &[]), false).unwrap());
    assert_eq!(world.register(&linked.live, http(5, "app")).as_deref(), Ok(HOST));
}

#[test]
fn names_that_were_wanted_for_nothing_are_given_back() {
    let world = World::new();
    let live = world.client("default", 1, 1);
    let names = world.registry.want_names(wanted(&[HOST], &[]), false).unwrap();
    assert!(world.register(&live, http(0, "app")).unwrap_err().starts_with("NAME_IN_USE"));
    drop(names);
    assert_eq!(world.register(&live, http(0, "app")).as_deref(), Ok(HOST));
    // Those of the configuration in use are not.
    assert!(world.register(&live, http(1, "rules")).unwrap_err().starts_with("NAME_IN_USE"));
}

#[test]
fn who_is_not_in_the_configuration_any_more_is_cut_and_lost_grants_take_names() {
    let world = World::new();
    let all = Grants { groups: vec!["web".to_owned()], ..hosts(&["app.t.example.com", "*.b.example.com"]) };
    world.invite("ann", &[], &[], &[], &[], None);
    configure(&world, &[("ann", all.clone())]);
    let quick = world.registry.end_ungranted(world.now);
    assert_eq!(quick, (0, 0), "nobody of the quick start is there");
    let ann = world.client("ann", 1, 1);
    world.register(&ann, grouped(http(0, "app"), "web")).unwrap();
    world.register(&ann, http(1, "x.b.example.com")).unwrap();
    assert_eq!(world.registry.end_ungranted(world.now), (0, 0));
    configure(&world, &[("ann", Grants { groups: vec![], ..all })]);
    assert_eq!(world.registry.end_ungranted(world.now), (0, 1), "its group is lost");
    assert!(is_unknown(&world, HOST) && !targets(&world, "x.b.example.com").is_empty());
    configure(&world, &[("ann", hosts(&[HOST]))]);
    assert_eq!(world.registry.end_ungranted(world.now), (0, 1));
    assert!(is_unknown(&world, "x.b.example.com") && cut(&ann).is_none());
}

#[test]
fn a_principal_that_is_gone_leaves_no_session() {
    let world = World::new();
    let quick = world.client("default", 1, 1);
    world.register(&quick, http(0, "app")).unwrap();
    let eve = world.client("eve", 2, 2);
    let random = world.register(&eve, http(0, "")).unwrap();
    // While the configuration names anybody there is no `default`; who was invited stays.
    configure(&world, &[("ann", Grants::default())]);
    assert_eq!(world.registry.end_ungranted(world.now), (1, 0));
    assert_eq!((cut(&quick), cut(&eve)), (Some(CloseReason::REVOKED), None));
    assert!(is_unknown(&world, HOST), "it is free at once");
    assert!(!targets(&world, &random).is_empty(), "a random name is everybody's right");
    configure(&world, &[("eve", hosts(&["eve.t.example.com"]))]);
    assert_eq!(world.registry.end_ungranted(world.now), (0, 1));
    assert!(is_unknown(&world, &random), "with grants there is no random name");
}
