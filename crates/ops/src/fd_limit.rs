//! How many file descriptors this process may have open, and the kernel's table of them.

use std::io;

use rustix::io::fcntl_dupfd_cloexec;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Descriptors that the table has places for from the start, where as many are allowed. A place costs 8 bytes.
const PLACES: u64 = 16 * 1024;

/// Raises the soft limit to the hard one and returns the limit now in force; `None` means that
/// there is none. Every visitor costs one descriptor, and the usual soft limit is 1,024.
///
/// To be called before there are threads, because it makes room in the kernel's table too: Linux halts a thread that needs
/// a place more than there are, at first the 65th, and any other that wants one, until all CPUs have passed an RCU grace
/// period, if there is more than one thread (`expand_files`). That is 10 ms and more amidst the first visitors.
///
/// # Errors
/// The system refuses the change; the old limit stays in force.
pub fn raise() -> io::Result<Option<u64>> {
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    if current != maximum {
        setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum })?;
    }
    // Without it the table grows as it has to.
    let _ = make_room(maximum.unwrap_or(PLACES).min(PLACES));
    Ok(maximum)
}

/// The table reaches as far as the highest descriptor ever did.
fn make_room(places: u64) -> io::Result<()> {
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
        let limit = raise().unwrap();
        let now = getrlimit(Resource::Nofile);
        assert_eq!((now.current, now.maximum), (limit, limit));
        let status = std::fs::read_to_string("/proc/self/status").unwrap();
        let places = status.lines().find_map(|line| line.strip_prefix("FDSize:")).unwrap();
        assert!(places.trim().parse::<u64>().unwrap() >= limit.unwrap_or(PLACES).min(PLACES), "{places}");
    }
}
