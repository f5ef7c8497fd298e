//! What the certificate of a client says: whose it is, and until when.

use std::fmt;
use std::str::FromStr;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use policy::principal::Principal;
use rustls_pki_types::CertificateDer;
use transport::digest::sha256;
use transport::tls::fingerprint;
use x509_parser::certificate::X509Certificate;
use x509_parser::extensions::GeneralName;
use x509_parser::parse_x509_certificate;

/// What names a principal in a URI of the certificate.
const SCHEME: &str = "tunnel://";

/// The SHA-256 of a certificate.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Fingerprint(pub [u8; 32]);

/// One certificate of one CA, as the CA calls it: by its own name and the certificate's number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Issued([u8; 32]);

/// The text is no fingerprint. Whoever wrote it is at fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a fingerprint is 64 hexadecimal digits, as `openssl x509 -noout -fingerprint -sha256` prints them")]
pub struct FingerprintError;

/// A certificate that a client has shown; that it leads to the right CA and that the client holds its key, TLS has
/// proved.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Certified {
    /// Whose it is.
    pub principal: Principal,
    /// Which.
    pub fingerprint: Fingerprint,
    /// Since when it is valid, in seconds since 1970.
    pub since: u64,
    /// Until when.
    pub until: SystemTime,
    /// It, and those that were shown with it.
    pub issued: Vec<Issued>,
}

/// A good certificate that logs nobody in. Who made it is at fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum UnnamedError {
    /// It can not be read, though TLS could.
    #[error("the certificate can not be read")]
    Unreadable,
    /// It has neither of the two names.
    #[error(
        "the certificate names no principal: give it the URI {SCHEME}NAME, or one DNS name, as its subjectAltName"
    )]
    Nobody,
    /// It has too many of them.
    #[error(
        "the certificate names several principals: its subjectAltName may have one URI {SCHEME}NAME, or one DNS name"
    )]
    Several,
    /// What stands there is no name of a principal.
    #[error(
        "the certificate names something that is no principal: a name has 1 to 64 letters, digits, '-', '_', '.' or '@'"
    )]
    NoName,
}

impl Issued {
    /// By the DER of the CA's name, and that of the number.
    #[must_use]
    pub fn new(issuer: &[u8], serial: &[u8]) -> Self {
        // The number can not be taken for a part of the name, which says how long it is.
        Self(sha256(&[issuer, serial].concat()))
    }

    fn of(certificate: &X509Certificate<'_>) -> Self {
        Self::new(certificate.issuer().as_raw(), certificate.raw_serial())
    }
}

impl Certified {
    /// What this certificate says, which was shown together with those of some CAs.
    ///
    /// # Errors
    /// [`UnnamedError`].
    pub fn of(
        certificate: &CertificateDer<'_>,
        between: &[CertificateDer<'_>],
    ) -> Result<Self, UnnamedError> {
        let (_, parsed) = parse_x509_certificate(certificate).map_err(|_| UnnamedError::Unreadable)?;
        let between = between.iter().filter_map(|it| parse_x509_certificate(it).ok());
        let validity = parsed.validity();
        let seconds = |at: i64| u64::try_from(at).unwrap_or(0);
        let until = UNIX_EPOCH.checked_add(Duration::from_secs(seconds(validity.not_after.timestamp())));
        Ok(Self {
            principal: principal(&parsed)?,
            fingerprint: Fingerprint(fingerprint(certificate)),
            since: seconds(validity.not_before.timestamp()),
            until: until.ok_or(UnnamedError::Unreadable)?,
            issued: [Issued::of(&parsed)].into_iter().chain(between.map(|(_, it)| Issued::of(&it))).collect(),
        })
    }
}

/// The name in a URI of ours; without one, the one DNS name. Never the subject: its text is anybody's.
fn principal(certificate: &X509Certificate<'_>) -> Result<Principal, UnnamedError> {
    let extension = certificate.subject_alternative_name().map_err(|_| UnnamedError::Unreadable)?;
    let names = extension.map_or(&[][..], |extension| extension.value.general_names.as_slice());
    let ours = names.iter().filter_map(|name| match name {
        GeneralName::URI(uri) => uri.strip_prefix(SCHEME),
        _ => None,
    });
    let dns = names.iter().filter_map(|name| match name {
        GeneralName::DNSName(name) => Some(*name),
        _ => None,
    });
    let (ours, dns): (Vec<_>, Vec<_>) = (ours.collect(), dns.collect());
    match (ours.as_slice(), dns.as_slice()) {
        ([name], _) | ([], [name]) => Principal::parse(name).map_err(|_| UnnamedError::NoName),
        ([], []) => Err(UnnamedError::Nobody),
        _ => Err(UnnamedError::Several),
    }
}

impl fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Fingerprint({self})")
    }
}

impl FromStr for Fingerprint {
    type Err = FingerprintError;

    fn from_str(text: &str) -> Result<Self, FingerprintError> {
        // As openssl writes it: capitals, and a colon between two bytes.
        let digits: Vec<u8> = text.bytes().filter(|byte| *byte != b':').collect();
        let (pairs, rest) = digits.as_chunks::<2>();
        let mut bytes = [0; 32];
        if !rest.is_empty() || pairs.len() != bytes.len() || !digits.iter().all(u8::is_ascii_hexdigit) {
            return Err(FingerprintError);
        }
        for (byte, pair) in bytes.iter_mut().zip(pairs) {
            let pair = std::str::from_utf8(pair).map_err(|_| FingerprintError)?;
            *byte = u8::from_str_radix(pair, 16).map_err(|_| FingerprintError)?;
        }
        Ok(Self(bytes))
    }
}

#[cfg(test)]
mod tests {
    use rcgen::{CertificateParams, KeyPair, SanType};

    use super::*;

    fn named(names: Vec<SanType>) -> Result<Certified, UnnamedError> {
        let mut params = CertificateParams::new(Vec::<String>::new()).unwrap();
        params.subject_alt_names = names;
        Certified::of(params.self_signed(&KeyPair::generate().unwrap()).unwrap().der(), &[])
    }

    fn uri(text: &str) -> SanType {
        SanType::URI(text.try_into().unwrap())
    }

    fn dns(text: &str) -> SanType {
        SanType::DnsName(text.try_into().unwrap())
    }

    #[test]
    fn the_uri_comes_before_the_name_and_neither_may_be_two() {
        let of = |names| named(names).map(|it| it.principal.to_string());
        assert_eq!(of(vec![uri("tunnel://edge-1")]).as_deref(), Ok("edge-1"));
        assert_eq!(of(vec![dns("edge.example.com"), uri("tunnel://edge-1")]).as_deref(), Ok("edge-1"));
        assert_eq!(of(vec![dns("edge.example.com"), uri("spiffe://x/y")]).as_deref(), Ok("edge.example.com"));
        assert_eq!(of(vec![uri("tunnel://a"), uri("tunnel://b")]), Err(UnnamedError::Several));
        assert_eq!(of(vec![dns("a.b"), dns("c.d")]), Err(UnnamedError::Several));
        assert_eq!(of(vec![uri("spiffe://x/y")]), Err(UnnamedError::Nobody));
        assert_eq!(of(vec![]), Err(UnnamedError::Nobody));
        for bad in ["tunnel://", "tunnel://a/b", "tunnel://*"] {
            assert_eq!(of(vec![uri(bad)]), Err(UnnamedError::NoName), "{bad}");
        }
        assert_eq!(
            Certified::of(&CertificateDer::from(vec![1, 2]), &[]).unwrap_err(),
            UnnamedError::Unreadable
        );
    }

    #[test]
    fn a_fingerprint_reads_as_openssl_writes_it() {
        let of = Fingerprint([0xAB; 32]);
        assert_eq!(of.to_string().parse(), Ok(of));
        assert_eq!(["AB"; 32].join(":").parse(), Ok(of));
        for text in ["", "ab", &"zz".repeat(32), &"ab".repeat(33), &format!("{}+1", "ab".repeat(31))] {
            assert_eq!(text.parse::<Fingerprint>(), Err(FingerprintError), "{text}");
        }
    }
}
