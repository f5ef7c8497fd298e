//! The arrows between the crates, as the design draws them.

use std::collections::{BTreeMap, BTreeSet};
use std::process::Command;

use serde_json::Value;

fn allowed() -> BTreeMap<&'static str, &'static [&'static str]> {
    let all: &[&str] = &["protocol", "policy", "transport", "proxy", "ops"];
    BTreeMap::from([
        ("protocol", &[][..]),
        ("ops", &[]),
        ("policy", &["protocol"]),
        ("transport", &["protocol", "ops"]),
        ("proxy", &["protocol", "policy", "transport", "ops"]),
        ("server", all),
        ("client", all),
        // Programs of somebody else.
        ("plugin-agents", &["proxy", "server", "client"]),
    ])
}

fn metadata() -> Value {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let manifest = concat!(env!("CARGO_MANIFEST_DIR"), "/../Cargo.toml");
    let out = Command::new(cargo)
        .args(["metadata", "--no-deps", "--offline", "--format-version", "1", "--manifest-path", manifest])
        .output()
        .unwrap();
    assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
    serde_json::from_slice(&out.stdout).unwrap()
}

#[test]
fn every_arrow_is_one_of_the_designs() {
    let metadata = metadata();
    let packages = metadata["packages"].as_array().unwrap();
    let ours: BTreeSet<&str> = packages.iter().map(|package| package["name"].as_str().unwrap()).collect();
    let allowed = allowed();
    for package in packages {
        let name = package["name"].as_str().unwrap();
        // Tests, benches and fuzz depend on what they test.
        let Some(may) = allowed.get(name) else {
            assert!(["tests", "benches", "fuzz"].contains(&name), "where does {name} stand in the design?");
            continue;
        };
        for dependency in package["dependencies"].as_array().unwrap() {
            let to = dependency["name"].as_str().unwrap();
            if dependency["kind"].is_null() && ours.contains(to) {
                assert!(may.contains(&to), "{name} must not depend on {to}");
            }
        }
    }
    for name in allowed.keys() {
        assert!(ours.contains(name), "{name} is gone");
    }
}

#[test]
fn the_pure_crates_have_no_sockets_no_clock_and_no_tasks() {
    for package in metadata()["packages"].as_array().unwrap() {
        let name = package["name"].as_str().unwrap();
        if !["protocol", "policy"].contains(&name) {
            continue;
        }
        for dependency in package["dependencies"].as_array().unwrap() {
            let to = dependency["name"].as_str().unwrap();
            let impure = ["tokio", "tokio-util", "tokio-rustls", "hyper", "hyper-util", "socket2", "rustix"]
                .contains(&to);
            assert!(!impure || !dependency["kind"].is_null(), "{name} is pure and depends on {to}");
        }
    }
}
