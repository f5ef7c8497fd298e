//! The file descriptors of this process: how many it may have open, and for how many there are places.

use std::io;

use rustix::io::fcntl_dupfd_cloexec;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Places that the kernel's table has from the start, where as many are allowed. One costs 8 bytes.
const PLACES: u64 = 16 * 1024;

/// Raises the soft limit to the hard one and returns the limit now in force; `None` means that
/// there is none. Every visitor costs one descriptor, and the usual soft limit is 1,024.
///
/// To be called before there are threads, because it makes the kernel's table larger too: where there are several, Linux
/// halts whoever needs a place more than there are, at first the 65th, and any other that wants one, for an RCU grace period
/// (`expand_files`). That is 10 ms and more amidst the first visitors.
///
/// # Errors
/// The system refuses the change; the old limit stays in force.
pub fn make_room() -> io::Result<Option<u64>> {
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    if current != maximum {
        setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum })?;
    }
    // Without it the table grows as it has to.
    let _ = grow_table(maximum.unwrap_or(PLACES).min(PLACES));
    Ok(maximum)
}

/// The table reaches as far as the highest descriptor ever did.
fn grow_table(places: u64) -> io::Result<()> {
    let last = i32::try_from(places.saturating_sub(1)).map_err(io::Error::other)?;
    let (any, _other) = io::pipe()?;
    fcntl_dupfd_cloexec(&any, last)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_soft_limit_becomes_the_hard_one_and_the_table_has_room() {
        let limit = make_room().unwrap();
        let now = getrlimit(Resource::Nofile);
        assert_eq!((now.current, now.maximum), (limit, limit));
        let status = std::fs::read_to_string("/proc/self/status").unwrap();
        let places = status.lines().find_map(|line| line.strip_prefix("FDSize:")).unwrap();
        assert!(places.trim().parse::<u64>().unwrap() >= limit.unwrap_or(PLACES).min(PLACES), "{places}");
    }
}
