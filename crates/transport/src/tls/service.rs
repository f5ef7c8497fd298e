//! TLS with a service, which is whatever software it is: versions 1.2 and 1.3.

use std::sync::Arc;

use rustls::ClientConfig;
use rustls::crypto::aws_lc_rs;
use rustls::version::{TLS12, TLS13};

use super::config::trusting;
use super::{TlsError, Trust};

/// A client that trusts a service by `trust` and nothing else, and offers the protocols `alpn`, best first.
///
/// # Errors
/// As [`client_config`](super::client_config).
pub fn service_config(trust: &Trust, alpn: &[&[u8]]) -> Result<Arc<ClientConfig>, TlsError> {
    let builder = trusting(trust, Arc::new(aws_lc_rs::default_provider()), &[&TLS13, &TLS12])?;
    let mut config = builder.with_no_client_auth();
    config.alpn_protocols = alpn.iter().map(|protocol| protocol.to_vec()).collect();
    Ok(Arc::new(config))
}
