use futures_util::future::join;
use policy::grant::Grants;
use protocol::control::{PartId, ServerHealth, ServerState, ServiceHealth};
use serde_json::{Value, json};

use super::*;
use crate::fakes::wanted;

const OLD: &str = "127.0.0.1:3000";
const NEW: &str = "127.0.0.1:3100";

/// A part with these services, by name and address; and with an ingress to `billing`, as the first one has it.
fn part(services: &[(&str, &str)]) -> Value {
    let service =
        |(name, address): &(&str, &str)| json!({ "name": name, "servers": [{ "address": address }] });
    json!({
        "services": services.iter().map(service).collect::<Vec<_>>(),
        "ingresses": [{ "listen": "127.0.0.1:9000", "kind": "http", "to": "billing" }],
    })
}

fn web(revision: u64, services: &[(&str, &str)]) -> WantedParts {
    wanted(revision, &[("web", part(services))])
}

fn id(group: &str, revision: u64) -> PartId {
    PartId { group: group.to_owned(), revision }
}

/// A member answers to the newest part that it is to hold.
fn answer(world: &World, live: &Live, refusal: Option<&str>) {
    let parts = world.registry.to_hand(live).parts.into_iter();
    let newest = parts.max_by_key(|part| part.id().revision).unwrap();
    world.registry.part_answered(live, &newest, refusal.map(Into::into));
}

/// Prepares `wanted`, with members that say this to it.
fn prepare(
    world: &World,
    wanted: WantedParts,
    says: &[(&Live, Option<&str>)],
) -> Result<PreparedParts, Unprepared> {
    let answering = async { says.iter().for_each(|(live, refusal)| answer(world, live, *refusal)) };
    world.workers.block_on(join(world.registry.prepare_parts(wanted), answering)).0
}

fn apply(world: &World, wanted: WantedParts, says: &[(&Live, Option<&str>)]) {
    world.registry.use_parts(prepare(world, wanted, says).unwrap());
}

/// Two members of `web` that serve its first part, of two principals.
fn two() -> (World, [Arc<Live>; 2]) {
    let world = World::new();
    let members = [world.client("bob", 1, 1), world.client("mallory", 2, 2)];
    members.iter().for_each(|live| answer(&world, live, None));
    (world, members)
}

/// How many serve `web/SERVICE`.
fn serving(world: &World, service: &str) -> usize {
    world.registry.groups().look("web", service, |served| served.behind.len()).unwrap_or_default()
}

fn states(world: &World) -> Vec<(String, Option<String>)> {
    let members = world.registry.group_infos().remove(0).members;
    members.into_iter().map(|it| (it.member.state, it.reason)).collect()
}

fn ready() -> (String, Option<String>) {
    ("ready".to_owned(), None)
}

#[test]
fn a_part_that_stays_as_it_is_is_not_handed_over_again_and_keeps_its_number() {
    let (world, [bob, _]) = two();
    let before = world.registry.to_hand(&bob).parts.remove(0);
    // Nobody answers, and nobody is waited for.
    apply(&world, web(8, &[("app", OLD)]), &[]);
    let after = world.registry.to_hand(&bob);
    assert!(after.parts.len() == 1 && Arc::ptr_eq(&before, &after.parts[0]));
    assert_eq!(after.list, Some(vec![id("web", 7)]));
    assert_eq!(serving(&world, "app"), 2);
}

#[test]
fn the_new_part_is_used_at_once_and_the_old_one_is_held_for_a_while() {
    let (mut world, [bob, mallory]) = two();
    let prepared = prepare(&world, web(8, &[("api", NEW)]), &[(&bob, None), (&mallory, None)]).unwrap();
    assert_eq!(prepared.refusals(), []);
    assert_eq!(world.registry.to_hand(&bob).list, Some(vec![id("web", 7), id("web", 8)]));
    assert_eq!((serving(&world, "app"), serving(&world, "api")), (2, 0), "nothing changes before the switch");
    world.registry.use_parts(prepared);
    assert_eq!(world.registry.to_hand(&bob).list, Some(vec![id("web", 8), id("web", 7)]));
    assert_eq!(states(&world), [ready(), ready()]);
    // A request may have chosen the old service a moment ago.
    assert_eq!((serving(&world, "app"), serving(&world, "api")), (2, 2));
    world.after(Duration::from_secs(60));
    assert_eq!(world.registry.to_hand(&bob).list, Some(vec![id("web", 8)]));
    assert_eq!((serving(&world, "app"), serving(&world, "api")), (0, 2));
}

#[test]
fn who_refuses_is_behind_and_serves_only_what_did_not_change() {
    let (world, [bob, mallory]) = two();
    apply(&world, web(8, &[("app", OLD), ("api", OLD)]), &[(&bob, None), (&mallory, None)]);
    let no = Some("add to [allow]");
    let prepared =
        prepare(&world, web(9, &[("app", OLD), ("api", NEW)]), &[(&bob, None), (&mallory, no)]).unwrap();
    let [refusal] = prepared.refusals() else { panic!("{prepared:?}") };
    assert_eq!(refusal.to_string(), "laptop (mallory): add to [allow]");
    world.registry.use_parts(prepared);
    assert_eq!(states(&world), [ready(), ("behind".to_owned(), no.map(str::to_owned))]);
    assert_eq!((serving(&world, "app"), serving(&world, "api")), (2, 1));
    // Its user has allowed it meanwhile.
    let used = world.registry.to_hand(&mallory).parts.remove(0);
    world.registry.part_answered(&mallory, &used, None);
    assert_eq!((states(&world)[1].clone(), serving(&world, "api")), (ready(), 2));
    // And has thought better of it.
    world.registry.part_answered(&mallory, &used, Some("not any more".into()));
    assert_eq!((serving(&world, "app"), serving(&world, "api")), (1, 1));
}

#[test]
fn only_services_of_a_part_have_metrics() {
    let (world, [bob, mallory]) = two();
    let prepared = prepare(&world, web(8, &[("api", NEW)]), &[(&bob, None), (&mallory, None)]).unwrap();
    let health = |service: &str| ServiceHealth {
        service: service.parse().unwrap(),
        servers: vec![ServerHealth { server: NEW.to_owned(), state: ServerState::Healthy }],
    };
    let services = ["web/app", "web/api", "web/made-up"].map(health).into();
    world.registry.health_reported(&bob, Health { number: 1, services });
    let scraped = world.registry.metrics.encode().unwrap();
    let has = |service: &str| scraped.contains(&format!("service=\"{service}\""));
    assert_eq!(["app", "api", "made-up"].map(has), [true, true, false], "{scraped}");
    drop(prepared);
}

#[test]
fn with_too_few_nothing_changes_and_each_of_them_is_named() {
    let (world, [bob, mallory]) = two();
    let says = [(&*bob, Some("add to [allow]: dial = []")), (&*mallory, Some("no"))];
    let error = prepare(&world, web(8, &[("app", NEW)]), &says).unwrap_err().to_string();
    assert_eq!(
        error,
        "group \"web\": 0 of its 2 connected members take it, and 1 must\n  \
           laptop (bob): add to [allow]: dial = []\n  \
           laptop (mallory): no\n\
         help these members, or lower `min_ack` of the group"
    );
    let after = world.registry.to_hand(&bob);
    assert_eq!((after.parts.len(), after.list), (1, Some(vec![id("web", 7)])));
    assert_eq!((serving(&world, "app"), states(&world)), (2, vec![ready(), ready()]));
    // The same number again, and now they are able to.
    apply(&world, web(8, &[("app", NEW)]), &[(&bob, None), (&mallory, None)]);
    assert_eq!(world.registry.group_infos()[0].revision, 8);
}

#[test]
fn all_of_them_if_the_operator_wants_all() {
    let (world, [bob, mallory]) = two();
    let wanted = WantedParts { require_all: true, ..web(8, &[("app", NEW)]) };
    let says = [(&*bob, None), (&*mallory, Some("no"))];
    let error = prepare(&world, wanted.clone(), &says).unwrap_err().to_string();
    assert!(error.contains("1 of its 2 connected members take it, and 2 must"), "{error}");
    apply(&world, wanted, &[(&bob, None), (&mallory, None)]);
}

#[test]
fn a_share_of_nothing_is_nothing() {
    let (world, [bob, mallory]) = two();
    let mut wanted = web(8, &[("app", NEW)]);
    wanted.groups[0].min_ack = 0;
    apply(&world, wanted, &[(&bob, Some("no")), (&mallory, Some("no"))]);
    assert_eq!(serving(&world, "app"), 0, "they have refused it");
}

#[test]
fn what_is_prepared_and_not_used_is_let_go_of() {
    let (world, [bob, mallory]) = two();
    let prepared = prepare(&world, web(8, &[("app", NEW)]), &[(&bob, None), (&mallory, None)]).unwrap();
    drop(prepared);
    assert_eq!(world.registry.to_hand(&bob).list, Some(vec![id("web", 7)]));
    let other = prepare(&world, wanted(8, &[("new", part(&[]))]), &[]).unwrap();
    drop(other);
    assert!(world.registry.memberships().all().len() == 1, "the new group is forgotten");
}

#[test]
fn who_is_silent_or_leaves_is_not_waited_for() {
    let (world, [bob, mallory]) = two();
    let carol = world.session("bob", 1, 1, 1, None);
    let leaving = async {
        let newest = world.registry.to_hand(&bob).parts.pop().unwrap();
        world.registry.part_answered(&bob, &newest, None);
        // The other session of bob has not answered, and ends.
        world.registry.detach(&carol, world.now);
        world.registry.part_unanswered(&mallory, &newest);
    };
    let preparing = world.registry.prepare_parts(web(8, &[("app", NEW)]));
    let prepared = world.workers.block_on(join(preparing, leaving)).0.unwrap();
    assert_eq!(prepared.refusals()[0].to_string(), "laptop (mallory): no answer within 5 s");
    world.registry.use_parts(prepared);
    assert_eq!(serving(&world, "app"), 1);
    // A later answer counts.
    answer(&world, &mallory, None);
    assert_eq!(serving(&world, "app"), 2);
}

#[test]
fn an_answer_to_what_was_given_up_is_none_to_what_is_asked_for_now() {
    let (world, [bob, mallory]) = two();
    let says = [(&*bob, Some("no")), (&*mallory, Some("no"))];
    let given_up = std::cell::RefCell::new(None);
    let answering = async {
        *given_up.borrow_mut() = world.registry.to_hand(&bob).parts.pop();
        says.iter().for_each(|(live, refusal)| answer(&world, live, *refusal));
    };
    let preparing = world.registry.prepare_parts(web(8, &[("app", NEW)]));
    assert!(world.workers.block_on(join(preparing, answering)).0.is_err());
    let given_up = given_up.into_inner().unwrap();
    let late = async {
        // As if they were for the same number of now.
        world.registry.part_answered(&bob, &given_up, None);
        world.registry.part_unanswered(&mallory, &given_up);
        // Who waits for answers has its turn, and goes on waiting.
        tokio::task::yield_now().await;
        answer(&world, &bob, None);
        answer(&world, &mallory, None);
    };
    let preparing = world.registry.prepare_parts(web(8, &[("app", NEW)]));
    let prepared = world.workers.block_on(join(preparing, late)).0.unwrap();
    assert_eq!(prepared.refusals(), []);
}

#[test]
fn who_comes_late_undoes_nothing() {
    let (world, [bob, mallory]) = two();
    let late = async {
        let late = world.session("mallory", 3, 3, 0, None);
        assert_eq!(world.registry.to_hand(&late).parts.len(), 2, "it is handed both");
        answer(&world, &late, Some("no"));
        answer(&world, &bob, None);
        answer(&world, &mallory, None);
    };
    let wanted = WantedParts { require_all: true, ..web(8, &[("app", NEW)]) };
    let prepared = world.workers.block_on(join(world.registry.prepare_parts(wanted), late)).0.unwrap();
    world.registry.use_parts(prepared);
    assert_eq!((serving(&world, "app"), states(&world)[2].0.as_str()), (2, "behind"));
}

#[test]
fn who_takes_no_parts_has_no_say() {
    let (world, [bob, mallory]) = two();
    let mut login = mallory.login.clone();
    (login.client, login.instance) = (protocol::id::ClientId([9; 16]), protocol::id::InstanceId([9; 16]));
    login.takes_parts = false;
    let admitted = world.registry.admit(&login).unwrap();
    let link = world.linked("eve").live.link().clone();
    let by_hand = Arc::new(Live::new(admitted.id, admitted.generation, login, link).0);
    world.registry.attach(&by_hand, world.now);
    let wanted = WantedParts { require_all: true, ..web(8, &[("app", NEW)]) };
    apply(&world, wanted, &[(&bob, None), (&mallory, None)]);
    assert_eq!((serving(&world, "app"), states(&world)[2].0.as_str()), (2, "behind"));
}

#[test]
fn who_loses_a_group_is_neither_handed_its_new_part_nor_asked_for_it() {
    let (world, [bob, mallory]) = two();
    let mut wanted = WantedParts { require_all: true, ..web(8, &[("app", NEW)]) };
    let grants = Grants { groups: vec!["web".to_owned()], ..Grants::default() };
    wanted.principals =
        vec![(bob.login.principal.clone(), grants), (mallory.login.principal.clone(), Grants::default())];
    let principals = wanted.principals.clone();
    let prepared = prepare(&world, wanted, &[(&bob, None)]).unwrap();
    assert_eq!(prepared.refusals(), []);
    assert_eq!(world.registry.to_hand(&bob).list, Some(vec![id("web", 7), id("web", 8)]));
    let late = world.session("mallory", 3, 3, 0, None);
    for live in [&mallory, &late] {
        let held = world.registry.to_hand(live);
        assert_eq!((held.parts.len(), held.list), (1, Some(vec![id("web", 7)])));
    }
    world.identity.configure(principals);
    world.registry.use_parts(prepared);
    assert_eq!(world.registry.to_hand(&mallory).list, Some(vec![]));
    assert_eq!(serving(&world, "app"), 1);
}

#[test]
fn a_new_group_is_made_ready_by_those_who_will_be_its_members() {
    let (world, [bob, mallory]) = two();
    let mut wanted = wanted(8, &[("web", part(&[("app", OLD)])), ("more", part(&[("extra", NEW)]))]);
    let grants = Grants { groups: vec!["more".to_owned()], ..Grants::default() };
    wanted.principals = vec![(bob.login.principal.clone(), grants)];
    let principals = wanted.principals.clone();
    let prepared = prepare(&world, wanted, &[(&bob, None)]).unwrap();
    assert_eq!(world.registry.to_hand(&bob).list, None, "it is not decided whether it will be used");
    assert_eq!(world.registry.to_hand(&mallory).parts.len(), 1, "it is not granted to everybody");
    world.identity.configure(principals);
    world.registry.use_parts(prepared);
    let extra = world.registry.groups().look("more", "extra", |served| served.behind.len());
    assert_eq!(extra, Some(1));
    // What bob is granted now is all that he is granted.
    assert_eq!(world.registry.to_hand(&bob).list, Some(vec![id("more", 8)]));
    assert_eq!(serving(&world, "app"), 1);
}

#[test]
fn a_group_that_is_gone_may_be_asked_for_a_moment_longer() {
    let (mut world, [bob, _]) = two();
    let principal = bob.login.principal.clone();
    apply(&world, WantedParts { revision: 8, ..WantedParts::default() }, &[]);
    assert!(world.registry.group_infos().is_empty());
    assert_eq!(world.registry.to_hand(&bob).list, Some(vec![id("web", 7)]));
    assert!(world.registry.may_reach(&principal, "billing"), "its ingress may be open yet");
    assert_eq!(serving(&world, "app"), 2);
    world.after(Duration::from_secs(60));
    assert_eq!(world.registry.to_hand(&bob).list, Some(vec![]));
    assert!(!world.registry.may_reach(&principal, "billing"));
    assert_eq!(serving(&world, "app"), 0);
}
