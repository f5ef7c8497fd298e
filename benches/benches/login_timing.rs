//! Whether the time that a refused login takes tells which credentials there are: it must not (`|t| < 4.5`). Takes a minute;
//! with `--test` it only shows that it runs.
#![expect(clippy::unwrap_used, reason = "a bench that fails shows nothing")]
#![expect(clippy::print_stdout, reason = "what it prints is what it is for")]

use std::process::ExitCode;
use std::time::{Duration, Instant, SystemTime};

use benches::welch::{LIMIT, Sample, Verdict};
use ops::state_dir::{Program, StateDir};
use policy::grant::Grants;
use policy::principal::Principal;
use protocol::id::{ClientId, CredentialId};
use protocol::join::Pin;
use server::identity::{JoinMaker, NewGrants, Refusal, Store, Which};
use transport::login_key::LoginKey;

/// Of each kind, that something is known of them all.
const IDS: usize = 256;
/// Of each comparison, of both kinds together.
const TRIES: usize = 200_000;

/// A server's book, with credentials of every kind.
struct World {
    store: Store,
    /// Kinds by name, each with its ids, all of one length.
    kinds: Vec<(&'static str, Vec<CredentialId>)>,
    _folder: tempfile::TempDir,
}

impl World {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let state = StateDir::resolve(Program::Tunneld, Some(folder.path().to_owned()), |_| None).unwrap();
        let store = Store::load(state).unwrap();
        let joins = JoinMaker { address: "127.0.0.1:7443".parse().unwrap(), pin: Pin([1; 32]) };
        let principal = |name: &str| Principal::parse(name).unwrap();
        let now = SystemTime::now();
        store.configure(["stays", "goes"].map(|name| (principal(name), Grants::default())));
        let invited = |name: &str, expires: Option<SystemTime>| -> Vec<CredentialId> {
            let made = || joins.invite(principal(name), expires, false, now).unwrap().0;
            let credentials: Vec<_> = (0..IDS).map(|_| made()).collect();
            let ids = credentials.iter().map(|credential| credential.id.0.clone()).collect();
            let invite = |book: &mut server::identity::Book| {
                credentials.into_iter().try_for_each(|it| book.invite(NewGrants::default(), it))
            };
            store.change(invite).unwrap();
            ids
        };
        let strange = || joins.invite(principal("nobody"), None, false, now).unwrap().0.id.0;
        let unknown: Vec<_> = (0..IDS).map(|_| strange()).collect();
        let others: Vec<_> = (0..IDS).map(|_| strange()).collect();
        let known = invited("stays", None);
        let expired = invited("stays", Some(now - Duration::from_secs(60)));
        let (orphaned, revoked) = (invited("goes", None), invited("revoked", None));
        store.configure([(principal("stays"), Grants::default())]);
        store.change(|book| book.revoke("revoked", &Which::All, 1)).unwrap();
        let kinds = vec![
            ("unknown", unknown),
            ("unknown too", others),
            ("known, with a wrong secret", known),
            ("expired, with a wrong secret", expired),
            ("revoked", revoked),
            ("of a principal that has gone from the configuration", orphaned),
        ];
        Self { store, kinds, _folder: folder }
    }

    /// How the kind at `second` compares with the unknown.
    fn compare(&self, second: usize, tries: usize, wrong: &[([u8; 32], [u8; 64])]) -> Verdict {
        let (now, client) = (SystemTime::now(), ClientId([1; 16]));
        let samples: Vec<Sample> = (0..tries)
            .map(|n| {
                // In no order that anything could get used to.
                let is_second = rand::random::<bool>();
                let ids = &self.kinds[if is_second { second } else { 0 }].1;
                let id = &ids[usize::from(rand::random::<u8>()) % ids.len()];
                let (message, proof) = &wrong[n % wrong.len()];
                let began = Instant::now();
                let refused = self.store.prove(id, message, proof, client, now);
                let took = began.elapsed().as_nanos() as f64;
                assert_eq!(refused.unwrap_err(), Refusal::Denied);
                Sample { is_second, took }
            })
            .collect();
        Verdict::of(&samples)
    }
}

fn main() -> ExitCode {
    let tries = if std::env::args().any(|word| word == "--test") { 2_000 } else { TRIES };
    let world = World::new();
    let key = LoginKey::from_seed(&rand::random()).unwrap();
    let guess = || {
        let message: [u8; 32] = rand::random();
        (message, key.sign(&message).unwrap())
    };
    let wrong: Vec<_> = (0..IDS).map(|_| guess()).collect();
    world.compare(1, tries / 10, &wrong);
    let mut is_even = true;
    for (at, (kind, _)) in world.kinds.iter().enumerate().skip(1) {
        let Verdict { all, worst, longer } = world.compare(at, tries, &wrong);
        println!("unknown or {kind}: t = {all:.2}, {worst:.2} at worst, {longer:+.1} ns, {tries} tries");
        is_even &= worst.abs() < LIMIT;
    }
    // Few tries show nothing but that it runs.
    if is_even || tries < TRIES { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
