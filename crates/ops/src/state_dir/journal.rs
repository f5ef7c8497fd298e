//! A file of lines that grows by one at a time, and is bounded: when it is full it is put aside, and the oldest goes.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use parking_lot::Mutex;

use super::{FILE_MODE, StateDir, StateDirError, atomic};

/// A journal: `NAME`, and `NAME.1`, `NAME.2`, … from the newest to the oldest that were put aside.
#[derive(Debug)]
pub struct Journal {
    directory: PathBuf,
    path: PathBuf,
    /// When the file is put aside. Bytes.
    most: u64,
    /// How many are kept beside it.
    aside: u32,
    /// One line after the other.
    writing: Mutex<()>,
}

impl Journal {
    /// The journal `name` in `state`, whose file grows to `most` bytes and has `aside` older ones beside it.
    ///
    /// # Errors
    /// `name` is not a plain file name.
    pub fn new(state: &StateDir, name: &str, most: u64, aside: u32) -> Result<Self, StateDirError> {
        let (directory, path) = (state.path().to_owned(), state.plain(name)?);
        Ok(Self { directory, path, most, aside, writing: Mutex::new(()) })
    }

    /// Adds a line, which is on the disk when this returns. Blocks for as long as the disk does.
    ///
    /// # Errors
    /// It can not be written.
    pub fn append(&self, line: &str) -> Result<(), StateDirError> {
        let _writing = self.writing.lock();
        self.write(line).map_err(|error| StateDirError::Write { path: self.path.clone(), error })
    }

    /// All lines that are kept, the oldest first. Blocks for as long as the disk does.
    ///
    /// # Errors
    /// One of the files is there and can not be read.
    pub fn lines(&self) -> Result<Vec<String>, StateDirError> {
        let _writing = self.writing.lock();
        let mut lines = Vec::new();
        for age in (0..=self.aside).rev() {
            let path = self.aged(age);
            match fs::read(&path) {
                Ok(bytes) => lines.extend(String::from_utf8_lossy(&bytes).lines().map(str::to_owned)),
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(StateDirError::Read { path, error }),
            }
        }
        Ok(lines)
    }

    fn write(&self, line: &str) -> io::Result<()> {
        let length = fs::metadata(&self.path).map_or(0, |it| it.len());
        let more = u64::try_from(line.len()).unwrap_or(u64::MAX);
        if length > 0 && length.saturating_add(more) > self.most {
            self.put_aside()?;
        }
        let new = !self.path.exists();
        let mut file =
            OpenOptions::new().read(true).append(true).create(true).mode(FILE_MODE).open(&self.path)?;
        let before = if is_torn(&file)? { "\n" } else { "" };
        // One call: what is written at once is not torn by a process that dies.
        file.write_all(format!("{before}{line}\n").as_bytes())?;
        file.sync_data()?;
        if new { atomic::sync_directory(&self.directory) } else { Ok(()) }
    }

    fn put_aside(&self) -> io::Result<()> {
        if self.aside == 0 {
            return fs::remove_file(&self.path);
        }
        for age in (0..self.aside).rev() {
            match fs::rename(self.aged(age), self.aged(age.saturating_add(1))) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
        }
        Ok(())
    }

    fn aged(&self, age: u32) -> PathBuf {
        if age == 0 {
            return self.path.clone();
        }
        let name = self.path.file_name().unwrap_or_default();
        let mut name = name.to_owned();
        name.push(format!(".{age}"));
        Path::new(&self.directory).join(name)
    }
}

/// Whether the last line has no end, as after a power cut or on a full disk: the next one would become a part of it.
fn is_torn(file: &File) -> io::Result<bool> {
    let Some(at) = file.metadata()?.len().checked_sub(1) else { return Ok(false) };
    let mut last = [0];
    file.read_exact_at(&mut last, at)?;
    Ok(last != *b"\n")
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;
    use crate::state_dir::Program;

    fn state() -> (tempfile::TempDir, StateDir) {
        let temp = tempfile::tempdir().unwrap();
        let state = StateDir::resolve(Program::Tunneld, Some(temp.path().to_owned()), |_| None).unwrap();
        (temp, state)
    }

    #[test]
    fn it_keeps_the_newest_lines_and_stays_small() {
        let (temp, state) = state();
        let journal = Journal::new(&state, "audit.log", 64, 2).unwrap();
        assert!(journal.lines().unwrap().is_empty());
        for number in 0..100 {
            journal.append(&format!("line {number:03}")).unwrap();
        }
        let lines = journal.lines().unwrap();
        assert_eq!(lines.last().map(String::as_str), Some("line 099"));
        assert!((15..=24).contains(&lines.len()), "{}", lines.len());
        assert!(lines.is_sorted());
        let mut names: Vec<_> = fs::read_dir(temp.path())
            .unwrap()
            .map(|it| it.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        assert_eq!(names, ["audit.log", "audit.log.1", "audit.log.2"]);
        for name in names {
            let metadata = fs::metadata(temp.path().join(name)).unwrap();
            assert!(metadata.len() <= 64);
            assert_eq!(metadata.permissions().mode() & 0o777, 0o600);
        }
    }

    #[test]
    fn it_goes_on_after_a_restart_and_a_torn_line_costs_itself_alone() {
        let (temp, state) = state();
        Journal::new(&state, "audit.log", 1_000, 2).unwrap().append("one").unwrap();
        let mut file = OpenOptions::new().append(true).open(temp.path().join("audit.log")).unwrap();
        file.write_all(b"\xff torn").unwrap();
        let journal = Journal::new(&state, "audit.log", 1_000, 2).unwrap();
        journal.append("two").unwrap();
        let lines = journal.lines().unwrap();
        assert_eq!((lines.len(), lines[0].as_str(), lines[2].as_str()), (3, "one", "two"));
    }

    #[test]
    fn a_line_longer_than_the_file_is_written_all_the_same() {
        let (_temp, state) = state();
        let journal = Journal::new(&state, "audit.log", 8, 0).unwrap();
        journal.append("much longer than that").unwrap();
        journal.append("short").unwrap();
        assert_eq!(journal.lines().unwrap(), ["short"]);
        assert!(Journal::new(&state, "../x", 8, 0).is_err());
    }
}
