//! Certificates of clients: how a server asks for them, and how a client shows its own.

use std::sync::Arc;

use aws_lc_rs::digest::{SHA256, digest};
use rustls::pki_types::{CertificateDer, CertificateRevocationListDer, PrivateKeyDer};
use rustls::server::danger::ClientCertVerifier;
use rustls::server::{VerifierBuilderError, WebPkiClientVerifier};
use rustls::version::TLS13;
use rustls::{RootCertStore, ServerConfig};

use super::TlsError;
use super::config::{provider, settled};

/// Whether a client has to show a certificate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Asked {
    /// It may; one that it shows has to be good.
    May,
    /// Without a good one TLS fails.
    Must,
}

/// The certificate of a client, with its key.
#[derive(Debug, PartialEq, Eq)]
pub struct ClientCertificate {
    /// Leaf first.
    pub chain: Vec<CertificateDer<'static>>,
    /// The key of the leaf.
    pub key: PrivateKeyDer<'static>,
}

impl Clone for ClientCertificate {
    fn clone(&self) -> Self {
        Self { chain: self.chain.clone(), key: self.key.clone_key() }
    }
}

/// `server`, which asks its clients for a certificate that leads to one of these `roots`, and to no other: those of the
/// system are not among them. What stands on one of the lists `revoked`, which its CA has signed, is refused, the CAs between
/// as well; what no list is about is not, and a list counts also when its time is over. Of several lists of one name only the
/// first is asked, whoever of that name has signed it. A root is trusted whatever a list says.
///
/// # Errors
/// [`TlsError::NothingToTrust`] without a root; [`TlsError::Config`] if a root or a list is unusable.
pub fn asking_clients(
    server: &ServerConfig,
    roots: &[CertificateDer<'static>],
    revoked: Vec<CertificateRevocationListDer<'static>>,
    asked: Asked,
) -> Result<Arc<ServerConfig>, TlsError> {
    let config = ServerConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&TLS13])?
        .with_client_cert_verifier(verifier(roots, revoked, asked)?)
        .with_cert_resolver(server.cert_resolver.clone());
    Ok(Arc::new(settled(config)))
}

/// Whether clients could be asked by these, as by [`asking_clients`].
///
/// # Errors
/// The same.
pub fn check_clients(
    roots: &[CertificateDer<'static>],
    revoked: Vec<CertificateRevocationListDer<'static>>,
) -> Result<(), TlsError> {
    verifier(roots, revoked, Asked::Must).map(drop)
}

fn verifier(
    roots: &[CertificateDer<'static>],
    revoked: Vec<CertificateRevocationListDer<'static>>,
    asked: Asked,
) -> Result<Arc<dyn ClientCertVerifier>, TlsError> {
    let mut store = RootCertStore::empty();
    for root in roots {
        store.add(root.clone())?;
    }
    if store.is_empty() {
        return Err(TlsError::NothingToTrust);
    }
    let builder = WebPkiClientVerifier::builder_with_provider(Arc::new(store), provider())
        .with_crls(revoked)
        .allow_unknown_revocation_status();
    let builder = match asked {
        Asked::May => builder.allow_unauthenticated(),
        Asked::Must => builder,
    };
    builder.build().map_err(|error| match error {
        VerifierBuilderError::InvalidCrl(error) => rustls::Error::from(error).into(),
        _ => TlsError::NothingToTrust,
    })
}

/// Whether `signature` is that of `key` over `message`: the bits of a key as they stand in a certificate, by any algorithm that
/// TLS takes here.
#[must_use]
pub fn is_signed_by(key: &[u8], message: &[u8], signature: &[u8]) -> bool {
    let algorithms = provider().signature_verification_algorithms.all;
    algorithms.iter().any(|algorithm| algorithm.verify_signature(key, message, signature).is_ok())
}

/// The SHA-256 of a certificate, by which it is told from all others.
#[must_use]
pub fn fingerprint(certificate: &CertificateDer<'_>) -> [u8; 32] {
    let hash = digest(&SHA256, certificate);
    let mut fingerprint = [0; 32];
    // SHA-256 has 32 bytes; zip says so without a way to fail.
    fingerprint.iter_mut().zip(hash.as_ref()).for_each(|(to, from)| *to = *from);
    fingerprint
}
