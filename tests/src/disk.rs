//! A disk of one MiB that can be full and read-only, seen by the programs that run on it alone.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::program::Program;
use crate::wait::SOON;

/// What a disk holds, in bytes.
const SIZE: u64 = 1 << 20;

/// A disk over a folder. It goes with what runs on it.
#[derive(Debug)]
pub struct Disk {
    folder: PathBuf,
    holder: Program,
}

impl Disk {
    /// An empty disk over `folder`. None, with a line that says so, where the kernel lets this process mount nothing.
    pub async fn over(folder: &Path) -> Option<Self> {
        let mount = format!("mount -t tmpfs -o size={SIZE},mode=700 tmpfs \"$0\"");
        let refused = run(Command::new("unshare").args(["-m", "sh", "-c", &mount]).arg(folder)).err();
        if let Some(refused) = refused {
            #[expect(clippy::print_stderr, reason = "who runs the tests shall know what was not tested")]
            {
                eprintln!("SKIPPED: nothing can be mounted here: {}", refused.trim());
            }
            return None;
        }
        let mut command = Command::new("unshare");
        let hold = format!("{mount} && echo mounted && exec sleep 1d");
        command.args(["-m", "sh", "-c", &hold]).arg(folder);
        let holder = Program::start(command);
        holder.says("mounted", SOON).await;
        Some(Self { folder: folder.to_owned(), holder })
    }

    /// What runs a program that sees the disk; see [`crate::program::inside`].
    #[must_use]
    pub fn wrapper(&self) -> Vec<String> {
        ["nsenter", "-t", &self.holder.pid().to_string(), "-m", "--"].map(str::to_owned).to_vec()
    }

    /// Takes all the room that is left.
    pub fn fill(&self) {
        // It fails when there is no room left, as it should.
        let _ = self.shell("cat /dev/zero > \"$0/filling\"");
        assert!(self.shell("echo more > \"$0/more\"").is_err(), "there is room left");
    }

    /// Gives it back.
    pub fn clear(&self) {
        self.shell("rm \"$0/filling\" \"$0/more\"").unwrap();
    }

    /// Nothing can be written from now on, by its name.
    pub fn protect(&self) {
        // Over itself: a disk on which somebody has a file open to write can not be made read-only.
        self.shell("mount --bind \"$0\" \"$0\" && mount -o remount,ro,bind \"$0\"").unwrap();
    }

    /// Everything can be written again.
    pub fn release(&self) {
        self.shell("umount \"$0\"").unwrap();
    }

    fn shell(&self, script: &str) -> Result<(), String> {
        let wrapper = self.wrapper();
        run(Command::new(&wrapper[0]).args(&wrapper[1..]).args(["sh", "-c", script]).arg(&self.folder))
    }
}

fn run(command: &mut Command) -> Result<(), String> {
    let done = command.stdout(Stdio::null()).output().map_err(|error| error.to_string())?;
    if done.status.success() { Ok(()) } else { Err(String::from_utf8_lossy(&done.stderr).into_owned()) }
}
