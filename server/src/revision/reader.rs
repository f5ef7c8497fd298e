//! From a text to a document that could be used.

use std::path::Path;

use ops::config::Lack;
use ops::metrics::Metrics;
use policy::host::Host;
use proxy::plugin::{Kinds, Plugins};

use crate::admin::VERSION;
use crate::config::{self, Document};
use crate::settings::{Flags, Settings};

/// Reads texts as this process does: with its flags, its environment and its kinds of plugins.
#[derive(Clone)]
pub(crate) struct Reader {
    flags: Flags,
    kinds: Kinds,
}

/// A text that can not be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{report}")]
pub(crate) struct Unusable {
    /// All that is wrong.
    pub(crate) report: String,
    /// The first of it in one line, for logs.
    pub(crate) line: String,
}

impl Reader {
    /// A reader for a process with these flags.
    pub(crate) fn new(flags: Flags, kinds: Kinds) -> Self {
        Self { flags, kinds }
    }

    /// What `text` says; relative paths in it start at the folder of `path`. Everything is looked at that can be without
    /// touching the network; `lack` says what becomes of parts that lack a file or a variable. Blocks: other files are read
    /// too.
    ///
    /// # Errors
    /// All that is wrong.
    pub(crate) fn read(&self, path: &Path, text: &str, lack: Lack) -> Result<Document, Unusable> {
        // A domain that is none is reported with the other flags.
        let domain = self.flags.domain.as_deref().and_then(|text| Host::parse(text).ok());
        let env = |name: &str| std::env::var(name).ok();
        let document = config::interpret(path, text, domain.as_ref(), &self.kinds, &env, lack)
            .map_err(|error| Unusable { line: error.line(), report: error.to_string() })?;
        let all = |report: String| {
            let mut lines = report.lines();
            let first = format!("{}: {}", path.display(), lines.next().unwrap_or_default());
            let line = match lines.count() {
                0 => first,
                more => format!("{first} (and {more} more)"),
            };
            Unusable { report, line }
        };
        let none = Plugins::default();
        config::routing(&document, &none, &self.kinds, &Metrics::new(VERSION)).map_err(all)?;
        Settings::new(self.flags.clone(), document.clone()).map_err(|error| all(error.to_string()))?;
        Ok(document)
    }

    /// What the flags and `document` ask for together.
    ///
    /// # Errors
    /// All that is wrong with the flags.
    pub(crate) fn settings(&self, document: Document) -> Result<Settings, crate::settings::SettingsError> {
        Settings::new(self.flags.clone(), document)
    }
}

impl std::fmt::Debug for Reader {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Reader").field("flags", &self.flags).finish_non_exhaustive()
    }
}
