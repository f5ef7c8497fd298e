//! The TLS configurations of both ends: version 1.3 only, ALPN `tunnel/1`, no resumption, AES-128-GCM first.

use std::sync::Arc;

use rustls::client::{Resumption, WantsClientCert};
use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::version::TLS13;
use rustls::{ClientConfig, ConfigBuilder, RootCertStore, ServerConfig, SupportedProtocolVersion};
use rustls_platform_verifier::Verifier;

use super::Trust;
use super::clients::ClientCertificate;
use super::trust::PinVerifier;
use super::wrong::tls_reason;

/// Why a TLS configuration can not be made.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// The library refused it: a key that does not fit its certificate, no usable root, …
    #[error("{}", tls_reason(.0))]
    Config(#[from] rustls::Error),
    /// No pins, or no roots: nobody could be trusted.
    #[error("nothing to trust the server by: give a join string with a pin, or a CA file")]
    NothingToTrust,
}

/// The cryptography of every link: aws-lc, with AES-128-GCM preferred, which costs least where the CPU has AES.
#[must_use]
pub fn provider() -> Arc<CryptoProvider> {
    let mut provider = aws_lc_rs::default_provider();
    provider.cipher_suites = vec![
        aws_lc_rs::cipher_suite::TLS13_AES_128_GCM_SHA256,
        aws_lc_rs::cipher_suite::TLS13_AES_256_GCM_SHA384,
        aws_lc_rs::cipher_suite::TLS13_CHACHA20_POLY1305_SHA256,
    ];
    Arc::new(provider)
}

/// A client that trusts by `trust` and nothing else.
///
/// # Errors
/// [`TlsError::NothingToTrust`] for an empty list; [`TlsError::Config`] if a root is unusable or the system has none.
pub fn client_config(trust: &Trust) -> Result<Arc<ClientConfig>, TlsError> {
    client_config_as(trust, None)
}

/// The same, which shows this certificate to a server that asks for one.
///
/// # Errors
/// As [`client_config`]; also if the key does not fit the certificate.
pub fn client_config_as(
    trust: &Trust,
    certificate: Option<ClientCertificate>,
) -> Result<Arc<ClientConfig>, TlsError> {
    let builder = trusting(trust, provider(), &[&TLS13])?;
    let mut config = match certificate {
        None => builder.with_no_client_auth(),
        Some(ClientCertificate { chain, key }) => builder.with_client_auth_cert(chain, key)?,
    };
    config.alpn_protocols = vec![protocol::handshake::ALPN.to_vec()];
    // A login is bound to a full handshake; sessions live for hours, so there is nothing to win by resuming.
    config.resumption = Resumption::disabled();
    Ok(Arc::new(config))
}

/// A client of these versions, of which nothing is said yet but whom it trusts.
pub(super) fn trusting(
    trust: &Trust,
    provider: Arc<CryptoProvider>,
    versions: &[&'static SupportedProtocolVersion],
) -> Result<ConfigBuilder<ClientConfig, WantsClientCert>, TlsError> {
    let builder = ClientConfig::builder_with_provider(provider.clone()).with_protocol_versions(versions)?;
    Ok(match trust {
        Trust::Pins(pins) if pins.is_empty() => return Err(TlsError::NothingToTrust),
        Trust::Roots(roots) if roots.is_empty() => return Err(TlsError::NothingToTrust),
        Trust::Pins(pins) => builder
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(PinVerifier::new(pins.clone(), provider))),
        Trust::Roots(roots) => {
            let mut store = RootCertStore::empty();
            for root in roots {
                store.add(root.clone())?;
            }
            builder.with_root_certificates(store)
        }
        Trust::System => {
            builder.dangerous().with_custom_certificate_verifier(Arc::new(Verifier::new(provider)?))
        }
    })
}

/// A server with this certificate chain (leaf first) and key.
///
/// # Errors
/// [`TlsError::Config`] if the key does not fit the certificate or is of an unknown kind.
pub fn server_config(
    chain: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
) -> Result<Arc<ServerConfig>, TlsError> {
    let config = ServerConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&TLS13])?
        .with_no_client_auth()
        .with_single_cert(chain, key)?;
    Ok(Arc::new(settled(config)))
}

/// What all servers of sessions have in common.
pub(super) fn settled(mut config: ServerConfig) -> ServerConfig {
    config.alpn_protocols = vec![protocol::handshake::ALPN.to_vec()];
    config.ignore_client_order = true;
    config.send_tls13_tickets = 0;
    config.max_early_data_size = 0;
    config
}
