//! The supervisors of the slots, and what they are told to do.

use std::sync::Arc;

use ops::spawn::Task;
use protocol::id::Slot;
use tokio::sync::{mpsc, oneshot};

use crate::instance::Instance;
use crate::login::Login;
use crate::supervisor;

/// Orders that wait for one slot; whoever gives them waits for room.
const ORDERS: usize = 4;

/// What a supervisor is told to do.
#[derive(Debug)]
pub(crate) enum Order {
    /// Log in like this beside the session that there is, and put the new one in its place. What is in progress goes on.
    Prove(Arc<Login>, oneshot::Sender<Proof>),
    /// The same with what holds by now, which somebody has proved; also if there is no session.
    Renew,
    /// This slot is not wanted any more.
    End,
}

/// What became of an attempt to log in.
#[derive(Debug)]
pub(crate) enum Proof {
    /// It worked.
    LoggedIn,
    /// It did not, and why. The session that there was stays.
    Failed(String),
    /// There is no session that something else could take the place of.
    NoSession,
}

/// The slots of an instance, from 0.
#[derive(Debug)]
pub(crate) struct Slots {
    instance: Arc<Instance>,
    running: Vec<Supervised>,
    /// Those that finish their work.
    ending: Vec<Task<()>>,
}

#[derive(Debug)]
struct Supervised {
    orders: mpsc::Sender<Order>,
    task: Task<()>,
}

impl Slots {
    /// Starts `count` of them.
    pub(crate) fn start(instance: Arc<Instance>, count: u16) -> Self {
        let mut slots = Self { instance, running: Vec::new(), ending: Vec::new() };
        slots.grow(count);
        slots
    }

    /// There are `count` of them from now on. Those that are too many take no new work and end.
    pub(crate) async fn resize(&mut self, count: u16) {
        self.instance.sessions.resize(count);
        self.ending.retain(|task| !task.is_finished());
        let wanted = usize::from(count).min(self.running.len());
        for Supervised { orders, task } in self.running.split_off(wanted) {
            // One that has given up needs no order.
            let _ = orders.send(Order::End).await;
            self.ending.push(task);
        }
        self.grow(count);
    }

    /// Whether somebody can log in like this: the first slot that has a session gets another one. None has: nobody knows.
    ///
    /// # Errors
    /// Why not.
    pub(crate) async fn prove(&self, login: &Arc<Login>) -> Result<Option<Slot>, String> {
        for (slot, running) in (0..).zip(&self.running) {
            let (answer, proof) = oneshot::channel();
            if running.orders.send(Order::Prove(login.clone(), answer)).await.is_err() {
                continue;
            }
            match proof.await {
                Ok(Proof::LoggedIn) => return Ok(Some(Slot(slot))),
                Ok(Proof::Failed(reason)) => return Err(reason),
                Ok(Proof::NoSession) | Err(_) => {}
            }
        }
        Ok(None)
    }

    /// Every slot but `proved` logs in anew.
    pub(crate) async fn renew(&self, proved: Option<Slot>) {
        for (slot, running) in (0..).zip(&self.running) {
            if proved != Some(Slot(slot)) {
                let _ = running.orders.send(Order::Renew).await;
            }
        }
    }

    /// Waits until all have ended.
    pub(crate) async fn finish(&mut self) {
        let running = self.running.drain(..).map(|running| running.task);
        for task in running.chain(self.ending.drain(..)) {
            // A supervisor that panicked has said so.
            let _ = task.await;
        }
    }

    fn grow(&mut self, count: u16) {
        let have = u16::try_from(self.running.len()).unwrap_or(count);
        for slot in have..count {
            let (orders, received) = mpsc::channel(ORDERS);
            let task = supervisor::start(Slot(slot), self.instance.clone(), received);
            self.running.push(Supervised { orders, task });
        }
    }
}
