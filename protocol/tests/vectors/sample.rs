//! Reads the files and compares.

use std::fs;
use std::path::PathBuf;

use bytes::BytesMut;
use protocol::codec::{DecodeError, EncodeError};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use crate::Decode;

/// What a decoder made of a sample.
pub(crate) enum Outcome {
    Value { shown: Value, encoded: BytesMut },
    Skipped,
    Incomplete,
}

impl Outcome {
    pub(crate) fn value(shown: Value, encode: impl FnOnce(&mut BytesMut) -> Result<(), EncodeError>) -> Self {
        let mut encoded = BytesMut::new();
        encode(&mut encoded).expect("what was decoded can be encoded");
        Self::Value { shown, encoded }
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File<T> {
    #[serde(rename = "about")]
    _about: String,
    vectors: Vec<T>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Sample {
    name: String,
    /// Digits, with a space between fields.
    hex: String,
    value: Option<Value>,
    error: Option<Value>,
    outcome: Option<String>,
}

fn directory() -> PathBuf {
    PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../spec/vectors"))
}

/// The names of all files, sorted.
pub(crate) fn files() -> Vec<String> {
    let mut names: Vec<String> = fs::read_dir(directory())
        .expect("spec/vectors is there")
        .map(|entry| entry.expect("readable").path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "json"))
        .map(|path| path.file_stem().expect("named").to_string_lossy().into_owned())
        .collect();
    names.sort_unstable();
    names
}

/// The samples of one file.
pub(crate) fn read<T: DeserializeOwned>(file: &str) -> Vec<T> {
    let path = directory().join(format!("{file}.json"));
    let text = fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let file: File<T> =
        serde_json::from_str(&text).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    assert!(!file.vectors.is_empty());
    file.vectors
}

/// Runs every sample of one file through its decoder.
pub(crate) fn check(file: &str, decode: Decode) {
    let samples: Vec<Sample> = read(file);
    let count = |which: fn(&Sample) -> bool| samples.iter().filter(|sample| which(sample)).count();
    let (valid, invalid) = (count(|sample| sample.value.is_some()), count(|sample| sample.error.is_some()));
    assert!(valid > 0 && invalid > 0, "{file}: valid and invalid samples");
    samples.iter().for_each(|sample| sample.check(file, decode));
    println!("{file}: {} samples, {valid} valid, {invalid} invalid", samples.len());
}

impl Sample {
    fn check(&self, file: &str, decode: Decode) {
        let at = format!("{file}: {}", self.name);
        let bytes = unhex(&self.hex);
        let mut buffer = BytesMut::from(&bytes[..]);
        match decode(&mut buffer) {
            Ok(Outcome::Value { shown, encoded }) => {
                assert_eq!(Some(&shown), self.value.as_ref(), "{at}: decoded");
                assert_eq!(&encoded[..], bytes, "{at}: encoded again");
                assert!(buffer.is_empty(), "{at}: bytes left");
            }
            Ok(Outcome::Skipped) => assert_eq!(self.outcome.as_deref(), Some("skipped"), "{at}"),
            Ok(Outcome::Incomplete) => assert_eq!(self.outcome.as_deref(), Some("incomplete"), "{at}"),
            Err(error) => assert_eq!(Some(&shown_error(error)), self.error.as_ref(), "{at}: {error}"),
        }
    }
}

fn shown_error(error: DecodeError) -> Value {
    match error {
        DecodeError::Truncated { field } => json!({ "kind": "truncated", "field": field }),
        DecodeError::TrailingBytes { count } => json!({ "kind": "trailing-bytes", "count": count }),
        DecodeError::TooLong { field, max } => json!({ "kind": "too-long", "field": field, "max": max }),
        DecodeError::UnknownType { kind } => json!({ "kind": "unknown-type", "type": kind.0 }),
        DecodeError::BadUtf8 { field } => json!({ "kind": "bad-utf8", "field": field }),
        DecodeError::BadValue { field } => json!({ "kind": "bad-value", "field": field }),
        other => panic!("the vectors have no name for {other:?}"),
    }
}

pub(crate) fn unhex(text: &str) -> Vec<u8> {
    let digits: String = text.split(' ').collect();
    let (pairs, rest) = digits.as_bytes().as_chunks::<2>();
    assert!(rest.is_empty(), "half a byte in {text}");
    pairs.iter().map(|pair| u8::from_str_radix(str::from_utf8(pair).unwrap(), 16).unwrap()).collect()
}

pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
