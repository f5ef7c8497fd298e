//! Where the join string comes from: flag > environment > file > remembered.

use std::path::PathBuf;

use ops::secret_file::{self, SecretFileError};
use ops::state_dir::{StateDir, StateDirError};
use protocol::join::{JoinError, JoinString};

/// The file in the state directory that `tunnelc join` writes.
const REMEMBERED: &str = "join";

/// One place where a join string may be.
#[derive(Clone)]
pub enum JoinSource {
    /// `--join`.
    Flag(String),
    /// `--join-file`.
    File(PathBuf),
    /// `$TUNNEL_JOIN`.
    Environment(String),
    /// The key `join_file` of the configuration.
    Configured(PathBuf),
    /// What `tunnelc join` remembered in this state directory.
    Remembered(StateDir),
    /// The argument of `tunnelc join`.
    Argument(String),
    /// The standard input of `tunnelc join -`.
    Stdin(String),
}

/// A join string, and which place it came from, in words.
#[derive(Debug, Clone)]
pub struct Given {
    /// What was given.
    pub string: JoinString,
    /// Where: `--join`, a path, …
    pub origin: String,
}

/// Why there is no join string. Each says what to do; none shows the string.
#[derive(Debug, thiserror::Error)]
pub enum JoinSourceError {
    /// What is there is none.
    #[error("{origin}: {error}")]
    Wrong {
        /// Where.
        origin: String,
        /// What is wrong.
        #[source]
        error: JoinError,
    },
    /// The file cannot be read.
    #[error("{origin}: {error}")]
    Unreadable {
        /// Which option or key named the file.
        origin: &'static str,
        /// Why.
        #[source]
        error: SecretFileError,
    },
    /// Nothing was given and nothing is remembered.
    #[error(
        "no join string. `tunneld` prints one when it starts; give it with --join 'tunnel://…', --join-file FILE or \
         $TUNNEL_JOIN, or remember it with `tunnelc join 'tunnel://…'` (nothing is remembered in {})",
        .0.display()
    )]
    Nothing(PathBuf),
    /// The state directory cannot be read or written.
    #[error(transparent)]
    State(#[from] StateDirError),
}

impl JoinSource {
    /// The source that counts: `flag` > `environment` > `configured` > what `state` remembers. An empty variable counts
    /// as not set.
    #[must_use]
    pub fn first(
        flag: Option<Self>,
        environment: Option<String>,
        configured: Option<PathBuf>,
        state: &StateDir,
    ) -> Self {
        flag.or(environment.filter(|text| !text.is_empty()).map(Self::Environment))
            .or(configured.map(Self::Configured))
            .unwrap_or_else(|| Self::Remembered(state.clone()))
    }

    /// Reads what is there. Blocks for as long as the disk does.
    ///
    /// # Errors
    /// There is no join string there.
    pub fn read(self) -> Result<Given, JoinSourceError> {
        let (origin, text) = match self {
            Self::Flag(text) => ("--join".to_owned(), text),
            Self::Environment(text) => ("$TUNNEL_JOIN".to_owned(), text),
            Self::Argument(text) => ("the join string".to_owned(), text),
            Self::Stdin(text) => ("stdin".to_owned(), text),
            Self::File(path) => (path.display().to_string(), read_file("--join-file", &path)?),
            Self::Configured(path) => (path.display().to_string(), read_file("join_file", &path)?),
            Self::Remembered(state) => {
                let path = state.file(REMEMBERED);
                let Some(bytes) = state.read_optional(REMEMBERED)? else {
                    return Err(JoinSourceError::Nothing(path));
                };
                (path.display().to_string(), String::from_utf8_lossy(&bytes).into_owned())
            }
        };
        match text.parse() {
            Ok(string) => Ok(Given { string, origin }),
            Err(error) => Err(JoinSourceError::Wrong { origin, error }),
        }
    }
}

/// Remembers a join string in `state`, readable by its owner only; returns where.
///
/// # Errors
/// The directory or the file cannot be written.
pub fn remember(state: &StateDir, join: &JoinString) -> Result<PathBuf, JoinSourceError> {
    state.create()?;
    state.write_atomic(REMEMBERED, format!("{join}\n").as_bytes())?;
    Ok(state.file(REMEMBERED))
}

fn read_file(origin: &'static str, path: &std::path::Path) -> Result<String, JoinSourceError> {
    let text = secret_file::read(path).map_err(|error| JoinSourceError::Unreadable { origin, error })?;
    Ok(text.as_str().to_owned())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use ops::state_dir::Program;

    use super::*;

    const SECRET: &str = "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";

    fn join() -> String {
        format!("tunnel://me:{SECRET}@example.com:7443")
    }

    fn state(dir: &tempfile::TempDir) -> StateDir {
        StateDir::resolve(Program::Tunnelc, Some(dir.path().join("state")), |_| None).unwrap()
    }

    #[test]
    fn what_is_remembered_is_0600_and_comes_back() {
        let dir = tempfile::tempdir().unwrap();
        let state = state(&dir);
        let error = JoinSource::Remembered(state.clone()).read().unwrap_err().to_string();
        assert!(error.contains("--join 'tunnel://…'") && error.contains("tunnelc join"), "{error}");
        let path = remember(&state, &join().parse().unwrap()).unwrap();
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        let given = JoinSource::Remembered(state).read().unwrap();
        assert_eq!((given.string.to_string(), given.origin), (join(), path.display().to_string()));
    }

    #[test]
    fn flag_then_environment_then_file_then_remembered() {
        let dir = tempfile::tempdir().unwrap();
        let state = state(&dir);
        let flag = || Some(JoinSource::Flag("f".to_owned()));
        let env = || Some("e".to_owned());
        let file = || Some(PathBuf::from("c"));
        let first = |flag, env, file| JoinSource::first(flag, env, file, &state);
        assert!(matches!(first(flag(), env(), file()), JoinSource::Flag(_)));
        assert!(matches!(first(None, env(), file()), JoinSource::Environment(_)));
        assert!(matches!(first(None, Some(String::new()), file()), JoinSource::Configured(_)));
        assert!(matches!(first(None, None, None), JoinSource::Remembered(_)));
    }

    #[test]
    fn errors_name_the_place_and_never_the_secret() {
        let bad = format!("tunnel://me:{SECRET}@nowhere");
        for source in
            [JoinSource::Flag(bad.clone()), JoinSource::Environment(bad.clone()), JoinSource::Stdin(bad)]
        {
            let error = source.read().unwrap_err().to_string();
            assert!(error.contains("HOST:PORT") && !error.contains(SECRET), "{error}");
        }
        let error = JoinSource::File("/not/there".into()).read().unwrap_err().to_string();
        assert!(error.contains("--join-file") && error.contains("/not/there"), "{error}");
    }

    #[test]
    fn a_file_may_end_in_a_newline() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("join");
        std::fs::write(&path, format!("{}\n", join())).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
        assert_eq!(JoinSource::Configured(path).read().unwrap().string.to_string(), join());
    }
}
