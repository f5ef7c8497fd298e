//! Certificates that their CA has revoked, by its lists.

use std::path::PathBuf;

use rcgen::{
    BasicConstraints, CertificateParams, CertificateRevocationListParams, CertifiedIssuer, DnType, IsCa,
    KeyIdMethod, KeyPair, RevokedCertParams, SanType, SerialNumber, date_time_ymd,
};
use rustls::AlertDescription;
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, CertificateRevocationListDer, PrivateKeyDer};
use transport::tls::ClientCertificate;
use x509_parser::parse_x509_certificate;

use super::certificates::{Authority, alert};
use super::*;
use crate::config::Auth;

/// An authority with a file for its list.
struct Listing {
    authority: Authority,
    file: PathBuf,
}

type List = CertificateRevocationListDer<'static>;

/// The list of an authority: these are revoked, and the next one comes at the beginning of a year.
fn list(issuer: &CertifiedIssuer<'static, KeyPair>, revoked: &[&CertificateDer<'_>], next: i32) -> List {
    let revoked = revoked.iter().map(|certificate| RevokedCertParams {
        serial_number: SerialNumber::from_slice(parse_x509_certificate(certificate).unwrap().1.raw_serial()),
        revocation_time: date_time_ymd(2020, 6, 1),
        reason_code: None,
        invalidity_date: None,
    });
    let params = CertificateRevocationListParams {
        this_update: date_time_ymd(2020, 6, 1),
        next_update: date_time_ymd(next, 1, 1),
        crl_number: SerialNumber::from(1u64),
        issuing_distribution_point: None,
        revoked_certs: revoked.collect(),
        key_identifier_method: KeyIdMethod::Sha256,
    };
    params.signed_by(issuer).unwrap().into()
}

fn pem(list: &List) -> String {
    use base64::Engine as _;
    let lines = base64::engine::general_purpose::STANDARD.encode(list);
    format!("-----BEGIN X509 CRL-----\n{lines}\n-----END X509 CRL-----\n")
}

impl Listing {
    /// With an empty list.
    fn new() -> Self {
        let authority = Authority::new();
        let file = authority.folder.path().join("ca.crl");
        let listing = Self { authority, file };
        listing.revoke(&[]);
        listing
    }

    fn revoke(&self, which: &[&ClientCertificate]) {
        let revoked: Vec<_> = which.iter().map(|it| &it.chain[0]).collect();
        std::fs::write(&self.file, pem(&list(&self.authority.issuer, &revoked, 2099))).unwrap();
    }

    fn clients(&self) -> Clients {
        Clients { crls: vec![self.file.clone()], ..self.authority.clients(Auth::Certificate) }
    }

    fn server(&self) -> Server {
        let server = Server::start();
        server.door.use_gate(server.door.gate(None, Some(&self.clients()), Lack::Refused).unwrap());
        server
    }
}

#[test]
fn a_new_list_keeps_out_whom_it_names_and_ends_the_session() {
    let listing = Listing::new();
    let mut server = listing.server();
    let (first, second) = (listing.authority.good("bob"), listing.authority.good("bob"));
    let _entered = server.show(Some(&first), None).unwrap();
    let live = server.known();
    assert!(server.door.look_again().is_none());

    listing.revoke(&[&first]);
    assert!(matches!(server.door.look_again(), Some(Ok(1))));
    assert!(server.world.registry.sessions().iter().all(|other| other.id != live.id), "it is out already");
    assert!(server.door.look_again().is_none());
    assert_eq!(alert(server.show(Some(&first), None)), AlertDescription::CertificateRevoked);
    assert!(server.show(Some(&second), None).is_ok(), "another one of the same principal");

    // In the other form, and among others.
    let both = list(&listing.authority.issuer, &[&second.chain[0], &first.chain[0]], 2099);
    std::fs::write(&listing.file, both).unwrap();
    assert!(matches!(server.door.look_again(), Some(Ok(_))));
    assert_eq!(alert(server.show(Some(&second), None)), AlertDescription::CertificateRevoked);

    // What is not on the next list is good again; TLS asks nothing but the list.
    listing.revoke(&[&second]);
    assert!(matches!(server.door.look_again(), Some(Ok(_))));
    assert!(server.show(Some(&first), None).is_ok());
}

#[test]
fn a_configuration_that_brings_a_list_ends_the_sessions_that_it_names() {
    let listing = Listing::new();
    let mut server = Server::asking(&listing.authority, Auth::Certificate);
    let certificate = listing.authority.good("bob");
    let _entered = server.show(Some(&certificate), None).unwrap();
    server.known();
    listing.revoke(&[&certificate]);
    let gate = server.door.gate(None, Some(&listing.clients()), Lack::Refused).unwrap();
    assert_eq!(server.door.use_gate(gate), 1);
    assert_eq!(alert(server.show(Some(&certificate), None)), AlertDescription::CertificateRevoked);
}

#[test]
fn a_list_that_is_out_of_date_counts_and_is_told() {
    let listing = Listing::new();
    let mut server = listing.server();
    let (revoked, good) = (listing.authority.good("bob"), listing.authority.good("bob"));
    assert!(server.door.overdue(SystemTime::now()).is_empty());
    let old = list(&listing.authority.issuer, &[&revoked.chain[0]], 2021);
    std::fs::write(&listing.file, pem(&old)).unwrap();
    assert!(matches!(server.door.look_again(), Some(Ok(0))));
    let overdue = server.door.overdue(SystemTime::now());
    let year = SystemTime::UNIX_EPOCH + Duration::from_secs(1_609_459_200);
    assert_eq!(overdue, [(listing.file.clone(), year)]);
    assert_eq!(alert(server.show(Some(&revoked), None)), AlertDescription::CertificateRevoked);
    assert!(server.show(Some(&good), None).is_ok(), "a list that was forgotten locks nobody out");
}

#[test]
fn a_list_is_its_cas_and_says_nothing_of_others() {
    let (listing, other) = (Listing::new(), Authority::new());
    let (own, others) = (listing.authority.good("bob"), other.good("bob"));
    let roots = format!("{}{}", listing.authority.issuer.pem(), other.issuer.pem());
    std::fs::write(&listing.clients().ca, roots).unwrap();
    let mut server = listing.server();
    assert!(server.show(Some(&others), None).is_ok(), "no list is about it");
    // The number of another CA's certificate on a list of this one.
    listing.revoke(&[&others]);
    assert!(matches!(server.door.look_again(), Some(Ok(0))));
    assert!(server.show(Some(&others), None).is_ok() && server.show(Some(&own), None).is_ok());
}

#[test]
fn a_ca_between_is_revoked_with_all_that_it_made() {
    let listing = Listing::new();
    let mut params = CertificateParams::new(Vec::<String>::new()).unwrap();
    params.distinguished_name.push(DnType::CommonName, "between");
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let between =
        CertifiedIssuer::signed_by(params, KeyPair::generate().unwrap(), &listing.authority.issuer).unwrap();
    let mut params = CertificateParams::new(Vec::<String>::new()).unwrap();
    params.subject_alt_names = vec![SanType::URI("tunnel://bob".try_into().unwrap())];
    let pair = KeyPair::generate().unwrap();
    let leaf = params.signed_by(&pair, &between).unwrap();
    let key = PrivateKeyDer::from_pem_slice(pair.serialize_pem().as_bytes()).unwrap();
    let certificate = ClientCertificate { chain: vec![leaf.der().clone(), between.der().clone()], key };

    let mut server = listing.server();
    let _entered = server.show(Some(&certificate), None).unwrap();
    server.known();
    let revoked = list(&listing.authority.issuer, &[between.der()], 2099);
    std::fs::write(&listing.file, revoked).unwrap();
    assert!(matches!(server.door.look_again(), Some(Ok(1))));
    assert_eq!(alert(server.show(Some(&certificate), None)), AlertDescription::CertificateRevoked);
}

#[test]
fn a_list_that_can_not_be_used_changes_nothing_and_names_its_file() {
    let listing = Listing::new();
    let mut server = listing.server();
    let certificate = listing.authority.good("bob");
    // Somebody else's, by the same name.
    let pretender = namesake(&listing.authority);
    let whole = list(&listing.authority.issuer, &[], 2099);
    let cut = &whole[..whole.len() - 1];
    for (content, word) in [
        (b"x".as_slice(), "there is no list in it"),
        (cut, "can not be read"),
        (b"-----BEGIN X509 CRL-----\nAAAA\n-----END X509 CRL-----\n", "can not be read"),
        (&[&whole[..], b"x"].concat(), "can not be read"),
        (&list(&pretender, &[&certificate.chain[0]], 2099), "not signed by the CA"),
    ] {
        std::fs::write(&listing.file, content).unwrap();
        let error = server.door.look_again().unwrap().unwrap_err().to_string();
        for part in ["ca.crl", "client_crl", word] {
            assert!(error.contains(part), "{part}: {error}");
        }
        assert!(server.door.look_again().is_none(), "it was told");
        let refused = server.door.gate(None, Some(&listing.clients()), Lack::Refused).unwrap_err();
        assert_eq!(refused.to_string(), error);
        assert!(server.show(Some(&certificate), None).is_ok(), "{word}");
        listing.revoke(&[]);
        assert!(matches!(server.door.look_again(), Some(Ok(0))));
    }
    std::fs::remove_file(&listing.file).unwrap();
    let error = server.door.look_again().unwrap().unwrap_err().to_string();
    assert!(error.contains("No such file"), "{error}");
    let longer = std::fs::File::create(&listing.file).unwrap();
    longer.set_len((16 << 20) + 1).unwrap();
    let error = server.door.look_again().unwrap().unwrap_err().to_string();
    assert!(error.contains("longer than 16 MiB"), "{error}");
}

/// Another authority of the same name.
fn namesake(authority: &Authority) -> CertifiedIssuer<'static, KeyPair> {
    let mut params = CertificateParams::new(Vec::<String>::new()).unwrap();
    params.distinguished_name = distinguished_name(authority);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap()
}

fn distinguished_name(authority: &Authority) -> rcgen::DistinguishedName {
    let (_, parsed) = parse_x509_certificate(authority.issuer.der()).unwrap();
    let mut name = rcgen::DistinguishedName::new();
    for attribute in parsed.subject().iter_common_name() {
        name.push(DnType::CommonName, attribute.as_str().unwrap());
    }
    name
}

#[test]
fn whoever_comes_in_while_the_list_changes_does_not_stay() {
    let listing = Listing::new();
    let server = listing.server();
    let certificate = listing.authority.good("bob");
    let certified = crate::identity::Certified::of(&certificate.chain[0], &[]).unwrap();
    let means = crate::identity::Means { key: None, certificate: Some(certified) };
    assert!(!server.door.gate.load().has_revoked(&means));
    listing.revoke(&[&certificate]);
    assert!(matches!(server.door.look_again(), Some(Ok(0))));
    assert!(server.door.gate.load().has_revoked(&means), "what is asked once more before it stays");
}

#[test]
fn without_its_list_a_ca_lets_nobody_in_until_there_is_one() {
    let listing = Listing::new();
    let mut server = Server::start();
    let certificate = listing.authority.good("bob");
    std::fs::remove_file(&listing.file).unwrap();
    server.door.use_gate(server.door.gate(None, Some(&listing.clients()), Lack::Down).unwrap());
    assert!(server.door.wrong().is_some_and(|wrong| wrong.contains("client_crl")));
    assert_eq!(rejected(server.show(Some(&certificate), None)).code, RejectCode::BUSY);
    listing.revoke(&[&certificate]);
    assert!(matches!(server.door.look_again(), Some(Ok(0))));
    assert_eq!(alert(server.show(Some(&certificate), None)), AlertDescription::CertificateRevoked);
}

#[test]
fn lists_of_one_name_count_all_and_lock_nobody_out() {
    let (listing, mut new) = (Listing::new(), Authority::new());
    let old = [listing.authority.good("bob"), listing.authority.good("bob"), listing.authority.good("bob")];
    let more = listing.authority.folder.path().join("more.crl");
    let clients = Clients { crls: vec![listing.file.clone(), more.clone()], ..listing.clients() };
    // Two of one CA.
    listing.revoke(&[&old[0]]);
    std::fs::write(&more, list(&listing.authority.issuer, &[&old[1].chain[0]], 2099)).unwrap();
    let mut server = Server::start();
    server.door.use_gate(server.door.gate(None, Some(&clients), Lack::Refused).unwrap());
    for revoked in &old[..2] {
        let reject = rejected(server.show(Some(revoked), None));
        assert_eq!(reject.code, RejectCode::DENIED);
        assert!(reject.text.contains("revoked"), "{}", reject.text);
    }
    assert!(server.show(Some(&old[2]), None).is_ok());

    // The CA has another key, and the same name: both are good for a while.
    new.issuer = namesake(&listing.authority);
    let theirs = [new.good("bob"), new.good("bob")];
    std::fs::write(&more, list(&new.issuer, &[&theirs[0].chain[0]], 2099)).unwrap();
    std::fs::write(&clients.ca, format!("{}{}", listing.authority.issuer.pem(), new.issuer.pem())).unwrap();
    assert!(matches!(server.door.look_again(), Some(Ok(_))));
    for revoked in [&old[0], &theirs[0]] {
        assert!(rejected(server.show(Some(revoked), None)).text.contains("revoked"));
    }
    for good in [&old[2], &theirs[1]] {
        assert!(server.show(Some(good), None).is_ok());
    }
}

#[test]
fn a_ca_that_is_on_a_list_itself_is_not_trusted() {
    let (listing, other) = (Listing::new(), Authority::new());
    let (good, others) = (listing.authority.good("bob"), other.good("bob"));
    let both = format!("{}{}", listing.authority.issuer.pem(), other.issuer.pem());
    std::fs::write(&listing.clients().ca, both).unwrap();
    let mut server = listing.server();
    assert!(server.show(Some(&good), None).is_ok() && server.show(Some(&others), None).is_ok());
    let revoked = list(&listing.authority.issuer, &[listing.authority.issuer.der()], 2099);
    std::fs::write(&listing.file, revoked).unwrap();
    assert!(matches!(server.door.look_again(), Some(Ok(_))));
    assert_eq!(alert(server.show(Some(&good), None)), AlertDescription::UnknownCA);
    assert!(server.show(Some(&others), None).is_ok());

    // Nothing is left: nobody comes in by certificate.
    std::fs::write(&listing.clients().ca, listing.authority.issuer.pem()).unwrap();
    assert!(matches!(server.door.look_again(), Some(Ok(_))));
    assert!(server.door.look_again().is_none());
    assert!(server.door.wrong().is_some_and(|wrong| wrong.contains("client_crl revokes")));
    assert_eq!(rejected(server.show(Some(&good), None)).code, RejectCode::BUSY);
    assert!(matches!(lists(&listing.clients()), Err(GateError::Revoked(_))));
    listing.revoke(&[]);
    assert!(matches!(server.door.look_again(), Some(Ok(_))));
    assert!(server.show(Some(&good), None).is_ok());
}

#[test]
fn a_list_of_a_ca_between_that_has_not_signed_it_keeps_its_clients_out() {
    let listing = Listing::new();
    let mut params = CertificateParams::new(Vec::<String>::new()).unwrap();
    params.distinguished_name.push(DnType::CommonName, "between");
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let pretender = CertifiedIssuer::self_signed(params.clone(), KeyPair::generate().unwrap()).unwrap();
    let between =
        CertifiedIssuer::signed_by(params, KeyPair::generate().unwrap(), &listing.authority.issuer).unwrap();
    let mut params = CertificateParams::new(Vec::<String>::new()).unwrap();
    params.subject_alt_names = vec![SanType::URI("tunnel://bob".try_into().unwrap())];
    let pair = KeyPair::generate().unwrap();
    let leaf = params.signed_by(&pair, &between).unwrap();
    let key = PrivateKeyDer::from_pem_slice(pair.serialize_pem().as_bytes()).unwrap();
    let certificate = ClientCertificate { chain: vec![leaf.der().clone(), between.der().clone()], key };
    std::fs::write(&listing.file, pem(&list(&pretender, &[], 2099))).unwrap();
    let mut server = listing.server();
    assert!(server.show(Some(&listing.authority.good("bob")), None).is_ok());
    assert!(server.show(Some(&certificate), None).is_err());
}
