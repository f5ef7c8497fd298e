use super::*;

#[test]
fn clients_are_asked_for_certificates_as_it_says() {
    let clients = |keys: &str| {
        let config = good(&format!("listen = {{ tunnel = {{ address = \"7443\", {keys} }} }}"));
        config.listen.tunnel.unwrap().clients
    };
    let ca = std::path::PathBuf::from("/etc/tunnel/ca.pem");
    for (word, auth) in [("mtls", Auth::Certificate), ("either", Auth::Either), ("both", Auth::Both)] {
        let asked = clients(&format!("client_ca = \"ca.pem\", auth = \"{word}\""));
        assert_eq!(asked, Some(Clients { ca: ca.clone(), crls: Vec::new(), auth, lacks: None }));
    }
    assert_eq!(clients("auth = \"key\""), None);
    let listed =
        clients("client_ca = \"ca.pem\", client_crl = [\"a.crl\", \"/b.crl\"], auth = \"mtls\"").unwrap();
    assert_eq!(listed.crls, ["/etc/tunnel/a.crl", "/b.crl"].map(std::path::PathBuf::from));
    for (keys, said) in [
        ("client_crl = [\"c\"]", "`client_ca` is missing here"),
        ("client_ca = \"c\", auth = \"mtls\", client_crl = \"c\"", "a list of files"),
        ("client_ca = \"c\"", "`auth` is missing here"),
        ("auth = \"mtls\"", "`client_ca` is missing here"),
        ("client_ca = \"c\", auth = \"key\"", "`client_ca` is for `auth`"),
        ("auth = \"mtsl\"", "did you mean `mtls`?"),
    ] {
        let found = wrong(&format!("listen = {{ tunnel = {{ address = \"7443\", {keys} }} }}"));
        assert!(found.len() == 1 && found[0].contains(said), "{keys}: {found:?}");
    }
}
