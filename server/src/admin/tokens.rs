//! Who may ask over TCP: tokens, of which only digests are kept.

use std::path::Path;
use std::sync::Arc;

use aws_lc_rs::constant_time::verify_slices_are_equal;
use ops::secret_file::{self, SecretFileError};
use protocol::service_name::is_name;
use transport::digest::sha256;

/// A shorter token could be guessed. Bytes.
const TOKEN_MIN: usize = 20;
/// A file with more tokens is the wrong one.
const TOKENS_MAX: usize = 256;

/// The tokens of one file, each with its name; by default none, so that nobody may ask.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Tokens(Vec<(Arc<str>, [u8; 32])>);

/// Why a file has no tokens. Nothing that stands in it is in the text.
#[derive(Debug, thiserror::Error)]
pub enum TokensError {
    /// The file can not be read, or somebody else could write it.
    #[error("{0}")]
    File(#[from] SecretFileError),
    /// A line is no token.
    #[error(
        "line {line} of {path}: write NAME:TOKEN, the token {TOKEN_MIN} or more visible characters, for example from `openssl rand -hex 32`"
    )]
    Line {
        /// Which, from 1.
        line: usize,
        /// The file.
        path: String,
    },
    /// Two lines have one name.
    #[error("line {line} of {path}: there is another token of that name; the log could not tell them apart")]
    Twice {
        /// The second, from 1.
        line: usize,
        /// The file.
        path: String,
    },
    /// There is none, or there are too many.
    #[error("{path} has {count} tokens: it takes 1 to {TOKENS_MAX}, a line each, NAME:TOKEN")]
    Count {
        /// How many there are.
        count: usize,
        /// The file.
        path: String,
    },
}

impl Tokens {
    /// Reads the secret file at `path`: a line `NAME:TOKEN` for each, empty lines and those with `#` in front between them.
    ///
    /// # Errors
    /// See [`TokensError`].
    pub fn read(path: &Path) -> Result<Self, TokensError> {
        let text = secret_file::read(path)?;
        let shown = || path.display().to_string();
        let mut tokens: Vec<(Arc<str>, [u8; 32])> = Vec::new();
        for (line, text) in (1..).zip(text.lines()) {
            let text = text.trim();
            if text.is_empty() || text.starts_with('#') {
                continue;
            }
            let (name, token) = text
                .split_once(':')
                .filter(|(name, token)| is_name(name) && is_token(token))
                .ok_or_else(|| TokensError::Line { line, path: shown() })?;
            if tokens.iter().any(|(known, _)| **known == *name) {
                return Err(TokensError::Twice { line, path: shown() });
            }
            tokens.push((name.into(), sha256(token.as_bytes())));
        }
        match tokens.len() {
            1..=TOKENS_MAX => Ok(Self(tokens)),
            count => Err(TokensError::Count { count, path: shown() }),
        }
    }

    /// The name of `token`. Every one is compared whole, so that the time says nothing of them.
    #[must_use]
    pub fn name(&self, token: &str) -> Option<Arc<str>> {
        let digest = sha256(token.as_bytes());
        let is_it = |known: &[u8; 32]| verify_slices_are_equal(known, &digest).is_ok();
        self.0.iter().fold(None, |found, (name, known)| if is_it(known) { Some(name.clone()) } else { found })
    }
}

fn is_token(text: &str) -> bool {
    text.len() >= TOKEN_MIN && text.bytes().all(|byte| byte.is_ascii_graphic())
}

#[cfg(test)]
mod tests {
    use super::*;

    const CI: &str = "0123456789abcdef0123456789abcdef";

    fn read(text: &str) -> Result<Tokens, String> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("tokens");
        std::fs::write(&path, text).unwrap();
        Tokens::read(&path).map_err(|error| error.to_string().replace(&path.display().to_string(), "FILE"))
    }

    #[test]
    fn a_token_has_its_name_and_nothing_else_has_one() {
        let tokens =
            read(&format!("# for machines\nci:{CI}\n\n ops.lan:another-token-of-some-length \n")).unwrap();
        assert_eq!(tokens.name(CI).as_deref(), Some("ci"));
        assert_eq!(tokens.name("another-token-of-some-length").as_deref(), Some("ops.lan"));
        for wrong in ["", "ci", &CI[1..], &format!("{CI}0"), &format!("ci:{CI}")] {
            assert_eq!(tokens.name(wrong), None, "{wrong}");
        }
        assert!(!format!("{tokens:?}").contains(CI));
    }

    #[test]
    fn what_is_no_list_of_tokens_is_refused_without_showing_it() {
        for (text, expected) in [
            (CI.to_owned(), "line 1 of FILE: write NAME:TOKEN"),
            ("ci:short".to_owned(), "line 1 of FILE"),
            (format!("ci:{CI}\nci:{CI}0"), "line 2 of FILE: there is another token of that name"),
            (format!("a b:{CI}"), "line 1 of FILE"),
            ("# nobody\n".to_owned(), "FILE has 0 tokens"),
        ] {
            let error = read(&text).unwrap_err();
            assert!(error.contains(expected) && !error.contains(CI), "{error}");
        }
        assert!(read("").unwrap_err().contains("is empty"));
    }
}
