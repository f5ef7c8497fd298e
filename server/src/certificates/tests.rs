use std::path::Path;

use rcgen::{CertificateParams, KeyPair, date_time_ymd};

use super::*;

/// A certificate for `names` that ends with the year `until`, as two files.
fn write(folder: &Path, file: &str, names: &[&str], until: i32) -> CertificateFiles {
    let names: Vec<String> = names.iter().map(ToString::to_string).collect();
    let mut params = CertificateParams::new(names).unwrap();
    params.not_after = date_time_ymd(until, 12, 31);
    let pair = KeyPair::generate().unwrap();
    let path = |end: &str| folder.join(format!("{file}.{end}"));
    let files = CertificateFiles::new(path("pem"), path("key"));
    std::fs::write(&files.cert, params.self_signed(&pair).unwrap().pem()).unwrap();
    std::fs::write(&files.key, pair.serialize_pem()).unwrap();
    files
}

fn host(name: &str) -> Host {
    Host::parse(name).unwrap()
}

fn chosen(certificates: &Certificates, name: Option<&str>) -> usize {
    choose(&certificates.shown.load(), name.map(host).as_ref()).unwrap().0
}

#[test]
fn the_exact_name_comes_before_the_wildcard_and_the_first_is_for_the_rest() {
    let folder = tempfile::tempdir().unwrap();
    let files = [
        write(folder.path(), "default", &["localhost"], 2090),
        write(folder.path(), "wildcard", &["*.t.example.com"], 2090),
        write(folder.path(), "app", &["app.t.example.com"], 2090),
    ];
    let certificates = Certificates::load(files.to_vec()).unwrap();
    let cases = [
        (Some("app.t.example.com"), 2),
        (Some("wiki.t.example.com"), 1),
        (Some("a.wiki.t.example.com"), 0),
        (Some("other.example.com"), 0),
        (None, 0),
    ];
    for (name, place) in cases {
        assert_eq!(chosen(&certificates, name), place, "{name:?}");
    }
    assert!(certificates.agree(Some("wiki.t.example.com"), &host("docs.t.example.com")));
    assert!(!certificates.agree(Some("wiki.t.example.com"), &host("app.t.example.com")));
    assert!(!certificates.agree(None, &host("app.t.example.com")));
    assert!(certificates.agree(None, &host("localhost")));
}

#[test]
fn a_key_of_another_certificate_is_refused_by_name() {
    let folder = tempfile::tempdir().unwrap();
    let one = write(folder.path(), "one", &["a.example.com"], 2090);
    let two = write(folder.path(), "two", &["b.example.com"], 2090);
    let mixed = CertificateFiles::new(one.cert, two.key);
    let error = load(&mixed).unwrap_err().to_string();
    assert!(error.contains("two.key") && error.contains("one.pem"), "{error}");
    std::fs::write(&mixed.key, "no key").unwrap();
    let error = load(&mixed).unwrap_err().to_string();
    assert!(error.contains("two.key") && !error.contains("no key\n"), "{error}");
}

#[test]
fn a_change_is_taken_and_a_broken_one_keeps_the_one_before() {
    let folder = tempfile::tempdir().unwrap();
    let now = SystemTime::now();
    let files = write(folder.path(), "a", &["a.example.com"], 2080);
    let certificates = Certificates::load(vec![files.clone()]).unwrap();
    assert!(certificates.refresh(now).is_empty());
    let first = certificates.expires();

    std::fs::write(&files.key, "broken").unwrap();
    assert!(matches!(certificates.refresh(now).as_slice(), [Refreshed::Kept(_)]));
    assert_eq!(certificates.expires(), first);
    // It is said once.
    assert!(certificates.refresh(now).is_empty());

    write(folder.path(), "a", &["a.example.com"], 2001);
    let [Refreshed::Kept(error)] = &certificates.refresh(now)[..] else { panic!("it was taken") };
    assert!(matches!(**error, CertificateError::Expired(_)), "{error}");
    assert_eq!(certificates.expires(), first);
    let [line] = &certificates.wrong()[..] else { panic!("nothing is said of it") };
    assert!(line.contains("the one before is shown") && line.contains("expired"), "{line}");

    write(folder.path(), "a", &["a.example.com"], 2095);
    assert!(matches!(certificates.refresh(now).as_slice(), [Refreshed::Applied(_)]));
    assert!(certificates.expires() > first);
    assert_eq!((certificates.wrong(), certificates.down()), (Vec::new(), None));
}

#[test]
fn of_several_the_good_ones_are_shown_and_the_bad_one_is_named_until_it_is_mended() {
    let folder = tempfile::tempdir().unwrap();
    let now = SystemTime::now();
    let nothing = || Certificates::load(Vec::new()).unwrap();
    let bad = write(folder.path(), "bad", &["a.example.com"], 2090);
    let good = write(folder.path(), "good", &["b.example.com"], 2090);
    let key = std::fs::read(&bad.key).unwrap();
    std::fs::remove_file(&bad.key).unwrap();

    let certificates = Certificates::load_good(vec![bad.clone(), good.clone()], &nothing());
    let only = |certificates: &Certificates, names: &[&str]| {
        let shown = certificates.shown.load();
        let found = names.iter().map(|name| choose(&shown, Some(&host(name))).map(|(_, pair)| &pair.names));
        found.collect::<Option<Vec<_>>>().map(|found| format!("{found:?}"))
    };
    let names = ["a.example.com", "b.example.com"];
    let seen = only(&certificates, &names).unwrap();
    assert!(!seen.contains("a.example.com"), "{seen}");
    assert_eq!(certificates.down(), None);
    let [line] = &certificates.wrong()[..] else { panic!("{:?}", certificates.wrong()) };
    assert!(line.contains("bad.pem") && line.contains("bad.key"), "{line}");

    // It was said before, and is taken as soon as it is there.
    assert!(certificates.refresh(now).is_empty());
    std::fs::write(&bad.key, &key).unwrap();
    assert!(matches!(certificates.refresh(now).as_slice(), [Refreshed::Applied(_)]));
    assert!(only(&certificates, &names).unwrap().contains("a.example.com"));
    assert!(certificates.wrong().is_empty());

    // What is in use of the same files stays in use.
    std::fs::write(&bad.key, "broken").unwrap();
    let again = Certificates::load_good(vec![bad.clone()], &certificates);
    assert!(again.down().is_none() && again.wrong().len() == 1, "{:?}", again.wrong());
    let none = Certificates::load_good(vec![bad], &nothing());
    assert!(none.down().is_some_and(|why| why.contains("bad.key")));
    assert!(choose(&none.shown.load(), None).is_none());
}
