//! The choice of runtimes.

use std::str::FromStr;

/// How tasks are laid out over threads.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Placement {
    /// One current-thread runtime per worker thread: a task stays on the worker it was spawned on.
    #[default]
    PerCore,
    /// One multi-thread runtime: every worker means "anywhere".
    MultiThread,
}

/// `TUNNEL_RUNTIME` holds something else than `percore` or `multi`.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("TUNNEL_RUNTIME is {0:?}; it must be percore or multi")]
pub struct UnknownPlacement(String);

impl Placement {
    /// The placement that `TUNNEL_RUNTIME` asks for (a switch for measurements), else the default.
    ///
    /// # Errors
    /// The variable is set to an unknown word.
    pub fn from_env() -> Result<Self, UnknownPlacement> {
        match std::env::var_os("TUNNEL_RUNTIME") {
            None => Ok(Self::default()),
            Some(word) => word.to_string_lossy().parse(),
        }
    }
}

impl FromStr for Placement {
    type Err = UnknownPlacement;

    fn from_str(word: &str) -> Result<Self, Self::Err> {
        match word {
            "percore" | "" => Ok(Self::PerCore),
            "multi" => Ok(Self::MultiThread),
            other => Err(UnknownPlacement(other.to_owned())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_words_are_known() {
        assert_eq!("percore".parse(), Ok(Placement::PerCore));
        assert_eq!("multi".parse(), Ok(Placement::MultiThread));
        assert!("Multi".parse::<Placement>().unwrap_err().to_string().contains("percore or multi"));
    }
}
