//! D29: who may have which name, in every state that it can be in; and that nobody acts on what is another's.

use protocol::control::Registration;

use super::*;

const NAME: &str = "app.t.example.com";

/// How the name is when it is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Before {
    Free,
    /// Somebody else has it.
    Others,
    /// Somebody else has it in the group `web`.
    OthersInWeb,
    /// Another client of the claimant has it.
    Own,
    /// It was lost by somebody else.
    Lost,
    /// It was lost by the claimant.
    OwnLost,
    /// Somebody else had it when the server was restarted.
    Grace,
    /// A rule of the configuration has it.
    Operators,
}

const STATES: [Before; 8] = [
    Before::Free,
    Before::Others,
    Before::OthersInWeb,
    Before::Own,
    Before::Lost,
    Before::OwnLost,
    Before::Grace,
    Before::Operators,
];

/// (principal, how it asks, whether it is granted that much).
const CLAIMANTS: [(&str, Option<&str>, bool); 8] = [
    ("exact", None, true),
    ("exact", Some("web"), true),
    ("exact", Some("blue"), false),
    ("wildcard", None, true),
    ("wildcard", Some("web"), true),
    ("nothing", None, false),
    ("elsewhere", None, false),
    ("default", None, true),
];

fn world() -> World {
    let world = World::new();
    let texts = |list: &[&str]| list.iter().map(|text| (*text).to_owned()).collect::<Vec<_>>();
    let names = ["app", "rules"];
    let web = texts(&["web"]);
    world.invite("owner", &texts(&names), &[], &web, &[], None);
    world.invite("exact", &texts(&names), &[], &web, &[], None);
    world.invite("wildcard", &texts(&["*.t.example.com"]), &[], &web, &[], None);
    world.invite("nothing", &[], &[], &[], &[], None);
    world.invite("elsewhere", &texts(&["other", "*.app.t.example.com"]), &[], &web, &[], None);
    world
}

fn asking(host: &str, group: Option<&str>) -> Registration {
    match group {
        Some(group) => grouped(http(0, host), group),
        None => http(0, host),
    }
}

/// A world in which the name is so, for a claimant; and who has it, if somebody has.
fn prepared(before: Before, claimant: &str) -> (World, Option<Arc<Live>>) {
    let world = world();
    let by = |principal: &str, group| {
        let live = world.client(principal, 1, 1);
        world.register(&live, asking("app", group)).unwrap();
        live
    };
    let owner = match before {
        Before::Free | Before::Operators => None,
        Before::Others | Before::Lost | Before::Grace => Some(by("owner", None)),
        Before::OthersInWeb => Some(by("owner", Some("web"))),
        Before::Own | Before::OwnLost => Some(by(claimant, None)),
    };
    match (before, owner) {
        (Before::Lost | Before::OwnLost, Some(live)) => {
            detach(&world, &live);
            (world, None)
        }
        (Before::Grace, Some(_)) => {
            world.registry.save(&world.state);
            (world.restart(), None)
        }
        (_, owner) => (world, owner),
    }
}

/// What has to become of it: nothing, or the code of the refusal.
fn expected(before: Before, group: Option<&str>, granted: bool) -> Option<&'static str> {
    match before {
        // Whoever may not have it does not hear whether somebody has it.
        _ if !granted => Some("NOT_GRANTED"),
        Before::Free | Before::Own | Before::OwnLost => None,
        Before::OthersInWeb if group == Some("web") => None,
        Before::Others | Before::OthersInWeb | Before::Lost | Before::Grace | Before::Operators => {
            Some("NAME_IN_USE")
        }
    }
}

#[test]
fn d29_every_name_in_every_state_for_everybody() {
    for before in STATES {
        for (claimant, group, granted) in CLAIMANTS {
            if matches!(before, Before::Own | Before::OwnLost) && !granted {
                continue;
            }
            let what = format!("{before:?} for {claimant} in {group:?}");
            let (world, owner) = prepared(before, claimant);
            let live = world.client(claimant, 9, 9);
            let host = if before == Before::Operators { "rules" } else { "app" };
            let got = world.register(&live, asking(host, group));
            match (expected(before, group, granted), &got) {
                (None, Ok(name)) => assert_eq!(name, NAME, "{what}"),
                (Some(code), Err(refused)) => {
                    assert!(refused.starts_with(code), "{what}: {refused}");
                    assert!(!refused.contains("owner"), "{what}: it says whose it is: {refused}");
                    // Whoever has it has it still.
                    if let Some(owner) = owner {
                        let serving = targets(&world, NAME);
                        assert!(serving.len() == 1 && serving[0].is_same(owner.link()), "{what}");
                    }
                }
                (expected, got) => panic!("{what}: {got:?} instead of {expected:?}"),
            }
        }
    }
}

#[test]
fn d29_reserved_names_take_an_exact_grant() {
    let world = world();
    let texts = |list: &[&str]| list.iter().map(|text| (*text).to_owned()).collect::<Vec<_>>();
    let reserved = ["www", "api", "admin", "mail", "ns1", "xn--pple-43d", "t.example.com"];
    world.invite("trusted", &texts(&reserved), &[], &[], &[], None);
    let (wide, trusted) = (world.client("wildcard", 1, 1), world.client("trusted", 2, 2));
    for (id, host) in (0..).zip(reserved) {
        let refused = world.register(&wide, http(id, host)).unwrap_err();
        assert!(refused.starts_with("NOT_GRANTED"), "{host}: {refused}");
        assert!(world.register(&trusted, http(id, host)).is_ok(), "{host}");
    }
}

#[test]
fn d29_a_thousand_tries_do_not_move_a_live_name() {
    let world = world();
    let owner = world.client("owner", 1, 1);
    world.register(&owner, http(0, "app")).unwrap();
    let other = world.client("exact", 2, 2);
    for id in 0..1_000 {
        let spelling = ["app", "APP", "app.t.example.com", "App.T.Example.Com."][id as usize % 4];
        assert!(world.register(&other, http(id, spelling)).unwrap_err().starts_with("NAME_IN_USE"));
    }
    assert!(targets(&world, NAME)[0].is_same(owner.link()));
}

#[test]
fn d29_nobody_acts_on_what_is_anothers() {
    let world = world();
    let owner = world.client("owner", 1, 1);
    world.register(&owner, asking("app", Some("web"))).unwrap();
    // Another principal that chose the same ids, and knows all that can be known.
    let thief = world.client("nothing", 1, 1);
    world.registry.unregister(&thief, &(0..100).collect::<Vec<_>>(), world.now);
    let part = world.registry.to_hand(&owner).parts.pop().unwrap();
    world.registry.part_answered(&owner, &part, None);
    world.registry.part_answered(&thief, &part, Some("no".into()));
    world.registry.part_unanswered(&thief, &part);
    thief.drain(DRAIN, DrainCause::Asked);
    detach(&world, &thief);
    assert_eq!(cut(&owner), None);
    assert!(targets(&world, NAME)[0].is_same(owner.link()) && owner.takes_work());
    let group = world.registry.group_infos().remove(0);
    let state = |principal: &str| {
        group.members.iter().find(|it| it.principal == principal).map(|it| it.member.state.clone())
    };
    assert_eq!((state("owner").as_deref(), state("nothing")), (Some("ready"), None));
}
