//! House rules that no lint holds.

use std::path::{Path, PathBuf};

const ROOT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/..");
const PRODUCT: [&str; 4] = ["protocol", "crates", "server", "client"];

fn files(under: &str, extension: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut folders = vec![Path::new(ROOT).join(under)];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder).unwrap().map(Result::unwrap) {
            let path = entry.path();
            if path.is_dir() && entry.file_name() != "target" {
                folders.push(path);
            } else if path.extension().is_some_and(|is| is == extension) {
                found.push(path);
            }
        }
    }
    found
}

fn sources() -> Vec<(String, String)> {
    let paths = PRODUCT.iter().flat_map(|folder| files(folder, "rs"));
    let read = |path: PathBuf| {
        let text = std::fs::read_to_string(&path).unwrap();
        (path.strip_prefix(ROOT).unwrap().display().to_string(), text)
    };
    paths.map(read).collect()
}

/// The lines of a source that are neither comment nor documentation.
fn code(text: &str) -> impl Iterator<Item = &str> {
    text.lines().map(|line| line.split("//").next().unwrap_or(line))
}

#[test]
fn the_multiplexer_is_our_own() {
    for (path, text) in sources() {
        // Tests of the sessions have the other implementation as a peer.
        if path.starts_with("crates/transport/") && (path.contains("/tests") || path.ends_with("tests.rs")) {
            continue;
        }
        // In quotes it may stand, as the name of a log's source.
        let named = code(&text).any(|line| line.contains("yamux::") && !line.contains('"'));
        assert!(!named, "{path} names another multiplexer");
    }
    for manifest in PRODUCT.iter().flat_map(|folder| files(folder, "toml")) {
        let mut text = std::fs::read_to_string(&manifest).unwrap();
        if manifest.ends_with("crates/transport/Cargo.toml") {
            text.truncate(text.find("[dev-dependencies]").unwrap_or(text.len()));
        }
        assert!(!text.contains("yamux"), "{} depends on another multiplexer", manifest.display());
    }
}

#[test]
fn tasks_start_through_the_spawner_only() {
    for (path, text) in sources() {
        if path.starts_with("crates/ops/src/spawn") || path.contains("/tests") || path.ends_with("tests.rs") {
            continue;
        }
        for line in code(text.split("#[cfg(test)]").next().unwrap_or_default()) {
            for start in ["tokio::spawn", "task::spawn(", "spawn_local", "JoinSet", "unbounded_channel"] {
                assert!(!line.contains(start), "{path} uses {start}: {line}");
            }
        }
    }
}

#[test]
fn every_crate_keeps_the_workspaces_lints() {
    for folder in ["protocol", "crates", "server", "client", "tests", "benches", "fuzz"] {
        for manifest in files(folder, "toml").into_iter().filter(|path| path.ends_with("Cargo.toml")) {
            let text = std::fs::read_to_string(&manifest).unwrap();
            assert!(text.contains("[lints]\nworkspace = true"), "{}", manifest.display());
        }
    }
}

#[test]
fn no_file_grows_beyond_500_lines() {
    for (path, text) in sources() {
        let lines = text.lines().count();
        assert!(lines <= 500, "{path} has {lines} lines");
    }
}

#[test]
fn nothing_is_called_a_helper() {
    for (path, _) in sources() {
        for word in ["util", "common", "helper", "manager", "misc"] {
            let named =
                Path::new(&path).components().any(|part| part.as_os_str().to_string_lossy().contains(word));
            assert!(!named, "{path}: not our words");
        }
    }
}
