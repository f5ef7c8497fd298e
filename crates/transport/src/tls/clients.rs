//! Certificates of clients: how a server asks for them, and how a client shows its own.

use std::sync::Arc;

use aws_lc_rs::digest::{SHA256, digest};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::server::danger::ClientCertVerifier;
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
/// system are not among them.
///
/// # Errors
/// [`TlsError::NothingToTrust`] without a root; [`TlsError::Config`] if one is unusable.
pub fn asking_clients(
    server: &ServerConfig,
    roots: &[CertificateDer<'static>],
    asked: Asked,
) -> Result<Arc<ServerConfig>, TlsError> {
    let config = ServerConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&TLS13])?
        .with_client_cert_verifier(verifier(roots, asked)?)
        .with_cert_resolver(server.cert_resolver.clone());
    Ok(Arc::new(settled(config)))
}

fn verifier(
    roots: &[CertificateDer<'static>],
    asked: Asked,
) -> Result<Arc<dyn ClientCertVerifier>, TlsError> {
    let mut store = RootCertStore::empty();
    for root in roots {
        store.add(root.clone())?;
    }
    if store.is_empty() {
        return Err(TlsError::NothingToTrust);
    }
    let builder = WebPkiClientVerifier::builder_with_provider(Arc::new(store), provider());
    let builder = match asked {
        Asked::May => builder.allow_unauthenticated(),
        Asked::Must => builder,
    };
    // It can fail without a root only, and there is one.
    builder.build().map_err(|_| TlsError::NothingToTrust)
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
