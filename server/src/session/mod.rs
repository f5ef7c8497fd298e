//! One task per session: its control substream, its heartbeats, and the orders of the rest of the program.

mod control;
mod handing;
mod live;
mod pulse;
mod reach;

pub use control::ControlError;
pub use live::{DrainCause, DrainOrder, Live, Login, Orders};
pub use pulse::Pulse;

use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use ops::metrics::{GuardReason, Metrics, ReplacedReason};
use ops::spawn::Spawner;
use protocol::codec::DecodeError;
use protocol::control::{Close, CloseReason, Control, Drain, Heartbeat, HeartbeatAck, Register, Registered};
use protocol::frame::FrameType;
use protocol::limits::CONTROL_TIMEOUT;
use protocol::mux::Breach;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep_until, timeout};
use transport::session::{Inbound, SessionEnd};

use crate::registry::{DRAIN, Registry};
use control::ControlSubstream;
use handing::Handing;
use reach::Reach;

/// How long a client that is sent away may take to be told why.
const FAREWELL: Duration = Duration::from_millis(300);
/// How often a draining session looks whether its work is done.
const DRAIN_POLL: Duration = Duration::from_millis(50);
/// Answers in one message: with the longest texts they stay below the maximum of a control frame.
const ANSWERS: usize = 32;

/// How a session ended.
#[derive(Debug, thiserror::Error)]
pub enum End {
    /// We sent the client away.
    #[error("{} ({})", .0.reason, .0.text)]
    Cut(Close),
    /// The client said goodbye.
    #[error("the client said {} ({})", .0.reason, .0.text)]
    Goodbye(Close),
    /// The client broke the rules of the control substream, or does not read it.
    #[error(transparent)]
    Control(#[from] ControlError),
    /// The link is over.
    #[error("{0}")]
    Link(SessionEnd),
    /// The client opened no control substream.
    #[error("no control substream within {} s", CONTROL_TIMEOUT.as_secs())]
    NoControl,
}

impl End {
    /// Which guard ended the session, if one did.
    const fn guard(&self) -> Option<GuardReason> {
        match self {
            Self::Control(ControlError::Flood) | Self::Link(SessionEnd::Breach(Breach::Flood(_))) => {
                Some(GuardReason::Flood)
            }
            Self::Control(ControlError::Decode(_)) | Self::Link(SessionEnd::Breach(_)) => {
                Some(GuardReason::Protocol)
            }
            _ => None,
        }
    }

    /// Which death the session died, if it was not ended by either side's word.
    const fn death(&self) -> Option<ReplacedReason> {
        match self {
            Self::Link(SessionEnd::Silent) | Self::Control(ControlError::Stuck) => {
                Some(ReplacedReason::Silent)
            }
            Self::Link(SessionEnd::Link(_) | SessionEnd::ClosedByPeer) => Some(ReplacedReason::Lost),
            _ => None,
        }
    }
}

/// What a session's task works with.
#[derive(Clone)]
pub struct Context {
    /// Names and sessions.
    pub registry: Arc<Registry>,
    /// Counters.
    pub metrics: Metrics,
    /// For the substreams that clients open.
    pub spawner: Spawner,
    /// How often clients are asked whether they are there.
    pub pulse: Pulse,
}

/// Runs the session until it is over, and takes it out of the registry.
pub async fn run(context: Context, live: Arc<Live>, inbound: Inbound, orders: Orders) {
    let counted = context.metrics.session();
    let mut end = serve(&context, &live, inbound, orders).await;
    if let (End::Control(ControlError::Io(_)), Some(link)) = (&end, live.link().closed().now_or_never()) {
        end = End::Link(link);
    }
    if let Some(reason) = end.guard() {
        context.metrics.guard_closed(reason);
    }
    if let Some(reason) = end.death() {
        context.metrics.session_replaced(reason);
    }
    live.link().close();
    context.registry.detach(&live, std::time::Instant::now());
    let (session, principal, client) = (live.id, &live.login.principal, &live.login.name);
    tracing::info!(%session, %principal, client, end = %end, "session ended");
    drop(counted);
}

async fn serve(context: &Context, live: &Arc<Live>, mut inbound: Inbound, orders: Orders) -> End {
    let first = tokio::select! {
        biased;
        close = live.was_cut() => match timeout(FAREWELL, inbound.accept()).await {
            Ok(first) => Ok(first),
            Err(_) => return End::Cut(close),
        },
        first = timeout(CONTROL_TIMEOUT, inbound.accept()) => first,
    };
    let control = match first {
        Ok(Some(substream)) => ControlSubstream::new(substream),
        Ok(None) => return End::Link(live.link().closed().await),
        Err(_) => return End::NoControl,
    };
    let mut driver = Driver {
        context,
        live,
        control,
        beat: None,
        nonce: 0,
        handing: Handing::new(live.login.takes_parts),
        settling: Settling::Asked,
    };
    let reach = Arc::new(Reach::new(live.clone(), context.registry.clone()));
    let worker = live.link().worker();
    let serving =
        proxy::responder::serve(inbound, worker, reach, context.registry.nearby().context().clone());
    context.spawner.spawn(worker, "responder", serving);
    let end = driver.run(orders).await;
    driver.farewell(end).await
}

/// The state of the task.
struct Driver<'a> {
    context: &'a Context,
    live: &'a Arc<Live>,
    control: ControlSubstream,
    /// The heartbeat that waits for its acknowledgement.
    beat: Option<(u64, Instant)>,
    nonce: u64,
    /// Parts of the configuration on their way to the client.
    handing: Handing,
    /// How far the beginning is, which the client's first heartbeat ends.
    settling: Settling,
}

/// What the client has asked for at the beginning, and what becomes of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Settling {
    /// More may come.
    Asked,
    /// That was all; parts of the configuration may be on their way.
    Heard,
    /// All of it is answered.
    Done,
}

impl Driver<'_> {
    async fn run(&mut self, mut orders: Orders) -> End {
        let mut heartbeat = interval(self.context.pulse.interval());
        heartbeat.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut drained = interval(DRAIN_POLL);
        drained.set_missed_tick_behavior(MissedTickBehavior::Delay);
        // Set once the session is to end when its work is done.
        let mut deadline: Option<Instant> = None;
        loop {
            let step = tokio::select! {
                biased;
                close = self.live.was_cut() => return End::Cut(close),
                // Before the end of the link: who gives its names back and leaves says both at once.
                message = self.control.next() => match message {
                    Ok(message) => self.handle(message).await,
                    Err(error) => Err(error.into()),
                },
                end = self.live.link().closed() => return End::Link(end),
                Ok(()) = orders.drain.changed() => {
                    let order = *orders.drain.borrow_and_update();
                    deadline = order.filter(|it| it.cause != DrainCause::Shutdown).map(|it| it.until);
                    self.announce_drain(order).await
                }
                Some(notice) = orders.notices.recv() => self.send(notice.into()).await,
                _ = heartbeat.tick() => self.beat().await,
                () = std::future::ready(()), if self.handing.has_more() => self.hand().await,
                () = sleep_until(self.handing.due().unwrap_or_else(Instant::now)), if self.handing.due().is_some() => {
                    for part in self.handing.overdue(Instant::now()) {
                        self.context.registry.part_unanswered(self.live, &part);
                    }
                    Ok(())
                }
                Ok(()) = orders.parts.changed() => {
                    self.handing.look();
                    Ok(())
                }
                _ = drained.tick(), if deadline.is_some() && self.live.load() == 0 => return drained_end(),
                () = sleep_until(deadline.unwrap_or_else(Instant::now)), if deadline.is_some() => {
                    return drained_end();
                }
            };
            if let Err(end) = step {
                return end;
            }
            if self.settling == Settling::Heard && self.handing.is_done() {
                self.settling = Settling::Done;
                self.context.registry.settle(self.live);
            }
        }
    }

    async fn handle(&mut self, message: Control) -> Result<(), End> {
        match message {
            Control::Register(register) => self.register(register).await,
            Control::Unregister(unregister) => {
                self.context.registry.unregister(self.live, &unregister.ids, std::time::Instant::now());
                Ok(())
            }
            Control::Heartbeat(Heartbeat { nonce }) => {
                if self.settling == Settling::Asked {
                    self.settling = Settling::Heard;
                }
                self.send(HeartbeatAck { nonce }.into()).await
            }
            Control::HeartbeatAck(HeartbeatAck { nonce }) => {
                if let Some((_, sent)) = self.beat.take_if(|(beat, _)| *beat == nonce) {
                    let rtt = sent.elapsed();
                    self.live.measured(rtt);
                    self.context.metrics.session_rtt(rtt);
                }
                Ok(())
            }
            Control::Drain(Drain { deadline }) => {
                // As long as a drain of ours, or a session could stay for ever without taking work.
                self.live.drain(deadline.min(DRAIN), DrainCause::Asked);
                self.context.registry.names().tick();
                Ok(())
            }
            Control::Close(close) => Err(End::Goodbye(close)),
            Control::Notice(notice) => {
                let (session, level) = (self.live.id, notice.level);
                tracing::info!(%session, ?level, text = %notice.text, "the client says");
                Ok(())
            }
            Control::PartAnswer(answer) => {
                if let Some(part) = self.handing.answered(&answer.of) {
                    self.context.registry.part_answered(self.live, &part, answer.refusal);
                }
                Ok(())
            }
            Control::Health(health) => {
                self.context.registry.health_reported(self.live, health);
                Ok(())
            }
            Control::Registered(_) => Err(misplaced(FrameType::REGISTERED)),
            Control::Part(_) => Err(misplaced(FrameType::PART)),
            Control::Parts(_) => Err(misplaced(FrameType::PARTS)),
        }
    }

    async fn register(&mut self, register: Register) -> Result<(), End> {
        let answers = self.context.registry.register(self.live, register.items, std::time::Instant::now());
        for results in answers.chunks(ANSWERS) {
            self.send(Registered { results: results.to_vec() }.into()).await?;
        }
        Ok(())
    }

    async fn announce_drain(&mut self, order: Option<DrainOrder>) -> Result<(), End> {
        let Some(order) = order.filter(|order| order.cause != DrainCause::Asked) else { return Ok(()) };
        let deadline = order.until.saturating_duration_since(Instant::now());
        self.send(Drain { deadline }.into()).await
    }

    async fn beat(&mut self) -> Result<(), End> {
        self.nonce = self.nonce.wrapping_add(1);
        self.beat = Some((self.nonce, Instant::now()));
        self.send(Heartbeat { nonce: self.nonce }.into()).await
    }

    /// A client that does not read must not keep its session from being cut.
    async fn send(&mut self, message: Control) -> Result<(), End> {
        tokio::select! {
            biased;
            close = self.live.was_cut() => Err(End::Cut(close)),
            sent = self.control.send(message) => Ok(sent?),
        }
    }

    /// The next piece of what the client is handed, between two other messages.
    async fn hand(&mut self) -> Result<(), End> {
        let registry = &self.context.registry;
        match self.handing.next(Instant::now(), || registry.to_hand(self.live)) {
            Some(message) => self.send(message).await,
            None => Ok(()),
        }
    }

    /// Tells the client why its session ends, if that was our decision and it still listens.
    async fn farewell(&mut self, end: End) -> End {
        let close = match &end {
            End::Cut(close) => close.clone(),
            End::Control(ControlError::Flood) => said(CloseReason::FLOOD, &end),
            End::Control(ControlError::Decode(_)) => said(CloseReason::PROTOCOL_ERROR, &end),
            // After a breach the multiplexer has told the peer already.
            _ => return end,
        };
        // A client that does not take it sees its link close.
        drop(timeout(FAREWELL, self.control.send(close.into())).await);
        end
    }
}

fn said(reason: CloseReason, end: &End) -> Close {
    Close { reason, text: end.to_string().into() }
}

fn drained_end() -> End {
    End::Cut(Close { reason: CloseReason::DRAINED, text: "drained".into() })
}

fn misplaced(kind: FrameType) -> End {
    End::Control(ControlError::Decode(DecodeError::UnknownType { kind }))
}

#[cfg(test)]
mod tests;
