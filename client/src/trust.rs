//! Whom this client takes for its server.

use std::path::{Path, PathBuf};

use protocol::join::JoinString;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::{self, PemObject};
use transport::tls::{Trust, pem_reason};

/// Why a CA file cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum TrustError {
    /// It cannot be read, or is no PEM.
    #[error("the CA file {}: {}", .path.display(), pem_reason(.error))]
    Read {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        #[source]
        error: pem::Error,
    },
    /// There is no certificate in it.
    #[error("the CA file {} has no certificate in it: it must be PEM, with -----BEGIN CERTIFICATE-----", .0.display())]
    Empty(PathBuf),
}

/// Pins of the join string decide; without one the CA file does, and without that the system.
///
/// # Errors
/// The CA file is needed and unusable.
pub fn of(join: &JoinString, ca_file: Option<&Path>) -> Result<Trust, TrustError> {
    match ca_file {
        _ if !join.pins.is_empty() => Ok(Trust::Pins(join.pins.clone())),
        None => Ok(Trust::System),
        Some(path) => {
            let failed = |error| TrustError::Read { path: path.to_owned(), error };
            let roots = CertificateDer::pem_file_iter(path).map_err(failed)?;
            let roots = roots.collect::<Result<Vec<_>, _>>().map_err(failed)?;
            if roots.is_empty() { Err(TrustError::Empty(path.to_owned())) } else { Ok(Trust::Roots(roots)) }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BARE: &str = "tunnel://me:AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA@h:1";

    #[test]
    fn a_pin_decides() {
        let pinned = format!("{BARE}?pin=sha256-AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA");
        let trust = of(&pinned.parse().unwrap(), Some(Path::new("/not/there"))).unwrap();
        assert!(matches!(trust, Trust::Pins(pins) if pins.len() == 1));
        assert!(matches!(of(&BARE.parse().unwrap(), None), Ok(Trust::System)));
    }

    #[test]
    fn a_bad_ca_file_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("ca.pem");
        let error = of(&BARE.parse().unwrap(), Some(&path)).unwrap_err().to_string();
        assert!(error.contains("ca.pem"), "{error}");
        std::fs::write(&path, "no PEM").unwrap();
        let error = of(&BARE.parse().unwrap(), Some(&path)).unwrap_err();
        assert!(matches!(error, TrustError::Empty(_)), "{error}");
    }
}
