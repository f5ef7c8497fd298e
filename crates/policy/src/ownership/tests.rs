use std::collections::BTreeSet;
use std::time::Duration;

use proptest::prelude::*;

use super::*;

const SECOND: Duration = Duration::from_secs(1);

/// One of ann's, unless a claim says otherwise.
fn member(client: u8, instance: u8, generation: u64) -> Member {
    Member {
        principal: principal("ann"),
        client: ClientId([client; 16]),
        instance: InstanceId([instance; 16]),
        generation: Generation(generation),
    }
}

fn principal(name: &str) -> Principal {
    Principal::parse(name).unwrap()
}

/// An ad-hoc claim, in the client's own group.
fn ad_hoc(name: &str, member: Member) -> Claim {
    Claim { group: GroupKey::Own(member.client), member: Member { principal: principal(name), ..member } }
}

fn grouped(name: &str, group: &str, member: Member) -> Claim {
    let member = Member { principal: principal(name), ..member };
    Claim { group: GroupKey::named(group).unwrap(), member }
}

fn held(claims: &[Claim], now: Instant) -> Holding {
    let mut holding = Holding::default();
    for claim in claims {
        holding.claim(claim, now);
    }
    holding
}

#[test]
fn another_principal_gets_neither_a_live_nor_a_reserved_name() {
    let now = Instant::now();
    let (ann, bob) = (ad_hoc("ann", member(1, 1, 1)), ad_hoc("bob", member(2, 2, 2)));
    let mut name = held(&[ann], now);
    for _ in 0..1000 {
        let before = name.clone();
        assert_eq!(name.claim(&bob, now), Decision::InUse);
        assert_eq!(name, before);
    }
    assert_eq!(name.leave(InstanceId([1; 16]), Leaving::Lost, now), Left::Last);
    assert_eq!(name.claim(&bob, now + RESERVATION - SECOND), Decision::InUse);
    assert_eq!(name.claim(&bob, now + RESERVATION), Decision::Take);
}

#[test]
fn the_owner_comes_back_to_its_reservation() {
    let now = Instant::now();
    let mut name = Holding::reserved(principal("ann"), now);
    assert_eq!(name.principal(), Some(&principal("ann")));
    assert_eq!(name.claim(&ad_hoc("ann", member(9, 9, 9)), now + SECOND), Decision::Take);
    assert_eq!(name.members(), [member(9, 9, 9)]);
}

#[test]
fn a_clean_end_frees_at_once() {
    let now = Instant::now();
    let mut name = held(&[ad_hoc("ann", member(1, 1, 1))], now);
    assert_eq!(name.leave(InstanceId([1; 16]), Leaving::Unregistered, now), Left::Last);
    assert!(name.is_free());
    assert_eq!(name.claim(&ad_hoc("bob", member(2, 2, 2)), now), Decision::Take);
}

#[test]
fn the_newer_instance_takes_over_and_the_older_cannot_take_back() {
    let now = Instant::now();
    let old = member(1, 1, 1);
    // Another process of the same client, and another client of the same principal.
    for newer in [member(1, 2, 2), member(2, 2, 2)] {
        let mut name = held(&[ad_hoc("ann", old.clone())], now);
        assert_eq!(
            name.claim(&ad_hoc("ann", newer.clone()), now),
            Decision::TakeOver { old: vec![old.clone()] }
        );
        assert_eq!(name.members(), std::slice::from_ref(&newer));
        assert_eq!(name.claim(&ad_hoc("ann", old.clone()), now), Decision::Stale);
        assert_eq!(name.leave(old.instance, Leaving::Lost, now), Left::NotMember);
        assert_eq!(name.members(), std::slice::from_ref(&newer));
    }
}

#[test]
fn a_named_group_shares() {
    let now = Instant::now();
    let mut name = held(&[grouped("ann", "web", member(1, 1, 1))], now);
    assert_eq!(name.claim(&grouped("ann", "web", member(2, 2, 2)), now), Decision::Join);
    assert_eq!(name.claim(&grouped("ann", "web", member(2, 2, 2)), now), Decision::Keep);
    assert_eq!(name.claim(&grouped("bob", "blue", member(3, 3, 3)), now), Decision::InUse);
    assert_eq!(name.claim(&grouped("bob", "web", member(3, 3, 3)), now), Decision::Join);
    // What is revoked from one is still the other's.
    let bob = Member { principal: principal("bob"), ..member(3, 3, 3) };
    assert_eq!(name.revoke(&principal("bob")), [bob]);
    // The next process of a client replaces the one before, and nobody else.
    let next = grouped("ann", "web", member(1, 4, 4));
    assert_eq!(name.claim(&next, now), Decision::TakeOver { old: vec![member(1, 1, 1)] });
    assert_eq!(name.members(), [member(2, 2, 2), member(1, 4, 4)]);
    assert_eq!(name.leave(InstanceId([4; 16]), Leaving::Lost, now), Left::OthersRemain);
    assert_eq!(name.leave(InstanceId([2; 16]), Leaving::Lost, now), Left::Last);
    assert!(matches!(name, Holding::Reserved { .. }));
}

#[test]
fn another_group_of_the_same_principal_takes_over_from_all() {
    let now = Instant::now();
    let (a, b, c) = (member(1, 1, 1), member(2, 2, 2), member(3, 3, 3));
    let mut name = held(&[grouped("ann", "web", a.clone()), grouped("ann", "web", b.clone())], now);
    assert_eq!(name.claim(&grouped("ann", "blue", c.clone()), now), Decision::TakeOver { old: vec![a, b] });
    // The only member moves its own name to another group.
    assert_eq!(name.claim(&ad_hoc("ann", c.clone()), now), Decision::Take);
    assert_eq!(name, held(&[ad_hoc("ann", c)], now));
}

#[test]
fn revoking_takes_a_name_in_any_state_but_only_from_its_owner() {
    let now = Instant::now();
    let mut name = held(&[ad_hoc("ann", member(1, 1, 1))], now);
    assert_eq!(name.revoke(&principal("bob")), []);
    assert_eq!(name.revoke(&principal("ann")), [member(1, 1, 1)]);
    assert!(name.is_free());
    let mut name = Holding::reserved(principal("ann"), now);
    assert_eq!(name.revoke(&principal("ann")), []);
    assert!(name.is_free());
}

#[derive(Debug, Clone)]
enum Event {
    Claim(Claim),
    Leave(InstanceId, Leaving),
    Wait(u32),
    Expire,
}

fn events() -> impl Strategy<Value = Vec<Event>> {
    // An instance has one client and a client one principal, as logins have it; the number of the instance
    // stands for its age.
    let claim = (0u8..12, 0usize..3).prop_map(|(instance, group)| {
        let member = member(instance % 6, instance, u64::from(instance));
        let name = ["ann", "bob"][usize::from(member.client.0[0] % 2)];
        Event::Claim(match group {
            0 => ad_hoc(name, member),
            1 => grouped(name, "web", member),
            _ => grouped(name, "blue", member),
        })
    });
    let how = prop::sample::select(vec![Leaving::Unregistered, Leaving::Lost]);
    let leave = (0u8..12, how).prop_map(|(instance, how)| Event::Leave(InstanceId([instance; 16]), how));
    let wait = (0u32..90).prop_map(Event::Wait);
    let event = prop_oneof![5 => claim, 3 => leave, 1 => wait, 1 => Just(Event::Expire)];
    prop::collection::vec(event, 0..60)
}

/// What every state obeys: somebody stands behind a live name, no client twice, and a client's own group is alone.
fn well_formed(name: &Holding) -> bool {
    let Holding::Live { group, members, .. } = name else {
        return true;
    };
    let clients: BTreeSet<ClientId> = members.iter().map(|member| member.client).collect();
    !members.is_empty()
        && clients.len() == members.len()
        && (matches!(group, GroupKey::Named(_)) || members.len() == 1)
}

/// Whether `after` is what `decision` says about `claim`; `before` had expired if it could.
fn as_decided(before: &Holding, claim: &Claim, decision: &Decision, after: &Holding) -> bool {
    let shared = matches!(before, Holding::Live { group, .. } if is_shared(group, claim));
    let other = |principal: &Principal| *principal != claim.member.principal;
    let foreign = match before {
        Holding::Free => false,
        Holding::Reserved { principal, .. } => other(principal),
        Holding::Live { .. } => !shared && before.members().iter().any(|member| other(&member.principal)),
    };
    let was_member = before.members().contains(&claim.member);
    let has_it = after.members().contains(&claim.member);
    foreign == (*decision == Decision::InUse)
        && match decision {
            Decision::InUse => after == before,
            Decision::Stale => {
                let newer = |member: &Member| member.generation > claim.member.generation;
                after == before && before.members().iter().any(newer)
            }
            Decision::Keep => after == before && was_member && has_it,
            Decision::Join => has_it && !was_member && !before.members().is_empty(),
            Decision::Take => has_it && after.members().len() == 1,
            Decision::TakeOver { old } => {
                let older = |member: &Member| member.generation <= claim.member.generation;
                has_it && !old.is_empty() && old.iter().all(older)
            }
        }
}

proptest! {
    #[test]
    fn a_name_changes_hands_only_by_the_rules(events in events()) {
        let mut now = Instant::now();
        let mut name = Holding::default();
        for event in events {
            let mut before = name.clone();
            let mut leaving: Vec<Member> = Vec::new();
            match event {
                Event::Wait(seconds) => now += SECOND * seconds,
                Event::Expire => prop_assert_eq!(name.expire(now), name != before),
                Event::Leave(instance, how) => {
                    leaving.extend(before.members().iter().filter(|member| member.instance == instance).cloned());
                    let left = name.leave(instance, how, now);
                    prop_assert_eq!(left == Left::NotMember, leaving.is_empty());
                    prop_assert_eq!(left == Left::NotMember, name == before);
                    prop_assert_eq!(left == Left::Last, !leaving.is_empty() && name.members().is_empty());
                    let freed = left == Left::Last && how == Leaving::Unregistered;
                    prop_assert_eq!(name.is_free(), before.is_free() || freed);
                }
                Event::Claim(claim) => {
                    let expected = name.decide(&claim, now);
                    let decision = name.claim(&claim, now);
                    prop_assert_eq!(&decision, &expected);
                    before.expire(now);
                    prop_assert!(as_decided(&before, &claim, &decision, &name), "{:?}: {:?}", claim, decision);
                    if let Decision::TakeOver { old } = decision {
                        prop_assert!(old.iter().all(|member| before.members().contains(member)));
                        leaving = old;
                    }
                }
            }
            // Nobody is lost who did not leave and was not taken over from.
            for member in before.members() {
                prop_assert_eq!(name.members().contains(member), !leaving.contains(member));
            }
            prop_assert!(well_formed(&name), "{:?}", name);
        }
    }
}
