use std::time::{Duration, SystemTime};

mod authorisation;
mod disabling;
mod own_moves;
mod push;
mod replaced;
mod rules;
mod usage;

use policy::principal::Principal;
use policy::rule::Asked;
use protocol::control::CloseReason;
use proxy::directory::{Connecting, Directory, Lookup, Public};

use super::*;
use crate::fakes::{World, cut, grouped, http, nobody, tcp};
use crate::identity::Which;
use crate::session::DrainCause;

const HOST: &str = "app.t.example.com";

fn lookup(world: &World, host: &str) -> Lookup {
    asked(host, "/", "192.0.2.1", |asked| world.registry.http(asked))
}

fn asked<T>(host: &str, path: &str, client: &str, ask: impl FnOnce(&Asked<'_>) -> T) -> T {
    let (host, client) = (Host::parse(host).unwrap(), client.parse().unwrap());
    ask(&Asked { host: &host, method: "GET", path, fields: &vec![], client })
}

fn connection(world: &World, to: &Public) -> Lookup {
    world.registry.connection(&Connecting { to, client: [192, 0, 2, 1].into() })
}

/// The sessions that a visitor would be sent to, best first.
fn targets(world: &World, host: &str) -> Vec<transport::session::Session> {
    match lookup(world, host) {
        Lookup::Found(route) => route.targets.into_iter().map(|target| target.session).collect(),
        Lookup::Reserved(..) | Lookup::Answer(..) | Lookup::Unknown => Vec::new(),
    }
}

fn is_reserved(world: &World, host: &str) -> bool {
    matches!(lookup(world, host), Lookup::Reserved(..))
}

fn is_unknown(world: &World, host: &str) -> bool {
    matches!(lookup(world, host), Lookup::Unknown)
}

fn detach(world: &World, live: &Live) {
    world.registry.detach(live, world.now);
}

#[test]
fn a_lost_name_waits_for_its_principal_and_is_free_after_a_minute() {
    let mut world = World::new();
    let first = world.client("default", 1, 1);
    assert_eq!(world.register(&first, http(0, "app")).as_deref(), Ok(HOST));
    assert!(targets(&world, HOST)[0].is_same(first.link()));
    detach(&world, &first);
    assert!(is_reserved(&world, HOST));
    world.invite("ann", &["app".to_owned()], &[], &[], &[], None);
    let other = world.client("ann", 2, 2);
    assert!(world.register(&other, http(0, "app")).unwrap_err().starts_with("NAME_IN_USE"));
    world.after(Duration::from_secs(59));
    assert!(is_reserved(&world, HOST));
    world.after(Duration::from_secs(1));
    assert!(is_unknown(&world, HOST));
    assert_eq!(world.register(&other, http(0, "app")).as_deref(), Ok(HOST));
}

#[test]
fn a_name_given_back_is_free_at_once() {
    let world = World::new();
    let live = world.client("default", 1, 1);
    world.register(&live, http(7, "app")).unwrap();
    world.registry.unregister(&live, &[7, 8], world.now);
    assert!(is_unknown(&world, HOST));
}

#[test]
fn the_same_registration_again_is_the_same_answer() {
    let world = World::new();
    let slots = [world.session("bob", 1, 1, 0, None), world.session("bob", 1, 1, 1, None)];
    for live in &slots {
        assert_eq!(world.register(live, http(0, "bob")).as_deref(), Ok("bob.t.example.com"));
    }
    assert_eq!(world.registry.names().count(&slots[0].login.principal), 1);
    // Other content under the same id: the old name goes.
    assert!(world.register(&slots[0], http(0, "other")).is_err());
    assert!(is_unknown(&world, "bob.t.example.com"));
    assert!(world.register(&slots[0], http(1, "bob")).is_ok());
}

#[test]
fn names_go_with_the_last_session_of_their_instance() {
    let world = World::new();
    let slots = [world.session("default", 1, 1, 0, None), world.session("default", 1, 1, 1, None)];
    world.register(&slots[0], http(0, "app")).unwrap();
    detach(&world, &slots[0]);
    assert!(targets(&world, HOST)[0].is_same(slots[1].link()));
    detach(&world, &slots[1]);
    assert!(is_reserved(&world, HOST));
}

#[test]
fn a_new_session_in_a_slot_cuts_the_old_one_which_can_undo_nothing() {
    let world = World::new();
    let old = world.client("default", 1, 1);
    world.register(&old, http(0, "app")).unwrap();
    let new = world.client("default", 1, 1);
    assert!(new.generation > old.generation);
    assert_eq!((cut(&old), cut(&new)), (Some(CloseReason::REPLACED), None));
    assert!(targets(&world, HOST)[0].is_same(new.link()));
    detach(&world, &old);
    world.registry.unregister(&old, &[0], world.now);
    assert!(world.register(&old, http(1, "corpse")).is_err());
    assert!(targets(&world, HOST)[0].is_same(new.link()));
    assert_eq!(world.registry.sessions().len(), 1);
}

#[test]
fn a_session_that_is_replaced_on_purpose_drains() {
    let world = World::new();
    let old = world.client("default", 1, 1);
    world.register(&old, http(0, "app")).unwrap();
    let new = world.session("default", 1, 1, 0, Some(old.id));
    assert_eq!(cut(&old), None);
    assert!(old.is_draining() && new.takes_work());
    assert!(targets(&world, HOST).iter().all(|session| session.is_same(new.link())));
    // A third one leaves it to finish.
    let third = world.client("default", 1, 1);
    assert_eq!((cut(&old), cut(&new), cut(&third)), (None, Some(CloseReason::REPLACED), None));
    detach(&world, &old);
    assert!(targets(&world, HOST)[0].is_same(third.link()));
}

/// It was sent to another process, which has not taken over.
#[test]
fn a_client_that_was_told_to_go_and_comes_back_keeps_what_it_has() {
    let world = World::new();
    let old = world.client("default", 1, 1);
    world.register(&old, http(0, "app")).unwrap();
    old.drain(DRAIN, DrainCause::Shutdown);
    let new = world.client("default", 1, 1);
    assert_eq!((cut(&old), cut(&new)), (None, None));
    assert!(old.is_draining() && new.takes_work());
    assert!(targets(&world, HOST).iter().all(|session| session.is_same(new.link())));
    // The next one has told it nothing.
    let third = world.client("default", 1, 1);
    assert_eq!((cut(&old), cut(&new), cut(&third)), (None, Some(CloseReason::REPLACED), None));
}

#[test]
fn another_process_of_a_client_supersedes_the_older_one() {
    let world = World::new();
    let old = [world.session("default", 1, 1, 0, None), world.session("default", 1, 1, 1, None)];
    world.register(&old[0], http(0, "app")).unwrap();
    let new = world.client("default", 1, 2);
    assert!(old.iter().all(|live| cut(live) == Some(CloseReason::SUPERSEDED)));
    assert!(is_reserved(&world, HOST));
    assert!(world.register(&new, http(0, "app")).is_ok());
    old.iter().for_each(|live| detach(&world, live));
    assert!(targets(&world, HOST)[0].is_same(new.link()));
    assert_eq!((world.registry.clients(), world.registry.sessions().len()), (1, 1));
}

#[test]
fn an_older_login_that_arrives_late_gives_way() {
    let world = World::new();
    let late = world.client("default", 1, 1);
    detach(&world, &late);
    let new = world.client("default", 1, 2);
    world.registry.attach(&late, world.now);
    assert_eq!((cut(&late), cut(&new)), (Some(CloseReason::SUPERSEDED), None));
    assert_eq!(world.registry.sessions().len(), 1);
}

#[test]
fn the_same_ids_at_another_principal_are_somebody_else() {
    let world = World::new();
    let mine = world.client("default", 1, 1);
    world.register(&mine, http(0, "app")).unwrap();
    let theirs = world.client("mallory", 1, 1);
    assert_eq!((cut(&mine), cut(&theirs)), (None, None));
    world.registry.unregister(&theirs, &[0], world.now);
    detach(&world, &theirs);
    assert!(targets(&world, HOST)[0].is_same(mine.link()));
}

#[test]
fn the_newer_client_of_a_principal_takes_a_name_over() {
    let world = World::new();
    let older = world.linked("default");
    world.register(&older.live, http(5, "app")).unwrap();
    let newer = world.client("default", 9, 9);
    assert_eq!(world.register(&newer, http(0, "app")).as_deref(), Ok(HOST));
    assert!(targets(&world, HOST)[0].is_same(newer.link()));
    let mut orders = older.orders;
    let notice = orders.notices.try_recv().unwrap();
    assert_eq!(notice.registration, Some(5));
    assert_eq!(notice.code.name(), Some("name-withdrawn"));
    assert!(world.register(&older.live, http(5, "app")).unwrap_err().starts_with("NAME_IN_USE"));
    detach(&world, &older.live);
    assert!(targets(&world, HOST)[0].is_same(newer.link()));
}

#[test]
fn a_granted_group_shares_a_name_across_principals() {
    let world = World::new();
    let bob = world.client("bob", 1, 1);
    world.register(&bob, grouped(http(0, "bob"), "web")).unwrap();
    world.invite("mallory", &["bob".to_owned()], &[], &[], &[], None);
    let mallory = world.client("mallory", 2, 2);
    assert!(world.register(&mallory, http(0, "bob")).unwrap_err().starts_with("NAME_IN_USE"));
    world.register(&mallory, grouped(http(0, "bob"), "web")).unwrap();
    let firsts: Vec<_> = (0..2).map(|_| targets(&world, "bob.t.example.com").swap_remove(0)).collect();
    assert!(!firsts[0].is_same(&firsts[1]), "round-robin");
    detach(&world, &bob);
    assert!(targets(&world, "bob.t.example.com")[0].is_same(mallory.link()));
    let eve = world.client("eve", 3, 3);
    let refused = world.register(&eve, grouped(http(0, ""), "web")).unwrap_err();
    assert!(refused.starts_with("NOT_GRANTED") && refused.contains("granted: none"), "{refused}");
}

#[test]
fn what_is_not_granted_is_refused_and_what_is_granted_named() {
    let world = World::new();
    let bob = world.client("bob", 1, 1);
    let refused = world.register(&bob, http(0, "other")).unwrap_err();
    assert!(refused.starts_with("NOT_GRANTED") && refused.contains("bob.t.example.com"), "{refused}");
    let refused = world.register(&bob, tcp(0, Some(2223))).unwrap_err();
    assert!(refused.starts_with("NOT_GRANTED") && refused.contains("2222"), "{refused}");
    let default = world.client("default", 2, 2);
    for host in ["t.example.com", "example.com", "app.example.com"] {
        let refused = world.register(&default, http(0, host)).unwrap_err();
        assert!(refused.starts_with("NOT_GRANTED"), "{host}: {refused}");
    }
    assert!(world.register(&default, http(0, "a_b")).unwrap_err().starts_with("BAD_NAME"));
    assert!(world.register(&default, tcp(0, Some(80))).unwrap_err().starts_with("NOT_GRANTED"));
    let eve = world.client("eve", 3, 3);
    assert!(world.register(&eve, tcp(0, None)).unwrap_err().starts_with("NOT_GRANTED"));
    let mut item = http(0, "app");
    item.allow = vec!["nowhere".to_owned()];
    assert!(world.register(&default, item).unwrap_err().starts_with("BAD_NAME"));
}

#[test]
fn random_names_and_picked_ports_are_stable_across_restarts() {
    let world = World::new();
    let eve = world.client("eve", 1, 1);
    let host = world.register(&eve, http(0, "")).unwrap();
    assert!(host.ends_with(".t.example.com"));
    let default = world.client("default", 2, 2);
    let port = world.register(&default, tcp(0, None)).unwrap();
    assert!(std::net::TcpListener::bind(format!("127.0.0.1:{port}")).is_err());
    world.registry.save(&world.state);
    let sessions = world.registry.sessions();
    let (world, before) = (world.restart(), sessions.iter().map(|live| live.generation).max());
    assert!(is_reserved(&world, &host));
    let eve = world.client("eve", 1, 3);
    assert!(Some(eve.generation) > before);
    assert_eq!(world.register(&eve, http(0, "")), Ok(host.clone()));
    assert!(!is_reserved(&world, &host));
    // The old process' port is still bound here, so only the host can be compared.
    let other = world.client("eve", 5, 5);
    assert_ne!(world.register(&other, http(0, "")), Ok(host));
}

#[test]
fn after_a_restart_names_are_their_principals_for_a_minute() {
    let world = World::new();
    let live = world.client("default", 1, 1);
    world.register(&live, http(0, "app")).unwrap();
    world.registry.save(&world.state);
    let mut world = world.restart();
    world.invite("ann", &["app".to_owned()], &[], &[], &[], None);
    let other = world.client("ann", 2, 2);
    assert!(world.register(&other, http(0, "app")).unwrap_err().starts_with("NAME_IN_USE"));
    let Lookup::Reserved(labels, _) = lookup(&world, HOST) else { panic!("not reserved") };
    assert_eq!((&*labels.route, &*labels.group), ("web", &*format!("~{}", "01".repeat(16))));
    world.after(Duration::from_secs(61));
    assert!(is_unknown(&world, HOST));
}

#[test]
fn a_port_is_bound_when_it_is_claimed_and_given_back_with_its_name() {
    let mut world = World::new();
    let live = world.client("default", 1, 1);
    let taken = std::net::TcpListener::bind(nobody()).unwrap();
    let port = taken.local_addr().unwrap().port();
    let refused = world.register(&live, tcp(0, Some(port))).unwrap_err();
    assert!(refused.starts_with("PORT_UNAVAILABLE"), "{refused}");
    assert!(matches!(connection(&world, &Public::Port(port)), Lookup::Unknown));
    drop(taken);
    assert_eq!(world.register(&live, tcp(0, Some(port))), Ok(port.to_string()));
    assert!(matches!(connection(&world, &Public::Port(port)), Lookup::Found(_)));
    detach(&world, &live);
    world.after(Duration::from_secs(1));
    assert!(matches!(connection(&world, &Public::Port(port)), Lookup::Reserved(..)));
    assert!(std::net::TcpListener::bind(("127.0.0.1", port)).is_err());
    world.after(Duration::from_secs(60));
    // Who accepts there lets go of its end a moment later.
    let began = Instant::now();
    while std::net::TcpListener::bind(("127.0.0.1", port)).is_err() {
        assert!(began.elapsed() < Duration::from_secs(10), "it is not given back");
        std::thread::yield_now();
    }
}

#[test]
fn quotas_hold() {
    let world = World::new();
    world.invite("bob", &["x".to_owned(), "y".to_owned()], &[], &[], &[], None);
    let bob = world.client("bob", 1, 1);
    world.register(&bob, http(0, "x")).unwrap();
    world.register(&bob, http(1, "y")).unwrap();
    assert!(world.register(&bob, http(2, "bob")).unwrap_err().starts_with("OVER_QUOTA"));
    world.registry.unregister(&bob, &[0], world.now);
    assert!(world.register(&bob, http(2, "bob")).is_ok());
    let other = world.client("bob", 2, 2);
    assert!(world.registry.admit(&world.client("eve", 9, 9).login).is_ok());
    let third = Login { client: protocol::id::ClientId([3; 16]), ..other.login.clone() };
    assert!(world.registry.admit(&third).is_err());
    // Taking one's own place is no further session.
    assert!(world.registry.admit(&other.login).is_ok());
}

#[test]
fn a_name_of_ones_own_is_taken_over_at_full_quota() {
    let world = World::new();
    world.invite("bob", &["x".to_owned()], &[], &[], &[], None);
    let older = world.client("bob", 1, 1);
    world.register(&older, http(0, "bob")).unwrap();
    world.register(&older, http(1, "x")).unwrap();
    let newer = world.client("bob", 2, 2);
    assert_eq!(world.register(&newer, http(0, "bob")).as_deref(), Ok("bob.t.example.com"));
    assert!(world.register(&newer, tcp(1, Some(2222))).unwrap_err().starts_with("OVER_QUOTA"));
}

#[test]
fn a_copied_client_id_does_not_get_the_random_names_of_its_principal() {
    let mut world = World::new();
    let eve = world.client("eve", 1, 1);
    let host = world.register(&eve, http(0, "")).unwrap();
    detach(&world, &eve);
    world.after(Duration::from_secs(61));
    let copy = world.client("mallory", 1, 1);
    assert_ne!(world.register(&copy, http(0, "")), Ok(host.clone()));
    let eve = world.client("eve", 1, 2);
    assert_eq!(world.register(&eve, http(0, "")), Ok(host));
}

#[test]
fn a_name_is_never_free_while_only_its_visitors_change() {
    let world = World::new();
    let live = world.client("default", 1, 1);
    world.register(&live, http(0, "app")).unwrap();
    let over = std::sync::atomic::AtomicBool::new(false);
    std::thread::scope(|scope| {
        let looking = scope.spawn(|| {
            let name = Name::Http(Host::parse(HOST).unwrap());
            while !over.load(std::sync::atomic::Ordering::Relaxed) {
                assert!(world.registry.names().look(&name, |_| ()).is_some(), "it was free");
            }
        });
        for turn in 0..2_000u32 {
            let mut item = http(0, "app");
            item.allow = vec![format!("10.{}.{}.0/24", turn >> 8, turn & 255)];
            assert_eq!(world.register(&live, item).as_deref(), Ok(HOST));
        }
        over.store(true, std::sync::atomic::Ordering::Relaxed);
        looking.join().unwrap();
    });
}

#[test]
fn sessions_do_not_pile_up_in_one_slot() {
    let world = World::new();
    let first = world.client("bob", 1, 1);
    let second = world.session("bob", 1, 1, 0, Some(first.id));
    assert!(first.is_draining());
    let third = world.session("bob", 1, 1, 0, Some(second.id));
    assert!(world.registry.admit(&third.login).is_err(), "two drain");
    detach(&world, &first);
    // A login that is under way counts, and no longer than that.
    let under_way = world.registry.admit(&third.login).unwrap();
    assert_eq!(world.registry.logins_under_way(), 1);
    assert!(world.registry.admit(&third.login).is_err());
    drop(under_way);
    assert!(world.registry.admit(&third.login).is_ok());
}

#[test]
fn revoking_ends_sessions_frees_names_and_lasts() {
    let world = World::new();
    let bob = world.client("bob", 1, 1);
    world.register(&bob, http(0, "bob")).unwrap();
    let default = world.client("default", 2, 2);
    let principal = Principal::parse("bob").unwrap();
    world.identity.change(|book| book.revoke("bob", &Which::All, 1)).unwrap();
    assert_eq!(world.registry.revoke(&principal, &Which::All, world.now), 1);
    assert_eq!((cut(&bob), cut(&default)), (Some(CloseReason::REVOKED), None));
    assert!(is_unknown(&world, "bob.t.example.com"));
    assert!(world.register(&bob, http(0, "bob")).is_err());
    // A login that had proved itself just before.
    world.registry.attach(&bob, world.now);
    assert_eq!(world.registry.count_sessions(&principal), 0);
}

#[test]
fn revoking_frees_reserved_names_too() {
    let world = World::new();
    let bob = world.client("bob", 1, 1);
    world.register(&bob, http(0, "bob")).unwrap();
    detach(&world, &bob);
    assert!(is_reserved(&world, "bob.t.example.com"));
    world.registry.revoke(&bob.login.principal, &Which::All, world.now);
    assert!(is_unknown(&world, "bob.t.example.com"));
}

#[test]
fn an_expired_credential_ends_its_sessions() {
    let mut world = World::new();
    let mut login = world.client("bob", 1, 1).login.clone();
    login.expires = Some(SystemTime::now());
    login.slot = protocol::id::Slot(1);
    let admitted = world.registry.admit(&login).unwrap();
    let link = world.linked("eve").live.link().clone();
    let live = Arc::new(Live::new(admitted.id, admitted.generation, login, link).0);
    world.registry.attach(&live, world.now);
    world.after(Duration::from_secs(1));
    assert_eq!(cut(&live), Some(CloseReason::EXPIRED));
}

#[test]
fn who_logs_in_hears_that_its_credential_ends_soon() {
    const HOUR: Duration = Duration::from_secs(3600);
    let world = World::new();
    let near = [(72, "within 3 days;"), (24, "within 24 hours;"), (1, "within 1 hour;")]
        .map(|(hours, said)| (hours, Some(said)));
    for (hours, said) in near.into_iter().chain([(216, None)]) {
        let mut linked = world.linked("bob");
        let mut login = linked.live.login.clone();
        assert!(linked.orders.notices.try_recv().is_err(), "it does not end");
        login.expires = Some(SystemTime::now() + HOUR * hours);
        let admitted = world.registry.admit(&login).unwrap();
        let (live, mut orders) =
            Live::new(admitted.id, admitted.generation, login, linked.live.link().clone());
        world.registry.attach(&Arc::new(live), world.now);
        let told = orders.notices.try_recv().ok().map(|notice| notice.text.to_string());
        assert_eq!(told.is_some(), said.is_some(), "{told:?}");
        assert!(told.unwrap_or_default().contains(said.unwrap_or_default()));
    }
}

#[test]
fn a_client_whose_sessions_all_drain_is_waited_for() {
    let world = World::new();
    let live = world.client("default", 1, 1);
    world.register(&live, http(0, "app")).unwrap();
    live.drain(DRAIN, DrainCause::Shutdown);
    assert_eq!(targets(&world, HOST).len(), 1, "work goes on while the server stops");
    live.drain(DRAIN, DrainCause::Asked);
    assert!(is_reserved(&world, HOST));
    assert_eq!(world.registry.name_infos()[0].members[0].state, "draining");
}
