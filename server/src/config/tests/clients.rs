use rcgen::{
    BasicConstraints, CertificateParams, CertificateRevocationListParams, CertifiedIssuer, IsCa, KeyIdMethod,
    KeyPair, SerialNumber, date_time_ymd,
};

use super::*;

fn authority() -> CertifiedIssuer<'static, KeyPair> {
    let mut params = CertificateParams::new(Vec::<String>::new()).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap()
}

/// One of nobody.
fn list(issuer: &CertifiedIssuer<'static, KeyPair>) -> Vec<u8> {
    let params = CertificateRevocationListParams {
        this_update: date_time_ymd(2020, 6, 1),
        next_update: date_time_ymd(2099, 1, 1),
        crl_number: SerialNumber::from(1u64),
        issuing_distribution_point: None,
        revoked_certs: Vec::new(),
        key_identifier_method: KeyIdMethod::Sha256,
    };
    params.signed_by(issuer).unwrap().der().to_vec()
}

#[test]
fn clients_are_asked_for_certificates_as_it_says() {
    let folder = tempfile::tempdir().unwrap();
    let (file, ca) = (folder.path().join("tunneld.toml"), folder.path().join("ca.pem"));
    let clients = |keys: &str| {
        let config = parse(&file, &format!("listen = {{ tunnel = {{ address = \"7443\", {keys} }} }}"));
        config.unwrap().listen.tunnel.unwrap().clients
    };
    let issuer = authority();
    std::fs::write(&ca, issuer.pem()).unwrap();
    let lists = ["a.crl", "b.crl"].map(|name| folder.path().join(name));
    lists.iter().for_each(|path| std::fs::write(path, list(&issuer)).unwrap());
    for (word, auth) in [("mtls", Auth::Certificate), ("either", Auth::Either), ("both", Auth::Both)] {
        let asked = clients(&format!("client_ca = \"ca.pem\", auth = \"{word}\""));
        assert_eq!(asked, Some(Clients { ca: ca.clone(), crls: Vec::new(), auth, lacks: None }));
    }
    assert_eq!(clients("auth = \"key\""), None);
    let two = format!("[\"a.crl\", {:?}]", lists[1]);
    let listed = clients(&format!("client_ca = \"ca.pem\", client_crl = {two}, auth = \"mtls\"")).unwrap();
    assert_eq!(listed.crls, lists);
    for (keys, said) in [
        ("client_crl = [\"c\"]", "`client_ca` is missing here"),
        (&format!("client_ca = {ca:?}, auth = \"mtls\", client_crl = \"c\""), "a list of files"),
        ("client_ca = \"c\", auth = \"mtls\"", "the client_ca c: "),
        (&format!("client_ca = {ca:?}, auth = \"mtls\", client_crl = [\"c\"]"), "the client_crl c: "),
        (&format!("client_ca = {ca:?}, auth = \"mtls\", client_crl = [{ca:?}]"), "there is no list in it"),
        ("client_ca = \"c\"", "`auth` is missing here"),
        ("auth = \"mtls\"", "`client_ca` is missing here"),
        ("client_ca = \"c\", auth = \"key\"", "`client_ca` is for `auth`"),
        ("auth = \"mtsl\"", "did you mean `mtls`?"),
    ] {
        let found = wrong(&format!("listen = {{ tunnel = {{ address = \"7443\", {keys} }} }}"));
        assert!(found.len() == 1 && found[0].contains(said), "{keys}: {found:?}");
    }
}
