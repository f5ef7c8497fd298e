//! Keeps one slot connected: dials, runs the session, decides what to do when it is over.

use std::sync::Arc;
use std::time::{Duration, Instant};

use ops::spawn::Task;
use protocol::id::{SessionId, Slot};
use protocol::join::HostPort;
use tokio::time::sleep;
use transport::handshake::Place;

use crate::course::{Course, Next, Setback};
use crate::dial::{DialError, dial};
use crate::events::{Connected, Event};
use crate::instance::Instance;
use crate::session::{self, Live, Over};
use crate::sessions::{SlotState, Up};

/// Starts the supervisor of a slot. It ends when the process drains, after its session has.
pub(crate) fn start(slot: Slot, instance: Arc<Instance>) -> Task<()> {
    let spawner = instance.context.spawner.clone();
    let course = Course::new(instance.mode);
    spawner.spawn(spawner.next_worker(), "supervisor", async move {
        let mut supervisor = Supervisor { slot, instance, course, attempts: 0 };
        supervisor.run().await;
        supervisor.set(SlotState::Over);
    })
}

struct Supervisor {
    slot: Slot,
    instance: Arc<Instance>,
    course: Course,
    /// How often it dialled; chooses the server.
    attempts: usize,
}

/// What became of a session that was watched.
enum Watched {
    /// It is over.
    Over(Over),
    /// It drains: a replacement is wanted while it finishes its work.
    Draining,
}

impl Supervisor {
    async fn run(&mut self) {
        let mut draining = None;
        while let Some((mut live, server)) = self.connect(&draining).await {
            let since = Instant::now();
            match self.watch(&mut live, server, draining.is_some()).await {
                Watched::Draining => {
                    self.instance.events.tell(Event::Draining { slot: self.slot });
                    self.course.drains(Instant::now(), since.elapsed());
                    draining = Some(live);
                }
                Watched::Over(Over::Stopped) => return,
                Watched::Over(over) => {
                    draining = None;
                    if let Some(death) = over.death() {
                        self.instance.context.metrics.session_replaced(death);
                    }
                    if !self.wait(Setback::of_end(&over, since.elapsed()), over.to_string()).await {
                        return;
                    }
                }
            }
        }
    }

    /// Dials until there is a session, in place of `old` for as long as that lives; none if the process drains or gives up.
    async fn connect(&mut self, old: &Option<Live>) -> Option<(Live, HostPort)> {
        let drain = self.instance.drain().start.clone();
        loop {
            let server = self.next_server()?;
            // A server that has restarted counts its sessions anew.
            let replaces = old.as_ref().filter(|old| !old.task.is_finished()).map(|old| old.id);
            if replaces.is_none() {
                self.set(SlotState::Dialling(server.clone()));
            }
            if self.attempts == 1 && self.slot == Slot(0) {
                self.instance.events.tell(Event::Connecting { server: server.clone() });
            }
            match drain.run_until_cancelled(self.dial(&server, replaces)).await? {
                Ok(live) => return Some((live, server)),
                Err(error) => {
                    if !self.wait(Setback::of_attempt(&error), error.to_string()).await {
                        return None;
                    }
                }
            }
        }
    }

    async fn dial(&self, server: &HostPort, replaces: Option<SessionId>) -> Result<Live, DialError> {
        let Instance { tls, key, budget, context, .. } = &*self.instance;
        let hello = self.instance.hello(self.slot, replaces);
        let place =
            Place { spawner: &context.spawner, worker: context.spawner.here(), budget: budget.clone() };
        let logged_in = dial(server, tls.clone(), hello, key, place).await?;
        Ok(session::start(logged_in, self.slot, self.instance.clone()))
    }

    async fn watch(&mut self, live: &mut Live, server: HostPort, replaced: bool) -> Watched {
        let (session, link, since) = (live.id, live.link.clone(), Instant::now());
        let up = Up { server: server.clone(), session, since, rtt: None, link };
        self.set(SlotState::Up(up));
        self.instance.forget_news();
        let how = match (replaced, self.course.was_up()) {
            (true, _) => Connected::InPlace,
            (false, true) => Connected::Again,
            (false, false) => Connected::First,
        };
        self.instance.events.tell(Event::Connected { slot: self.slot, server, how });
        self.course.up();
        let Live { task, draining, .. } = live;
        tokio::select! {
            over = task => Watched::Over(over.unwrap_or_else(|end| Over::Broken(end.to_string()))),
            // The old session ends by its own deadline, with nobody watching.
            Ok(()) = draining => Watched::Draining,
        }
    }

    /// Decides what to do after a setback, and waits. False if the slot ends.
    async fn wait(&mut self, setback: Setback, reason: String) -> bool {
        let drain = self.instance.drain().start.clone();
        let Next::Dial { after, tell } = self.course.after(setback, Instant::now(), &mut rand::rng()) else {
            self.instance.give_up(reason);
            return false;
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
        drain.run_until_cancelled(sleep(after)).await.is_some()
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
        let at = self.attempts.checked_rem(self.instance.servers.len())?;
        self.attempts = self.attempts.wrapping_add(1);
        self.instance.servers.get(at).cloned()
    }
}
