//! The rules of the server, and where its relayed connections go, ready for use: replaced as a whole, read by every request without a lock.

use std::collections::HashMap;
use std::sync::Arc;

use ops::metrics::Metrics;
use policy::balance::Balance;
use policy::rule::{Action, Asked, Rule, Table, WeightedTarget};
use protocol::service_name::ServiceName;
use proxy::directory::RouteLabels;
use proxy::plugin::{Chain, Plugins, PluginsError};
use proxy::rule_answer::{RuleAnswer, RuleAnswerError};
use proxy::treatment::{Treatment, TreatmentError};

use super::relays::Relays;

/// Rules, and how groups balance.
#[derive(Debug, Default)]
pub struct Routing {
    table: Table,
    /// What becomes of requests, by the place of their rule.
    outcomes: Vec<Outcome>,
    balances: HashMap<Arc<str>, Balance>,
    relays: Relays,
}

/// What becomes of the requests of a rule.
#[derive(Debug)]
pub(super) enum Outcome {
    /// They are answered here, if the plugins let them pass.
    Answer(RouteLabels, Arc<RuleAnswer>, Chain),
    /// They go to one of these.
    Forward {
        /// As written.
        targets: Vec<WeightedTarget>,
        /// How each of them is called.
        labels: Vec<Arc<RouteLabels>>,
        /// None if there is none.
        treatment: Option<Arc<Treatment>>,
        /// What they go through first.
        plugins: Chain,
    },
}

/// A rule that can not be followed. Whoever wrote it is at fault.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("rule {rule}: {cause}")]
pub struct RoutingError {
    /// Its name.
    pub rule: Arc<str>,
    /// What is wrong with it.
    pub cause: RoutingCause,
}

/// What is wrong with a rule.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RoutingCause {
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

impl Routing {
    /// Routes by `rules`, whose plugins are in `plugins`; a group that is not in `balances` balances in turns.
    ///
    /// # Errors
    /// What is wrong with each rule that can not be followed.
    pub fn new(
        rules: Vec<Rule>,
        balances: HashMap<Arc<str>, Balance>,
        plugins: &Plugins,
        metrics: &Metrics,
    ) -> Result<Self, Vec<RoutingError>> {
        let (mut outcomes, mut errors) = (Vec::with_capacity(rules.len()), Vec::new());
        for rule in &rules {
            match outcome(rule, plugins, metrics) {
                Ok(outcome) => outcomes.push(outcome),
                Err(cause) => errors.push(RoutingError { rule: rule.name.clone(), cause }),
            }
        }
        if errors.is_empty() {
            Ok(Self { table: Table::new(rules), outcomes, balances, relays: Relays::default() })
        } else {
            Err(errors)
        }
    }

    /// The same, with listeners whose connections are relayed.
    #[must_use]
    pub fn with_relays(self, relays: Relays) -> Self {
        Self { relays, ..self }
    }

    /// Where the connections of configured listeners go.
    #[must_use]
    pub const fn relays(&self) -> &Relays {
        &self.relays
    }

    /// The rules.
    #[must_use]
    pub const fn table(&self) -> &Table {
        &self.table
    }

    /// How the members of `group` share its load.
    #[must_use]
    pub fn balance(&self, group: &str) -> &Balance {
        const DEFAULT: &Balance = &Balance::RoundRobin;
        self.balances.get(group).unwrap_or(DEFAULT)
    }

    pub(super) fn find(&self, asked: &Asked<'_>) -> Option<&Outcome> {
        self.outcomes.get(self.table.find(asked)?.place)
    }
}

fn outcome(rule: &Rule, plugins: &Plugins, metrics: &Metrics) -> Result<Outcome, RoutingCause> {
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
            let answer = RuleAnswer::of(&rule.action)?.ok_or(RoutingCause::NoTarget)?;
            return Ok(Outcome::Answer(labels("", ""), Arc::new(answer), plugins));
        }
    };
    if targets.iter().all(|target| target.weight == 0) {
        return Err(RoutingCause::NoTarget);
    }
    let called = |target: &WeightedTarget| match &target.target {
        ServiceName::Grouped { group, service } => Arc::new(labels(group, service)),
        other => Arc::new(labels("", &other.to_string())),
    };
    let treatment = Treatment::of(&rule.treatment)?;
    Ok(Outcome::Forward {
        targets: targets.clone(),
        labels: targets.iter().map(called).collect(),
        treatment: Some(treatment).filter(|treatment| !treatment.is_none()).map(Arc::new),
        plugins,
    })
}
