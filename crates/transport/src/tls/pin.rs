//! The pin of a certificate: SHA-256 over its SubjectPublicKeyInfo, so that it outlives a renewal with the same key
//! (RFC 7469 section 2.4).

use aws_lc_rs::digest::{SHA256, digest};
use protocol::join::Pin;
use rustls::pki_types::CertificateDer;
use x509_parser::parse_x509_certificate;

/// The pin of this certificate's key.
///
/// # Errors
/// `BadEncoding` if it is not a certificate.
pub fn spki_pin(certificate: &CertificateDer<'_>) -> Result<Pin, rustls::CertificateError> {
    let (_, parsed) =
        parse_x509_certificate(certificate).map_err(|_| rustls::CertificateError::BadEncoding)?;
    let hash = digest(&SHA256, parsed.public_key().raw);
    let hash = <[u8; 32]>::try_from(hash.as_ref()).map_err(|_| rustls::CertificateError::BadEncoding)?;
    Ok(Pin(hash))
}
