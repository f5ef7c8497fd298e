//! Printing that survives a closed pipe.

use std::io::Write;

/// Writes `text` to stdout as it is. If nobody reads, it is lost: a program must not die of
/// `| head`.
pub fn print(text: &str) {
    let mut out = std::io::stdout().lock();
    if out.write_all(text.as_bytes()).is_ok() {
        // Same here: there is nobody left to tell.
        out.flush().unwrap_or(());
    }
}

/// Writes `text` to stderr as it is; lost if nobody reads.
pub fn print_error(text: &str) {
    std::io::stderr().lock().write_all(text.as_bytes()).unwrap_or(());
}
