//! Clients that log in by certificate.

use policy::principal::Principal;
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair, SanType, date_time_ymd,
};
use rustls::AlertDescription;
use rustls_pki_types::PrivateKeyDer;
use rustls_pki_types::pem::PemObject;
use transport::tls::{ClientCertificate, client_config_as};

use super::*;
use crate::config::Auth;
use crate::identity::{Certified, Which};

/// An authority that makes certificates for clients, and the file that it is in.
pub(super) struct Authority {
    pub(super) issuer: CertifiedIssuer<'static, KeyPair>,
    pub(super) folder: tempfile::TempDir,
}

impl Authority {
    pub(super) fn new() -> Self {
        let mut params = CertificateParams::new(Vec::<String>::new()).unwrap();
        params
            .distinguished_name
            .push(DnType::CommonName, format!("authority {:016x}", rand::random::<u64>()));
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let issuer = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("ca.pem"), issuer.pem()).unwrap();
        Self { issuer, folder }
    }

    pub(super) fn clients(&self, auth: Auth) -> Clients {
        Clients { ca: self.folder.path().join("ca.pem"), crls: Vec::new(), auth, lacks: None }
    }

    /// For the principal, valid from the first year to the last.
    pub(super) fn makes(&self, principal: &str, from: i32, until: i32) -> ClientCertificate {
        let mut params = CertificateParams::new(Vec::<String>::new()).unwrap();
        params.subject_alt_names = vec![SanType::URI(format!("tunnel://{principal}").try_into().unwrap())];
        (params.not_before, params.not_after) = (date_time_ymd(from, 1, 1), date_time_ymd(until, 1, 1));
        let pair = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&pair, &self.issuer).unwrap();
        let key = PrivateKeyDer::from_pem_slice(pair.serialize_pem().as_bytes()).unwrap();
        ClientCertificate { chain: vec![certificate.der().clone()], key }
    }

    pub(super) fn good(&self, principal: &str) -> ClientCertificate {
        self.makes(principal, 2020, 2099)
    }
}

impl Server {
    pub(super) fn asking(authority: &Authority, auth: Auth) -> Self {
        let server = Self::start();
        server.door.use_gate(server.door.gate(None, Some(&authority.clients(auth)), Lack::Refused).unwrap());
        server
    }

    /// Logs in with a certificate, or without; and with the key of a credential, or one that nobody knows.
    pub(super) fn show(
        &mut self,
        certificate: Option<&ClientCertificate>,
        credential: Option<&str>,
    ) -> Result<LoggedIn, LoginError> {
        let pins = Trust::Pins(vec![self.pin]);
        self.tls = client_config_as(&pins, certificate.cloned()).unwrap();
        match credential {
            Some(credential) => self.enter(credential, 1),
            None => {
                let nobodys = LoginKey::from_seed(&[9; 32]).unwrap();
                self.world.workers.block_on(self.log_in("certificate", 1, &nobodys))
            }
        }
    }

    /// The session that just began.
    pub(super) fn known(&self) -> Arc<crate::session::Live> {
        let mut changes = self.world.registry.names().changes();
        self.world.workers.block_on(async {
            while self.world.registry.sessions().is_empty() {
                timeout(Duration::from_secs(5), changes.changed()).await.unwrap().unwrap();
            }
        });
        self.world.registry.sessions().remove(0)
    }
}

pub(super) fn alert(login: Result<LoggedIn, LoginError>) -> AlertDescription {
    match login {
        Err(error @ LoginError::Certificate(alert)) => {
            assert!(error.is_final(), "trying again does not help");
            alert
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_certificate_alone_logs_in_whom_it_names() {
    let authority = Authority::new();
    let mut server = Server::asking(&authority, Auth::Certificate);
    let certificate = authority.good("bob");
    let _entered = server.show(Some(&certificate), None).unwrap();
    let live = server.known();
    let certified = Certified::of(&certificate.chain[0], &[]).unwrap();
    assert_eq!(live.login.principal.as_str(), "bob");
    assert_eq!((live.login.expires, &live.login.means.key), (Some(certified.until), &None));
    assert_eq!(server.world.registry.session_infos()[0].credential, certified.fingerprint.to_string());
}

#[test]
fn a_certificate_that_is_not_good_is_told_so() {
    let (authority, other) = (Authority::new(), Authority::new());
    for auth in [Auth::Certificate, Auth::Both, Auth::Either] {
        let mut server = Server::asking(&authority, auth);
        let login = server.show(Some(&other.good("bob")), Some("bob"));
        assert_eq!(alert(login), AlertDescription::UnknownCA, "{auth:?}");
        let login = server.show(Some(&authority.makes("bob", 2020, 2021)), Some("bob"));
        assert_eq!(alert(login), AlertDescription::CertificateExpired, "{auth:?}");
        match auth {
            Auth::Either => assert!(server.show(None, Some("bob")).is_ok()),
            _ => assert_eq!(alert(server.show(None, Some("bob"))), AlertDescription::CertificateRequired),
        }
    }
}

#[test]
fn a_certificate_lets_in_nobody_but_whom_the_server_knows() {
    let authority = Authority::new();
    let mut server = Server::asking(&authority, Auth::Either);
    for (name, word) in [("nobody", "does not know"), ("default", "does not know"), ("a/b", "no principal")] {
        let reject = rejected(server.show(Some(&authority.good(name)), None));
        assert_eq!(reject.code, RejectCode::DENIED, "{name}");
        assert!(reject.text.contains(word), "{name}: {}", reject.text);
    }
    // A key is no help for a certificate that is none.
    assert_eq!(rejected(server.show(Some(&authority.good("nobody")), Some("bob"))).code, RejectCode::DENIED);
    assert!(server.world.registry.sessions().is_empty());
}

#[test]
fn both_are_of_one_principal() {
    let authority = Authority::new();
    let mut server = Server::asking(&authority, Auth::Both);
    let other = rejected(server.show(Some(&authority.good("eve")), Some("bob")));
    assert!(other.text.contains("different principals"), "{}", other.text);
    assert_eq!(rejected(server.show(Some(&authority.good("bob")), None)).code, RejectCode::DENIED);
    let _entered = server.show(Some(&authority.good("bob")), Some("bob")).unwrap();
    let live = server.known();
    assert!(live.login.means.key.is_some() && live.login.means.certificate.is_some());
}

#[test]
fn a_revoked_certificate_ends_its_session_and_stays_out() {
    let authority = Authority::new();
    let mut server = Server::asking(&authority, Auth::Certificate);
    let (first, second) = (authority.good("bob"), authority.good("bob"));
    let _entered = server.show(Some(&first), None).unwrap();
    let live = server.known();
    let which = Which::Certificate(Certified::of(&first.chain[0], &[]).unwrap().fingerprint);
    let (identity, registry) = (server.world.identity.clone(), server.world.registry.clone());
    identity.change(|book| book.revoke("bob", &which, 1)).unwrap();
    assert_eq!(registry.revoke(&live.login.principal, &which, Instant::now()), 1);
    let reject = rejected(server.show(Some(&first), None));
    assert!(reject.text.contains("revoked"), "{}", reject.text);
    assert!(server.show(Some(&second), None).is_ok(), "another one of the same principal");

    // With the principal all go that were made before, also when it is invited again, and after a restart.
    let since = Certified::of(&second.chain[0], &[]).unwrap().since;
    identity.change(|book| book.revoke("bob", &Which::All, since)).unwrap();
    assert!(rejected(server.show(Some(&second), None)).text.contains("does not know"));
    server.world.invite("bob", &[], &[], &[], &[], None);
    assert!(rejected(server.show(Some(&second), None)).text.contains("revoked"));
    let kept = Store::load(server.world.state.clone()).unwrap();
    assert!(kept.book().certified(&Certified::of(&second.chain[0], &[]).unwrap()).is_err());
    let later = authority.makes("bob", 2021, 2099);
    assert!(server.show(Some(&later), None).is_ok());
}

#[test]
fn a_certificate_revoked_by_another_name_ends_its_sessions_all_the_same() {
    let authority = Authority::new();
    let mut server = Server::asking(&authority, Auth::Certificate);
    server.world.invite("alice", &[], &[], &[], &[], None);
    let certificate = authority.good("bob");
    let _entered = server.show(Some(&certificate), None).unwrap();
    let which = Which::Certificate(Certified::of(&certificate.chain[0], &[]).unwrap().fingerprint);
    server.world.identity.change(|book| book.revoke("alice", &which, 1)).unwrap();
    let alice = Principal::parse("alice").unwrap();
    assert_eq!(server.world.registry.revoke(&alice, &which, Instant::now()), 1);
    assert!(rejected(server.show(Some(&certificate), None)).text.contains("revoked"));
}

#[test]
fn a_ca_that_can_not_be_used_changes_nothing_and_names_its_file() {
    let authority = Authority::new();
    let server = Server::start();
    let mut clients = authority.clients(Auth::Certificate);
    clients.ca.set_file_name("none.pem");
    for text in [None, Some("x"), Some("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n")] {
        if let Some(text) = text {
            std::fs::write(&clients.ca, text).unwrap();
        }
        let error = server.door.gate(None, Some(&clients), Lack::Refused).unwrap_err().to_string();
        assert!(error.contains("none.pem") && error.contains("client_ca"), "{error}");
    }
    assert!(server.enter("bob", 1).is_ok());
}

#[test]
fn a_ca_that_changes_is_read_again_and_a_broken_file_is_told_once() {
    let (first, second) = (Authority::new(), Authority::new());
    let mut server = Server::asking(&first, Auth::Certificate);
    let file = first.folder.path().join("ca.pem");
    let (old, new) = (first.good("bob"), second.good("bob"));
    assert!(server.door.look_again().is_none());
    assert_eq!(alert(server.show(Some(&new), None)), AlertDescription::UnknownCA);

    std::fs::write(&file, format!("{}{}", first.issuer.pem(), second.issuer.pem())).unwrap();
    assert!(matches!(server.door.look_again(), Some(Ok(0))));
    assert!(server.door.look_again().is_none());
    assert!(server.show(Some(&old), None).is_ok() && server.show(Some(&new), None).is_ok());

    std::fs::write(&file, "broken").unwrap();
    assert!(matches!(server.door.look_again(), Some(Err(GateError::Empty(path))) if path == file));
    assert!(server.door.look_again().is_none(), "it was told");
    assert!(server.show(Some(&old), None).is_ok());

    std::fs::write(&file, second.issuer.pem()).unwrap();
    assert!(matches!(server.door.look_again(), Some(Ok(0))));
    assert_eq!(alert(server.show(Some(&old), None)), AlertDescription::UnknownCA);
}

#[test]
fn without_a_ca_nobody_comes_in_by_certificate_until_there_is_one() {
    let authority = Authority::new();
    let mut server = Server::start();
    let certificate = authority.good("bob");
    for auth in [Auth::Either, Auth::Both, Auth::Certificate] {
        let clients = authority.clients(auth);
        std::fs::write(&clients.ca, "none").unwrap();
        server.door.use_gate(server.door.gate(None, Some(&clients), Lack::Down).unwrap());
        assert!(server.door.wrong().is_some_and(|wrong| wrong.contains("come back later")), "{auth:?}");
        assert!(server.door.look_again().is_none(), "it was told");
        // More often than a stranger may fail.
        for _ in 0..20 {
            let reject = rejected(server.show(Some(&certificate), None));
            assert_eq!(reject.code, RejectCode::BUSY, "{auth:?}: {}", reject.text);
            assert!(reject.retry_after.is_some());
        }
        assert_eq!(server.show(None, Some("bob")).is_ok(), auth == Auth::Either);

        std::fs::write(&clients.ca, authority.issuer.pem()).unwrap();
        assert!(matches!(server.door.look_again(), Some(Ok(0))));
        assert_eq!(server.door.wrong(), None);
        let key = (auth == Auth::Both).then_some("bob");
        assert!(server.show(Some(&certificate), key).is_ok(), "{auth:?}");
    }
    // What is in use of the same file stays in use.
    let clients = authority.clients(Auth::Certificate);
    std::fs::write(&clients.ca, "none").unwrap();
    server.door.use_gate(server.door.gate(None, Some(&clients), Lack::Down).unwrap());
    assert!(server.show(Some(&certificate), None).is_ok());
    assert!(server.door.wrong().is_some_and(|wrong| wrong.contains("the one before")));
}

#[test]
fn whoever_guesses_a_key_while_certificates_can_not_be_checked_is_banned_as_ever() {
    let authority = Authority::new();
    let server = Server::start();
    let clients = authority.clients(Auth::Either);
    std::fs::write(&clients.ca, "none").unwrap();
    server.door.use_gate(server.door.gate(None, Some(&clients), Lack::Down).unwrap());
    let ban = (0..20).map(|_| server.guess("bob")).find(|reject| reject.code != RejectCode::BUSY);
    assert_eq!(ban.unwrap().code, RejectCode::THROTTLED);
}
