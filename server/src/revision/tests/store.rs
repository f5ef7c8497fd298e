use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};

use policy::revision::{Author, Entry, REVISIONS_MAX};
use rand::RngExt;

use super::super::store::digest;
use super::*;

fn put(store: &mut Store, text: &str) -> Result<u64, StoreError> {
    let (digest, length) = (digest(text.as_bytes()), text.len() as u64);
    let entry =
        Entry { digest, length, time: seconds(), author: Author::File, path: "/t.toml".into(), note: None };
    let next = store.history().accept(entry, None);
    let number = next.number();
    store.commit(next, Some(text)).map(|()| number)
}

/// With two revisions.
fn two() -> Place {
    let place = Place::new();
    let mut store = place.store().unwrap();
    put(&mut store, "domain = \"a\"\n").unwrap();
    put(&mut store, "domain = \"b\"\n").unwrap();
    place
}

#[test]
fn what_was_kept_is_there_again() {
    let place = two();
    let store = place.store().unwrap();
    assert_eq!(store.history().number(), 2);
    assert_eq!(store.text(1).unwrap(), "domain = \"a\"\n");
    assert_eq!(store.text(2).unwrap(), "domain = \"b\"\n");
    assert_eq!(store.text(0).unwrap(), "");
}

#[test]
fn a_hundred_are_kept_and_no_text_of_the_others() {
    let place = Place::new();
    let mut store = place.store().unwrap();
    for number in 1..=REVISIONS_MAX as u64 + 5 {
        assert_eq!(put(&mut store, &format!("# {number}\n")).unwrap(), number);
    }
    let folder = place.index().parent().unwrap().to_owned();
    assert_eq!(std::fs::read_dir(&folder).unwrap().count(), REVISIONS_MAX + 1);
    let store = place.store().unwrap();
    assert_eq!(store.history().revisions().first().map(|it| it.number), Some(6));
    assert_eq!(store.text(6).unwrap(), "# 6\n");
}

#[test]
fn no_changed_byte_of_the_index_goes_unnoticed() {
    let place = two();
    let (path, before) = (place.index(), place.store().unwrap().history().clone());
    let good = std::fs::read(&path).unwrap();
    for at in 0..good.len() {
        for bad in [[&good[..at], &[good[at] ^ 1], &good[at + 1..]].concat(), good[..at].to_vec()] {
            std::fs::write(&path, &bad).unwrap();
            match place.store() {
                // A space more or less means nothing.
                Ok(store) => assert_eq!(store.history(), &before, "byte {at}"),
                Err(StoreError::Index { file, reason }) => assert!(file == path && !reason.is_empty()),
                Err(error) => panic!("byte {at}: {error}"),
            }
            assert_eq!(std::fs::read(&path).unwrap(), bad, "it is left as it was found");
        }
    }
}

#[test]
fn what_is_damaged_is_refused_with_the_remedy() {
    let place = two();
    std::fs::write(place.index(), "{}").unwrap();
    let said = place.store().unwrap_err().to_string();
    assert!(said.contains("index.json") && said.contains("backup"), "{said}");
    std::fs::remove_file(place.index()).unwrap();
    let said = place.store().unwrap_err().to_string();
    assert!(said.contains("is missing") && said.contains("move it away"), "{said}");

    let place = two();
    let text = |number: u64| place.index().with_file_name(format!("{number}.toml"));
    std::fs::write(text(1), "domain = \"c\"\n").unwrap();
    let store = place.store().unwrap();
    let said = store.text(1).unwrap_err().to_string();
    assert!(said.contains("revision 1") && said.contains("not what was written"), "{said}");
    std::fs::write(text(2), "").unwrap();
    let said = place.store().unwrap_err().to_string();
    assert!(said.contains("2.toml") && said.contains("move its folder away"), "{said}");
}

#[test]
fn what_a_crash_leaves_behind_means_nothing() {
    let place = two();
    let beside = |name: &str| place.index().with_file_name(name);
    for (name, text) in [(".3.toml.0123", "dom"), ("3.toml", "domain = \"c\"\n"), (".index.json.9", "{\"dig")]
    {
        std::fs::write(beside(name), text).unwrap();
    }
    let mut store = place.store().unwrap();
    assert_eq!(store.history().number(), 2);
    assert!(!beside(".3.toml.0123").exists() && !beside(".index.json.9").exists());
    assert_eq!(put(&mut store, "domain = \"d\"\n").unwrap(), 3);
    assert_eq!(place.store().unwrap().text(3).unwrap(), "domain = \"d\"\n");
    // The first start ended before there was anything.
    let place = Place::new();
    place.store().unwrap();
    std::fs::remove_file(place.index()).unwrap();
    std::fs::write(place.index().with_file_name(".index.json.1"), "{").unwrap();
    assert_eq!(place.store().unwrap().history().number(), 0);
}

#[test]
fn what_a_process_kept_that_did_not_come_up_gives_way() {
    let place = two();
    let mut store = place.store().unwrap();
    put(&mut place.store().unwrap(), "domain = \"c\"\n").unwrap();
    assert_eq!(put(&mut store, "domain = \"d\"\n").unwrap(), 3);
    let store = place.store().unwrap();
    assert_eq!((store.history().number(), store.text(3).unwrap()), (3, "domain = \"d\"\n".to_owned()));
}

#[test]
fn what_can_not_be_kept_changes_nothing() {
    let place = two();
    let mut store = place.store().unwrap();
    let before = store.history().clone();
    let folder = place.index().parent().unwrap().to_owned();
    let aside = folder.with_file_name("aside");
    std::fs::rename(&folder, &aside).unwrap();
    let error = put(&mut store, "domain = \"c\"\n").unwrap_err();
    assert!(error.to_string().contains("cannot write"), "{error}");
    assert_eq!(store.history(), &before);
    std::fs::rename(&aside, &folder).unwrap();
    assert_eq!(place.store().unwrap().history(), &before);
}

/// Not a test: what [`a_kill_at_any_moment_loses_nothing`] kills.
#[test]
#[ignore = "it is a program for another test"]
fn keeps_revisions_for_ever() {
    let Some(folder) = std::env::var_os("REVISIONS_IN") else { return };
    let state = StateDir::resolve(Program::Tunneld, Some(folder.into()), |_| None).unwrap();
    state.create().unwrap();
    let mut store = Store::open(&state).unwrap();
    loop {
        let text = format!("# {}\n{}", store.history().next(), "x = 1\n".repeat(500));
        eprintln!("kept {}", put(&mut store, &text).unwrap());
    }
}

#[test]
fn a_kill_at_any_moment_loses_nothing() {
    let place = Place::new();
    let rounds = if std::env::var_os("TUNNEL_FULL").is_some() { 300 } else { 12 };
    for round in 0..rounds {
        let mut child = Command::new(std::env::current_exe().unwrap());
        child.args([
            "--exact",
            "revision::tests::store::keeps_revisions_for_ever",
            "--ignored",
            "--nocapture",
        ]);
        child.env("REVISIONS_IN", place.folder.path().join("state"));
        let mut child = child.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
        let lines = BufReader::new(child.stderr.take().unwrap()).lines().map_while(Result::ok);
        let mut kept = lines.filter_map(|line| line.strip_prefix("kept ")?.parse::<u64>().ok());
        let many = rand::rng().random_range(1..20);
        let mut last = kept.by_ref().take(many).last().expect("it keeps revisions");
        // Somewhere in the next one.
        std::thread::yield_now();
        child.kill().unwrap();
        child.wait().unwrap();
        last = kept.last().unwrap_or(last);
        let store = place.store().unwrap();
        let number = store.history().number();
        assert!((last..=last + 1).contains(&number), "round {round}: {last} was kept, {number} is there");
        for revision in store.history().revisions() {
            assert!(store.text(revision.number).unwrap().starts_with(&format!("# {}\n", revision.number)));
        }
    }
}
