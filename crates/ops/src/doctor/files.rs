//! Whether this machine lets the program have its files: descriptors, and the state directory.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;

use rustix::fs::{Access, StatVfsMountFlags, access, statvfs};
use rustix::process::{Resource, geteuid, getrlimit};

use super::Findings;
use crate::state_dir::StateDir;

const FILES: &str = "open files";
const STATE: &str = "state";
/// Two for each visitor who waits for a service: with fewer a page with many parts fails for some.
const FEW: u64 = 1024;
const ENOUGH: u64 = 8192;
/// Bytes without which the next file is not written, and with which it soon is not.
const NO_SPACE: u64 = 16 << 20;
const LITTLE_SPACE: u64 = 256 << 20;

/// Looks at the limit of open files, which both programs raise to the hard one when they start. `unit` is what a service
/// manager calls the program.
pub fn descriptors(unit: &str, findings: &mut Findings) {
    let limit = getrlimit(Resource::Nofile).maximum;
    judge_descriptors(limit, unit, findings);
}

fn judge_descriptors(limit: Option<u64>, unit: &str, findings: &mut Findings) {
    let todo = || {
        format!(
            "LimitNOFILE=65536 in the service's unit (systemctl edit {unit}), or `ulimit -Hn 65536` before it starts"
        )
    };
    match limit {
        None => findings.good(FILES, "no limit"),
        Some(limit) if limit < FEW => {
            findings.bad(FILES, format_args!("at most {limit}, which a few visitors use up"), todo())
        }
        Some(limit) if limit < ENOUGH => {
            let says = format_args!("at most {limit}: each visitor takes one or two");
            findings.warn(FILES, says, todo());
        }
        Some(limit) => findings.good(FILES, format_args!("up to {limit}")),
    }
}

/// Looks at the state directory: whose it is, who may read what is in it, and whether there is room.
pub fn state(state: &StateDir, findings: &mut Findings) {
    let path = state.path();
    let shown = path.display();
    let metadata = match fs::metadata(path) {
        Ok(metadata) if metadata.is_dir() => metadata,
        Ok(_) => {
            return findings.bad(
                STATE,
                format_args!("{shown} is no directory"),
                "move it away, or use --state DIR",
            );
        }
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            return findings
                .good(STATE, format_args!("{shown} (from {}) is made at the first start", state.origin()));
        }
        Err(error) => {
            return findings.bad(
                STATE,
                format_args!("{shown}: {error}"),
                "run this as the user that the program runs as",
            );
        }
    };
    let (owner, user) = (metadata.uid(), geteuid().as_raw());
    let mode = metadata.permissions().mode() & 0o777;
    let before = findings.clone();
    if owner != user && user != 0 {
        let todo = format_args!("run this as uid {owner}, or: chown -R {user} {shown}");
        findings.bad(STATE, format_args!("{shown} is that of uid {owner}, and this is uid {user}"), todo);
    } else if access(path, Access::WRITE_OK | Access::EXEC_OK).is_err() {
        findings.bad(
            STATE,
            format_args!("{shown} is not writable"),
            format_args!("chmod u+rwx {shown}, or mount it for writing"),
        );
    }
    if mode & 0o022 != 0 {
        findings.bad(
            STATE,
            format_args!("{shown} has mode {mode:o}: others may put files there"),
            format_args!("chmod go-w {shown}"),
        );
    }
    for file in open_files(path) {
        let file = path.join(file);
        let file = file.display();
        findings.bad(
            STATE,
            format_args!("{file} can be read by others, and may be secret"),
            format_args!("chmod 600 {file}"),
        );
    }
    space(path, findings);
    if *findings == before {
        findings.good(STATE, format_args!("{shown} (from {}), mode {mode:o}", state.origin()));
    }
}

/// The files in `folder` that others than their owner may read. It is no mistake of theirs who made them so, but of ours not
/// to say it: all that the programs write is for them alone.
fn open_files(folder: &Path) -> Vec<std::ffi::OsString> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let is_open = |entry: &fs::DirEntry| {
        entry.metadata().is_ok_and(|it| it.is_file() && it.permissions().mode() & 0o077 != 0)
    };
    let mut open: Vec<_> = entries.filter(is_open).map(|entry| entry.file_name()).collect();
    open.sort();
    open
}

fn space(path: &Path, findings: &mut Findings) {
    let shown = path.display();
    let Ok(disk) = statvfs(path) else {
        return findings.skip(STATE, format_args!("the system does not say how full the disk of {shown} is"));
    };
    if disk.f_flag.contains(StatVfsMountFlags::RDONLY) {
        let says = format_args!("the disk of {shown} is mounted read-only");
        return findings.bad(STATE, says, "mount it for writing, or use --state DIR on another one");
    }
    let left = disk.f_bavail.saturating_mul(disk.f_frsize);
    let todo = format_args!("make room on the disk of {shown}");
    match left {
        NO_SPACE.. if disk.f_files > 0 && disk.f_favail < 16 => {
            findings.bad(STATE, "the disk has no inode left", todo)
        }
        LITTLE_SPACE.. => {}
        NO_SPACE.. => findings.warn(STATE, format_args!("the disk has only {} MiB left", left >> 20), todo),
        _ => findings.bad(STATE, format_args!("the disk is full: {} KiB left", left >> 10), todo),
    }
}

#[cfg(test)]
mod tests {
    use std::fs::Permissions;

    use super::super::Verdict;
    use super::*;
    use crate::state_dir::Program;

    #[test]
    fn few_descriptors_are_said() {
        for (limit, verdict) in [
            (Some(256), Verdict::Bad),
            (Some(1024), Verdict::Warning),
            (Some(65_536), Verdict::Good),
            (None, Verdict::Good),
        ] {
            let mut findings = Findings::default();
            judge_descriptors(limit, "x", &mut findings);
            assert_eq!(findings.verdict(FILES), Some(verdict), "{limit:?}");
        }
    }

    #[test]
    fn a_state_directory_is_looked_through() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("state");
        let look = || {
            let mut findings = Findings::default();
            let dir = StateDir::resolve(Program::Tunneld, Some(path.clone()), |_| None).unwrap();
            state(&dir, &mut findings);
            (findings.verdict(STATE).unwrap(), findings.text())
        };
        let (verdict, text) = look();
        assert!(verdict == Verdict::Good && text.contains("is made at the first start"), "{text}");
        fs::create_dir(&path).unwrap();
        fs::set_permissions(&path, Permissions::from_mode(0o700)).unwrap();
        assert_ne!(look().0, Verdict::Bad, "{}", look().1);
        fs::write(path.join("tls.key"), "secret").unwrap();
        fs::set_permissions(path.join("tls.key"), Permissions::from_mode(0o644)).unwrap();
        let (verdict, text) = look();
        assert!(verdict == Verdict::Bad && text.contains("chmod 600 ") && text.contains("tls.key"), "{text}");
        fs::set_permissions(path.join("tls.key"), Permissions::from_mode(0o600)).unwrap();
        fs::set_permissions(&path, Permissions::from_mode(0o777)).unwrap();
        let (verdict, text) = look();
        assert!(verdict == Verdict::Bad && text.contains("chmod go-w "), "{text}");
        fs::remove_dir_all(&path).unwrap();
        fs::write(&path, "").unwrap();
        assert!(look().1.contains("is no directory"));
    }
}
