//! D27: whom a client takes for its server, and whom visitors do.

use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use rcgen::{CertificateParams, KeyPair, date_time_ymd};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tests::fixture::{HttpService, Pretender};
use tests::link::Link;
use tests::program::Finished;
use tests::tls;
use tests::tunnelc::{Home, SESSIONS};
use tests::tunneld::Tunneld;
use tests::visitor::{Visitor, empty, request};
use tests::wait::{SOON, until};

/// What a client may send after its `ClientHello` when it does not like the server: an alert. A login has a proof of 64 bytes
/// alone.
const ALERT: usize = 64;

/// The certificate of a server and its key.
fn identity(of: &Tunneld) -> (CertificateDer<'static>, PrivateKeyDer<'static>) {
    let file = |name| of.state().join(name);
    (
        CertificateDer::from_pem_file(file("tls.crt")).unwrap(),
        PrivateKeyDer::from_pem_file(file("tls.key")).unwrap(),
    )
}

/// A certificate of its own for `names`, valid from 2020 to the beginning of `until`, written to `FOLDER/FILE.pem`.
fn made(
    folder: &Path,
    file: &str,
    names: &[&str],
    until: i32,
) -> (CertificateDer<'static>, PrivateKeyDer<'static>) {
    let pair = KeyPair::generate().unwrap();
    let mut params =
        CertificateParams::new(names.iter().map(ToString::to_string).collect::<Vec<_>>()).unwrap();
    (params.not_before, params.not_after) = (date_time_ymd(2020, 1, 1), date_time_ymd(until, 1, 1));
    let certificate = params.self_signed(&pair).unwrap();
    std::fs::write(folder.join(format!("{file}.pem")), certificate.pem()).unwrap();
    (certificate.der().clone(), PrivateKeyDer::from_pem_slice(pair.serialize_pem().as_bytes()).unwrap())
}

/// Tries to log in to `pretender` with this join string, which is for another server.
async fn fooled(pretender: &Pretender, join: &str, more: &[&str]) -> (Finished, Vec<u8>) {
    let (home, link) = (Home::new(), Link::to(pretender.addr()).await);
    let refused = home.command(&[&["http", "3000", "--join", &link.join(join)], more].concat()).await;
    (refused, link.recorded(0))
}

/// The bytes of a client behind its `ClientHello`, which is one record.
fn behind_hello(sent: &[u8]) -> usize {
    assert_eq!(sent[0], 22, "a handshake record");
    sent.len() - 5 - usize::from(u16::from_be_bytes([sent[3], sent[4]]))
}

#[tokio::test]
async fn d27_nobody_else_hears_a_byte_of_a_login() {
    let (server, folder) = (Tunneld::start().await, tempfile::tempdir().unwrap());
    let join = server.join();
    let no_pin = join.split('?').next().unwrap().to_owned();
    let (certificate, _) = identity(&server);
    let (other, other_key) = made(folder.path(), "other", &["127.0.0.1"], 2035);
    let (expired, expired_key) = made(folder.path(), "expired", &["127.0.0.1"], 2021);
    let (misnamed, misnamed_key) = made(folder.path(), "misnamed", &["elsewhere.example.com"], 2035);
    let ca = |file: &str| folder.path().join(format!("{file}.pem")).display().to_string();
    for (what, pretender, join, ca, word) in [
        ("a wrong pin", Pretender::start(other.clone(), &other_key).await, &join, None, "has the key"),
        // The bug of many pins: the certificate is the right one, and whoever shows it has not its key.
        (
            "the right certificate with another key",
            Pretender::start(certificate, &other_key).await,
            &join,
            None,
            "",
        ),
        (
            "an expired certificate",
            Pretender::start(expired, &expired_key).await,
            &no_pin,
            Some(ca("expired")),
            "not trusted",
        ),
        (
            "a wrong name",
            Pretender::start(misnamed, &misnamed_key).await,
            &no_pin,
            Some(ca("misnamed")),
            "not trusted",
        ),
        (
            "another CA",
            Pretender::start(other, &other_key).await,
            &no_pin,
            Some(ca("misnamed")),
            "not trusted",
        ),
    ] {
        let more = ca.as_ref().map_or(vec![], |ca| vec!["--ca-file", ca]);
        let (refused, sent) = fooled(&pretender, join, &more).await;
        assert!(matches!(refused.code, Some(1 | 3)), "{what}: {}", refused.text());
        assert!(refused.text().contains(word), "{what}: {}", refused.text());
        assert!(behind_hello(&sent) <= ALERT, "{what}: {} bytes", behind_hello(&sent));
        assert_eq!(pretender.heard(), 0, "{what}");
        assert!(pretender.connections() >= 1, "{what}");
    }
    assert_eq!(server.metric("tunnel_auth_failures_total").await, 0.0);
}

#[tokio::test]
async fn d27_a_second_pin_lets_the_servers_key_be_changed() {
    let mut server = Tunneld::start().await;
    let (service, home, folder) = (HttpService::start().await, Home::new(), tempfile::tempdir().unwrap());
    let pair = KeyPair::generate().unwrap();
    let next = CertificateParams::new(vec!["127.0.0.1".to_owned()]).unwrap().self_signed(&pair).unwrap();
    let pin = transport::tls::spki_pin(next.der()).unwrap();
    let both = format!("{},{pin}", server.join());
    let _tunnel = home.http(&both, service.addr(), &["--host", "demo"]).await;
    let pinned_to_the_old_alone = server.join();
    server.has_sessions(SESSIONS, SOON).await;

    server.kill();
    std::fs::write(server.state().join("tls.key"), pair.serialize_pem()).unwrap();
    std::fs::write(server.state().join("tls.crt"), next.pem()).unwrap();
    server.start_again().await;
    server.serves("demo.localhost", SOON).await;
    let left_behind = Home::new();
    let refused = left_behind.command(&["http", "3000", "--join", &pinned_to_the_old_alone]).await;
    assert!(matches!(refused.code, Some(1 | 3)), "{}", refused.text());
    assert!(refused.text().contains("new join string"), "{}", refused.text());
    drop(folder);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn d27_certificates_change_under_load() {
    const CONFIG: &str = r#"
domain = "t.localhost"
certificate = [{ cert = "app.pem", key = "app.key" }]
rule = [{ name = "app", host = "app", respond = { body = "hello" } }]
"#;
    let write = |home: &Path| {
        tls::certificate(home, "app", &["app.t.localhost"]);
        tls::certificate(home, "next", &["app.t.localhost"]);
        CONFIG.to_owned()
    };
    let server = Tunneld::configured(write, &["--https", "127.0.0.1:0"]).await;
    let (door, folder) = (server.listen().https.unwrap(), server.home().to_owned());
    let (old, new) = (tls::read(&folder, "app"), tls::read(&folder, "next"));
    let (either, only_new) = ([old, new.clone()], [new]);
    let get = async |roots: &[CertificateDer<'static>]| {
        let stream = tls::connect_trusting(door, "app.t.localhost", roots).await.ok()?;
        let mut visitor = Visitor::over(stream).await.ok()?;
        let answer = visitor.whole(request("GET", "app.t.localhost", "/", empty())).await.ok()?;
        Some((answer.status, visitor))
    };
    let put = |from: &str, to: &str| {
        std::fs::copy(folder.join(from), folder.join("aside")).unwrap();
        std::fs::rename(folder.join("aside"), folder.join(to)).unwrap();
    };
    let (_, mut held) = get(&either).await.unwrap();
    let (over, served) = (AtomicBool::new(false), AtomicU64::new(0));
    let load = async || {
        while !over.load(Ordering::Relaxed) {
            assert_eq!(get(&either).await.map(|it| it.0), Some(200));
            served.fetch_add(1, Ordering::Relaxed);
        }
    };
    let change = async {
        // A key that does not fit: the certificate before it stays.
        put("next.key", "app.key");
        let told = async || (server.metric("tunnel_reload_total").await > 0.0).then_some(());
        until("the key that does not fit is seen", SOON, told).await;
        assert!(get(&only_new).await.is_none());
        put("next.pem", "app.pem");
        let shown = async || get(&only_new).await.map(|_| ());
        let (_, took) = until("the new certificate is shown", SOON, shown).await;
        println!("shown after {took:?}");
        // Whoever came before stays, on its old connection.
        let answer = held.whole(request("GET", "app.t.localhost", "/", empty())).await.unwrap();
        assert_eq!(answer.status, 200);
        over.store(true, Ordering::Relaxed);
    };
    tokio::join!(load(), load(), load(), change);
    assert!(served.load(Ordering::Relaxed) > 0);
}
