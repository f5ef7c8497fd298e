//! One connection, from its first byte to its session: TLS, `Hello`, and the decision.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use ops::metrics::GuardReason;
use ops::spawn::Worker;
use ops::state_dir::StateDirError;
use policy::admission::Busy;
use policy::throttle::Banned;
use protocol::control::CloseReason;
use protocol::handshake::{Features, Hello, PeerLimits, Reject, RejectCode, Welcome};
use protocol::id::{CredentialId, InstanceId, Slot};
use tokio::net::TcpStream;
use transport::handshake::{HandshakeError, Incoming};
use transport::session::Inbound;

use super::gate::{Authenticated, Gate};
use super::lobby::Place;
use super::{Door, REVOKED};
use crate::identity::{Change, Refusal};
use crate::registry::{Admitted, DRAIN, OverQuota};
use crate::session::{self, DrainCause, Live, Login, Orders};

/// When a client may try again at a server that is about to stop.
const RETRY: Duration = Duration::from_secs(1);
/// When a client may try again that waits for the operator to mend something: a disk that does not take whose credential it is,
/// a file that certificates are checked by.
const RETRY_MENDED: Duration = Duration::from_secs(10);

/// A client that is in.
pub(super) struct Session {
    live: Arc<Live>,
    inbound: Inbound,
    orders: Orders,
}

impl Session {
    /// Runs it to its end.
    pub(super) async fn run(self, door: &Door) {
        session::run(door.sessions.clone(), self.live, self.inbound, self.orders).await;
    }
}

/// A client that may come in, and waits to hear it.
pub(super) struct Entrant {
    incoming: Incoming,
    login: Login,
    admitted: Admitted,
}

/// Decides on one connection. None: it was refused, or it went away, and there is nothing left to do.
pub(super) async fn run(
    door: &Door,
    place: &Place,
    stream: std::net::TcpStream,
    peer: SocketAddr,
) -> Option<Entrant> {
    let stream = TcpStream::from_std(stream).ok()?;
    let gate = door.gate.load_full();
    let incoming = match Incoming::read_watched(stream, &gate.tls, || place.spoke()).await {
        Ok(incoming) => incoming,
        Err(error) => {
            note(door, peer, &error);
            return None;
        }
    };
    match decide(door, &gate, &incoming, peer).await {
        Ok((login, admitted)) => Some(Entrant { incoming, login, admitted }),
        Err(reject) => {
            // Whether it hears why is its own affair.
            drop(incoming.reject(reject).await);
            None
        }
    }
}

impl Entrant {
    /// Where the session is going to live: the sessions of one instance on different workers, or two of them could do no
    /// more than one, and instances anywhere.
    pub(super) fn worker(&self, workers: usize) -> Worker {
        worker_of(self.login.instance, self.login.slot, workers)
    }

    /// Lets it in, on `worker`, which is the one that this runs on. None: it went away.
    pub(super) async fn enter(self, door: &Door, worker: Worker) -> Option<Session> {
        let Self { mut incoming, login, admitted } = self;
        let (id, generation, peer) = (admitted.id, admitted.generation, login.peer);
        let welcome = Welcome {
            version: incoming.version(),
            features: incoming.features(),
            session: id,
            generation,
            limits: PeerLimits::OURS,
            domain: door.registry.naming().domain.to_string(),
        };
        let welcomed = async {
            incoming.settle()?;
            incoming.give_up_after(door.pulse().dead_after());
            incoming.welcome(welcome, door.budget.clone(), &door.spawner, worker).await
        };
        let (link, inbound) = match welcomed.await {
            Ok(session) => session,
            Err(error) => {
                tracing::debug!(%peer, %error, "a client went away during its login");
                return None;
            }
        };
        if let Some(credential) = &login.means.key {
            door.identity.used(credential, SystemTime::now());
        }
        let (live, orders) = Live::new(id, generation, login, link);
        let live = Arc::new(live);
        door.registry.attach(&live, Instant::now());
        drop(admitted);
        if door.gate.load().has_revoked(&live.login.means) {
            // Since it was looked at.
            live.cut(CloseReason::REVOKED, REVOKED);
        }
        if !door.is_open() {
            // Who tells all clients to go may have done so a moment ago.
            live.drain(DRAIN, DrainCause::Shutdown);
        }
        tell(&live);
        Some(Session { live, inbound, orders })
    }
}

fn worker_of(instance: InstanceId, slot: Slot, workers: usize) -> Worker {
    let [.., last] = instance.0;
    Worker((usize::from(last).wrapping_add(slot.0.into())) % workers.max(1))
}

fn tell(live: &Live) {
    let login = &live.login;
    tracing::info!(
        session = %live.id,
        principal = %login.principal,
        client = login.name,
        client_id = %login.client,
        slot = %login.slot,
        peer = %login.peer,
        "session began"
    );
}

async fn decide(
    door: &Door,
    gate: &Gate,
    incoming: &Incoming,
    peer: SocketAddr,
) -> Result<(Login, Admitted), Reject> {
    let hello = incoming.hello();
    if !door.is_open() {
        return Err(draining());
    }
    door.throttle.lock().check(Instant::now(), peer.ip(), &hello.credential).map_err(banned)?;
    let Authenticated { principal, means, expires, bind } = gate
        .authenticate(incoming, &door.identity, SystemTime::now())
        .map_err(|refusal| failed(door, hello, peer, refusal))?;
    // Only who could prove itself takes a turn: others must not be able to use them up.
    let turn = door.admission.lock().admit(Instant::now(), door.pace(), &mut rand::rng());
    turn.map_err(|error| busy(door, error))?;
    if let Some(credential) = bind {
        self::bind(door, credential, hello, peer).await?;
    }
    let login = Login {
        principal,
        means,
        expires,
        client: hello.client,
        instance: hello.instance,
        slot: hello.slot,
        replaces: hello.replaces,
        name: hello.name.clone(),
        agent: hello.agent.clone(),
        peer,
        takes_parts: incoming.features().contains(Features::PUSH),
    };
    let admitted = door.registry.admit(&login).map_err(|error| over_quota(door, &error))?;
    // Shut meanwhile: only who was let in before that is waited for.
    if door.is_open() { Ok((login, admitted)) } else { Err(draining()) }
}

/// Binds a `--once` credential to this client; two that come at once do not both get in.
async fn bind(door: &Door, id: CredentialId, hello: &Hello, peer: SocketAddr) -> Result<(), Reject> {
    let (identity, client) = (door.identity.clone(), hello.client);
    let bound = tokio::task::spawn_blocking(move || identity.change(|book| book.bind(&id, client))).await;
    match bound {
        Ok(Ok(())) => Ok(()),
        Ok(Err(Change::Book(_))) => Err(failed(door, hello, peer, Refusal::UsedUp)),
        Ok(Err(error)) => Err(unbound(door, hello, &error)),
        Err(error) => Err(unbound(door, hello, &error)),
    }
}

/// The credential is as good as before, so the client must not give up.
fn unbound(door: &Door, hello: &Hello, error: &(dyn std::error::Error + 'static)) -> Reject {
    if let Some(Change::State(StateDirError::HandedOver)) = error.downcast_ref::<Change>() {
        return reject(RejectCode::DRAINING, "another process takes over from this one", Some(RETRY));
    }
    if let Some(left_out) = door.warnings.take(Instant::now()) {
        let credential = &hello.credential;
        tracing::error!(%credential, %error, left_out, "a credential can not be bound to its client");
    }
    let text = "the server can not keep whose credential this is; try again later";
    reject(RejectCode::BUSY, text, Some(RETRY_MENDED))
}

fn failed(door: &Door, hello: &Hello, peer: SocketAddr, refusal: Refusal) -> Reject {
    door.metrics.auth_failure();
    let now = Instant::now();
    if matches!(refusal, Refusal::Denied | Refusal::Unchecked { denied: true }) {
        door.throttle.lock().failed(now, peer.ip(), &hello.credential);
    }
    if let Some(left_out) = door.warnings.take(now) {
        let credential = &hello.credential;
        tracing::warn!(%peer, %credential, client = hello.name, reason = %refusal, left_out, "login failed");
    }
    let code = match refusal {
        // It is not the client that has to do anything.
        Refusal::Unchecked { .. } => {
            return reject(RejectCode::BUSY, &refusal.to_string(), Some(RETRY_MENDED));
        }
        Refusal::Expired => RejectCode::EXPIRED,
        Refusal::Denied
        | Refusal::UsedUp
        | Refusal::NoCertificate
        | Refusal::Unnamed(_)
        | Refusal::Stranger
        | Refusal::CertificateRevoked
        | Refusal::OtherPrincipal => RejectCode::DENIED,
    };
    reject(code, &refusal.to_string(), None)
}

fn banned(error: Banned) -> Reject {
    reject(RejectCode::THROTTLED, &error.to_string(), Some(error.retry_after))
}

fn busy(door: &Door, error: Busy) -> Reject {
    door.metrics.guard_closed(GuardReason::Busy);
    if let Some(left_out) = door.put_off.take(Instant::now()) {
        let retry_after_ms = u64::try_from(error.retry_after.as_millis()).unwrap_or(u64::MAX);
        tracing::info!(
            retry_after_ms,
            left_out,
            "more logins at once than are admitted: a client is to come back later"
        );
    }
    reject(RejectCode::BUSY, &error.to_string(), Some(error.retry_after))
}

fn over_quota(door: &Door, error: &OverQuota) -> Reject {
    door.metrics.guard_closed(GuardReason::OverQuota);
    reject(RejectCode::OVER_QUOTA, &error.to_string(), None)
}

fn draining() -> Reject {
    reject(RejectCode::DRAINING, "the server is about to stop", Some(RETRY))
}

fn reject(code: RejectCode, text: &str, retry_after: Option<Duration>) -> Reject {
    Reject { code, text: text.into(), retry_after }
}

/// Who does not even speak the protocol is counted; a line for each would be a gift to whoever scans ports.
fn note(door: &Door, peer: SocketAddr, error: &HandshakeError) {
    let reason = match error {
        HandshakeError::Timeout(_) => GuardReason::SlowHandshake,
        HandshakeError::Malformed(_) | HandshakeError::Incompatible(_) => GuardReason::BadHandshake,
        _ => GuardReason::Tls,
    };
    door.metrics.guard_closed(reason);
    tracing::debug!(%peer, %error, "no login");
    let Some(reason) = error.certificate() else { return };
    door.metrics.auth_failure();
    if let Some(left_out) = door.warnings.take(Instant::now()) {
        tracing::warn!(%peer, %reason, left_out, "login failed: the certificate of the client");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_sessions_of_an_instance_are_on_different_workers() {
        for last in 0..=255 {
            let instance = InstanceId([last; 16]);
            for workers in 1..=8 {
                let on = |slot| worker_of(instance, Slot(slot), workers).0;
                let used: std::collections::BTreeSet<_> = (0..8).map(on).collect();
                assert_eq!(used, (0..workers).collect());
                assert!(workers == 1 || on(0) != on(1));
            }
        }
    }
}
