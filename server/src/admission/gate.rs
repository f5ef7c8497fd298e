//! What the door asks of a client, and who it turns out to be.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::SystemTime;

use policy::principal::Principal;
use protocol::handshake::CERTIFICATE;
use protocol::id::CredentialId;
use rustls::ServerConfig;
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::{self, PemObject};
use tokio_rustls::TlsAcceptor;
use transport::handshake::Incoming;
use transport::tls::{Asked, TlsError, asking_clients, check_clients, pem_reason};

use super::revocations::{Revocations, RevocationsError};
use crate::config::{Auth, Clients};
use crate::identity::{Admit, Certified, Means, Refusal, Store};

/// What it asks: replaced as a whole, for the logins that begin then.
pub(super) struct Gate {
    pub(super) tls: TlsAcceptor,
    /// TLS with the server's key, which asks for no certificate.
    server: Arc<ServerConfig>,
    auth: Auth,
    /// What certificates are checked by, if any are.
    checks: Option<Checks>,
    /// What is wrong with the file of the CA.
    pub(super) lacks: Option<String>,
}

/// By what certificates of clients are checked.
#[derive(Clone)]
struct Checks {
    clients: Clients,
    /// What was in its file; empty where it never could be used, so that none is good.
    roots: Vec<CertificateDer<'static>>,
    /// Those of them that are on no list.
    trusted: Vec<CertificateDer<'static>>,
    revocations: Arc<Revocations>,
}

impl Checks {
    fn read(clients: &Clients) -> Result<Self, GateError> {
        let revocations = Arc::new(Revocations::read(&clients.crls).map_err(unusable)?);
        Ok(Self::of(clients, read(clients)?, revocations))
    }

    fn of(clients: &Clients, roots: Vec<CertificateDer<'static>>, revocations: Arc<Revocations>) -> Self {
        let trusted = revocations.spared(&roots);
        Self { clients: clients.clone(), roots, trusted, revocations }
    }

    /// What no client could be asked by: TLS does not take it, or would refuse all of them.
    fn proved(self) -> Result<Self, GateError> {
        if let Some(path) = self.revocations.forged(&self.roots) {
            return Err(GateError::Forged(path.to_owned()));
        }
        let by = |lists| check_clients(&self.roots, lists);
        let Err(error) = by(self.revocations.lists()) else { return Ok(self) };
        // One of the files, which can be told from the others by trying.
        let wrong = self
            .revocations
            .by_file()
            .find_map(|(path, lists)| Some((path.to_owned(), by(lists.to_vec()).err()?)));
        Err(match wrong {
            Some((path, error)) if by(Vec::new()).is_ok() => GateError::List { path, error },
            _ => GateError::Roots { path: self.clients.ca.clone(), error },
        })
    }

    /// Whether nothing is left to trust, though there were certificates in the file.
    fn is_revoked(&self) -> bool {
        self.trusted.is_empty() && !self.roots.is_empty()
    }
}

/// Looks at what certificates of clients would be checked by: the lists of revoked ones, each with when it is to be followed by
/// another one. Blocks for as long as the disk does.
///
/// # Errors
/// [`GateError`].
pub fn lists(clients: &Clients) -> Result<Vec<(PathBuf, Option<SystemTime>)>, GateError> {
    let checks = Checks::read(clients)?.proved()?;
    if checks.is_revoked() {
        return Err(GateError::Revoked(clients.ca.clone()));
    }
    Ok(checks.revocations.next().map(|(path, next)| (path.to_owned(), next)).collect())
}

/// A gate that could be used.
pub struct NewGate(pub(super) Gate);

impl std::fmt::Debug for NewGate {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("NewGate").field("auth", &self.0.auth).finish_non_exhaustive()
    }
}

/// Why clients can not be asked for certificates. The operator's file is at fault.
#[derive(Debug, thiserror::Error)]
pub enum GateError {
    /// It can not be read, or is no PEM.
    #[error("listen.tunnel: the client_ca {}: {}", .path.display(), pem_reason(.error))]
    Read {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        #[source]
        error: pem::Error,
    },
    /// What is in it can not be trusted.
    #[error("listen.tunnel: the client_ca {}: {error}", .path.display())]
    Roots {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        #[source]
        error: TlsError,
    },
    /// Nobody can say where it is.
    #[error("listen.tunnel: the client_ca {}: {reason}", .path.display())]
    Lacks {
        /// As it is written.
        path: PathBuf,
        /// Which variable is missing.
        reason: String,
    },
    /// A list of revoked certificates can not be used.
    #[error("listen.tunnel: the client_crl {}: {error}", .path.display())]
    Revocations {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        #[source]
        error: RevocationsError,
    },
    /// A list of revoked certificates can be read, but TLS does not take it.
    #[error("listen.tunnel: the client_crl {}: {error}; take a complete list of version 2, which the CA has signed", .path.display())]
    List {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        #[source]
        error: TlsError,
    },
    /// A list says that it is of a CA that has not signed it.
    #[error("listen.tunnel: the client_crl {} is not signed by the CA of client_ca that it names; put the CA's own list there", .0.display())]
    Forged(PathBuf),
    /// Its own certificates are revoked, all of them.
    #[error("listen.tunnel: the client_ca {} holds only certificates that a list of client_crl revokes; put another CA there", .0.display())]
    Revoked(PathBuf),
    /// There is nothing in it.
    #[error("listen.tunnel: the client_ca {} has no certificate in it: it must be PEM, with -----BEGIN CERTIFICATE-----", .0.display())]
    Empty(PathBuf),
}

/// A client that is who it says.
pub(super) struct Authenticated {
    pub(super) principal: Principal,
    pub(super) means: Means,
    /// When the first of it ends.
    pub(super) expires: Option<SystemTime>,
    /// The credential that is to be bound to this client before it is let in.
    pub(super) bind: Option<CredentialId>,
}

impl Gate {
    /// The gate of a server with this certificate, which asks for a key alone.
    pub(super) fn by_key(server: Arc<ServerConfig>) -> Self {
        Self { tls: server.clone().into(), server, auth: Auth::Key, checks: None, lacks: None }
    }

    /// The same, which asks for what its configuration says. Blocks for as long as the disk does.
    pub(super) fn new(server: Arc<ServerConfig>, clients: Option<&Clients>) -> Result<Self, GateError> {
        match clients {
            None => Ok(Self::by_key(server)),
            Some(clients) => Self::checking(server, Checks::read(clients)?),
        }
    }

    /// The same where the files of the CA can not be used: certificates are checked as they were `before`, if that was by the
    /// same files, or else none is good.
    pub(super) fn lacking(
        server: Arc<ServerConfig>,
        clients: &Clients,
        before: &Self,
        error: &GateError,
    ) -> Result<Self, GateError> {
        let known = before.checks.as_ref().filter(|checks| checks.clients == *clients);
        let gate = match known.filter(|checks| !checks.trusted.is_empty()) {
            Some(checks) => Self::checking(server, checks.clone())?,
            None => {
                let checks = Checks::of(clients, Vec::new(), Arc::default());
                Self { auth: clients.auth, checks: Some(checks), ..Self::by_key(server) }
            }
        };
        Ok(Self { lacks: Some(error.to_string()), ..gate })
    }

    /// Whether there is nothing to check a certificate by.
    pub(super) fn can_not_check(&self) -> bool {
        self.checks.as_ref().is_some_and(|checks| checks.trusted.is_empty())
    }

    /// Why that is so, if it is the lists that leave nothing.
    pub(super) fn revoked(&self) -> Option<String> {
        let checks = self.checks.as_ref().filter(|checks| checks.is_revoked())?;
        Some(GateError::Revoked(checks.clients.ca.clone()).to_string())
    }

    fn checking(server: Arc<ServerConfig>, checks: Checks) -> Result<Self, GateError> {
        let checks = checks.proved()?;
        let Checks { clients, trusted, revocations, .. } = &checks;
        let auth = clients.auth;
        let asked = match auth {
            Auth::Key => return Ok(Self::by_key(server)),
            Auth::Either => Asked::May,
            Auth::Certificate | Auth::Both => Asked::Must,
        };
        if trusted.is_empty() {
            return Ok(Self { auth, checks: Some(checks), ..Self::by_key(server) });
        }
        let asking = asking_clients(&server, trusted, revocations.clear(trusted), asked)
            .map_err(|error| GateError::Roots { path: clients.ca.clone(), error })?;
        Ok(Self { tls: asking.into(), server, auth, checks: Some(checks), lacks: None })
    }

    /// The same with what is in the files of its CA by now; none if that is what was. Blocks for as long as the disk does.
    pub(super) fn again(&self) -> Option<Result<Self, GateError>> {
        let Checks { clients, roots, revocations, .. } = self.checks.as_ref()?;
        let (new_roots, new_revocations) =
            match (read(clients), revocations.again(&clients.crls).map_err(unusable)) {
                (Ok(same), Ok(None)) if same == *roots => return None,
                (Ok(new), Ok(lists)) => (new, lists),
                (Err(error), _) | (_, Err(error)) => return Some(Err(error)),
            };
        let revocations = new_revocations.map_or_else(|| revocations.clone(), Arc::new);
        let checks = Checks::of(clients, new_roots, revocations);
        Some(Self::checking(self.server.clone(), checks))
    }

    /// Whether one of these means is a certificate that its CA has revoked.
    pub(super) fn has_revoked(&self, means: &Means) -> bool {
        let (Some(checks), Some(certified)) = (&self.checks, &means.certificate) else { return false };
        checks.revocations.have(certified)
    }

    /// The files with lists of revoked certificates whose time is over at `now`, and when it was.
    pub(super) fn overdue(&self, now: SystemTime) -> Vec<(PathBuf, SystemTime)> {
        let all = self.checks.iter().flat_map(|checks| checks.revocations.next());
        let over = all
            .filter_map(|(path, next)| next.filter(|next| *next <= now).map(|next| (path.to_owned(), next)));
        over.collect()
    }

    /// TLS with the server's key, whatever is asked of clients.
    pub(super) fn server(&self) -> Arc<ServerConfig> {
        self.server.clone()
    }

    /// Who this client is, at `now`.
    ///
    /// # Errors
    /// [`Refusal`].
    pub(super) fn authenticate(
        &self,
        incoming: &Incoming,
        identity: &Store,
        now: SystemTime,
    ) -> Result<Authenticated, Refusal> {
        let hello = incoming.hello();
        let by_key = || -> Result<Authenticated, Refusal> {
            let (message, client) = (incoming.login_message(), hello.client);
            let proved = identity.prove(&hello.credential, message, &hello.proof, client, now)?;
            Ok(Authenticated {
                principal: proved.credential.principal.0.clone(),
                expires: proved.credential.ends(),
                bind: (proved.admit == Admit::Bind).then(|| hello.credential.clone()),
                means: Means::of_key(hello.credential.clone()),
            })
        };
        let by_certificate = |(shown, between): Shown<'_>| -> Result<Authenticated, Refusal> {
            let certified = Certified::of(shown, between)?;
            // TLS asks no list where it could ask the wrong one.
            if self.checks.as_ref().is_some_and(|checks| checks.revocations.have(&certified)) {
                return Err(Refusal::CertificateRevoked);
            }
            identity.book().certified(&certified)?;
            Ok(Authenticated {
                principal: certified.principal.clone(),
                expires: Some(certified.until),
                bind: None,
                means: Means { key: None, certificate: Some(certified) },
            })
        };
        match (self.auth, incoming.certificates().split_first()) {
            (Auth::Certificate | Auth::Both, _) if self.can_not_check() => {
                Err(Refusal::Unchecked { denied: false })
            }
            // Who meant to come with a certificate was not asked for it.
            (Auth::Either, _) if self.can_not_check() => by_key().map_err(|refusal| match refusal {
                // Whoever has no key says so.
                Refusal::Denied => Refusal::Unchecked { denied: hello.credential.as_str() != CERTIFICATE },
                refusal => refusal,
            }),
            (Auth::Key, _) | (Auth::Either, None) => by_key(),
            (Auth::Certificate | Auth::Either, Some(shown)) => by_certificate(shown),
            (Auth::Both, Some(shown)) => {
                // The key first: what is wrong with a certificate is nobody else's to hear.
                let (key, certificate) = (by_key()?, by_certificate(shown)?);
                if key.principal != certificate.principal {
                    return Err(Refusal::OtherPrincipal);
                }
                let ends = [key.expires, certificate.expires].into_iter().flatten().min();
                let means = Means { certificate: certificate.means.certificate, ..key.means };
                Ok(Authenticated { expires: ends, means, ..key })
            }
            // TLS does not let it come so far.
            (Auth::Certificate | Auth::Both, None) => Err(Refusal::NoCertificate),
        }
    }
}

/// The certificate of a client, and those of the CAs between it and the root.
type Shown<'a> = (&'a CertificateDer<'static>, &'a [CertificateDer<'static>]);

fn unusable((path, error): (PathBuf, RevocationsError)) -> GateError {
    GateError::Revocations { path, error }
}

/// The certificates in the file of the CA, of which there is at least one.
fn read(clients: &Clients) -> Result<Vec<CertificateDer<'static>>, GateError> {
    let Clients { ca, lacks, .. } = clients;
    if let Some(reason) = lacks {
        return Err(GateError::Lacks { path: ca.clone(), reason: reason.clone() });
    }
    let unreadable = |error| GateError::Read { path: ca.clone(), error };
    let roots = CertificateDer::pem_file_iter(ca).map_err(unreadable)?;
    let roots = roots.collect::<Result<Vec<_>, _>>().map_err(unreadable)?;
    if roots.is_empty() { Err(GateError::Empty(ca.clone())) } else { Ok(roots) }
}
