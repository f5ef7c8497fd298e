use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::time::Duration;

use proptest::prelude::*;
use serde_json::{Map, Value, json};

use super::*;

fn digest(text: u8) -> Digest {
    Digest([text; 32])
}

fn entry(text: u8, author: Author, path: &str) -> Entry {
    Entry { digest: digest(text), length: 100, time: 1_000, author, path: path.into(), note: None }
}

const FILE: &str = "/etc/tunnel/tunneld.toml";

fn by_file(history: &History, text: u8) -> History {
    history.accept(entry(text, Author::File, FILE), None)
}

fn admin() -> Author {
    Author::Admin { uid: Some(0), name: Some("root".to_owned()) }
}

#[test]
fn a_rollback_leaves_what_was_seen_so_that_the_file_stays_old_news() {
    let history = by_file(&by_file(&History::default(), 1), 2);
    let back = history.restore(history.earlier(None).unwrap(), 2_000, admin(), None).unwrap();
    let current = back.current().unwrap();
    assert_eq!((current.number, current.restores, current.digest), (3, Some(1), digest(1)));
    assert!(!back.is_news(Path::new(FILE), digest(2)), "no restart and no touch brings it back");
    assert!(back.is_news(Path::new(FILE), digest(3)));
    assert!(back.is_news(Path::new("/other.toml"), digest(2)));
}

#[test]
fn rollbacks_without_a_number_go_further_and_further_back() {
    let history = by_file(&by_file(&by_file(&History::default(), 1), 2), 3);
    let mut history = history;
    for expected in [2, 1] {
        let to = history.earlier(None).unwrap();
        assert_eq!(to, expected);
        history = history.restore(to, 2_000, admin(), None).unwrap();
    }
    assert_eq!(history.earlier(None), Err(NoSuchRevision::Earlier));
    assert_eq!(history.earlier(Some(1)), Err(NoSuchRevision::InForce(5)));
    assert_eq!((history.earlier(Some(3)), history.earlier(Some(0))), (Ok(3), Ok(0)));
    assert_eq!(history.earlier(Some(9)), Err(NoSuchRevision::Number(9)));
}

#[test]
fn what_was_undone_is_not_what_was_there_before() {
    let history = by_file(&by_file(&History::default(), 1), 2);
    let good = history.restore(history.earlier(None).unwrap(), 2_000, admin(), None).unwrap();
    let again = by_file(&good, 3);
    let to = again.earlier(None).unwrap();
    let back = again.restore(to, 3_000, admin(), None).unwrap();
    assert_eq!(back.current().map(|it| it.digest), Some(digest(1)), "and not 2, from which it was gone back");
    assert_eq!(back.earlier(None), Err(NoSuchRevision::Earlier));
}

#[test]
fn the_first_revision_may_go_back_to_none_if_that_is_asked_for() {
    assert_eq!(History::default().earlier(Some(0)), Err(NoSuchRevision::Earlier));
    let history = History::default().accept(entry(1, admin(), FILE), Some(300));
    assert_eq!(history.awaited().map(|it| (it.back_to, it.until)), Some((0, 1_300)));
    assert_eq!(history.earlier(None), Err(NoSuchRevision::Earlier));
    let none = history.restore(0, 2_000, Author::Unconfirmed, None).unwrap();
    assert_eq!(none.current().map(|it| (it.number, it.digest)), Some((2, Digest::EMPTY)));
    assert_eq!(none.awaited(), None);
    assert_eq!(none.earlier(Some(0)), Err(NoSuchRevision::InForce(2)));
}

#[test]
fn what_awaits_confirmation_goes_back_to_before_all_of_it() {
    let first = by_file(&History::default(), 1);
    let tried = first.accept(entry(2, admin(), "/root/a.toml"), Some(60));
    let again = tried.accept(entry(3, admin(), "/root/b.toml"), Some(300));
    assert_eq!(again.awaited().map(|it| (it.back_to, it.seconds)), Some((1, 300)));
    assert_eq!(again.confirm().unwrap().awaited(), None);
    assert_eq!(first.confirm(), None);
}

#[test]
fn an_admins_copy_is_no_file_of_ours_and_an_admins_file_is() {
    let history = by_file(&History::default(), 1);
    let copied = history.accept(entry(2, admin(), "/tmp/copy-17.toml"), None);
    assert!(!copied.is_news(Path::new(FILE), digest(1)));
    let same = history.accept(entry(2, admin(), FILE), None);
    assert!(!same.is_news(Path::new(FILE), digest(2)));
    // A file that becomes ours later is not applied once more if it is what an operator applied.
    let later = History::default().accept(entry(2, admin(), FILE), None);
    assert!(!later.is_news(Path::new(FILE), digest(2)));
}

#[test]
fn what_is_large_is_forgotten_sooner() {
    let mut history = History::default();
    for text in 0..20 {
        let large = Entry { length: TEXTS_MAX / 4, ..entry(text, Author::File, FILE) };
        history = history.accept(large, (text == 1).then_some(60));
        if text >= 1 {
            assert!(history.awaited().is_none_or(|it| history.get(it.back_to).is_some()));
        }
    }
    let numbers: Vec<_> = history.revisions().iter().map(|it| it.number).collect();
    assert_eq!(numbers, [17, 18, 19, 20]);
}

/// What can happen to a history.
#[derive(Debug, Clone)]
enum Step {
    Accept { text: u8, path: u8, by_file: bool, confirm: bool },
    Restore(Option<u64>),
    Confirm,
    See { text: u8, path: u8 },
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        6 => (any::<u8>(), 0..3_u8, any::<bool>(), any::<bool>())
            .prop_map(|(text, path, by_file, confirm)| Step::Accept { text, path, by_file, confirm }),
        2 => prop::option::of(0..150_u64).prop_map(Step::Restore),
        1 => Just(Step::Confirm),
        1 => (any::<u8>(), 0..40_u8).prop_map(|(text, path)| Step::See { text, path }),
    ];
    prop::collection::vec(step, 0..250)
}

fn path(number: u8) -> PathBuf {
    format!("/{number}/t.toml").into()
}

fn step(history: &History, step: &Step) -> Option<History> {
    Some(match step {
        Step::Accept { text, path: at, by_file, confirm } => {
            let author = if *by_file { Author::File } else { admin() };
            let entry = Entry { path: path(*at), ..entry(*text, author, "") };
            history.accept(entry, confirm.then_some(60))
        }
        Step::Restore(to) => history.restore(history.earlier(*to).ok()?, 9, admin(), None).ok()?,
        Step::Confirm => history.confirm()?,
        Step::See { text, path: at } => history.see(&path(*at), digest(*text)),
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn a_history_stays_one(steps in steps()) {
        let mut history = History::default();
        let mut numbers = BTreeSet::new();
        for it in &steps {
            let Some(next) = step(&history, it) else { continue };
            prop_assert_eq!(next.check(), Ok(()));
            prop_assert!(next.revisions().len() <= REVISIONS_MAX);
            let text = serde_json::to_string(&next).unwrap();
            prop_assert_eq!(&serde_json::from_str::<History>(&text).unwrap(), &next);
            match it {
                Step::Accept { .. } | Step::Restore(_) => {
                    prop_assert_eq!(next.number(), history.number() + 1);
                    prop_assert!(numbers.insert(next.number()), "no number is used twice");
                }
                Step::Confirm | Step::See { .. } => prop_assert_eq!(next.revisions(), history.revisions()),
            }
            if let Step::Accept { text, path: at, by_file: true, .. } = it {
                prop_assert!(!next.is_news(&path(*at), digest(*text)), "what was applied is no news");
            }
            if let Step::Restore(_) = it {
                for at in 0..40 {
                    prop_assert_eq!(next.seen(&path(at)).is_some(), history.seen(&path(at)).is_some());
                }
                let current = next.current().unwrap();
                let old = history.get(current.origin());
                prop_assert!(old.is_none_or(|old| old.digest == current.digest && old.path == current.path));
            }
            if let Some(awaited) = next.awaited() {
                prop_assert!(awaited.back_to == 0 || next.get(awaited.back_to).is_some(), "it could not go back");
            }
            for revision in next.revisions() {
                prop_assert!(revision.restores.is_none_or(|origin| origin < revision.number));
            }
            history = next;
        }
    }

    #[test]
    fn a_history_of_nonsense_is_refused_or_sound(text in "[{}\\[\\]\":,a-z0-9]{0,60}") {
        if let Ok(history) = serde_json::from_str::<History>(&text)
            && history.check().is_ok()
        {
            prop_assert!(history.current().is_none_or(|it| history.get(it.number).is_some()));
        }
    }
}

#[test]
fn a_history_that_is_none_says_why() {
    let good = serde_json::to_value(by_file(&by_file(&History::default(), 1), 2)).unwrap();
    let broken = |edit: &dyn Fn(&mut Value)| {
        let mut value = good.clone();
        edit(&mut value);
        serde_json::from_value::<History>(value).unwrap().check()
    };
    assert_eq!(broken(&|_| {}), Ok(()));
    assert_eq!(broken(&|it| it["format"] = json!(2)), Err(HistoryError::Format(2)));
    assert_eq!(broken(&|it| it["revisions"][0]["number"] = json!(2)), Err(HistoryError::Order));
    assert_eq!(broken(&|it| it["revisions"][0]["number"] = json!(0)), Err(HistoryError::Order));
    let awaited = json!({ "back_to": 7, "until": 1, "seconds": 1 });
    assert_eq!(broken(&|it| it["awaited"] = awaited.clone()), Err(HistoryError::Awaited));
}

fn document(value: Value) -> Map<String, Value> {
    value.as_object().unwrap().clone()
}

#[test]
fn an_empty_list_is_a_list_without_entries() {
    let (none, empty, one) = (json!({}), json!({ "rule": [] }), json!({ "rule": [{ "name": "app" }] }));
    let said = |before: &Value, after: &Value| {
        let changes = changes(&document(before.clone()), &document(after.clone()));
        changes.iter().map(ToString::to_string).collect::<Vec<_>>()
    };
    assert_eq!(said(&one, &empty), ["rule app removed"]);
    assert_eq!(said(&empty, &one), ["rule app added"]);
    assert_eq!((said(&none, &empty), said(&empty, &empty)), (vec!["rule added".to_owned()], vec![]));
}

#[test]
fn parts_are_told_by_their_names() {
    let before = document(json!({
        "domain": "a", "limits": { "x": 1 }, "listen": { "http": "80", "https": "443" },
        "rule": [{ "name": "app", "to": "x" }, { "name": "api" }, { "host": "h" }, { "to": "y" }],
        "group": [{ "name": "web" }],
        "advertise": ["a"],
    }));
    let after = document(json!({
        "domain": "b", "listen": { "http": "81", "ops": "7480" },
        "rule": [{ "name": "api" }, { "name": "app", "to": "z" }, { "host": "h" }, { "name": "new" }],
        "group": [{ "name": "web" }],
        "advertise": ["a", "b"],
    }));
    let said: Vec<_> = changes(&before, &after).iter().map(ToString::to_string).collect();
    assert_eq!(
        said,
        [
            "advertise changed",
            "domain changed",
            "limits removed",
            "listen.http changed",
            "listen.https removed",
            "listen.ops added",
            "rule #1 removed",
            "rule app changed",
            "rule new added",
            "rule in another order",
        ]
    );
}

fn documents() -> impl Strategy<Value = Map<String, Value>> {
    let leaf = prop_oneof![any::<bool>().prop_map(Value::from), (0..3_i64).prop_map(Value::from)];
    let name = prop_oneof![Just("a"), Just("b"), Just("a #2"), Just("#1")];
    let entry = (prop::option::of(name), 0..2_i64).prop_map(|(name, x)| match name {
        Some(name) => json!({ "name": name, "x": x }),
        None => json!({ "x": x }),
    });
    let table = prop::collection::btree_map("[xy]", 0..2_i64, 0..3).prop_map(|it| json!(it));
    let value = prop_oneof![leaf, prop::collection::vec(entry, 0..4).prop_map(Value::Array), table];
    prop::collection::btree_map("[kl]", value, 0..3).prop_map(|it| it.into_iter().collect())
}

proptest! {
    #[test]
    fn no_difference_is_hidden(before in documents(), after in documents()) {
        let (there, back) = (changes(&before, &after), changes(&after, &before));
        prop_assert_eq!(there.is_empty(), before == after);
        prop_assert_eq!(there.len(), back.len());
        for (there, back) in there.iter().zip(&back) {
            let mirrored = match there.change {
                Change::Added => Change::Removed,
                Change::Removed => Change::Added,
                change => change,
            };
            prop_assert_eq!((mirrored, &there.name), (back.change, &back.name));
        }
    }
}

const SPAN: Duration = Duration::from_secs(60);

fn counts(requests: u64, failed: u64) -> Counts {
    Counts { requests, failed, ..Counts::default() }
}

/// A window that has seen `before` in a span, begun.
fn begun(before: Counts) -> Window {
    let mut window = Window::default();
    window.sample(Duration::ZERO, Counts::default(), SPAN);
    window.sample(SPAN, before, SPAN);
    window.begin(SPAN, before, SPAN);
    window
}

#[test]
fn half_of_twenty_that_fail_where_none_did_are_enough() {
    let verdict = |before: Counts, requests, failed| {
        let now = Counts { requests: before.requests + requests, failed: before.failed + failed, ..before };
        begun(before).look(SPAN * 3 / 2, now)
    };
    let failing = |failed, of| Some(Failing::Requests { failed, of });
    assert_eq!(verdict(counts(100, 0), 19, 19), None, "too few");
    assert_eq!(verdict(counts(100, 0), 20, 9), None, "less than a half");
    assert_eq!(verdict(counts(100, 0), 20, 10), failing(10, 20));
    assert_eq!(verdict(counts(0, 0), 20, 10), failing(10, 20));
    assert_eq!(verdict(counts(100, 10), 20, 10), failing(10, 20), "five times 10 %");
    assert_eq!(verdict(counts(100, 11), 20, 10), None, "not five times 11 %");
    assert_eq!(verdict(counts(100, 11), 20, 11), failing(11, 20));
    assert_eq!(verdict(counts(100, 30), 20, 20), None, "it was bad before");
}

#[test]
fn probes_count_once_there_are_visitors_to_care() {
    let mut window = begun(counts(100, 0));
    let now = |requests, probes, failed_probes| Counts { requests, failed: 0, probes, failed_probes };
    assert_eq!(window.look(SPAN, now(119, 10, 10)), None);
    assert_eq!(window.look(SPAN, now(120, 10, 4)), None);
    assert_eq!(window.look(SPAN, now(120, 10, 5)), Some(Failing::Probes { failed: 5, of: 10 }));
}

#[test]
fn a_window_is_over_after_its_span() {
    let mut window = begun(counts(100, 0));
    assert_eq!(window.look(SPAN * 2, counts(110, 10)), None);
    assert!(!window.is_open());
    assert_eq!(window.look(SPAN * 2, counts(200, 100)), None);
}

proptest! {
    #[test]
    fn the_span_before_is_what_it_says(gaps in prop::collection::vec(0..5_000_u64, 1..400)) {
        let (mut window, mut now, mut total) = (Window::default(), Duration::ZERO, 0);
        let mut all = vec![];
        for gap in gaps {
            now += Duration::from_millis(gap);
            total += 1;
            all.push((now, total));
            window.sample(now, counts(total, 0), SPAN);
        }
        prop_assert!(window.samples.len() <= 64);
        window.begin(now, counts(total, 0), SPAN);
        let before = window.open.unwrap().before.requests;
        let within = |span: Duration| all.iter().filter(|(at, _)| now - *at < span).count() as u64;
        // To a sample's distance.
        let apart = SPAN / 32 + Duration::from_secs(5);
        prop_assert!(before <= within(SPAN + apart * 2), "{} {}", before, within(SPAN + apart * 2));
        prop_assert!(before + 1 >= within(SPAN), "{} {}", before, within(SPAN));
    }
}
