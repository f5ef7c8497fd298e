//! `[[certificate]]`: what visitors over TLS are shown.

use std::path::PathBuf;

use ops::config::{Problems, Section};

use crate::certificates::load;

/// A certificate and its key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CertificateFiles {
    /// The chain, leaf first, PEM.
    pub cert: PathBuf,
    /// The private key, PEM.
    pub key: PathBuf,
    /// Why these paths lead nowhere: a variable in them is not set.
    pub lacks: Option<String>,
}

impl CertificateFiles {
    /// Files whose paths are known.
    #[must_use]
    pub const fn new(cert: PathBuf, key: PathBuf) -> Self {
        Self { cert, key, lacks: None }
    }

    /// Whether `other` is of the same files.
    #[must_use]
    pub fn is(&self, other: &Self) -> bool {
        (&self.cert, &self.key) == (&other.cert, &other.key)
    }
}

pub(super) fn certificates(sections: Vec<Section<'_>>, problems: &mut Problems) -> Vec<CertificateFiles> {
    let read = |mut section: Section<'_>| {
        let span = section.span.clone();
        let (files, lacks) = problems.part(|problems| {
            let cert = section.path("cert", problems);
            let key = section.path("key", problems);
            section.require("cert", "\"tls/example.pem\"", problems);
            section.require("key", "\"tls/example.key\"", problems);
            section.finish(&[], problems);
            Some(CertificateFiles::new(cert?.value, key?.value))
        });
        let files = CertificateFiles { lacks, ..files? };
        // A start with it would fail, or do without it: `check` says so before.
        drop(problems.part(|problems| problems.check_lack(span, load(&files))));
        Some(files)
    };
    sections.into_iter().filter_map(read).collect()
}
