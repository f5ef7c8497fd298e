//! What two texts differ in.

use std::time::Duration;

use policy::revision::{PartChange, changes};
use serde_json::{Map, Value};
use similar::TextDiff;

use super::api::Difference;

/// After so long what is left is taken as one difference.
const PATIENCE: Duration = Duration::from_secs(2);
/// Lines around what differs.
const AROUND: usize = 3;

/// What the text of revision `to` says otherwise than that of `from`.
pub(crate) fn difference(from: (u64, &str), to: (u64, &str)) -> Difference {
    let lines = TextDiff::configure().timeout(PATIENCE).diff_lines(from.1, to.1);
    let (a, b) = (format!("revision {}", from.0), format!("revision {}", to.0));
    let text = lines.unified_diff().context_radius(AROUND).header(&a, &b).to_string();
    Difference { from: from.0, to: to.0, parts: parts(from.1, to.1), text }
}

/// The same part by part; of a text that is no TOML nothing is known.
pub(super) fn parts(from: &str, to: &str) -> Vec<PartChange> {
    match (table(from), table(to)) {
        (Some(from), Some(to)) => changes(&from, &to),
        _ => Vec::new(),
    }
}

fn table(text: &str) -> Option<Map<String, Value>> {
    let table: toml::Table = toml::from_str(text).ok()?;
    match serde_json::to_value(table) {
        Ok(Value::Object(map)) => Some(map),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_difference_is_lines_and_parts() {
        let from = "domain = \"a\"\n[[rule]]\nname = \"x\"\nhost = \"x\"\nto = \"s\"\n";
        let to = from.replace("host = \"x\"", "host = \"y\"") + "[[rule]]\nname = \"z\"\nto = \"s\"\n";
        let found = difference((3, from), (5, &to));
        assert!(found.text.starts_with("--- revision 3\n+++ revision 5\n@@ "), "{}", found.text);
        assert!(found.text.contains("\n-host = \"x\"\n+host = \"y\"\n"), "{}", found.text);
        let parts: Vec<_> = found.parts.iter().map(ToString::to_string).collect();
        assert_eq!(parts, ["rule x changed", "rule z added"]);
        assert_eq!(difference((1, from), (1, from)).text, "");
    }
}
