//! What is written as text: service names, join strings, and the message of a login.

use protocol::handshake::login_message;
use protocol::id::Slot;
use protocol::join::{JoinError, JoinString};
use protocol::service_name::ServiceName;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::sample::{hex, read, unhex};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Text {
    name: String,
    text: String,
    value: Option<Value>,
    error: Option<String>,
}

#[test]
fn service_name() {
    for sample in read::<Text>("service_name") {
        match sample.text.parse::<ServiceName>() {
            Ok(name) => {
                let shown = match &name {
                    ServiceName::Grouped { group, service } => json!({ "group": group, "service": service }),
                    ServiceName::Own(id) => json!({ "own": id }),
                    ServiceName::Plain(service) => json!({ "plain": service }),
                };
                assert_eq!(Some(shown), sample.value, "{}", sample.name);
                assert_eq!(name.to_string(), sample.text);
            }
            Err(_) => assert_eq!(sample.error.as_deref(), Some("service-name"), "{}", sample.name),
        }
    }
}

#[test]
fn join_string() {
    for sample in read::<Text>("join_string") {
        match sample.text.parse::<JoinString>() {
            Ok(join) => {
                let shown = json!({
                    "credential": join.credential.as_str(),
                    "secret": hex(join.secret.expose()),
                    "address": join.address.to_string(),
                    "pins": join.pins.iter().map(|pin| hex(&pin.0)).collect::<Value>(),
                });
                assert_eq!(Some(shown), sample.value, "{}", sample.name);
                assert_eq!(join.to_string(), sample.text);
            }
            Err(error) => assert_eq!(sample.error.as_deref(), Some(kind(&error)), "{}", sample.name),
        }
    }
}

fn kind(error: &JoinError) -> &'static str {
    match error {
        JoinError::Scheme => "scheme",
        JoinError::NoCredential => "no-credential",
        JoinError::Credential => "credential",
        JoinError::Secret => "secret",
        JoinError::Address(_) => "address",
        JoinError::Pin(_) => "pin",
        JoinError::TooManyPins => "too-many-pins",
        JoinError::UnknownOption => "unknown-option",
    }
}

/// The signature is checked where the keys are, in `transport`.
#[derive(Deserialize)]
struct Login {
    name: String,
    exporter: String,
    client: String,
    instance: String,
    slot: u16,
    message: String,
}

#[test]
fn login() {
    for sample in read::<Login>("login") {
        let exporter = unhex(&sample.exporter).try_into().unwrap();
        let (client, instance) = (sample.client.parse().unwrap(), sample.instance.parse().unwrap());
        let message = login_message(&exporter, client, instance, Slot(sample.slot));
        assert_eq!(hex(&message), sample.message, "{}", sample.name);
    }
}
