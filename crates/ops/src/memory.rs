//! How much memory this process may use.

use std::fs;

/// What a control group may say its limit is; version 2, then version 1.
const LIMITS: [&str; 2] = ["/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes"];

/// Bytes of memory: those of the machine, or of the control group that this process runs in if those are fewer.
#[must_use]
pub fn available() -> u64 {
    let machine = rustix::system::sysinfo();
    let machine = machine.totalram.saturating_mul(machine.mem_unit.into());
    let group = LIMITS.iter().filter_map(|path| limit_in(&fs::read_to_string(path).ok()?)).min();
    group.map_or(machine, |group| group.min(machine))
}

/// The limit in such a file; none if it says that there is none.
fn limit_in(text: &str) -> Option<u64> {
    text.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_control_group_may_say_that_there_is_no_limit() {
        assert_eq!(limit_in("max\n"), None);
        assert_eq!(limit_in("268435456\n"), Some(268_435_456));
    }

    #[test]
    fn there_is_some() {
        assert!(available() > 1 << 20);
    }
}
