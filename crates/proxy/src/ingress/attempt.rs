//! The way of a request to a member: one after the other, as far as that is safe.

use std::sync::Arc;
use std::time::Instant;

use http::header::HeaderMap;
use ops::error_kind::ErrorKind;
use ops::spawn::Spawner;
use policy::retry::is_idempotent;
use policy::rule::{Asked, Fields, normal_path};
use protocol::service_name::ServiceName;

use crate::access::Record;
use crate::dispatch::{Ask, Dispatch, Unrouted};
use crate::error::{Failure, Fault};
use crate::exchange::{Opened, Opener, Unanswered};
use crate::plugin::{Chain, Flow, Reply};
use crate::rule_answer::RuleAnswer;

/// How often the members are looked up anew, when all of them were lost.
const ROUNDS: usize = 3;

/// Why a request gets no response from a member.
pub(super) enum Stopped {
    Failure(Failure),
    /// A plugin has answered it.
    Answered(Box<Reply>),
    /// A rule answers it.
    Answer(Arc<RuleAnswer>),
    VisitorGone,
}

impl<F: Into<Failure>> From<F> for Stopped {
    fn from(failure: F) -> Self {
        Self::Failure(failure.into())
    }
}

/// The fields of a request, as rules ask for them.
struct FieldsOf<'a>(&'a HeaderMap);

impl Fields for FieldsOf<'_> {
    fn any(&self, name: &str, is: &mut dyn FnMut(&[u8]) -> bool) -> bool {
        self.0.get_all(name).iter().any(|value| is(value.as_bytes()))
    }

    fn each(&self, tell: &mut dyn FnMut(&str, &[u8])) {
        self.0.iter().for_each(|(name, value)| tell(name.as_str(), value.as_bytes()));
    }
}

/// Sends the request to one member after the other, as far as that is safe.
pub(super) async fn attempt(
    dispatch: &Dispatch,
    spawner: &Spawner,
    opener: &mut Opener<'_>,
    record: &mut Record,
) -> Result<Opened, Stopped> {
    let method = opener.parts.method.as_str();
    let idempotent = is_idempotent(method.as_bytes());
    let path = normal_path(opener.facts.path.path());
    let asked = Asked {
        host: &opener.facts.host,
        method,
        path: &path,
        fields: &FieldsOf(&opener.parts.headers),
        client: opener.visitor.ip(),
    };
    let concurrency = dispatch.concurrency();
    let mut place = concurrency.enter(asked.client).await?;
    let mut tries = dispatch.begin();
    let mut last = Failure::of(ErrorKind::NoMember);
    for round in 0..ROUNDS {
        let mut found = tries.look(Ask::Http(&asked));
        if let Err(Unrouted::NoMember(labels, plugins)) = found {
            record.routed(&labels);
            // Who may not come in waits for no member, and does not hear that there is none.
            plug(&plugins, spawner, opener, record).await?;
            found = Box::pin(tries.wait(Ask::Http(&asked), labels, plugins)).await;
        }
        let route = match found {
            Ok(route) => route,
            // The name was there a moment ago: what became of the request is the truer answer.
            Err(Unrouted::NoRoute) if round > 0 => return Err(last.into()),
            Err(Unrouted::NoRoute) => return Err(ErrorKind::NoRoute.into()),
            Err(Unrouted::NoMember(labels, _)) => {
                record.routed(&labels);
                return Err(ErrorKind::NoMember.into());
            }
            Err(Unrouted::Answer(labels, answer, plugins)) => {
                record.routed(&labels);
                plug(&plugins, spawner, opener, record).await?;
                return Err(Stopped::Answer(answer));
            }
        };
        record.routed(&route.labels);
        if round == 0 {
            route.labels.metrics.routed();
        }
        if !route.admits(opener.visitor.ip()) {
            return Err(ErrorKind::NotAllowed.into());
        }
        let treatment = route.treatment.as_deref();
        let places = treatment.and_then(|treatment| treatment.max_requests);
        let labels = &route.labels;
        if let Some(most) = concurrency.max_body(treatment.and_then(|treatment| treatment.max_body))
            && round == 0
        {
            opener.limit_body(most)?;
        }
        concurrency.routed(&mut place, &labels.route, &labels.group, places).await?;
        if round == 0 {
            plug(&route.plugins, spawner, opener, record).await?;
            opener.take_ready().await.map_err(stopped)?;
            if let Some(retries) = route.treatment.as_ref().and_then(|treatment| treatment.retries) {
                tries.allow(retries);
            }
        }
        opener.treatment.clone_from(&route.treatment);
        let mut others = route.targets.len();
        for target in &route.targets {
            others = others.saturating_sub(1);
            if let Some(labels) = &target.labels {
                record.routed(labels);
            }
            // What is next to the server is no client's.
            if !matches!(*target.service, ServiceName::Plain(_))
                && let Err(kind) = concurrency.sent(&mut place, target.member, others > 0).await
            {
                last = Failure::of(kind);
                continue;
            }
            record.line.member = Some(target.member_name.clone());
            record.opened();
            match opener.send(target).await {
                Ok(opened) => {
                    tries.answered();
                    target.fitness.reached();
                    record.place = Some(place);
                    return Ok(opened);
                }
                Err(Unanswered::Failed { failure, known }) => {
                    last = failure;
                    target.fitness.failed(failure.kind, known, route.targets.len() > 1, Instant::now());
                    if !tries.another(&route.labels, known, idempotent, opener.is_replayable()) {
                        return Err(failure.into());
                    }
                    tries.pause(failure.kind, known).await;
                }
                Err(other) => return Err(stopped(other)),
            }
        }
        if !matches!(last.kind, ErrorKind::NoMember | ErrorKind::SessionLost) {
            break;
        }
    }
    Err(last.into())
}

/// Takes the request through the plugins of its route: once, whatever becomes of its members.
async fn plug(
    plugins: &Chain,
    spawner: &Spawner,
    opener: &mut Opener<'_>,
    record: &mut Record,
) -> Result<(), Stopped> {
    if plugins.is_empty() || opener.plugged.is_some() {
        return Ok(());
    }
    let plugged = opener.plug(plugins);
    record.tells(plugged.ending(spawner));
    match plugged.on_request().await {
        Flow::Pass => Ok(()),
        Flow::Answer(reply) => Err(Stopped::Answered(reply)),
    }
}

fn stopped(unanswered: Unanswered) -> Stopped {
    match unanswered {
        Unanswered::Failed { failure, .. } => failure.into(),
        Unanswered::VisitorGone => Stopped::VisitorGone,
        Unanswered::VisitorSilent => Fault::Slow.into(),
    }
}
