//! Lists of certificates that their CAs have revoked (CRLs, RFC 5280 section 5). TLS asks them at every handshake; who is in
//! already is looked for here.

use std::collections::{HashMap, HashSet};
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, CertificateRevocationListDer};
use transport::tls::is_signed_by;
use x509_parser::{parse_x509_certificate, parse_x509_crl};

use crate::identity::{Certified, Issued};

/// A longer file is the wrong one: that is room for some hundred thousand certificates.
const BYTES_MAX: u64 = 16 << 20;
/// What the DER form begins with, a sequence; no text does.
const DER: u8 = 0x30;

/// What the files say.
#[derive(Debug, Default)]
pub(crate) struct Revocations {
    files: Vec<ListFile>,
    revoked: HashSet<Issued>,
}

/// One file.
#[derive(Debug)]
struct ListFile {
    path: PathBuf,
    content: Vec<u8>,
    lists: Vec<CertificateRevocationListDer<'static>>,
    /// When the first of its lists is to be followed by another one.
    next: Option<SystemTime>,
}

/// Why a list can not be used. The operator's file is at fault.
#[derive(Debug, thiserror::Error)]
pub enum RevocationsError {
    /// It can not be read.
    #[error("{error}")]
    Read {
        /// What the system said.
        #[source]
        error: io::Error,
    },
    /// It is too long.
    #[error("it is longer than {} MiB, which no such list is", BYTES_MAX >> 20)]
    TooLong,
    /// There is no list in it, or what looks like one is none.
    #[error(
        "{reason}; it must be a list of revoked certificates (CRL), PEM with -----BEGIN X509 CRL----- or DER"
    )]
    NoList {
        /// What is wrong.
        reason: String,
    },
}

/// Which file can not be used, and why.
pub(crate) type Wrong = (PathBuf, RevocationsError);

impl Revocations {
    /// Reads the files. Blocks for as long as the disk does.
    pub(crate) fn read(paths: &[PathBuf]) -> Result<Self, Wrong> {
        Self::of(contents(paths)?)
    }

    /// What the files are by now; none if nothing has changed. Blocks for as long as the disk does.
    pub(crate) fn again(&self, paths: &[PathBuf]) -> Result<Option<Self>, Wrong> {
        let contents = contents(paths)?;
        let same =
            contents.iter().map(|(_, content)| content).eq(self.files.iter().map(|file| &file.content));
        if same { Ok(None) } else { Self::of(contents).map(Some) }
    }

    fn of(contents: Vec<(PathBuf, Vec<u8>)>) -> Result<Self, Wrong> {
        let mut all = Self::default();
        for (path, content) in contents {
            match lists(&content, &mut all.revoked) {
                Ok((lists, next)) => all.files.push(ListFile { path, content, lists, next }),
                Err(error) => return Err((path, error)),
            }
        }
        Ok(all)
    }

    /// All lists, as TLS takes them.
    pub(super) fn lists(&self) -> Vec<CertificateRevocationListDer<'static>> {
        self.files.iter().flat_map(|file| &file.lists).cloned().collect()
    }

    /// Those that TLS can ask about what these CAs have made. It takes the first of an issuer's name and holds it against the
    /// key that made the certificate: where that name has several lists, or several keys, it would refuse what is good. What
    /// stands on the others is found at the login.
    pub(super) fn clear(
        &self,
        roots: &[CertificateDer<'static>],
    ) -> Vec<CertificateRevocationListDer<'static>> {
        let lists = self.lists();
        let lists: Vec<_> =
            lists.iter().filter_map(|list| Some((list, parse_x509_crl(list).ok()?.1))).collect();
        let mut of_name: HashMap<&[u8], usize> = HashMap::new();
        for (_, list) in &lists {
            let count = of_name.entry(list.issuer().as_raw()).or_default();
            *count = count.saturating_add(1);
        }
        let roots: Vec<_> = roots.iter().filter_map(|root| parse_x509_certificate(root).ok()).collect();
        let is_clear = |name: &[u8]| {
            let named = roots.iter().filter(|(_, root)| root.subject().as_raw() == name);
            let keys: HashSet<_> = named.map(|(_, root)| root.public_key().raw).collect();
            of_name.get(name) == Some(&1) && keys.len() <= 1
        };
        let clear = lists.iter().filter(|(_, list)| is_clear(list.issuer().as_raw()));
        clear.map(|(list, _)| (*list).clone()).collect()
    }

    /// Those of these CAs that are on no list themselves: TLS does not look whether they are.
    pub(super) fn spared(&self, roots: &[CertificateDer<'static>]) -> Vec<CertificateDer<'static>> {
        let is_revoked = |root: &CertificateDer<'static>| {
            parse_x509_certificate(root).is_ok_and(|(_, root)| {
                self.revoked.contains(&Issued::new(root.issuer().as_raw(), root.raw_serial()))
            })
        };
        roots.iter().filter(|root| !is_revoked(root)).cloned().collect()
    }

    /// The lists of each file.
    pub(super) fn by_file(&self) -> impl Iterator<Item = (&Path, &[CertificateRevocationListDer<'static>])> {
        self.files.iter().map(|file| (file.path.as_path(), file.lists.as_slice()))
    }

    /// A file with a list that names one of these CAs, and that the CA has not signed: TLS would refuse every client of it.
    pub(super) fn forged(&self, roots: &[CertificateDer<'static>]) -> Option<&Path> {
        let roots: Vec<_> = roots.iter().filter_map(|root| parse_x509_certificate(root).ok()).collect();
        let is_forged = |list: &CertificateRevocationListDer<'static>| {
            let Ok((_, list)) = parse_x509_crl(list) else { return false };
            let name = list.issuer().as_raw();
            let mut named = roots.iter().filter(|(_, root)| root.subject().as_raw() == name).peekable();
            let (message, signature) = (list.tbs_cert_list.as_ref(), &list.signature_value.data);
            named.peek().is_some()
                && !named.any(|(_, root)| {
                    is_signed_by(&root.public_key().subject_public_key.data, message, signature)
                })
        };
        let file = self.files.iter().find(|file| file.lists.iter().any(is_forged));
        file.map(|file| file.path.as_path())
    }

    /// Whether one of the certificates that this client has shown is on a list.
    pub(super) fn have(&self, certified: &Certified) -> bool {
        certified.issued.iter().any(|issued| self.revoked.contains(issued))
    }

    /// When each file is to be followed by another one, as far as it says.
    pub(crate) fn next(&self) -> impl Iterator<Item = (&Path, Option<SystemTime>)> {
        self.files.iter().map(|file| (file.path.as_path(), file.next))
    }
}

fn contents(paths: &[PathBuf]) -> Result<Vec<(PathBuf, Vec<u8>)>, Wrong> {
    let read = |path: &PathBuf| match content(path) {
        Ok(content) => Ok((path.clone(), content)),
        Err(error) => Err((path.clone(), error)),
    };
    paths.iter().map(read).collect()
}

fn content(path: &Path) -> Result<Vec<u8>, RevocationsError> {
    let mut content = Vec::new();
    let read =
        File::open(path).and_then(|file| file.take(BYTES_MAX.saturating_add(1)).read_to_end(&mut content));
    match read {
        Ok(length) if u64::try_from(length).is_ok_and(|length| length <= BYTES_MAX) => Ok(content),
        Ok(_) => Err(RevocationsError::TooLong),
        Err(error) => Err(RevocationsError::Read { error }),
    }
}

/// The lists in a file, and when the first of them is to be followed by another one.
type Lists = (Vec<CertificateRevocationListDer<'static>>, Option<SystemTime>);

fn lists(content: &[u8], revoked: &mut HashSet<Issued>) -> Result<Lists, RevocationsError> {
    let no_list = |reason: &str| RevocationsError::NoList { reason: reason.to_owned() };
    let lists = match content.first() {
        Some(&DER) => vec![CertificateRevocationListDer::from(content.to_vec())],
        _ => CertificateRevocationListDer::pem_slice_iter(content)
            .collect::<Result<Vec<_>, _>>()
            .map_err(|error| RevocationsError::NoList { reason: error.to_string() })?,
    };
    if lists.is_empty() {
        return Err(no_list("there is no list in it"));
    }
    let mut first = None;
    for list in &lists {
        let Ok((&[], parsed)) = parse_x509_crl(list) else { return Err(no_list("it can not be read")) };
        let issuer = parsed.issuer().as_raw();
        revoked.extend(parsed.iter_revoked_certificates().map(|it| Issued::new(issuer, it.raw_serial())));
        let next = parsed.next_update().map(|at| u64::try_from(at.timestamp()).unwrap_or(0));
        let next = next.and_then(|at| UNIX_EPOCH.checked_add(Duration::from_secs(at)));
        first = [first, next].into_iter().flatten().min();
    }
    Ok((lists, first))
}
