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
    let start = Start::read(&place.state(), reader(), Some(&place.file()), later(0), Lack::Down).unwrap();
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
}

#[test]
fn what_the_revision_in_force_lacks_keeps_nothing_else_down_unless_somebody_is_there() {
    let place = Place::new();
    let file = |name: &str| place.folder.path().join(name);
    let pair = rcgen::generate_simple_self_signed(["a.example.com".to_owned()]).unwrap();
    let ca = pair.cert.pem();
    let text = r#"
domain = "a.example.com"
certificate = [{ cert = "a.pem", key = "a.key" }, { cert = "${CERTIFICATES}/b.pem", key = "a.key" }]
plugin = [{ name = "own", kind = "headers", request = { set = { x-key = "${KEY}" } } }]
rule = [{ name = "a", host = "app", respond = { body = "hello" }, plugins = ["own"] }]
listen = { admin = { address = "127.0.0.1:1", token_file = "tokens" }, tunnel = { address = "127.0.0.1:2", client_ca = "ca.pem", auth = "both" } }
"#;
    let set = text.replace("${CERTIFICATES}", ".").replace("${KEY}", "x");
    for (name, content) in
        [("a.pem", &*ca), ("b.pem", &*ca), ("ca.pem", &*ca), ("a.key", &*pair.signing_key.serialize_pem())]
    {
        std::fs::write(file(name), content).unwrap();
    }
    std::fs::write(file("tokens"), format!("ops:{}\n", "x".repeat(32))).unwrap();
    place.write(&set);
    place.start(Some(&place.file()), later(0)).unwrap();
    // It is the variables of the next start that are missing: no process of this test has them.
    let mut store = place.store().unwrap();
    let entry = policy::revision::Entry {
        digest: super::super::store::digest(text.as_bytes()),
        length: 1,
        time: seconds(),
        author: Author::Admin { uid: None, name: None },
        path: place.file(),
        note: None,
    };
    let next = store.history().accept(entry, None);
    store.commit(next, Some(text)).unwrap();
    drop(store);
    ["a.key", "tokens", "ca.pem"].iter().for_each(|name| std::fs::remove_file(file(name)).unwrap());

    let start = place.start(None, later(0)).unwrap();
    let document = start.document();
    assert_eq!(in_force(&start), (2, "a.example.com".to_owned()));
    let lacks: Vec<_> = document.certificates.iter().map(|files| files.lacks.as_deref()).collect();
    assert_eq!(lacks, [None, Some("the environment variable CERTIFICATES is not set")]);
    assert_eq!(document.plugins[0].lacks.as_deref(), Some("the environment variable KEY is not set"));
    assert!(document.listen.admin.as_ref().is_some_and(|admin| admin.lacks.is_some()));
    assert!(document.listen.tunnel.as_ref().is_some_and(|tunnel| tunnel.clients.is_some()));

    // Whoever upgrades sees it, and the process that runs goes on.
    let refused =
        Start::read(&place.state(), reader(), None, later(0), Lack::Refused).unwrap_err().to_string();
    for word in ["revision 2", "a.key", "CERTIFICATES", "KEY is not set", "tokens", "ca.pem"] {
        assert!(refused.contains(word), "{word}: {refused}");
    }
    // So does whoever brings a file.
    place.write(&format!("{set}# news\n"));
    let start = place.start(Some(&place.file()), later(0)).unwrap();
    assert_eq!(start.number(), 2);
    assert!(start.board(Metrics::new("0")).pending().is_some_and(|reason| reason.contains("a.key")));
    // The CA alone, too: the server would not come up with it.
    std::fs::write(file("a.key"), pair.signing_key.serialize_pem()).unwrap();
    std::fs::write(file("tokens"), format!("ops:{}\n", "x".repeat(32))).unwrap();
    let start = place.start(Some(&place.file()), later(0)).unwrap();
    assert_eq!(start.number(), 2);
    assert!(start.board(Metrics::new("0")).pending().is_some_and(|reason| reason.contains("ca.pem")));
}

#[test]
fn what_members_of_a_group_are_handed_lacks_nothing() {
    let place = Place::new();
    let text = r#"
plugin = [{ name = "own", kind = "headers", request = { set = { x-key = "${KEY}" } } }]
group = [{ name = "web", service = [{ name = "app", servers = [{ address = "3000" }], plugins = ["own"] }] }]
"#;
    place.write(text);
    let error = reader().read(&place.file(), text, Lack::Down).unwrap_err().report;
    assert!(error.contains("plugin own") && error.contains("KEY is not set"), "{error}");
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
