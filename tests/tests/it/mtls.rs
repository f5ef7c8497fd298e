//! Clients that log in by certificate.

use tests::authority::{Authority, Files};
use tests::fixture::HttpService;
use tests::program::Program;
use tests::tunnelc::{Home, SESSIONS};
use tests::tunneld::Tunneld;
use tests::wait::{SOON, until};

use crate::stage::HOST;

/// A server that asks for certificates in this way, and who makes them.
async fn server(auth: &str) -> (Tunneld, Authority) {
    let mut authority = None;
    let write = |home: &std::path::Path| {
        authority = Some(Authority::at(&home.join("client-ca.pem")));
        format!(
            "listen = {{ tunnel = {{ address = \"127.0.0.1:1\", client_ca = \"client-ca.pem\", auth = \"{auth}\" }} }}\n\
             principal = [{{ name = \"edge-1\", hosts = [\"demo\"] }}, {{ name = \"edge-2\" }}]\n"
        )
    };
    let server = Tunneld::configured(write, &[]).await;
    (server, authority.unwrap())
}

/// Starts a client with a certificate, and perhaps a join string; `more` is for its configuration.
fn client(
    home: &Home,
    server: &Tunneld,
    files: &Files,
    join: Option<&str>,
    service: &HttpService,
) -> Program {
    let config = format!(
        "cert = {:?}\nkey = {:?}\nca_file = {:?}\nservers = [\"{}\"]\n\
         tunnel = [{{ name = \"web\", kind = \"http\", host = \"demo\", to = \"{}\" }}]\n",
        files.cert,
        files.key,
        server.state().join("tls.crt"),
        server.listen().tunnel,
        service.addr(),
    );
    let file = home.write("tunnelc.toml", &config);
    let file = file.to_str().unwrap();
    match join {
        Some(join) => home.start(&["run", "--fail-fast", "--config", file, "--join", join]),
        None => home.start(&["run", "--fail-fast", "--config", file]),
    }
}

#[tokio::test]
async fn a_certificate_is_enough_until_it_is_revoked() {
    let (server, authority) = server("mtls").await;
    let (service, home) = (HttpService::start().await, Home::new());
    let files = authority.makes(server.home(), "edge-1", 2099);
    let client = client(&home, &server, &files, None, &service);
    server.has_sessions(SESSIONS, SOON).await;
    server.serves(HOST, SOON).await;
    let status = server.status().await;
    let session = &status["sessions"][0];
    let hex = files.fingerprint.replace(':', "").to_lowercase();
    assert_eq!((&session["principal"], &session["credential"]), (&"edge-1".into(), &hex.as_str().into()));

    let revoked = server.admin(&["revoke", "edge-1", "--credential", &files.fingerprint]).await;
    assert_eq!(revoked.code, Some(0), "{}", revoked.text());
    assert!(revoked.text().contains(&format!("sessions ended: {SESSIONS}")), "{}", revoked.text());
    server.has_sessions(0, SOON).await;
    client.says("revoked", SOON).await;
    let mut server = server;
    server.kill();
    server.start_again().await;
    let again = Home::new();
    let refused = self::client(&again, &server, &files, None, &service).finished(SOON).await;
    assert_eq!(refused.code, Some(3), "{}", refused.text());
    assert!(refused.text().contains("the certificate is revoked"), "{}", refused.text());
}

#[tokio::test]
async fn what_is_wrong_with_a_certificate_is_told() {
    let (server, authority) = server("both").await;
    let (service, folder) = (HttpService::start().await, tempfile::tempdir().unwrap());
    let join = server.invite("edge-1", &[]).await;
    let other = Authority::at(&folder.path().join("ca.pem"));
    for (files, word) in [
        (other.makes(folder.path(), "edge-1", 2099), "not from the CA"),
        (authority.makes(server.home(), "edge-1", 2021), "has expired"),
        (authority.makes(server.home(), "edge-2", 2099), "different principals"),
    ] {
        let refused = client(&Home::new(), &server, &files, Some(&join), &service).finished(SOON).await;
        assert_eq!(refused.code, Some(3), "{word}: {}", refused.text());
        assert!(refused.text().contains(word), "{word}: {}", refused.text());
    }
    let without = Home::new().command(&["http", "3000", "--host", "demo", "--join", &join]).await;
    assert_eq!(without.code, Some(3), "{}", without.text());
    assert!(
        without.text().contains("wants a certificate") && without.text().contains("cert ="),
        "{}",
        without.text()
    );
    server.counts("tunnel_auth_failures_total", &[], |count| count >= 4.0).await;
    server.program.says("the certificate of the client", SOON).await;

    let home = Home::new();
    let files = authority.makes(server.home(), "edge-1", 2099);
    let _client = client(&home, &server, &files, Some(&join), &service);
    server.serves(HOST, SOON).await;
}

#[tokio::test]
async fn what_clients_are_asked_for_changes_while_the_server_runs() {
    const PRINCIPAL: &str = "principal = [{ name = \"edge-1\", hosts = [\"demo\", \"wiki\"] }]\n";
    let server = Tunneld::configured(|_| PRINCIPAL.to_owned(), &[]).await;
    let authority = Authority::at(&server.home().join("client-ca.pem"));
    let (service, home) = (HttpService::start().await, Home::new());
    let join = server.invite("edge-1", &[]).await;
    // Another name: it would give way to the client that comes after it.
    let _before = home.http(&join, service.addr(), &["--host", "wiki"]).await;
    server.has_sessions(SESSIONS, SOON).await;
    let apply = async |ca: &str| {
        let listen = format!(
            "[listen]\ntunnel = {{ address = \"127.0.0.1:1\", client_ca = \"{ca}\", auth = \"mtls\" }}\n"
        );
        let file = server.home().join("next.toml");
        std::fs::write(&file, format!("{PRINCIPAL}{listen}")).unwrap();
        server.admin(&["config", "apply", file.to_str().unwrap()]).await
    };
    let refused = apply("nowhere.pem").await;
    assert_eq!(refused.code, Some(2), "{}", refused.text());
    assert!(
        refused.text().contains("nowhere.pem") && refused.text().contains("client_ca"),
        "{}",
        refused.text()
    );
    let applied = apply("client-ca.pem").await;
    assert_eq!(applied.code, Some(0), "{}", applied.text());
    assert_eq!(server.sessions().await, SESSIONS, "who is in stays in");
    let without = Home::new().command(&["http", "3000", "--host", "demo", "--join", &join]).await;
    assert!(without.text().contains("wants a certificate"), "{}", without.text());
    let files = authority.makes(server.home(), "edge-1", 2099);
    let other = Home::new();
    let _after = client(&other, &server, &files, None, &service);
    server.has_sessions(2 * SESSIONS, SOON).await;
}

#[tokio::test]
async fn a_list_of_the_ca_ends_what_it_revokes() {
    let mut authority = None;
    let write = |home: &std::path::Path| {
        let new = Authority::at(&home.join("client-ca.pem"));
        new.revokes(&home.join("ca.crl"), &[], 2099);
        authority = Some(new);
        "listen = { tunnel = { address = \"127.0.0.1:1\", client_ca = \"client-ca.pem\", client_crl = [\"ca.crl\"], auth = \"mtls\" } }\n\
         principal = [{ name = \"edge-1\", hosts = [\"demo\"] }, { name = \"edge-2\" }]\n"
            .to_owned()
    };
    let server = Tunneld::configured(write, &[]).await;
    let (authority, list) = (authority.unwrap(), server.home().join("ca.crl"));
    let (service, home) = (HttpService::start().await, Home::new());
    let files = authority.makes(server.home(), "edge-1", 2099);
    let client = client(&home, &server, &files, None, &service);
    server.has_sessions(SESSIONS, SOON).await;
    server.serves(HOST, SOON).await;

    // Out of date at once: it counts all the same.
    authority.revokes(&list, &[&files], 2021);
    server.program.says("a list of revoked certificates is out of date", SOON).await;
    server.has_sessions(0, SOON).await;
    client.says("was revoked by its CA", SOON).await;
    server.program.says("\"sessions_ended\":2", SOON).await;
    assert_eq!(server.visit(HOST, "/").await, 404, "the name is free at once");
    let config = server.home().join("tunneld.toml");
    let doctor = server.admin(&["doctor", "--config", config.to_str().unwrap()]).await;
    assert!(
        doctor.text().contains("ca.crl, a list of revoked certificates, is out of date"),
        "{}",
        doctor.text()
    );

    // A list that can not be used changes nothing.
    std::fs::write(&list, "-----BEGIN X509 CRL-----\n").unwrap();
    server.program.says("the CA of clients can not be used", SOON).await;
    let again = Home::new();
    let refused = self::client(&again, &server, &files, None, &service).finished(SOON).await;
    assert_eq!(refused.code, Some(3), "{}", refused.text());
    assert!(refused.text().contains("was revoked by its CA"), "{}", refused.text());
    let applied = || server.program.said().matches("the CA of clients was read again").count();
    let before = applied();
    authority.revokes(&list, &[], 2099);
    until("the list is read", SOON, async || (applied() > before).then_some(())).await;
    let back = Home::new();
    let _client = self::client(&back, &server, &files, None, &service);
    server.serves(HOST, SOON).await;
}
