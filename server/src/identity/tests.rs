use std::sync::Arc;
use std::time::{Duration, SystemTime};

use ops::state_dir::{Program, StateDir};
use policy::host::Host;
use policy::principal::Principal;
use protocol::id::{ClientId, CredentialId};
use transport::login_key::LoginKey;

use super::*;

pub(super) fn state() -> (tempfile::TempDir, StateDir) {
    let temp = tempfile::tempdir().unwrap();
    let state = StateDir::resolve(Program::Tunneld, Some(temp.path().to_owned()), |_| None).unwrap();
    (temp, state)
}

fn joins() -> JoinMaker {
    JoinMaker { address: "127.0.0.1:7443".parse().unwrap(), pin: protocol::join::Pin([1; 32]) }
}

fn nothing() -> NewGrants {
    NewGrants::parse(&Host::parse("localhost").unwrap(), &[], &[], &[], &[], &[]).unwrap()
}

/// Invites and logs in.
pub(super) struct Guest {
    pub(super) store: Store,
    pub(super) id: CredentialId,
    pub(super) key: LoginKey,
}

impl Guest {
    pub(super) fn new(state: &StateDir, expires: Option<SystemTime>, once: bool) -> Self {
        let store = Store::load(state.clone()).unwrap();
        let bob = Principal::parse("bob").unwrap();
        let (credential, join) = joins().invite(bob, expires, once, SystemTime::now()).unwrap();
        let id = credential.id.0.clone();
        store.change(|book| book.invite(nothing(), credential)).unwrap();
        Self { store, id, key: LoginKey::from_seed(join.secret.expose()).unwrap() }
    }

    fn log_in(&self, client: u8, now: SystemTime) -> Result<Proved, Refusal> {
        let proof = self.key.sign(b"message").unwrap();
        self.store.prove(&self.id, b"message", &proof, ClientId([client; 16]), now)
    }
}

#[test]
fn only_the_holder_of_the_key_gets_in() {
    let (_temp, state) = state();
    let guest = Guest::new(&state, None, false);
    let now = SystemTime::now();
    assert_eq!(guest.log_in(1, now).unwrap().credential.principal.0.as_str(), "bob");
    let other = LoginKey::from_seed(&[9; 32]).unwrap().sign(b"message").unwrap();
    let client = ClientId([1; 16]);
    assert_eq!(guest.store.prove(&guest.id, b"message", &other, client, now).unwrap_err(), Refusal::Denied);
    let replayed = guest.key.sign(b"another connection").unwrap();
    assert_eq!(
        guest.store.prove(&guest.id, b"message", &replayed, client, now).unwrap_err(),
        Refusal::Denied
    );
    // Whatever key an unknown credential is checked by, its holder's is no better.
    let good = guest.key.sign(b"message").unwrap();
    for n in 0..100 {
        let unknown = CredentialId::parse(&format!("unknown-{n}")).unwrap();
        for proof in [&other, &good] {
            let refused = guest.store.prove(&unknown, b"message", proof, client, now);
            assert_eq!(refused.unwrap_err(), Refusal::Denied);
        }
    }
}

#[test]
fn an_expired_credential_says_so_only_to_its_holder() {
    let (_temp, state) = state();
    let now = SystemTime::now();
    let guest = Guest::new(&state, Some(now + Duration::from_secs(60)), false);
    assert!(guest.log_in(1, now).is_ok());
    let later = now + Duration::from_secs(61);
    assert_eq!(guest.log_in(1, later).unwrap_err(), Refusal::Expired);
    let wrong = guest.store.prove(&guest.id, b"message", &[0; 64], ClientId([1; 16]), later);
    assert_eq!(wrong.unwrap_err(), Refusal::Denied);
}

#[test]
fn a_once_credential_is_good_for_one_client_also_after_a_restart() {
    let (_temp, state) = state();
    let now = SystemTime::now();
    let guest = Guest::new(&state, None, true);
    assert_eq!(guest.log_in(1, now).unwrap().admit, Admit::Bind);
    guest.store.change(|book| book.bind(&guest.id, ClientId([1; 16]))).unwrap();
    assert!(matches!(
        guest.store.change(|book| book.bind(&guest.id, ClientId([2; 16]))),
        Err(Change::Book(BookError::Bound))
    ));
    let guest = Guest { store: Store::load(state).unwrap(), ..guest };
    assert_eq!(guest.log_in(1, now).unwrap().admit, Admit::AsIs);
    assert_eq!(guest.log_in(2, now).unwrap_err(), Refusal::UsedUp);
}

#[test]
fn revoking_one_credential_leaves_the_other() {
    let (_temp, state) = state();
    let guest = Guest::new(&state, None, false);
    let bob = Principal::parse("bob").unwrap();
    let (second, _) = joins().invite(bob.clone(), None, false, SystemTime::now()).unwrap();
    let second_id = second.id.0.clone();
    guest.store.change(|book| book.invite(nothing(), second)).unwrap();
    let gone = guest.store.change(|book| book.revoke("bob", &Which::Key(guest.id.clone()), 1)).unwrap();
    assert_eq!(gone, std::slice::from_ref(&guest.id));
    assert_eq!(guest.log_in(1, SystemTime::now()).unwrap_err(), Refusal::Denied);
    let book = Store::load(state.clone()).unwrap();
    let left: Vec<_> = book.book().credentials_of(&bob).map(|it| it.id.0.clone()).collect();
    assert_eq!(left, [second_id]);
    assert!(matches!(
        guest.store.change(|book| book.revoke("bob", &Which::parse(Some("nope")).unwrap(), 1)),
        Err(Change::Book(BookError::NoCredential { .. }))
    ));
    guest.store.change(|book| book.revoke("bob", &Which::All, 1)).unwrap();
    assert!(matches!(
        guest.store.change(|book| book.revoke("bob", &Which::All, 1)),
        Err(Change::Book(BookError::NoPrincipal(_)))
    ));
}

#[test]
fn what_is_revoked_while_the_disk_takes_nothing_holds_until_it_is_kept() {
    let (temp, state) = state();
    let guest = Guest::new(&state, None, false);
    let now = SystemTime::now();
    let (there, away) = (temp.path().to_owned(), temp.path().with_extension("away"));
    std::fs::rename(&there, &away).unwrap();
    let revoke = || guest.store.revoke("bob", &Which::All, unix_seconds(now));
    for _ in 0..2 {
        let revocation = revoke().unwrap();
        assert!(revocation.unkept.is_some() && revocation.gone == [guest.id.clone()], "{revocation:?}");
        assert_eq!(guest.store.unkept(), ["bob".to_owned()].into());
    }
    assert!(guest.store.revoke("carol", &Which::All, 1).is_err());
    // The disk is back, and still says that bob is there, as it does to a process that fails to take over.
    std::fs::rename(&away, &there).unwrap();
    assert!(Store::load(state.clone()).unwrap().book().credential(&guest.id).is_some());
    guest.store.reload().unwrap();
    assert_eq!(guest.log_in(1, now).unwrap_err(), Refusal::Denied);
    guest.store.keep_used().unwrap();
    assert!(guest.store.unkept().is_empty());
    assert!(Store::load(state.clone()).unwrap().book().credential(&guest.id).is_none());
    // Who was told to say it again says it, and is not told that there is nobody.
    let key = Which::Key(guest.id.clone());
    for again in [revoke(), guest.store.revoke("bob", &key, 1)] {
        let again = again.unwrap();
        assert!(again.unkept.is_none() && again.gone == [guest.id.clone()], "{again:?}");
    }
    assert!(guest.store.revoke("carol", &Which::All, 1).is_err());
}

#[test]
fn the_last_use_is_kept_when_asked() {
    let (_temp, state) = state();
    let guest = Guest::new(&state, None, false);
    let now = SystemTime::now();
    guest.store.used(&guest.id, now);
    let last_used = |store: &Store| store.book().credential(&guest.id).unwrap().last_used.at();
    assert_eq!(last_used(&guest.store), Some(unix_seconds(now)));
    assert_eq!(last_used(&Store::load(state.clone()).unwrap()), None);
    guest.store.keep_used().unwrap();
    assert_eq!(last_used(&Store::load(state).unwrap()), Some(unix_seconds(now)));
}

#[test]
fn the_book_holds_no_secret() {
    let (temp, state) = state();
    let store = Store::load(state.clone()).unwrap();
    let bob = Principal::parse("bob").unwrap();
    let (credential, join) = joins().invite(bob, None, false, SystemTime::now()).unwrap();
    store.change(|book| book.invite(nothing(), credential)).unwrap();
    let text = std::fs::read_to_string(temp.path().join("credentials.json")).unwrap();
    assert!(text.contains("ed25519:"));
    assert!(!text.contains(&join.secret.encode()));
}

#[test]
fn a_damaged_book_is_an_error_that_names_the_file() {
    let (_temp, state) = state();
    for bad in ["", "{}", r#"{"version":2,"principals":[],"credentials":[]}"#] {
        state.write_atomic("credentials.json", bad.as_bytes()).unwrap();
        let error = Store::load(state.clone()).unwrap_err().to_string();
        assert!(error.contains("credentials.json"), "{error}");
    }
}

#[test]
fn the_join_string_of_default_stays_until_it_is_revoked_which_lasts() {
    let (temp, state) = state();
    let store = Store::load(state.clone()).unwrap();
    let now = SystemTime::now();
    let first = joins().keep_default(&state, &store, now).unwrap().unwrap();
    let text = std::fs::read_to_string(temp.path().join("join")).unwrap();
    assert_eq!(text, format!("{first}\n"));
    let store = Store::load(state.clone()).unwrap();
    let mut moved = joins();
    moved.address = "t.example.com:7443".parse().unwrap();
    let second = moved.keep_default(&state, &store, now).unwrap().unwrap();
    assert_eq!((&second.secret, second.address.host()), (&first.secret, "t.example.com"));
    // A lost file means a new secret, and the old one is worth nothing.
    state.remove("join").unwrap();
    let third = joins().keep_default(&state, &store, now).unwrap().unwrap();
    assert_ne!(third.secret, first.secret);
    let key = |join: &protocol::join::JoinString| LoginKey::from_seed(join.secret.expose()).unwrap();
    let client = ClientId([1; 16]);
    let id = CredentialId::parse(DEFAULT).unwrap();
    let prove = |join| store.prove(&id, b"m", &key(join).sign(b"m").unwrap(), client, now);
    assert!(prove(&third).is_ok());
    assert_eq!(prove(&first).unwrap_err(), Refusal::Denied);

    // A damaged one does not: it would shut out whoever has the old one.
    for damaged in [String::new(), format!("{first}\n"), third.to_string()[..20].to_owned()] {
        state.write_atomic("join", damaged.as_bytes()).unwrap();
        let error = joins().keep_default(&state, &store, now).unwrap_err().to_string();
        assert!(error.contains("join is damaged") && error.contains("remove it"), "{error}");
        assert_eq!(std::fs::read_to_string(temp.path().join("join")).unwrap(), damaged);
    }
    assert!(prove(&third).is_ok());

    store.change(|book| book.revoke(DEFAULT, &Which::All, 1)).unwrap();
    let store = Store::load(state.clone()).unwrap();
    assert!(joins().keep_default(&state, &store, now).unwrap().is_none());
    assert!(!temp.path().join("join").exists());
    assert!(!store.book().has_default());
    let default = Principal::parse(DEFAULT).unwrap();
    assert!(store.book().grants(&default, &Host::parse("localhost").unwrap()).is_none());
}

#[test]
fn nobody_is_invited_as_default() {
    let (_temp, state) = state();
    let store = Store::load(state).unwrap();
    let default = Principal::parse(DEFAULT).unwrap();
    let (credential, _) = joins().invite(default, None, false, SystemTime::now()).unwrap();
    let refused = store.change(|book| book.invite(nothing(), credential));
    assert!(matches!(refused, Err(Change::Book(BookError::Default))));
}

#[test]
fn the_servers_key_stays_and_its_certificate_follows_the_names() {
    let (temp, state) = state();
    let names = ["localhost".to_owned(), "127.0.0.1".to_owned()];
    let first = ServerKey::load_or_create(&state, &names).unwrap();
    let certificate = || std::fs::read(temp.path().join("tls.crt")).unwrap();
    let before = certificate();
    assert_eq!(ServerKey::load_or_create(&state, &names).unwrap().pin, first.pin);
    assert_eq!(certificate(), before);
    let names = ["t.example.com".to_owned(), "::1".to_owned()];
    assert_eq!(ServerKey::load_or_create(&state, &names).unwrap().pin, first.pin);
    assert_ne!(certificate(), before);
    assert!(first.ends_soon(SystemTime::now()).is_none());
}

#[test]
fn an_operators_certificate_is_left_alone() {
    let (temp, state) = state();
    let made = rcgen::generate_simple_self_signed(vec!["theirs.example.com".to_owned()]).unwrap();
    state.write_atomic("tls.crt", made.cert.pem().as_bytes()).unwrap();
    let names = ["t.example.com".to_owned()];
    let error = ServerKey::load_or_create(&state, &names).unwrap_err().to_string();
    assert!(error.contains("tls.key"), "{error}");
    state.write_atomic("tls.key", made.signing_key.serialize_pem().as_bytes()).unwrap();
    let key = ServerKey::load_or_create(&state, &names).unwrap();
    assert_eq!(key.pin, transport::tls::spki_pin(made.cert.der()).unwrap());
    assert_eq!(std::fs::read_to_string(temp.path().join("tls.crt")).unwrap(), made.cert.pem());
    let other = rcgen::KeyPair::generate().unwrap();
    state.write_atomic("tls.key", other.serialize_pem().as_bytes()).unwrap();
    assert!(ServerKey::load_or_create(&state, &names).is_err());
    state.write_atomic("tls.crt", b"nonsense").unwrap();
    let error = ServerKey::load_or_create(&state, &names).unwrap_err().to_string();
    assert!(error.contains("tls.crt") && error.contains("remove it"), "{error}");
    state.write_atomic("tls.key", b"nonsense").unwrap();
    let error = ServerKey::load_or_create(&state, &names).unwrap_err().to_string();
    assert!(error.contains("tls.key is damaged") && error.contains("invite all clients anew"), "{error}");
}

#[test]
fn the_state_key_stays() {
    let (_temp, state) = state();
    let client = ClientId([1; 16]);
    let principal = Principal::parse("ann").unwrap();
    let first = StateKey::load_or_create(&state).unwrap().for_host(&principal, client, "web");
    assert_eq!(StateKey::load_or_create(&state).unwrap().for_host(&principal, client, "web"), first);
    state.write_atomic("state.key", b"short").unwrap();
    assert!(StateKey::load_or_create(&state).unwrap_err().to_string().contains("state.key"));
}

#[test]
fn readers_keep_what_they_have_while_the_book_changes() {
    let (_temp, state) = state();
    let guest = Guest::new(&state, None, false);
    let before = Arc::clone(&guest.store.book());
    guest.store.change(|book| book.revoke("bob", &Which::All, 1)).unwrap();
    assert!(before.credential(&guest.id).is_some());
    assert!(guest.store.book().credential(&guest.id).is_none());
}
