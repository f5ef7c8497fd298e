//! `spec/vectors/login.json`: message, public key and signature of a login are what the spec says.
#![expect(clippy::unwrap_used, reason = "a test says what it expects by unwrapping")]

use protocol::handshake::proof::login_message;
use protocol::id::Slot;
use serde::Deserialize;
use transport::login_key::{LoginKey, PublicKey};

#[derive(Deserialize)]
struct Vectors {
    vectors: Vec<Login>,
}

#[derive(Deserialize)]
struct Login {
    name: String,
    seed: String,
    exporter: String,
    client: String,
    instance: String,
    slot: u16,
    message: String,
    public: String,
    proof: String,
}

fn bytes(hex: &str) -> Vec<u8> {
    (0..hex.len()).step_by(2).map(|at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap()).collect()
}

fn array<const N: usize>(hex: &str) -> [u8; N] {
    bytes(hex).try_into().unwrap()
}

#[test]
fn a_login_is_signed_as_the_spec_says() {
    let file = concat!(env!("CARGO_MANIFEST_DIR"), "/../../spec/vectors/login.json");
    let file: Vectors = serde_json::from_str(&std::fs::read_to_string(file).unwrap()).unwrap();
    assert!(!file.vectors.is_empty());
    for login in file.vectors {
        let (client, instance) = (login.client.parse().unwrap(), login.instance.parse().unwrap());
        let message = login_message(&array(&login.exporter), client, instance, Slot(login.slot));
        assert_eq!(message, bytes(&login.message), "{}", login.name);
        let key = LoginKey::from_seed(&array(&login.seed)).unwrap();
        assert_eq!(key.public().unwrap().to_string(), login.public, "{}", login.name);
        let proof: [u8; 64] = array(&login.proof);
        assert_eq!(key.sign(&message).unwrap(), proof, "{}", login.name);
        assert!(login.public.parse::<PublicKey>().unwrap().verify(&message, &proof), "{}", login.name);
    }
}
