//! `[[certificate]]`: what visitors over TLS are shown.

use std::path::PathBuf;

use ops::config::{Problems, Section};

/// A certificate and its key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CertificateFiles {
    /// The chain, leaf first, PEM.
    pub cert: PathBuf,
    /// The private key, PEM.
    pub key: PathBuf,
}

pub(super) fn certificates(sections: Vec<Section<'_>>, problems: &mut Problems) -> Vec<CertificateFiles> {
    let read = |mut section: Section<'_>| {
        let cert = section.path("cert", problems);
        let key = section.path("key", problems);
        section.require("cert", "\"tls/example.pem\"", problems);
        section.require("key", "\"tls/example.key\"", problems);
        let span = section.span.clone();
        section.finish(&[], problems);
        let files = CertificateFiles { cert: cert?.value, key: key?.value };
        // A start with it would fail: `check` says so before.
        problems.check(span, crate::certificates::load(&files))?;
        Some(files)
    };
    sections.into_iter().filter_map(read).collect()
}
