//! Keeps one slot connected: dials, runs the session, decides what to do when it is over.

use std::sync::Arc;
use std::time::{Duration, Instant};

use ops::spawn::Task;
use protocol::id::{SessionId, Slot};
use protocol::join::HostPort;
use tokio::sync::mpsc;
use tokio::time::{MissedTickBehavior, interval, sleep};
use transport::handshake::Place;

use crate::course::{Course, Next, Setback};
use crate::dial::{DialError, dial};
use crate::events::{Connected, Event};
use crate::instance::Instance;
use crate::login::Login;
use crate::rotation::Due;
use crate::session::{self, Live, Over};
use crate::sessions::{SlotState, Up};
use crate::slots::{Order, Proof};

/// How often it is looked at whether a session has served its time.
const LOOK: Duration = Duration::from_secs(1);

/// Starts the supervisor of a slot. It ends when the process drains, or when it is told to, after its session has.
pub(crate) fn start(slot: Slot, instance: Arc<Instance>, orders: mpsc::Receiver<Order>) -> Task<()> {
    let spawner = instance.context.spawner.clone();
    let course = Course::new(instance.mode);
    spawner.spawn(spawner.next_worker(), "supervisor", async move {
        let mut supervisor = Supervisor { slot, instance, course, orders, attempts: 0 };
        if let Ended::WithProcess = supervisor.run().await {
            supervisor.set(SlotState::Over);
        }
    })
}

struct Supervisor {
    slot: Slot,
    instance: Arc<Instance>,
    course: Course,
    orders: mpsc::Receiver<Order>,
    /// How often it dialled; chooses the server.
    attempts: usize,
}

/// What became of a session that was watched.
enum Watched {
    /// It is over.
    Over(Over),
    /// It drains: a replacement is wanted while it finishes its work.
    Draining,
    /// This one has its place by now.
    Replaced(Live, HostPort),
    /// Another one is wanted in its place.
    Outdated,
    /// The slot is not wanted any more.
    Unwanted,
}

/// Why a supervisor ends.
enum Ended {
    /// The process does.
    WithProcess,
    /// The slot is not wanted any more; it may be another's by now.
    Unwanted,
}

/// Why a slot that has no session stops waiting.
enum Woken {
    /// The time has come.
    Due,
    /// It may be worth while at once.
    Renewed,
    /// It will not come.
    Ended(Ended),
}

impl Supervisor {
    async fn run(&mut self) -> Ended {
        let mut draining: Option<Live> = None;
        let (mut ready, mut outdated) = (None, false);
        loop {
            let connected = match ready.take() {
                None => self.connect(&draining).await,
                Some(ready) => Ok(ready),
            };
            let (mut live, server) = match connected {
                Ok(connected) => connected,
                Err(ended) => return ended,
            };
            if std::mem::take(&mut outdated) {
                // The server drains it if it knows both for the same; if not, it is for us to do.
                draining.iter().for_each(|old| old.retire.cancel());
            }
            let since = Instant::now();
            match self.watch(&mut live, server, draining.is_some()).await {
                Watched::Draining => {
                    self.instance.events.tell(Event::Draining { slot: self.slot });
                    self.course.drains(Instant::now(), since.elapsed());
                    draining = Some(live);
                }
                Watched::Replaced(new, server) => {
                    (draining, ready, outdated) = (Some(live), Some((new, server)), true);
                }
                Watched::Outdated => {
                    self.course.drains(Instant::now(), since.elapsed());
                    (draining, outdated) = (Some(live), true);
                }
                Watched::Unwanted => {
                    live.retire.cancel();
                    // It ends by its own deadline at the latest, or with the process.
                    let _ = live.task.await;
                    return Ended::Unwanted;
                }
                Watched::Over(Over::Stopped) => return Ended::WithProcess,
                Watched::Over(over) => {
                    draining = None;
                    if let Some(death) = over.death() {
                        self.instance.context.metrics.session_replaced(death);
                    }
                    let setback = Setback::of_end(&over, since.elapsed());
                    if let Err(ended) = self.wait(setback, over.to_string()).await {
                        return ended;
                    }
                }
            }
        }
    }

    /// Dials until there is a session, in place of `old` for as long as that lives.
    async fn connect(&mut self, old: &Option<Live>) -> Result<(Live, HostPort), Ended> {
        let drain = self.instance.drain().start.clone();
        loop {
            let server = self.next_server().ok_or(Ended::WithProcess)?;
            // A server that has restarted counts its sessions anew.
            let replaces = old.as_ref().filter(|old| !old.task.is_finished()).map(|old| old.id);
            if replaces.is_none() {
                self.set(SlotState::Dialling(server.clone()));
            }
            if self.attempts == 1 && self.slot == Slot(0) {
                self.instance.events.tell(Event::Connecting { server: server.clone() });
            }
            let login = self.instance.login.load_full();
            let dialled = drain.run_until_cancelled(self.dial(&login, &server, replaces)).await;
            match dialled.ok_or(Ended::WithProcess)? {
                Ok(live) => return Ok((live, server)),
                Err(error) => self.wait(Setback::of_attempt(&error), error.to_string()).await?,
            }
        }
    }

    async fn dial(
        &self,
        login: &Login,
        server: &HostPort,
        replaces: Option<SessionId>,
    ) -> Result<Live, DialError> {
        let Instance { budget, context, .. } = &*self.instance;
        let hello = self.instance.hello(login, self.slot, replaces);
        let place =
            Place { spawner: &context.spawner, worker: context.spawner.here(), budget: budget.clone() };
        let logged_in = dial(server, login.tls.clone(), hello, &login.key, place).await?;
        Ok(session::start(logged_in, self.slot, self.instance.clone()))
    }

    async fn watch(&mut self, live: &mut Live, server: HostPort, replaced: bool) -> Watched {
        self.show(live, &server);
        self.instance.forget_news();
        let how = match (replaced, self.course.was_up()) {
            (true, _) => Connected::InPlace,
            (false, true) => Connected::Again,
            (false, false) => Connected::First,
        };
        self.instance.events.tell(Event::Connected { slot: self.slot, server: server.clone(), how });
        self.course.up();
        let mut due = self.begin();
        let mut look = interval(LOOK);
        look.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let order = tokio::select! {
                over = &mut live.task => {
                    return Watched::Over(over.unwrap_or_else(|end| Over::Broken(end.to_string())));
                }
                // The old session ends by its own deadline, with nobody watching.
                Ok(()) = &mut live.draining, if !live.draining.is_terminated() => return Watched::Draining,
                Some(order) = self.orders.recv() => order,
                _ = look.tick() => {
                    self.rotate(live, &server, &mut due).await;
                    continue;
                }
            };
            match order {
                Order::Prove(login, answer) => match self.prove(&login, live.id).await {
                    Ok((new, server)) => {
                        let _ = answer.send(Proof::LoggedIn);
                        return Watched::Replaced(new, server);
                    }
                    Err(reason) => drop(answer.send(Proof::Failed(reason))),
                },
                Order::Renew => return Watched::Outdated,
                Order::End => return Watched::Unwanted,
            }
        }
    }

    /// A session begins now: when it is to be replaced.
    fn begin(&self) -> Due {
        self.instance.rotation.lock().begin(Instant::now(), &mut rand::rng())
    }

    /// This is the session of the slot.
    fn show(&self, live: &Live, server: &HostPort) {
        let (session, link, since) = (live.id, live.link.clone(), Instant::now());
        self.set(SlotState::Up(Up { server: server.clone(), session, since, rtt: None, link }));
    }

    /// Puts another session at the same server in the place of one that has served its time. If there can be none, it goes
    /// on for a while.
    async fn rotate(&self, live: &mut Live, server: &HostPort, due: &mut Due) {
        let substreams = live.link.substreams_ever();
        if !due.is_due(Instant::now(), substreams) {
            return;
        }
        let (login, drain) = (self.instance.login.load_full(), self.instance.drain().start.clone());
        match drain.run_until_cancelled(self.dial(&login, server, Some(live.id))).await {
            Some(Ok(next)) => {
                tracing::debug!(
                    slot = self.slot.0,
                    old = live.id.0,
                    new = next.id.0,
                    "a session is replaced"
                );
                // The server drains the old one, which nobody has to watch.
                *live = next;
                self.show(live, server);
                *due = self.begin();
            }
            Some(Err(error)) => {
                tracing::debug!(slot = self.slot.0, %error, "the session is not replaced yet");
                due.postpone(Instant::now(), substreams);
            }
            // It ends with the process.
            None => due.postpone(Instant::now(), substreams),
        }
    }

    /// A session by another login in the place of `old`, from the first of its servers that gives one.
    async fn prove(&self, login: &Login, old: SessionId) -> Result<(Live, HostPort), String> {
        let drain = self.instance.drain().start.clone();
        let mut reasons = Vec::new();
        for server in &login.servers {
            match drain.run_until_cancelled(self.dial(login, server, Some(old))).await {
                Some(Ok(live)) => return Ok((live, server.clone())),
                Some(Err(error)) => reasons.push(error.to_string()),
                None => return Err("this program ends".to_owned()),
            }
        }
        Err(reasons.join("; "))
    }

    /// Decides what to do after a setback, and waits.
    async fn wait(&mut self, setback: Setback, reason: String) -> Result<(), Ended> {
        let drain = self.instance.drain().start.clone();
        let Next::Dial { after, tell } = self.course.after(setback, Instant::now(), &mut rand::rng()) else {
            self.instance.give_up(reason);
            return Err(Ended::WithProcess);
        };
        let lost = matches!(setback, Setback::Lost(_) | Setback::Dismissed(_));
        if tell && !drain.is_cancelled() {
            if lost {
                self.instance.events.tell(Event::Lost { slot: self.slot, reason: reason.clone() });
            } else if self.instance.is_news(&reason) {
                self.instance.events.tell(Event::Failing { reason: reason.clone(), retry_in: after });
            }
        }
        tracing::debug!(slot = self.slot.0, ?after, "no session: {reason}");
        self.down(reason, after);
        match self.sleep(after).await {
            Woken::Due | Woken::Renewed => Ok(()),
            Woken::Ended(ended) => Err(ended),
        }
    }

    /// Waits, and hears orders meanwhile.
    async fn sleep(&mut self, time: Duration) -> Woken {
        let drain = self.instance.drain().start.clone();
        let due = sleep(time);
        tokio::pin!(due);
        loop {
            tokio::select! {
                () = &mut due => return Woken::Due,
                () = drain.cancelled() => return Woken::Ended(Ended::WithProcess),
                Some(order) = self.orders.recv() => match order {
                    Order::Prove(_, answer) => drop(answer.send(Proof::NoSession)),
                    Order::Renew => return Woken::Renewed,
                    Order::End => return Woken::Ended(Ended::Unwanted),
                },
            }
        }
    }

    fn down(&self, reason: String, after: Duration) {
        let until = Instant::now().checked_add(after).unwrap_or_else(Instant::now);
        self.set(SlotState::Waiting { reason, until });
    }

    fn set(&self, state: SlotState) {
        if self.instance.sessions.set(self.slot, state) {
            self.instance.tunnels.lost();
        }
    }

    fn next_server(&mut self) -> Option<HostPort> {
        let login = self.instance.login.load();
        let at = self.attempts.checked_rem(login.servers.len())?;
        self.attempts = self.attempts.wrapping_add(1);
        login.servers.get(at).cloned()
    }
}
