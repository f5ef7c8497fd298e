//! What both programs say of their version.

use serde_json::json;

use super::Exit;

/// Program, version and the version of the wire protocol, for people or as JSON.
pub fn version(program: &str, version: &str, protocol: u16, as_json: bool) -> Exit {
    Exit::done(if as_json {
        format!("{}\n", json!({ "program": program, "protocol": protocol, "version": version }))
    } else {
        format!("{program} {version} (protocol tunnel/{protocol})\n")
    })
}
