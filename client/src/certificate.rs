//! The certificate that this client shows to its server, if that asks for one.

use std::path::{Path, PathBuf};

use ops::secret_file::{self, SecretFileError};
use rustls::pki_types::pem::{self, PemObject};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use transport::tls::{ClientCertificate, pem_reason};

/// Why it can not be used. Each names the file.
#[derive(Debug, thiserror::Error)]
pub enum CertificateError {
    /// The certificate cannot be read, or is no PEM.
    #[error("cert: {}: {}", .path.display(), pem_reason(.error))]
    Read {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        #[source]
        error: pem::Error,
    },
    /// There is no certificate in it.
    #[error("cert: {} has no certificate in it: it must be PEM, with -----BEGIN CERTIFICATE-----", .0.display())]
    Empty(PathBuf),
    /// The key cannot be read.
    #[error("key: {0}")]
    Key(#[from] SecretFileError),
    /// It is none.
    #[error("key: {}: {}", .path.display(), pem_reason(.error))]
    NoKey {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        #[source]
        error: pem::Error,
    },
}

/// Reads the certificate, leaf first, and its key. Blocks for as long as the disk does.
///
/// # Errors
/// [`CertificateError`].
pub fn read(certificate: &Path, key: &Path) -> Result<ClientCertificate, CertificateError> {
    let unreadable = |error| CertificateError::Read { path: certificate.to_owned(), error };
    let chain = CertificateDer::pem_file_iter(certificate).map_err(unreadable)?;
    let chain = chain.collect::<Result<Vec<_>, _>>().map_err(unreadable)?;
    if chain.is_empty() {
        return Err(CertificateError::Empty(certificate.to_owned()));
    }
    let text = secret_file::read(key)?;
    let parsed = PrivateKeyDer::from_pem_slice(text.as_bytes());
    let key = parsed.map_err(|error| CertificateError::NoKey { path: key.to_owned(), error })?;
    Ok(ClientCertificate { chain, key })
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn what_is_wrong_names_its_file() {
        let dir = tempfile::tempdir().unwrap();
        let path = |name: &str| dir.path().join(name);
        let write = |name: &str, text: &str| {
            std::fs::write(path(name), text).unwrap();
            std::fs::set_permissions(path(name), std::fs::Permissions::from_mode(0o600)).unwrap();
        };
        let pem = |kind: &str| format!("-----BEGIN {kind}-----\nAAAA\n-----END {kind}-----\n");
        write("good.pem", &pem("CERTIFICATE"));
        write("good.key", &pem("PRIVATE KEY"));
        write("none.pem", "x");
        write("none.key", "x");
        assert_eq!(read(&path("good.pem"), &path("good.key")).unwrap().chain.len(), 1);
        let wrong = |certificate, key| read(&path(certificate), &path(key)).unwrap_err().to_string();
        assert!(wrong("missing.pem", "good.key").contains("missing.pem"));
        assert!(wrong("none.pem", "good.key").contains("none.pem has no certificate"));
        assert!(wrong("good.pem", "missing.key").contains("missing.key"));
        let none = wrong("good.pem", "none.key");
        assert!(none.contains("none.key"), "{none}");
        std::fs::set_permissions(path("good.key"), std::fs::Permissions::from_mode(0o622)).unwrap();
        assert!(wrong("good.pem", "good.key").contains("chmod go-w"));
    }
}
