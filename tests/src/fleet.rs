//! Many clients in one process: each keeps one session as `tunnelc` does, with the same delays, and serves nothing. Of a server
//! that drains it asks another session before the old one ends.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{JoinHandle, available_parallelism, spawn};
use std::time::{Duration, Instant};

use bytes::BytesMut;
use ops::spawn::{Placement, Spawner, Worker};
use policy::backoff::Backoff;
use protocol::control::{
    Control, Heartbeat, HeartbeatAck, Outcome, Register, Registration, RegistrationKind,
};
use protocol::frame;
use protocol::id::{ClientId, InstanceId, Slot};
use protocol::join::JoinString;
use protocol::limits::{CONTROL_FRAME_MAX, REGISTRATIONS_MAX};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpSocket;
use tokio::time::{sleep, timeout};
use tokio_util::sync::{CancellationToken, DropGuard};
use transport::handshake::{HelloDraft, LoggedIn, LoginError, Place, login};
use transport::login_key::LoginKey;
use transport::session::{Inbound, ProcessBudget, Session, Substream};
use transport::tls::{Trust, client_config};

/// For a connection to the server.
const CONNECT: Duration = Duration::from_secs(5);
/// For the threads to end.
const FAREWELL: Duration = Duration::from_secs(5);

/// What a fleet is made of.
#[derive(Debug, Clone, Copy)]
pub struct Plan {
    /// How many clients.
    pub clients: usize,
    /// Names that each registers.
    pub names: usize,
    /// Whether each has an address of its own, as far as the loopback has them, or all share one.
    pub spread: bool,
    /// What the delays come from.
    pub seed: u64,
}

/// Clients that run until this is dropped.
#[derive(Debug)]
pub struct Fleet {
    shared: Arc<Shared>,
    stop: Option<DropGuard>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Debug)]
struct Shared {
    plan: Plan,
    joins: Vec<JoinString>,
    tls: Vec<Arc<ClientConfig>>,
    budget: Arc<ProcessBudget>,
    spawner: Spawner,
    stop: CancellationToken,
    up: AtomicUsize,
    attempts: AtomicUsize,
    put_off: AtomicUsize,
    /// When logins were welcomed, and when what they registered was granted.
    welcomes: Mutex<Vec<Instant>>,
    arrivals: Mutex<Vec<Instant>>,
    /// Why attempts and sessions failed, each once.
    failures: Mutex<Vec<String>>,
}

impl Fleet {
    /// Starts all clients at once; they log in with the join strings in turn.
    #[must_use]
    pub fn start(joins: &[String], plan: Plan) -> Self {
        let joins: Vec<JoinString> = joins.iter().map(|join| join.parse().unwrap()).collect();
        let tls = joins.iter().map(|join| client_config(&Trust::Pins(join.pins.clone())).unwrap());
        let workers = available_parallelism().map_or(1, usize::from);
        let (spawner, threads) = Spawner::start(workers, Placement::PerCore).unwrap();
        ops::descriptors::make_room().unwrap();
        let stop = CancellationToken::new();
        let shared = Arc::new(Shared {
            plan,
            tls: tls.collect(),
            joins,
            budget: ProcessBudget::new(1 << 30),
            spawner: spawner.clone(),
            stop: stop.clone(),
            up: AtomicUsize::new(0),
            attempts: AtomicUsize::new(0),
            put_off: AtomicUsize::new(0),
            welcomes: Mutex::default(),
            arrivals: Mutex::default(),
            failures: Mutex::default(),
        });
        let stopped = stop.clone();
        for number in 0..plan.clients {
            let (shared, worker) = (shared.clone(), Worker(number % workers));
            spawner.spawn(worker, "client", async move {
                shared.stop.run_until_cancelled(shared.live(number, worker)).await;
            });
        }
        // A runtime may not be dropped by a task.
        let thread = spawn(move || {
            threads.block_on(stopped.cancelled());
            threads.shutdown(FAREWELL);
        });
        Self { shared, stop: Some(stop.drop_guard()), thread: Some(thread) }
    }

    /// How many have a session, and on it everything that they registered.
    #[must_use]
    pub fn up(&self) -> usize {
        self.shared.up.load(Ordering::Relaxed)
    }

    /// How often somebody dialled.
    #[must_use]
    pub fn attempts(&self) -> usize {
        self.shared.attempts.load(Ordering::Relaxed)
    }

    /// How often the server told somebody to come back later.
    #[must_use]
    pub fn put_off(&self) -> usize {
        self.shared.put_off.load(Ordering::Relaxed)
    }

    /// When logins were welcomed after `since`, counted from there.
    #[must_use]
    pub fn welcomes(&self, since: Instant) -> Vec<Duration> {
        after(&self.shared.welcomes, since)
    }

    /// When clients were up with all their names after `since`, counted from there.
    #[must_use]
    pub fn arrivals(&self, since: Instant) -> Vec<Duration> {
        after(&self.shared.arrivals, since)
    }

    /// Everything that has failed, each reason once.
    #[must_use]
    pub fn failures(&self) -> Vec<String> {
        self.shared.failures.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The name of a client's `n`-th tunnel, without the domain.
    #[must_use]
    pub fn name(client: usize, n: usize) -> String {
        format!("c{client}-{n}")
    }
}

impl Drop for Fleet {
    fn drop(&mut self) {
        self.stop = None;
        if let Some(thread) = self.thread.take() {
            // A panic over there has been printed there.
            let _ = thread.join();
        }
    }
}

/// The most moments that fall into any one `span`.
#[must_use]
pub fn densest(moments: &[Duration], span: Duration) -> usize {
    let ahead = |from: usize| moments[from..].iter().take_while(|at| **at - moments[from] < span).count();
    (0..moments.len()).map(ahead).max().unwrap_or(0)
}

fn after(moments: &Mutex<Vec<Instant>>, since: Instant) -> Vec<Duration> {
    let moments = moments.lock().unwrap_or_else(PoisonError::into_inner);
    let mut after: Vec<_> = moments.iter().filter_map(|at| at.checked_duration_since(since)).collect();
    after.sort_unstable();
    after
}

fn note(moments: &Mutex<Vec<Instant>>) {
    moments.lock().unwrap_or_else(PoisonError::into_inner).push(Instant::now());
}

impl Shared {
    /// One client: dials, keeps its session, and waits as it is told, for ever.
    async fn live(self: &Arc<Self>, number: usize, worker: Worker) {
        let mut rng = StdRng::seed_from_u64(self.plan.seed.wrapping_add(number as u64));
        let (client, instance) = (ClientId(rng.random()), InstanceId(rng.random()));
        let mut backoff = Backoff::new();
        loop {
            self.attempts.fetch_add(1, Ordering::Relaxed);
            let retry_after = match self.session(number, worker, client, instance).await {
                Ok(mut up) => {
                    let heard = up.listen(self).await;
                    backoff.session_ended(Instant::now(), up.since.elapsed());
                    if let Heard::Drain = heard {
                        let shared = self.clone();
                        self.spawner.spawn(worker, "draining session", async move {
                            let rest = async { while let Heard::Drain = up.listen(&shared).await {} };
                            shared.stop.run_until_cancelled(rest).await;
                        });
                        continue;
                    }
                    None
                }
                Err(LoginError::Rejected(reject)) if reject.retry_after.is_some() => {
                    self.put_off.fetch_add(1, Ordering::Relaxed);
                    reject.retry_after
                }
                Err(error) => {
                    self.failed(error.to_string());
                    None
                }
            };
            sleep(backoff.delay(Instant::now(), retry_after, &mut rng)).await;
        }
    }

    fn failed(&self, why: String) {
        let mut failures = self.failures.lock().unwrap_or_else(PoisonError::into_inner);
        if !failures.contains(&why) {
            failures.push(why);
        }
    }

    /// Logs in, and says what it wants.
    async fn session(
        &self,
        number: usize,
        worker: Worker,
        client: ClientId,
        instance: InstanceId,
    ) -> Result<Up, LoginError> {
        let join = &self.joins[number % self.joins.len()];
        let tls = self.tls[number % self.tls.len()].clone();
        let draft = HelloDraft {
            client,
            instance,
            slot: Slot(0),
            replaces: None,
            takes_parts: false,
            credential: join.credential.clone(),
            name: format!("c{number}"),
            agent: "tests/fleet".to_owned(),
        };
        let key = LoginKey::from_seed(join.secret.expose()).unwrap();
        let name = ServerName::try_from("tunnel.invalid").unwrap();
        let place = Place { spawner: &self.spawner, worker, budget: self.budget.clone() };
        let address = SocketAddr::new(join.address.host().parse().unwrap(), join.address.port());
        let stream = timeout(CONNECT, async {
            let socket = TcpSocket::new_v4()?;
            if self.plan.spread {
                let [high, low] = u16::try_from(number % 60_000).unwrap_or_default().to_be_bytes();
                socket.bind(SocketAddr::from((Ipv4Addr::new(127, 1 + high, low, 1), 0)))?;
            }
            socket.connect(address).await
        });
        let stream = stream.await.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()));
        let logged_in = login(stream.map_err(LoginError::Io)?, name, tls, draft, &key, place).await?;
        note(&self.welcomes);
        let LoggedIn { session, inbound, .. } = logged_in;
        let first = self.first_words(number).freeze();
        let control = session.open(first).map_err(|error| LoginError::Io(io::Error::other(error)))?;
        let since = Instant::now();
        let (read, waiting) = (BytesMut::new(), self.plan.names);
        Ok(Up { session, _inbound: inbound, control, read, waiting, counted: None, since })
    }

    fn first_words(&self, number: usize) -> BytesMut {
        let items: Vec<Registration> = (0..self.plan.names)
            .map(|n| Registration {
                id: n as u32,
                name: format!("t{n}"),
                kind: RegistrationKind::Http { host: Some(Fleet::name(number, n)) },
                group: None,
                allow: Vec::new(),
            })
            .collect();
        let mut out = BytesMut::new();
        for items in items.chunks(REGISTRATIONS_MAX) {
            Control::Register(Register { items: items.to_vec() }).encode(&mut out).unwrap();
        }
        Control::Heartbeat(Heartbeat { nonce: 0 }).encode(&mut out).unwrap();
        out
    }
}

/// A session that is up.
struct Up {
    session: Session,
    _inbound: Inbound,
    control: Substream,
    read: BytesMut,
    /// Names that are not granted yet.
    waiting: usize,
    counted: Option<Counted>,
    since: Instant,
}

/// What the server had to say at last.
enum Heard {
    /// It drains the session, which goes on.
    Drain,
    /// The session is over.
    End,
}

impl Up {
    async fn listen(&mut self, shared: &Arc<Shared>) -> Heard {
        let session = self.session.clone();
        let why = tokio::select! {
            heard = self.talk(shared) => match heard {
                Ok(Heard::Drain) => return Heard::Drain,
                Ok(Heard::End) => None,
                Err(error) => Some(format!("control substream: {error}")),
            },
            end = session.closed() => Some(end.to_string()),
        };
        why.into_iter().for_each(|why| shared.failed(why));
        session.close();
        self.counted = None;
        Heard::End
    }

    /// Hears what became of the names, and answers heartbeats; counts as up as soon as it has them all.
    async fn talk(&mut self, shared: &Arc<Shared>) -> io::Result<Heard> {
        loop {
            if self.waiting == 0 && self.counted.is_none() {
                note(&shared.arrivals);
                self.counted = Some(Counted::one(shared));
            }
            while let Some(frame) =
                frame::decode(&mut self.read, CONTROL_FRAME_MAX).map_err(io::Error::other)?
            {
                match Control::decode(&frame).map_err(io::Error::other)? {
                    Some(Control::Registered(registered)) => {
                        let granted = |outcome: &Outcome| matches!(outcome, Outcome::Granted { .. });
                        if let Some(refused) = registered.results.iter().find(|it| !granted(&it.outcome)) {
                            return Err(io::Error::other(format!("{:?}", refused.outcome)));
                        }
                        self.waiting = self.waiting.saturating_sub(registered.results.len());
                    }
                    Some(Control::Heartbeat(Heartbeat { nonce })) => {
                        let mut answer = BytesMut::new();
                        Control::HeartbeatAck(HeartbeatAck { nonce }).encode(&mut answer).unwrap();
                        self.control.write_all(&answer).await?;
                    }
                    Some(Control::Drain(_)) => return Ok(Heard::Drain),
                    Some(Control::Close(close)) => {
                        return Err(io::Error::other(format!("{} ({})", close.reason, close.text)));
                    }
                    _ => {}
                }
            }
            let heard = self.waiting > 0 || self.counted.is_some();
            if heard && self.control.read_buf(&mut self.read).await? == 0 {
                return Ok(Heard::End);
            }
        }
    }
}

/// One that is up, until it is dropped.
struct Counted(Arc<Shared>);

impl Counted {
    fn one(shared: &Arc<Shared>) -> Self {
        shared.up.fetch_add(1, Ordering::Relaxed);
        Self(shared.clone())
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.up.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_densest_span_is_found() {
        let at = |list: &[u64]| list.iter().map(|ms| Duration::from_millis(*ms)).collect::<Vec<_>>();
        let second = Duration::from_secs(1);
        assert_eq!(densest(&[], second), 0);
        assert_eq!(densest(&at(&[0, 999, 1000, 1998, 5000]), second), 3);
    }
}
