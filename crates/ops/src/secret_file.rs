//! Secret files that we read (INTERFACE, "Where things are").

use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use zeroize::Zeroizing;

/// No secret is longer; whoever names a larger file named the wrong one. Bytes.
pub const MAX_LEN: usize = 64 * 1024;

/// Permission bits by which somebody else than the owner may write.
const WRITABLE_BY_OTHERS: u32 = 0o022;
const WORLD_READABLE: u32 = 0o004;

/// Why a secret file was not read. The file's content is in none of them.
#[derive(Debug, thiserror::Error)]
pub enum SecretFileError {
    /// The file cannot be read.
    #[error("cannot read the secret file {}: {error}", .path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system said.
        #[source]
        error: io::Error,
    },
    /// Somebody else could have put another secret there.
    #[error("the secret file {0} is writable by others; run: chmod go-w {0}", .path.display())]
    WritableByOthers {
        /// The file.
        path: PathBuf,
    },
    /// More than [`MAX_LEN`] bytes.
    #[error("{} is larger than {MAX_LEN} bytes: is it the right file?", .path.display())]
    TooLong {
        /// The file.
        path: PathBuf,
    },
    /// Not text.
    #[error("{} is not UTF-8 text: is it the right file?", .path.display())]
    NotText {
        /// The file.
        path: PathBuf,
    },
    /// Nothing but a newline.
    #[error("the secret file {} is empty", .path.display())]
    Empty {
        /// The file.
        path: PathBuf,
    },
}

/// Reads the secret in `path`, without its trailing newline. The text is wiped when dropped.
///
/// A world-readable file is warned of in the log, unless it is below `/run` or
/// `$CREDENTIALS_DIRECTORY`, where permissions of directories protect it. Permissions matter for
/// regular files only: a pipe belongs to whoever opened it. Blocks; meant for the start.
///
/// # Errors
/// See [`SecretFileError`].
pub fn read(path: &Path) -> Result<Zeroizing<String>, SecretFileError> {
    let failed = |error| SecretFileError::Read { path: path.to_owned(), error };
    let file = File::open(path).map_err(failed)?;
    let metadata = file.metadata().map_err(failed)?;
    if metadata.is_file() {
        let mode = metadata.permissions().mode();
        if mode & WRITABLE_BY_OTHERS != 0 {
            return Err(SecretFileError::WritableByOthers { path: path.to_owned() });
        }
        if mode & WORLD_READABLE != 0 && !is_sheltered(path) {
            tracing::warn!(
                "the secret file {0} is readable by everybody; run: chmod 600 {0}",
                path.display()
            );
        }
    }
    // Read into its final size: a growing buffer would leave copies behind.
    let mut bytes = Zeroizing::new(Vec::with_capacity(MAX_LEN + 1));
    file.take(MAX_LEN as u64 + 1).read_to_end(&mut bytes).map_err(failed)?;
    if bytes.len() > MAX_LEN {
        return Err(SecretFileError::TooLong { path: path.to_owned() });
    }
    let text = str::from_utf8(&bytes).map_err(|_| SecretFileError::NotText { path: path.to_owned() })?;
    let secret = text.strip_suffix('\n').map_or(text, |line| line.strip_suffix('\r').unwrap_or(line));
    if secret.is_empty() {
        return Err(SecretFileError::Empty { path: path.to_owned() });
    }
    Ok(Zeroizing::new(secret.to_owned()))
}

fn is_sheltered(path: &Path) -> bool {
    let real = path.canonicalize().unwrap_or_else(|_| path.to_owned());
    let credentials = std::env::var_os("CREDENTIALS_DIRECTORY").filter(|dir| !dir.is_empty());
    real.starts_with("/run")
        || credentials.is_some_and(|dir| {
            let dir = PathBuf::from(dir);
            real.starts_with(dir.canonicalize().unwrap_or(dir))
        })
}

#[cfg(test)]
mod tests {
    use std::fs::{self, Permissions};

    use super::*;

    fn file(content: &[u8], mode: u32) -> (tempfile::TempDir, PathBuf) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("secret");
        fs::write(&path, content).unwrap();
        fs::set_permissions(&path, Permissions::from_mode(mode)).unwrap();
        (dir, path)
    }

    #[test]
    fn one_trailing_newline_is_dropped() {
        for (content, secret) in
            [("s3", "s3"), ("s3\n", "s3"), ("s3\r\n", "s3"), ("s3\n\n", "s3\n"), (" s3 ", " s3 ")]
        {
            let (_dir, path) = file(content.as_bytes(), 0o600);
            assert_eq!(*read(&path).unwrap(), secret);
        }
    }

    #[test]
    fn writable_by_others_is_refused_and_readable_is_not() {
        for mode in [0o602, 0o620, 0o666] {
            let (_dir, path) = file(b"s3", mode);
            assert!(matches!(read(&path), Err(SecretFileError::WritableByOthers { .. })), "{mode:o}");
        }
        for mode in [0o400, 0o600, 0o640, 0o644] {
            let (_dir, path) = file(b"s3", mode);
            assert!(read(&path).is_ok(), "{mode:o}");
        }
    }

    #[test]
    fn what_is_no_secret_is_refused() {
        let (_dir, path) = file(b"\n", 0o600);
        assert!(matches!(read(&path), Err(SecretFileError::Empty { .. })));
        let (_dir, path) = file(b"\xff", 0o600);
        assert!(matches!(read(&path), Err(SecretFileError::NotText { .. })));
        let (dir, path) = file(&vec![b'x'; MAX_LEN + 1], 0o600);
        assert!(matches!(read(&path), Err(SecretFileError::TooLong { .. })));
        assert!(matches!(read(dir.path()), Err(SecretFileError::Read { .. })));
        assert!(matches!(read(&dir.path().join("none")), Err(SecretFileError::Read { .. })));
    }

    #[test]
    fn run_is_sheltered() {
        assert!(is_sheltered(Path::new("/run/credentials/x")));
        assert!(!is_sheltered(Path::new("/etc/x")));
    }
}
