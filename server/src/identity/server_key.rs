//! The key and certificate that clients know the server by: made at the first start, or put there by the operator.

use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use ops::state_dir::StateDir;
use protocol::join::Pin;
use rcgen::{CertificateParams, DnType, KeyPair};
use rustls::ServerConfig;
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use transport::tls::{pem_reason, server_config, spki_pin};
use x509_parser::certificate::X509Certificate;
use x509_parser::extensions::GeneralName;
use x509_parser::parse_x509_certificate;

use super::IdentityError;

/// The private key, PEM.
const KEY_FILE: &str = "tls.key";
/// The certificate chain, leaf first, PEM.
const CERTIFICATE_FILE: &str = "tls.crt";
/// The subject by which we know a certificate of our own making.
const COMMON_NAME: &str = "tunneld, self-signed";
/// How long before its end a certificate is worth a warning.
pub const NEAR: Duration = Duration::from_secs(21 * 24 * 3600);

/// What TLS and join strings need to know of the server's key.
#[derive(Debug)]
pub struct ServerKey {
    /// TLS with this key.
    pub tls: Arc<ServerConfig>,
    /// What clients check the key by.
    pub pin: Pin,
    /// When the certificate ends.
    pub expires: SystemTime,
}

impl ServerKey {
    /// The same key with a certificate for `names` (DNS names and IP addresses), and that certificate if it is not on the disk
    /// yet: nothing is written before [`NewCertificate::keep`].
    ///
    /// # Errors
    /// As [`Self::load_or_create`]; and a file that was there at the start is gone.
    pub fn for_names(
        state: &StateDir,
        names: &[String],
    ) -> Result<(Self, Option<NewCertificate>), IdentityError> {
        let missing = || {
            let (key, certificate) = (state.file(KEY_FILE), state.file(CERTIFICATE_FILE));
            IdentityError::KeyMissing { key, certificate }
        };
        let key = state.read_optional(KEY_FILE)?.ok_or_else(missing)?;
        if let Some(certificate) = state.read_optional(CERTIFICATE_FILE)? {
            let loaded = Self::from_pem(state, &key, &certificate)?;
            if !loaded.is_outdated(names) {
                return Ok((loaded.key, None));
            }
        }
        let (key, new) = Self::issue(state, &key_pair(state, &key)?, names)?;
        Ok((key, Some(new)))
    }

    /// Key and certificate of this state directory; both are made if there is neither. A certificate of our own making
    /// follows `names` (DNS names and IP addresses) with its key unchanged; one that an operator put there stays as it is.
    ///
    /// # Errors
    /// A file can not be read or written, only one of the two is there, or they do not fit each other.
    pub fn load_or_create(state: &StateDir, names: &[String]) -> Result<Self, IdentityError> {
        let path = |file: &str| state.file(file);
        let (key, certificate) = (state.read_optional(KEY_FILE)?, state.read_optional(CERTIFICATE_FILE)?);
        match (key, certificate) {
            (Some(key), Some(certificate)) => {
                let loaded = Self::from_pem(state, &key, &certificate)?;
                if loaded.is_outdated(names) {
                    return Self::issue_and_keep(state, &key_pair(state, &key)?, names);
                }
                Ok(loaded.key)
            }
            (None, None) => {
                let pair = KeyPair::generate().map_err(IdentityError::Generate)?;
                state.write_atomic(KEY_FILE, pair.serialize_pem().as_bytes())?;
                Self::issue_and_keep(state, &pair, names)
            }
            // A start that was cut between the two files, or a key that the operator brought alone.
            (Some(key), None) => Self::issue_and_keep(state, &key_pair(state, &key)?, names),
            (None, Some(_)) => {
                Err(IdentityError::KeyMissing { key: path(KEY_FILE), certificate: path(CERTIFICATE_FILE) })
            }
        }
    }

    /// How much longer the certificate is valid, if it ends within [`NEAR`]; zero if it has ended.
    #[must_use]
    pub fn ends_soon(&self, now: SystemTime) -> Option<Duration> {
        let left = self.expires.duration_since(now).unwrap_or_default();
        (left < NEAR).then_some(left)
    }

    fn issue_and_keep(state: &StateDir, pair: &KeyPair, names: &[String]) -> Result<Self, IdentityError> {
        let (key, new) = Self::issue(state, pair, names)?;
        new.keep(state)?;
        Ok(key)
    }

    fn issue(
        state: &StateDir,
        pair: &KeyPair,
        names: &[String],
    ) -> Result<(Self, NewCertificate), IdentityError> {
        let mut params = CertificateParams::new(names).map_err(IdentityError::Generate)?;
        params.distinguished_name.push(DnType::CommonName, COMMON_NAME);
        let certificate = params.self_signed(pair).map_err(IdentityError::Generate)?.pem();
        let key = Self::from_pem(state, pair.serialize_pem().as_bytes(), certificate.as_bytes())?.key;
        Ok((key, NewCertificate(certificate)))
    }

    fn from_pem(state: &StateDir, key: &[u8], certificate: &[u8]) -> Result<Loaded, IdentityError> {
        let key = PrivateKeyDer::from_pem_slice(key).map_err(|error| damaged(state, pem_reason(&error)))?;
        let unusable =
            |reason: String| IdentityError::Certificate { file: state.file(CERTIFICATE_FILE), reason };
        let chain: Vec<CertificateDer<'static>> = CertificateDer::pem_slice_iter(certificate)
            .collect::<Result<_, _>>()
            .map_err(|error| unusable(pem_reason(&error)))?;
        let leaf = chain.first().ok_or_else(|| unusable("it holds no certificate".to_owned()))?.clone();
        let (_, parsed) = parse_x509_certificate(&leaf)
            .map_err(|_| unusable("what is in it is no certificate (X.509), or damaged".to_owned()))?;
        let expires = parsed.validity().not_after.timestamp();
        let expires = u64::try_from(expires).map_or(UNIX_EPOCH, |s| UNIX_EPOCH + Duration::from_secs(s));
        let (ours, names) = (is_ours(&parsed), names_of(&parsed));
        let pin = spki_pin(&leaf).map_err(|error| unusable(error.to_string()))?;
        let tls = server_config(chain, key).map_err(|error| unusable(error.to_string()))?;
        Ok(Loaded { key: Self { tls, pin, expires }, ours, names })
    }
}

/// A certificate of the server's key that is not on the disk yet.
#[derive(Debug)]
#[must_use = "the next start makes another one"]
pub struct NewCertificate(String);

impl NewCertificate {
    /// Puts it in the place of the one before. Blocks.
    ///
    /// # Errors
    /// The state directory does not take it.
    pub fn keep(&self, state: &StateDir) -> Result<(), IdentityError> {
        Ok(state.write_atomic(CERTIFICATE_FILE, self.0.as_bytes())?)
    }
}

/// A key with what decides whether we may make its certificate anew.
struct Loaded {
    key: ServerKey,
    ours: bool,
    names: Vec<String>,
}

impl Loaded {
    fn is_outdated(&self, names: &[String]) -> bool {
        self.ours && !names.iter().all(|name| self.names.contains(name))
    }
}

fn key_pair(state: &StateDir, pem: &[u8]) -> Result<KeyPair, IdentityError> {
    std::str::from_utf8(pem)
        .map_err(|error| error.to_string())
        .and_then(|pem| KeyPair::from_pem(pem).map_err(|error| error.to_string()))
        .map_err(|reason| damaged(state, reason))
}

fn damaged(state: &StateDir, reason: String) -> IdentityError {
    let (file, certificate) = (state.file(KEY_FILE), state.file(CERTIFICATE_FILE));
    IdentityError::ServerKey { file, certificate, reason }
}

fn is_ours(certificate: &X509Certificate<'_>) -> bool {
    certificate.subject().iter_common_name().any(|name| name.as_str() == Ok(COMMON_NAME))
}

fn names_of(certificate: &X509Certificate<'_>) -> Vec<String> {
    let Ok(Some(extension)) = certificate.subject_alternative_name() else { return Vec::new() };
    extension.value.general_names.iter().filter_map(name_text).collect()
}

fn name_text(name: &GeneralName<'_>) -> Option<String> {
    match name {
        GeneralName::DNSName(name) => Some((*name).to_owned()),
        GeneralName::IPAddress(bytes) => match bytes.len() {
            4 => <[u8; 4]>::try_from(*bytes).ok().map(|ip| std::net::Ipv4Addr::from(ip).to_string()),
            _ => <[u8; 16]>::try_from(*bytes).ok().map(|ip| std::net::Ipv6Addr::from(ip).to_string()),
        },
        _ => None,
    }
}
