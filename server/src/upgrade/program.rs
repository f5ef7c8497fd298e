//! The program that this process is of, as the operator started it.

use std::ffi::OsString;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use ops::handover::VARIABLE;
use ops::systemd::OURS_ALONE;

/// Where the program is and what it was told. What stands at that place later is another version of it.
#[derive(Debug, Clone)]
pub(crate) struct Program {
    path: PathBuf,
    arguments: Vec<OsString>,
    directory: PathBuf,
}

impl Program {
    /// That of this process; to be called at its start, before anybody puts another file there.
    ///
    /// # Errors
    /// The system does not know it.
    pub(crate) fn of_process() -> io::Result<Self> {
        let mut arguments = std::env::args_os();
        let called = arguments.next().map(PathBuf::from).unwrap_or_default();
        let directory = std::env::current_dir()?;
        let itself = std::env::current_exe()?;
        let path = named(&called, &directory, std::env::var_os("PATH"), &itself).unwrap_or(itself);
        Ok(Self { path, arguments: arguments.collect(), directory })
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Starts what stands there now, with `line` as its standard input.
    pub(super) fn start(&self, line: OwnedFd) -> io::Result<Child> {
        let mut command = Command::new(&self.path);
        command
            .args(&self.arguments)
            .current_dir(&self.directory)
            .env(VARIABLE, "1")
            .stdin(Stdio::from(line));
        for name in OURS_ALONE {
            command.env_remove(name);
        }
        command.spawn()
    }
}

/// The path by which the program was called: a link to the current version is still that when it leads to another one. None
/// if that can not be found out.
fn named(called: &Path, directory: &Path, path: Option<OsString>, itself: &Path) -> Option<PathBuf> {
    let same = |candidate: &PathBuf| {
        let identity = |path: &Path| std::fs::metadata(path).map(|it| (it.dev(), it.ino())).ok();
        identity(candidate).is_some_and(|there| Some(there) == identity(itself))
    };
    if called.components().count() > 1 {
        return Some(directory.join(called)).filter(same);
    }
    let path = path?;
    std::env::split_paths(&path).map(|folder| directory.join(folder).join(called)).find(same)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_link_to_the_program_stays_a_link() {
        let home = tempfile::tempdir().unwrap();
        let at = |name: &str| home.path().join(name);
        std::fs::create_dir_all(at("bin")).unwrap();
        std::fs::write(at("tunneld-1"), "1").unwrap();
        std::fs::write(at("other"), "2").unwrap();
        std::os::unix::fs::symlink(at("tunneld-1"), at("bin/tunneld")).unwrap();
        let itself = at("tunneld-1");
        let path = Some(OsString::from(format!("/nowhere:{}", at("bin").display())));
        let find = |called: &str| named(Path::new(called), home.path(), path.clone(), &itself);
        assert_eq!(find("bin/tunneld"), Some(at("bin/tunneld")));
        assert_eq!(find("tunneld"), Some(at("bin/tunneld")), "from the path");
        assert_eq!(find(&at("tunneld-1").display().to_string()), Some(at("tunneld-1")));
        assert_eq!(find("./other"), None, "not this program");
        assert_eq!(find("missing"), None);
    }
}
