use policy::revision::Author;

use super::*;

fn in_force(start: &Start) -> (u64, String) {
    (start.number(), start.document().domain.as_ref().map(ToString::to_string).unwrap_or_default())
}

#[test]
fn the_file_makes_the_first_revision_and_is_no_news_after_that() {
    let place = Place::new();
    assert_eq!(in_force(&place.start(None, later(0)).unwrap()), (0, String::new()));
    place.write(&domain("a"));
    for _ in 0..2 {
        let start = place.start(Some(&place.file()), later(0)).unwrap();
        assert_eq!(in_force(&start), (1, "a.example.com".to_owned()));
    }
    // Without the file, the state directory is the truth.
    assert_eq!(in_force(&place.start(None, later(0)).unwrap()), (1, "a.example.com".to_owned()));
    place.write(&domain("b"));
    assert_eq!(
        in_force(&place.start(Some(&place.file()), later(0)).unwrap()),
        (2, "b.example.com".to_owned())
    );
}

#[test]
fn a_server_that_does_not_come_up_keeps_nothing() {
    let place = Place::new();
    place.write(&domain("a"));
    let start = Start::read(&place.state(), reader(), Some(&place.file()), later(0)).unwrap();
    assert_eq!(start.number(), 1);
    drop(start);
    assert_eq!(place.store().unwrap().history().number(), 0);
}

#[test]
fn a_bad_file_is_fatal_only_without_a_revision() {
    let place = Place::new();
    let bad = [
        b"domain = \"a.example.com\nlimits = {".to_vec(),
        b"domian = \"a.example.com\"\n".to_vec(),
        b"# \xff\xfe\n".to_vec(),
        vec![b'#'; ops::config::TEXT_MAX + 1],
        b"[listen]\nhttps = \"443\"\n".to_vec(),
    ];
    let refused = |bytes: &[u8]| {
        std::fs::write(place.file(), bytes).unwrap();
        place.start(Some(&place.file()), later(0)).unwrap_err().to_string()
    };
    let said: Vec<_> = bad.iter().map(|bytes| refused(bytes)).collect();
    for (said, what) in
        said.iter().zip(["tunneld.toml:1:", "did you mean `domain`", ":1:3: ", "MiB", "--https"])
    {
        assert!(said.contains(what), "{said}");
    }
    let missing = place.start(Some(&place.folder.path().join("none.toml")), later(0)).unwrap_err();
    assert!(missing.to_string().contains("none.toml"), "{missing}");

    place.write(&domain("a"));
    place.start(Some(&place.file()), later(0)).unwrap();
    for bytes in bad.iter().map(Vec::as_slice).chain([b"".as_slice(), b"  \n"]) {
        std::fs::write(place.file(), bytes).unwrap();
        let start = place.start(Some(&place.file()), later(0)).unwrap();
        assert_eq!(in_force(&start), (1, "a.example.com".to_owned()));
        let metrics = Metrics::new("0");
        let board = start.board(metrics.clone());
        let reason = board.pending().unwrap();
        assert!(reason.contains("tunneld.toml") && !reason.contains('\n'), "{reason}");
        assert!(metrics.encode().unwrap().contains("tunnel_config_pending 1"));
    }
    std::fs::remove_file(place.file()).unwrap();
    let start = place.start(Some(&place.file()), later(0)).unwrap();
    assert!(start.board(Metrics::new("0")).pending().is_some());
}

#[test]
fn relative_paths_start_at_the_file_also_when_it_is_gone() {
    let place = Place::new();
    let secrets = place.folder.path().join("users");
    std::fs::write(&secrets, "alice:x\n").unwrap();
    let pair = rcgen::generate_simple_self_signed(["a.example.com".to_owned()]).unwrap();
    std::fs::write(place.folder.path().join("a.pem"), pair.cert.pem()).unwrap();
    std::fs::write(place.folder.path().join("a.key"), pair.signing_key.serialize_pem()).unwrap();
    place.write("certificate = [{ cert = \"a.pem\", key = \"a.key\" }]\n");
    place.start(Some(&place.file()), later(0)).unwrap();
    std::fs::remove_file(place.file()).unwrap();
    let start = place.start(None, later(0)).unwrap();
    assert_eq!(start.document().certificates[0].cert, place.folder.path().join("a.pem"));
    // What it needs is gone: it says so, and changes nothing.
    std::fs::remove_file(place.folder.path().join("a.pem")).unwrap();
    let said = place.start(None, later(0)).unwrap_err().to_string();
    assert!(said.contains("revision 1") && said.contains("a.pem"), "{said}");
}

#[test]
fn what_was_not_confirmed_while_the_server_was_down_is_undone() {
    let place = Place::new();
    place.write(&domain("a"));
    let mut store = place.start(Some(&place.file()), later(0)).unwrap().store;
    let text = domain("b");
    let entry = policy::revision::Entry {
        digest: super::super::store::digest(text.as_bytes()),
        length: 1,
        time: seconds(),
        author: Author::Admin { uid: None, name: None },
        path: "/root/b.toml".into(),
        note: None,
    };
    let next = store.history().accept(entry, Some(300));
    store.commit(next, Some(&text)).unwrap();
    drop(store);
    // In time it is in force, and the file waits.
    place.write(&domain("c"));
    let start = place.start(Some(&place.file()), later(100)).unwrap();
    assert_eq!(in_force(&start), (2, "b.example.com".to_owned()));
    assert!(start.board(Metrics::new("0")).pending().is_some());
    drop(start);
    let start = place.start(None, later(301)).unwrap();
    assert_eq!(in_force(&start), (3, "a.example.com".to_owned()));
    let current = start.store.history().current().unwrap();
    assert_eq!((current.author.clone(), current.restores), (Author::Unconfirmed, Some(1)));
    assert_eq!(start.store.history().awaited(), None);
}
