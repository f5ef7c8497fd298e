//! What this version does not do yet, said instead of passed over.

use ops::config::Problems;

use super::document::Document;

/// Reports what the document asks for in vain.
pub(super) fn check(document: &Document, problems: &mut Problems) {
    for entrance in &document.tcp {
        problems.add(
            entrance.span.clone(),
            "`tcp` is not in this version: a port of a tunnel is, with `tunnelc tcp`",
        );
    }
    for passthrough in &document.tls {
        problems.add(passthrough.span.clone(), "`tls` is not in this version");
    }
}
