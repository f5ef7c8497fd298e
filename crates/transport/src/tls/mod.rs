//! TLS 1.3 for sessions (`spec/01`): configurations of both ends, and whom a client trusts. TLS to services, which may be
//! older. There is no way to skip verification.

mod clients;
mod config;
mod pin;
mod service;
mod trust;
mod wrong;

pub use clients::{Asked, ClientCertificate, asking_clients, check_clients, fingerprint, is_signed_by};
pub use config::{TlsError, client_config, client_config_as, provider, server_config};
pub use pin::spki_pin;
pub use service::service_config;
pub use trust::{PinMismatch, Trust};
pub use wrong::{pem_reason, tls_reason};

use rustls::ConnectionCommon;

/// The 32 bytes that bind a login to this TLS connection (RFC 8446 section 7.5, `spec/03`).
///
/// # Errors
/// The library's error, for instance before the handshake has ended.
pub fn exporter<Data>(connection: &ConnectionCommon<Data>) -> Result<[u8; 32], rustls::Error> {
    connection.export_keying_material([0; 32], protocol::handshake::EXPORTER_LABEL.as_bytes(), Some(&[]))
}
