use std::path::Path;

use rcgen::{CertificateParams, KeyPair, date_time_ymd};

use super::*;

/// A certificate for `names` that ends with the year `until`, as two files.
fn write(folder: &Path, file: &str, names: &[&str], until: i32) -> CertificateFiles {
    let names: Vec<String> = names.iter().map(ToString::to_string).collect();
    let mut params = CertificateParams::new(names).unwrap();
    params.not_after = date_time_ymd(until, 12, 31);
    let pair = KeyPair::generate().unwrap();
    let files = CertificateFiles {
        cert: folder.join(format!("{file}.pem")),
        key: folder.join(format!("{file}.key")),
    };
    std::fs::write(&files.cert, params.self_signed(&pair).unwrap().pem()).unwrap();
    std::fs::write(&files.key, pair.serialize_pem()).unwrap();
    files
}

fn host(name: &str) -> Host {
    Host::parse(name).unwrap()
}

fn chosen(certificates: &Certificates, name: Option<&str>) -> usize {
    choose(&certificates.shown.load().pairs, name.map(host).as_ref())
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
    let mixed = CertificateFiles { cert: one.cert, key: two.key };
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
    assert!(matches!(certificates.refresh(now).as_slice(), [Refreshed::Kept(CertificateError::Expired(_))]));
    assert_eq!(certificates.expires(), first);

    write(folder.path(), "a", &["a.example.com"], 2095);
    assert!(matches!(certificates.refresh(now).as_slice(), [Refreshed::Applied(_)]));
    assert!(certificates.expires() > first);
}
