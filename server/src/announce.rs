//! What a start says on stdout: one line to copy.

use std::io::IsTerminal;

use ops::cli::print;
use ops::state_dir::StateDir;
use protocol::join::JoinString;

use crate::identity::{DEFAULT, join_path};

/// Prints the command that a client is started with; where stdout goes to a journal, only where the secret is.
pub(crate) fn quick_start(join: &JoinString, state: &StateDir) {
    if is_under_systemd() {
        print(&format!("join string: {}\n", join_path(state).display()));
    } else {
        print(&format!("tunnelc http 3000 --join '{join}'\n"));
    }
}

/// `default` is for trying things out; with a domain of its own a server is in use.
pub(crate) fn warn_of_default(domain: &str, state: &StateDir) {
    tracing::warn!(
        "whoever has {} may use every name under {domain} and every port from 1024; \
         `tunneld invite NAME` makes credentials with less, `tunneld revoke {DEFAULT}` ends this one",
        join_path(state).display()
    );
}

fn is_under_systemd() -> bool {
    std::env::var_os("INVOCATION_ID").is_some() && !std::io::stdout().is_terminal()
}
