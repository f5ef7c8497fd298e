//! What is wrong with keys and certificates, in words: the libraries say it in names of their own code, and in bytes.

use rustls_pki_types::pem;

/// What is wrong with a file in PEM form. Nothing that stands in it is in the text.
#[must_use]
pub fn pem_reason(error: &pem::Error) -> String {
    match error {
        pem::Error::Io(error) => error.to_string(),
        pem::Error::NoItemsFound => {
            "there is nothing in PEM form in it, as between -----BEGIN …----- and -----END …-----".to_owned()
        }
        pem::Error::MissingSectionEnd { .. } => "it is cut off: a line -----END …----- is missing".to_owned(),
        pem::Error::IllegalSectionStart { .. } => "a line -----BEGIN …----- in it is not whole".to_owned(),
        pem::Error::Base64Decode(_) => {
            "it is damaged: what stands between -----BEGIN …----- and -----END …----- is no base64".to_owned()
        }
        _ => "it is damaged, or no file in PEM form".to_owned(),
    }
}

/// What is wrong with a key or a certificate that is to be used.
#[must_use]
pub fn tls_reason(error: &rustls::Error) -> String {
    match error {
        rustls::Error::InconsistentKeys(_) => "the key does not belong to the certificate".to_owned(),
        rustls::Error::InvalidCertificate(error) => {
            format!("the certificate is damaged, or of a kind that is not known here ({error})")
        }
        rustls::Error::General(text) => text.clone(),
        error => error.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use rustls_pki_types::pem::PemObject;
    use rustls_pki_types::{CertificateDer, PrivateKeyDer};

    use super::*;

    #[test]
    fn what_is_wrong_is_said_in_words_and_without_what_stands_there() {
        let begin = "-----BEGIN PRIVATE KEY-----\n";
        for (text, words) in [
            (String::new(), "nothing in PEM form"),
            ("s3cret".to_owned(), "nothing in PEM form"),
            (format!("{begin}AAAA\n"), "cut off"),
            (format!("{begin}s3cret!\n-----END PRIVATE KEY-----\n"), "no base64"),
            ("-----BEGIN s3cret\n".to_owned(), "not whole"),
        ] {
            let said = pem_reason(&PrivateKeyDer::from_pem_slice(text.as_bytes()).unwrap_err());
            assert!(said.contains(words), "{text:?}: {said}");
            assert!(!said.contains("s3cret") && !said.contains('['), "{said}");
        }
        let missing = CertificateDer::from_pem_file("/not/there").unwrap_err();
        assert!(pem_reason(&missing).contains("No such file"), "{}", pem_reason(&missing));
        let mismatch = rustls::Error::InconsistentKeys(rustls::InconsistentKeys::KeyMismatch);
        assert_eq!(tls_reason(&mismatch), "the key does not belong to the certificate");
    }
}
