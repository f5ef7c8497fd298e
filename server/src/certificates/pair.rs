//! One certificate with its key.

use std::fs::Metadata;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use ops::secret_file::{self, SecretFileError};
use policy::host_pattern::HostPattern;
use rustls::crypto::aws_lc_rs;
use rustls::sign::CertifiedKey;
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use transport::tls::{pem_reason, tls_reason};
use x509_parser::certificate::X509Certificate;
use x509_parser::extensions::GeneralName;
use x509_parser::parse_x509_certificate;

use crate::config::CertificateFiles;

/// What the library says in other words.
const NO_CERTIFICATE: &str = "what is in it is no certificate (X.509), or damaged";

/// A certificate that can be shown.
#[derive(Debug)]
pub struct Pair {
    /// Chain and key.
    pub key: Arc<CertifiedKey>,
    /// What it is for.
    pub names: Vec<HostPattern>,
    /// When it ends.
    pub expires: SystemTime,
}

/// Why a certificate can not be used. Each names the file.
#[derive(Debug, thiserror::Error)]
pub enum CertificateError {
    /// Nobody can say where the files are.
    #[error("the certificate {}: {reason}", .path.display())]
    Lacks {
        /// As it is written.
        path: PathBuf,
        /// Which variable is missing.
        reason: String,
    },
    /// The file of the chain can not be read.
    #[error("cannot read the certificate {}: {error}", .path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system said.
        #[source]
        error: io::Error,
    },
    /// The file of the key can not be read, or is not ours alone.
    #[error(transparent)]
    Key(#[from] SecretFileError),
    /// No chain, no key, or none that is known here.
    #[error("{}: {reason}", .path.display())]
    Unusable {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// The two belong to different keys.
    #[error("the key {} does not belong to the certificate {}", .key.display(), .cert.display())]
    Mismatch {
        /// The key.
        key: PathBuf,
        /// The certificate.
        cert: PathBuf,
    },
    /// Its time is over.
    #[error("the certificate {} has expired", .0.display())]
    Expired(PathBuf),
}

impl CertificateError {
    /// Whether it may be gone though the files are as they were.
    pub(super) const fn may_pass(&self) -> bool {
        matches!(self, Self::Read { .. } | Self::Key(SecretFileError::Read { .. }))
    }
}

/// Reads the two files. One that has expired is read all the same.
///
/// # Errors
/// [`CertificateError`].
pub fn load(files: &CertificateFiles) -> Result<Pair, CertificateError> {
    let CertificateFiles { cert, key, lacks } = files;
    if let Some(reason) = lacks {
        return Err(CertificateError::Lacks { path: cert.clone(), reason: reason.clone() });
    }
    let chain = std::fs::read(cert).map_err(|error| CertificateError::Read { path: cert.clone(), error })?;
    let unusable = |path: &Path, reason: String| CertificateError::Unusable { path: path.to_owned(), reason };
    let chain: Vec<CertificateDer<'static>> = CertificateDer::pem_slice_iter(&chain)
        .collect::<Result<_, _>>()
        .map_err(|error| unusable(cert, pem_reason(&error)))?;
    let leaf = chain.first().ok_or_else(|| unusable(cert, "it holds no certificate".to_owned()))?.clone();
    let (_, parsed) = parse_x509_certificate(&leaf).map_err(|_| unusable(cert, NO_CERTIFICATE.to_owned()))?;
    let expires = u64::try_from(parsed.validity().not_after.timestamp()).unwrap_or(0);
    let expires = UNIX_EPOCH.checked_add(Duration::from_secs(expires)).unwrap_or(UNIX_EPOCH);
    let names = names_of(&parsed);
    let secret = secret_file::read(key)?;
    // The library's error may quote the file.
    let der = PrivateKeyDer::from_pem_slice(secret.as_bytes())
        .map_err(|_| unusable(key, "it holds no private key in PEM form".to_owned()))?;
    let certified = CertifiedKey::from_der(chain, der, &aws_lc_rs::default_provider());
    let certified = certified.map_err(|error| match error {
        rustls::Error::InconsistentKeys(_) => {
            CertificateError::Mismatch { key: key.clone(), cert: cert.clone() }
        }
        error => unusable(key, tls_reason(&error)),
    })?;
    Ok(Pair { key: Arc::new(certified), names, expires })
}

impl Pair {
    /// Itself, if it has not expired.
    pub(super) fn in_time(self, now: SystemTime, files: &CertificateFiles) -> Result<Self, CertificateError> {
        if self.expires > now { Ok(self) } else { Err(CertificateError::Expired(files.cert.clone())) }
    }
}

/// The DNS names of a certificate (RFC 6125 section 6.4).
fn names_of(certificate: &X509Certificate<'_>) -> Vec<HostPattern> {
    let Ok(Some(names)) = certificate.subject_alternative_name() else { return Vec::new() };
    let dns = names.value.general_names.iter().filter_map(|name| match name {
        GeneralName::DNSName(name) => HostPattern::parse(name).ok(),
        _ => None,
    });
    dns.collect()
}

/// Tells whether files have changed, without reading them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Stamp([Option<Mark>; 2]);

/// Of one file: device, inode, size, and the time of its last change, which its permissions have a part in.
type Mark = (u64, u64, u64, i64, i64);

impl Stamp {
    pub(super) fn of(files: &CertificateFiles) -> Self {
        // Follows links: what Kubernetes mounts changes by another link alone.
        let of = |path: &Path| std::fs::metadata(path).ok().as_ref().map(stamp);
        Self([of(&files.cert), of(&files.key)])
    }
}

fn stamp(metadata: &Metadata) -> Mark {
    (metadata.dev(), metadata.ino(), metadata.len(), metadata.ctime(), metadata.ctime_nsec())
}
