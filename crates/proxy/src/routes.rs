//! Rules, ready for use: from what was asked to what becomes of it. The same at a server and at a listener of a client.

use std::sync::Arc;

use ipnet::IpNet;
use ops::metrics::Metrics;
use policy::rule::{Action, Asked, Rule, Table, WeightedTarget, by_share};
use protocol::service_name::ServiceName;

use crate::directory::{Lookup, Route, RouteLabels, Target};
use crate::plugin::{Chain, Plugins, PluginsError};
use crate::rule_answer::{RuleAnswer, RuleAnswerError};
use crate::treatment::{Treatment, TreatmentError};

/// Rules, and what becomes of the requests of each.
#[derive(Debug, Default)]
pub struct Routes {
    table: Table,
    /// By the place of their rule.
    outcomes: Vec<Outcome>,
}

/// What becomes of the requests of a rule.
#[derive(Debug)]
enum Outcome {
    /// They are answered here, if the plugins let them pass.
    Answer(RouteLabels, Arc<RuleAnswer>, Chain),
    Forward(Forward),
}

/// They go to one of these.
#[derive(Debug)]
struct Forward {
    /// As written.
    targets: Vec<WeightedTarget>,
    /// How each of them is called.
    labels: Vec<Arc<RouteLabels>>,
    /// None if there is none.
    treatment: Option<Arc<Treatment>>,
    /// What they go through first.
    plugins: Chain,
}

/// Where substreams to a service can be opened.
#[derive(Debug)]
pub struct Members {
    /// Best first; those that can not take work are not in it.
    pub targets: Vec<Target>,
    /// Which visitors may come; empty: all.
    pub allow: Arc<[IpNet]>,
}

/// A rule that can not be followed. Whoever wrote it is at fault.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("rule {rule}: {cause}")]
pub struct RouteError {
    /// Its name.
    pub rule: Arc<str>,
    /// What is wrong with it.
    pub cause: RouteCause,
}

/// What is wrong with a rule.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RouteCause {
    /// Its treatment.
    #[error(transparent)]
    Treatment(#[from] TreatmentError),
    /// Its answer.
    #[error(transparent)]
    Answer(#[from] RuleAnswerError),
    /// Its plugins.
    #[error(transparent)]
    Plugins(#[from] PluginsError),
    /// Nobody would ever get a request.
    #[error("none of its targets has any weight")]
    NoTarget,
}

impl Routes {
    /// Routes by `rules`, whose plugins are in `plugins`. What they lead to is called as in `home`, where it is in no group.
    ///
    /// # Errors
    /// What is wrong with each rule that can not be followed.
    pub fn new(
        rules: Vec<Rule>,
        home: &str,
        plugins: &Plugins,
        metrics: &Metrics,
    ) -> Result<Self, Vec<RouteError>> {
        let (mut outcomes, mut errors) = (Vec::with_capacity(rules.len()), Vec::new());
        for rule in &rules {
            match outcome(rule, home, plugins, metrics) {
                Ok(outcome) => outcomes.push(outcome),
                Err(cause) => errors.push(RouteError { rule: rule.name.clone(), cause }),
            }
        }
        if errors.is_empty() { Ok(Self { table: Table::new(rules), outcomes }) } else { Err(errors) }
    }

    /// The rules.
    #[must_use]
    pub const fn table(&self) -> &Table {
        &self.table
    }

    /// Every rule, in the order of the file, and how its requests are called: once for each of its targets.
    pub fn each(&self) -> impl Iterator<Item = (&Rule, Vec<&RouteLabels>)> {
        self.table.rules().iter().zip(&self.outcomes).map(|(rule, outcome)| match outcome {
            Outcome::Answer(labels, ..) => (rule, vec![labels]),
            Outcome::Forward(forward) => (rule, forward.labels.iter().map(|labels| &**labels).collect()),
        })
    }

    /// What becomes of `asked`; none if no rule is for it. `members` says who serves a service.
    pub fn lookup(
        &self,
        asked: &Asked<'_>,
        members: impl Fn(&ServiceName) -> Option<Members>,
    ) -> Option<Lookup> {
        Some(match self.outcomes.get(self.table.find(asked)?.place)? {
            Outcome::Answer(labels, answer, plugins) => {
                Lookup::Answer(labels.clone(), answer.clone(), plugins.clone())
            }
            Outcome::Forward(forward) => forward.lookup(asked, members),
        })
    }
}

impl Forward {
    /// One target is drawn by its share; the others follow, for when it fails.
    fn lookup(&self, asked: &Asked<'_>, members: impl Fn(&ServiceName) -> Option<Members>) -> Lookup {
        let point = if self.targets.len() > 1 { rand::random() } else { 0 };
        let mut drawn: Option<&Arc<RouteLabels>> = None;
        let mut route: Option<Route> = None;
        for index in by_share(&self.targets, point) {
            let (Some(target), Some(labels)) = (self.targets.get(index), self.labels.get(index)) else {
                continue;
            };
            drawn.get_or_insert(labels);
            let Some(Members { mut targets, allow }) = members(&target.target) else { continue };
            match &mut route {
                _ if targets.is_empty() => {}
                None => {
                    let labels = RouteLabels::clone(labels);
                    let (treatment, plugins) = (self.treatment.clone(), self.plugins.clone());
                    route = Some(Route { labels, targets, allow, treatment, plugins, idle_timeout: None });
                }
                // Whom it does not let in it does not serve.
                Some(route) if admits(&allow, asked) => {
                    targets.iter_mut().for_each(|target| target.labels = Some(labels.clone()));
                    route.targets.append(&mut targets);
                }
                Some(_) => {}
            }
        }
        match (route, drawn) {
            (Some(route), _) => Lookup::Found(route),
            (None, Some(labels)) => Lookup::Reserved(RouteLabels::clone(labels), self.plugins.clone()),
            (None, None) => Lookup::Unknown,
        }
    }
}

fn admits(allow: &[IpNet], asked: &Asked<'_>) -> bool {
    let client = asked.client.to_canonical();
    allow.is_empty() || allow.iter().any(|net| net.contains(&client))
}

fn outcome(rule: &Rule, home: &str, plugins: &Plugins, metrics: &Metrics) -> Result<Outcome, RouteCause> {
    let labels = |group: &str, service: &str| RouteLabels {
        route: rule.name.clone(),
        group: group.into(),
        service: service.into(),
        metrics: metrics.route(&rule.name, group, service),
    };
    let plugins = plugins.chain(&rule.treatment.plugins)?;
    let targets = match &rule.action {
        Action::Forward(targets) => targets,
        Action::Redirect { .. } | Action::Respond { .. } => {
            let answer = RuleAnswer::of(&rule.action)?.ok_or(RouteCause::NoTarget)?;
            return Ok(Outcome::Answer(labels(home, ""), Arc::new(answer), plugins));
        }
    };
    if targets.iter().all(|target| target.weight == 0) {
        return Err(RouteCause::NoTarget);
    }
    let called = |target: &WeightedTarget| match &target.target {
        ServiceName::Grouped { group, service } => Arc::new(labels(group, service)),
        other => Arc::new(labels(home, &other.to_string())),
    };
    let treatment = Treatment::of(&rule.treatment)?;
    Ok(Outcome::Forward(Forward {
        targets: targets.clone(),
        labels: targets.iter().map(called).collect(),
        treatment: Some(treatment).filter(|treatment| !treatment.is_none()).map(Arc::new),
        plugins,
    }))
}
