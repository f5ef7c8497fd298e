//! An authority that makes certificates for clients.

use std::path::{Path, PathBuf};

use rcgen::{
    BasicConstraints, CertificateParams, CertificateRevocationListParams, CertifiedIssuer, DnType, IsCa,
    KeyIdMethod, KeyPair, RevokedCertParams, SanType, SerialNumber, date_time_ymd,
};
use rustls::pki_types::CertificateDer;

/// An authority, with its certificate in a file.
pub struct Authority {
    issuer: CertifiedIssuer<'static, KeyPair>,
}

impl std::fmt::Debug for Authority {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Authority")
    }
}

/// The files of a certificate.
#[derive(Debug, Clone)]
pub struct Files {
    /// The certificate.
    pub cert: PathBuf,
    /// Its key.
    pub key: PathBuf,
    /// Its SHA-256, in hexadecimal digits.
    pub fingerprint: String,
    /// What the authority calls it.
    pub serial: SerialNumber,
}

impl Authority {
    /// A new one, whose certificate is at `file`.
    pub fn at(file: &Path) -> Self {
        let mut params = CertificateParams::new(Vec::<String>::new()).unwrap();
        // Another one is told by its name already.
        params
            .distinguished_name
            .push(DnType::CommonName, format!("authority {:016x}", rand::random::<u64>()));
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let issuer = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
        std::fs::write(file, issuer.pem()).unwrap();
        Self { issuer }
    }

    /// Makes a certificate for this principal, valid from 2020 to the beginning of `until`, into `FOLDER/PRINCIPAL.*`.
    #[must_use]
    pub fn makes(&self, folder: &Path, principal: &str, until: i32) -> Files {
        let mut params = CertificateParams::new(Vec::<String>::new()).unwrap();
        params.subject_alt_names = vec![SanType::URI(format!("tunnel://{principal}").try_into().unwrap())];
        (params.not_before, params.not_after) = (date_time_ymd(2020, 1, 1), date_time_ymd(until, 1, 1));
        let serial = SerialNumber::from(rand::random::<u64>() >> 1);
        params.serial_number = Some(serial.clone());
        let pair = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&pair, &self.issuer).unwrap();
        let (cert, key) = (folder.join(format!("{principal}.pem")), folder.join(format!("{principal}.key")));
        std::fs::write(&cert, certificate.pem()).unwrap();
        std::fs::write(&key, pair.serialize_pem()).unwrap();
        Files { cert, key, fingerprint: fingerprint(certificate.der()), serial }
    }

    /// Writes its list of these revoked certificates, good until the beginning of `until`, in the place of what is at `file`.
    pub fn revokes(&self, file: &Path, revoked: &[&Files], until: i32) {
        let revoked = revoked.iter().map(|files| RevokedCertParams {
            serial_number: files.serial.clone(),
            revocation_time: date_time_ymd(2020, 6, 1),
            reason_code: None,
            invalidity_date: None,
        });
        let params = CertificateRevocationListParams {
            this_update: date_time_ymd(2020, 6, 1),
            next_update: date_time_ymd(until, 1, 1),
            crl_number: SerialNumber::from(1u64),
            issuing_distribution_point: None,
            revoked_certs: revoked.collect(),
            key_identifier_method: KeyIdMethod::Sha256,
        };
        let next = file.with_extension("next");
        std::fs::write(&next, params.signed_by(&self.issuer).unwrap().pem().unwrap()).unwrap();
        std::fs::rename(&next, file).unwrap();
    }
}

fn fingerprint(certificate: &CertificateDer<'_>) -> String {
    transport::tls::fingerprint(certificate)
        .iter()
        .map(|byte| format!("{byte:02X}"))
        .collect::<Vec<_>>()
        .join(":")
}
