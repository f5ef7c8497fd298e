//! The control substream, from the first registration to the last word (`spec/05`).

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::BytesMut;
use futures_util::{SinkExt, StreamExt};
use protocol::control::{
    Close, CloseReason, Control, Drain, Heartbeat, HeartbeatAck, Notice, NoticeCode, NoticeLevel, Outcome,
    PartAnswer, PartId, Parts, Pieces, Registered, Registration, Unregister, WholePart,
};
use protocol::id::{SessionId, Slot};
use protocol::limits::{CONTROL_FRAME_MAX, HEARTBEAT_INTERVAL, REGISTRATIONS_MAX};
use protocol::text::Text;
use tokio::sync::{oneshot, watch};
use tokio::time::{Instant, sleep_until, timeout};
use tokio_util::codec::Framed;
use tokio_util::sync::CancellationToken;
use tokio_util::task::task_tracker::TaskTrackerToken;
use transport::frames::{FrameCodec, FrameError};
use transport::session::{Session, SessionEnd, Substream};

use super::Over;
use super::reports::Reports;
use crate::events::Event;
use crate::groups::{Prepared, not_served};
use crate::hints;
use crate::instance::Instance;
use crate::settings::Mode;
use crate::tunnels::{Change, News, messages};

/// A server that takes a control frame no faster is as good as dead.
const SEND_TIMEOUT: Duration = Duration::from_secs(10);
/// From a registration to its answer.
const REGISTER_TIMEOUT: Duration = Duration::from_secs(10);
/// How often refused tunnels are asked for again.
const ASK_AGAIN: Duration = Duration::from_secs(30);
/// What a draining server may be late with the end that it announced.
const DRAIN_SLACK: Duration = Duration::from_secs(2);
/// How long a session that is replaced or not wanted any more may finish its work.
const RETIRE_DEADLINE: Duration = Duration::from_secs(30);
/// For the last words.
const FAREWELL: Duration = Duration::from_secs(1);

/// The conversation on the control substream.
pub(super) struct Talk {
    instance: Arc<Instance>,
    session: Session,
    id: SessionId,
    slot: Slot,
    control: Framed<Substream, FrameCodec>,
    /// The last heartbeat and when it left.
    beat: Heartbeat,
    beat_sent: Instant,
    next_beat: Instant,
    /// Registrations without an answer, and when it is too late for one.
    unanswered: usize,
    answer_due: Instant,
    ask_again: Instant,
    /// Taken when the server drains.
    drain: Option<oneshot::Sender<()>>,
    drained: Option<Instant>,
    /// Dropped when the server opens no more substreams; `leaving` is the heartbeat whose answer proves it.
    registered: Option<TaskTrackerToken>,
    leaving: Option<Heartbeat>,
    /// A part of the configuration that is coming.
    pieces: Pieces,
    /// What is said of the servers of our services.
    reports: Reports,
    /// The registrations as the server was told of them on this session.
    told: BTreeMap<u32, Registration>,
    tunnels: watch::Receiver<()>,
    /// What was said on this session to the parts that came on it.
    said: BTreeMap<PartId, Option<Text>>,
    parts: watch::Receiver<()>,
    /// This session is to take no new work.
    retire: CancellationToken,
    retired: bool,
}

impl Talk {
    /// Opens the control substream and registers the tunnels.
    pub(super) async fn begin(
        session: Session,
        id: SessionId,
        slot: Slot,
        instance: Arc<Instance>,
        drain: oneshot::Sender<()>,
        retire: CancellationToken,
    ) -> Result<Self, Over> {
        let registered = Some(instance.registered.token());
        let now = Instant::now();
        let reports = Reports::new(&instance.services, now);
        let beat = Heartbeat { nonce: 0 };
        let mut first = BytesMut::new();
        let (tunnels, parts) = (instance.tunnels.changes(), instance.groups.changes());
        let told = instance.tunnels.news(&BTreeMap::new(), now.into_std()).register;
        for register in messages(&told) {
            encode(&register.into(), &mut first)?;
        }
        let unanswered = told.len();
        encode(&beat.into(), &mut first)?;
        let substream = match session.open(first.freeze()) {
            Ok(substream) => substream,
            Err(error) => return Err(lost(&session, error.to_string()).await),
        };
        Ok(Self {
            instance,
            session,
            id,
            slot,
            control: Framed::new(substream, FrameCodec::new(CONTROL_FRAME_MAX)),
            beat,
            beat_sent: now,
            next_beat: now + HEARTBEAT_INTERVAL,
            unanswered,
            answer_due: now + REGISTER_TIMEOUT,
            ask_again: now + ASK_AGAIN,
            drain: Some(drain),
            drained: None,
            registered,
            leaving: None,
            pieces: Pieces::default(),
            reports,
            told: told.into_iter().map(|item| (item.id, item)).collect(),
            tunnels,
            said: BTreeMap::new(),
            parts,
            retire,
            retired: false,
        })
    }

    /// Talks until the session is over, and says why it is.
    pub(super) async fn run(&mut self) -> Over {
        let drain = self.instance.drain().clone();
        loop {
            let turn = tokio::select! {
                biased;
                () = drain.now.cancelled() => self.farewell().await,
                () = drain.start.cancelled(), if self.leaving.is_none() => self.leave().await,
                frame = self.control.next() => match frame {
                    Some(Ok(frame)) => match Control::decode(&frame) {
                        Ok(Some(message)) => self.hear(message).await,
                        Ok(None) => Ok(()),
                        Err(error) => self.accuse(error.to_string()).await,
                    },
                    Some(Err(FrameError::Decode(error))) => self.accuse(error.to_string()).await,
                    Some(Err(FrameError::Io(error))) => Err(lost(&self.session, error.to_string()).await),
                    None => Err(lost(&self.session, "the control substream ended".to_owned()).await),
                },
                end = self.session.closed() => Err(Over::Lost(end)),
                () = sleep_until(self.next_beat) => self.send_beat().await,
                () = sleep_until(self.answer_due), if self.unanswered > 0 => {
                    Err(Over::Broken("no answer to a registration within 10 s".to_owned()))
                }
                () = sleep_until(self.ask_again) => self.ask_for_refused().await,
                Ok(()) = self.tunnels.changed(), if self.takes_work() => self.tell_news().await,
                Ok(()) = self.parts.changed() => self.answer_again().await,
                () = self.retire.clone().cancelled_owned(), if !self.retired => self.step_back().await,
                () = self.reports.due() => self.report().await,
                () = maybe(self.drained) => self.close(CloseReason::DRAINED, Over::Drained).await,
            };
            if let Err(over) = turn {
                return over;
            }
        }
    }

    async fn hear(&mut self, message: Control) -> Result<(), Over> {
        match message {
            Control::Registered(Registered { results }) => {
                self.unanswered = self.unanswered.saturating_sub(results.len());
                for change in self.instance.tunnels.answered(results) {
                    self.tell(change);
                }
                Ok(())
            }
            Control::Heartbeat(Heartbeat { nonce }) => self.send(HeartbeatAck { nonce }).await,
            Control::HeartbeatAck(HeartbeatAck { nonce }) => {
                self.beat_came_back(nonce);
                Ok(())
            }
            Control::Drain(Drain { deadline }) => {
                let end = Instant::now().checked_add(deadline.saturating_add(DRAIN_SLACK));
                self.drained = end.or(self.drained);
                if let Some(drain) = self.drain.take() {
                    // Nobody hears it only if this slot is about to end anyway.
                    let _ = drain.send(());
                }
                Ok(())
            }
            Control::Close(Close { .. }) if self.drained.is_some() => Err(Over::Drained),
            Control::Close(Close { reason, text }) => Err(Over::Closed { reason, text }),
            Control::Notice(notice) => {
                self.notice(notice);
                Ok(())
            }
            Control::Part(piece) => match self.pieces.take(piece) {
                Ok(None) => Ok(()),
                Ok(Some(whole)) => self.prepare(whole).await,
                Err(error) => self.accuse(error.to_string()).await,
            },
            Control::Parts(Parts { items }) => {
                for problem in self.instance.groups.stand(&items) {
                    self.instance.events.tell(Event::Warning(problem));
                }
                Ok(())
            }
            Control::Register(_) | Control::Unregister(_) | Control::PartAnswer(_) | Control::Health(_) => {
                self.accuse("only clients say that".to_owned()).await
            }
        }
    }

    /// Answers to a part of the configuration, and tells a person if it is refused.
    async fn prepare(&mut self, whole: WholePart) -> Result<(), Over> {
        let Prepared { refusal, news } = self.instance.groups.prepare(&whole);
        let PartId { group, revision } = &whole.of;
        match &refusal {
            Some(reason) if news && self.instance.mode != Mode::AdHoc => {
                self.instance.events.tell(Event::Warning(not_served(&whole.of, reason)));
            }
            // Who serves one tunnel by hand has no configuration to allow anything in.
            Some(reason) => tracing::debug!(group, revision, %reason, "a part is refused"),
            None => tracing::debug!(group, revision, "a part is ready"),
        }
        self.said.insert(whole.of.clone(), refusal.clone());
        self.send(PartAnswer { of: whole.of, refusal }).await
    }

    /// Says what has become of parts by now, where that is something else than it was: the user allows something else.
    async fn answer_again(&mut self) -> Result<(), Over> {
        let known = self.instance.groups.answers();
        self.said.retain(|of, _| known.contains_key(of));
        for (of, refusal) in known {
            if self.said.get(&of).is_some_and(|said| *said != refusal) {
                self.said.insert(of.clone(), refusal.clone());
                self.send(PartAnswer { of, refusal }).await?;
            }
        }
        Ok(())
    }

    /// Tells the server of tunnels that are there no more, are new, or are others.
    async fn tell_news(&mut self) -> Result<(), Over> {
        let News { moved, gone, register } =
            self.instance.tunnels.news(&self.told, Instant::now().into_std());
        self.register(moved).await?;
        self.told.retain(|id, _| !gone.contains(id));
        for ids in gone.chunks(REGISTRATIONS_MAX) {
            self.send(Unregister { ids: ids.to_vec() }).await?;
        }
        self.register(register).await
    }

    async fn register(&mut self, items: Vec<Registration>) -> Result<(), Over> {
        for register in messages(&items) {
            self.unanswered = self.unanswered.saturating_add(register.items.len());
            self.answer_due = Instant::now() + REGISTER_TIMEOUT;
            self.send(register).await?;
        }
        self.told.extend(items.into_iter().map(|item| (item.id, item)));
        Ok(())
    }

    /// Another session has taken over, or this one is not wanted any more: what is in progress ends, and nothing new begins.
    async fn step_back(&mut self) -> Result<(), Over> {
        self.retired = true;
        // The server's own drain asks for no other session any more.
        self.drain = None;
        self.drained =
            Instant::now().checked_add(RETIRE_DEADLINE.saturating_add(DRAIN_SLACK)).or(self.drained);
        self.send(Drain { deadline: RETIRE_DEADLINE }).await
    }

    const fn takes_work(&self) -> bool {
        self.leaving.is_none() && !self.retired
    }

    fn tell(&self, Change { id, outcome, first }: Change) {
        let Some(tunnel) = self.instance.tunnels.get(id) else { return };
        let (name, mode) = (tunnel.name.clone(), self.instance.mode);
        match outcome {
            Outcome::Granted { url, .. } => {
                self.instance.events.tell(Event::Ready { tunnel: name, url, to: tunnel.to.to_string() });
            }
            Outcome::Refused { code, text } if first && mode == Mode::AdHoc => {
                let (code, advice) =
                    (code.name().unwrap_or("unknown reason"), hints::after_refusal(code, mode));
                self.instance.give_up(format!("the server refused the tunnel: {code}: {text}{advice}"));
            }
            Outcome::Refused { code, text } => {
                let text = Text::new(&format!("{text}{}", hints::after_refusal(code, mode)));
                self.instance.events.tell(Event::Refused { tunnel: name, code, text });
            }
        }
    }

    fn notice(&self, Notice { level, code, registration, text }: Notice) {
        if let (NoticeCode::NAME_WITHDRAWN, Some(id)) = (code, registration) {
            if self.instance.mode == Mode::AdHoc {
                return self.instance.give_up(format!("the server ended the tunnel: {text}"));
            }
            for change in self.instance.tunnels.withdrawn(id, text, std::time::Instant::now()) {
                self.tell(change);
            }
            return;
        }
        let text = format!("the server says: {text}");
        self.instance.events.tell(match level {
            NoticeLevel::Info => Event::Note(text),
            NoticeLevel::Warning | NoticeLevel::Error => Event::Warning(text),
        });
    }

    async fn send_beat(&mut self) -> Result<(), Over> {
        let now = Instant::now();
        self.beat.nonce = self.beat.nonce.wrapping_add(1);
        (self.beat_sent, self.next_beat) = (now, now + HEARTBEAT_INTERVAL);
        self.send(self.beat).await
    }

    fn beat_came_back(&mut self, nonce: u64) {
        if nonce == self.beat.nonce {
            let rtt = self.beat_sent.elapsed();
            self.instance.context.metrics.session_rtt(rtt);
            self.instance.sessions.measured(self.slot, self.id, rtt);
        }
        // The server answers in order: it has seen that we unregistered.
        if self.leaving.is_some_and(|leaving| leaving.nonce == nonce) {
            self.registered = None;
        }
    }

    async fn ask_for_refused(&mut self) -> Result<(), Over> {
        let now = Instant::now();
        self.ask_again = now + ASK_AGAIN;
        if !self.takes_work() || self.unanswered > 0 {
            return Ok(());
        }
        self.register(self.instance.tunnels.refused(now.into_std())).await
    }

    /// Says how the servers of our services are, if that is news.
    async fn report(&mut self) -> Result<(), Over> {
        match self.reports.next(&self.instance.services, Instant::now()) {
            Some(health) => self.send(health).await,
            None => Ok(()),
        }
    }

    /// Gives the names back. What is in progress goes on.
    async fn leave(&mut self) -> Result<(), Over> {
        let ids: Vec<u32> = self.told.keys().copied().collect();
        for ids in ids.chunks(REGISTRATIONS_MAX) {
            self.send(Unregister { ids: ids.to_vec() }).await?;
        }
        self.send_beat().await?;
        self.leaving = Some(self.beat);
        Ok(())
    }

    async fn farewell(&mut self) -> Result<(), Over> {
        let leave = async {
            match self.leaving {
                None => self.leave().await,
                Some(_) => Ok(()),
            }
        };
        let left = timeout(FAREWELL, leave).await;
        if !matches!(left, Ok(Ok(()))) {
            return Err(Over::Stopped);
        }
        self.close(CloseReason::SHUTDOWN, Over::Stopped).await
    }

    async fn accuse(&mut self, fault: String) -> Result<(), Over> {
        self.close(CloseReason::PROTOCOL_ERROR, Over::Broken(fault)).await
    }

    /// Says why and ends the session.
    async fn close(&mut self, reason: CloseReason, over: Over) -> Result<(), Over> {
        let last = async {
            self.send(Close { reason, text: Text::default() }).await?;
            self.session.close();
            self.session.closed().await;
            Ok::<_, Over>(())
        };
        // What cannot be said in time is not said.
        let _ = timeout(FAREWELL, last).await;
        Err(over)
    }

    async fn send(&mut self, message: impl Into<Control>) -> Result<(), Over> {
        let mut bytes = BytesMut::new();
        encode(&message.into(), &mut bytes)?;
        match timeout(SEND_TIMEOUT, self.control.send(bytes)).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(error)) => Err(self.last_words(error.to_string()).await),
            Err(_) => Err(Over::Lost(SessionEnd::Silent)),
        }
    }

    /// The server takes nothing more. Mostly it has said why, and that is still to be read.
    async fn last_words(&mut self, otherwise: String) -> Over {
        let read = async {
            while let Some(Ok(frame)) = self.control.next().await {
                if let Ok(Some(Control::Close(Close { reason, text }))) = Control::decode(&frame) {
                    return Some(Over::Closed { reason, text });
                }
            }
            None
        };
        match timeout(FAREWELL, read).await {
            Ok(Some(Over::Closed { .. })) if self.drained.is_some() => Over::Drained,
            Ok(Some(over)) => over,
            Ok(None) | Err(_) => lost(&self.session, otherwise).await,
        }
    }
}

/// What is sent is made from checked settings, so that this fails only by a fault of ours.
fn encode(message: &Control, out: &mut BytesMut) -> Result<(), Over> {
    message.encode(out).map_err(|error| Over::Broken(format!("this program cannot say it: {error}")))
}

/// The control substream failed: mostly because the session did, which then knows better why.
async fn lost(session: &Session, otherwise: String) -> Over {
    match timeout(FAREWELL, session.closed()).await {
        Ok(end) => Over::Lost(end),
        Err(_) => Over::Broken(otherwise),
    }
}

async fn maybe(at: Option<Instant>) {
    match at {
        Some(at) => sleep_until(at).await,
        None => std::future::pending().await,
    }
}
