//! The kinds of plugins that a program knows, and how a configuration becomes plugins.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use ops::cli::did_you_mean;
use serde_json::{Map, Value};

use super::{Mistake, OnFailure, Options, Plugin, Seat};
use super::{basic_auth, cors, forward_auth, headers, ip_allow, rate_limit};

/// How long a call may take if the configuration does not say.
const LIMIT: Duration = Duration::from_secs(1);
/// What the configuration may say.
const LIMIT_MIN: Duration = Duration::from_millis(1);
const LIMIT_MAX: Duration = Duration::from_secs(60);

type Build = dyn Fn(&mut Options) -> Option<Arc<dyn Plugin>> + Send + Sync;

struct Kind {
    on_failure: OnFailure,
    build: Box<Build>,
}

/// The kinds of plugins that a program knows. A clone is the same kinds.
#[derive(Clone)]
pub struct Kinds(BTreeMap<&'static str, Arc<Kind>>);

/// A plugin that can not be made.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NotBuilt {
    /// Its kind is not known.
    #[error("{kind:?} is no kind of plugin (kinds are: {known}){hint}")]
    UnknownKind {
        /// The kind.
        kind: String,
        /// What may have been meant.
        hint: String,
        /// All there are.
        known: String,
    },
    /// Something is wrong with its keys; never none.
    #[error("{}", .0.iter().map(ToString::to_string).collect::<Vec<_>>().join("; "))]
    Mistakes(Vec<Mistake>),
}

impl Kinds {
    /// Those that every program has.
    #[must_use]
    pub fn built_in() -> Self {
        use OnFailure::{Closed, Open};
        Self(BTreeMap::new())
            .with("basic-auth", Closed, basic_auth::build)
            .with("cors", Open, cors::build)
            .with("forward-auth", Closed, forward_auth::build)
            .with("headers", Closed, headers::build)
            .with("ip-allow", Closed, ip_allow::build)
            .with("rate-limit", Open, rate_limit::build)
    }

    /// The same and one more kind, in place of one of that name.
    ///
    /// `build` makes a plugin from its keys and must do nothing else, because a configuration may only be checked; what
    /// has to run starts in [`Plugin::start`]. It reports mistakes with [`Options::wrong`] and then returns none.
    /// `on_failure` is what a configuration that does not say gets.
    #[must_use]
    pub fn with(
        mut self,
        kind: &'static str,
        on_failure: OnFailure,
        build: impl Fn(&mut Options) -> Option<Arc<dyn Plugin>> + Send + Sync + 'static,
    ) -> Self {
        self.0.insert(kind, Arc::new(Kind { on_failure, build: Box::new(build) }));
        self
    }

    /// What there is.
    pub fn names(&self) -> impl Iterator<Item = &'static str> {
        self.0.keys().copied()
    }

    /// The plugin `name` of this `kind`, from its other keys.
    ///
    /// # Errors
    /// All that is wrong with them.
    pub fn build(&self, name: &str, kind: &str, keys: Map<String, Value>) -> Result<Seat, NotBuilt> {
        let Some(found) = self.0.get(kind) else {
            return Err(NotBuilt::UnknownKind {
                kind: kind.to_owned(),
                hint: did_you_mean(kind, self.0.keys().copied()),
                known: self.0.keys().copied().collect::<Vec<_>>().join(", "),
            });
        };
        let mut options = Options::new(keys);
        let on_failure = match options.text("on_failure").as_deref() {
            None => found.on_failure,
            Some("open") => OnFailure::Open,
            Some("closed") => OnFailure::Closed,
            Some(_) => {
                options.wrong("on_failure", "is \"open\" or \"closed\"");
                found.on_failure
            }
        };
        let limit = options.duration("timeout", LIMIT_MIN..=LIMIT_MAX).unwrap_or(LIMIT);
        let plugin = (found.build)(&mut options);
        let mistakes = options.finish();
        match plugin {
            Some(plugin) if mistakes.is_empty() => {
                Ok(Seat::new(name.into(), kind.into(), on_failure, limit, plugin))
            }
            None if mistakes.is_empty() => Err(NotBuilt::Mistakes(vec![Mistake {
                key: "kind".to_owned(),
                message: "can not be made from these keys".to_owned(),
            }])),
            _ => Err(NotBuilt::Mistakes(mistakes)),
        }
    }
}

impl fmt::Debug for Kinds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.0.keys()).finish()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn build(kind: &str, keys: Value) -> Result<Seat, NotBuilt> {
        let Value::Object(keys) = keys else { unreachable!() };
        Kinds::built_in().build("mine", kind, keys)
    }

    #[test]
    fn what_guards_fails_closed_unless_the_configuration_says_otherwise() {
        let allow = json!({ "allow": ["10.0.0.0/8"] });
        assert_eq!(build("ip-allow", allow.clone()).unwrap().on_failure, OnFailure::Closed);
        let seat = build("rate-limit", json!({ "rate": "20/s" })).unwrap();
        assert_eq!((seat.on_failure, seat.limit), (OnFailure::Open, LIMIT));
        let seat =
            build("ip-allow", json!({ "allow": ["::1"], "on_failure": "open", "timeout": "50ms" })).unwrap();
        assert_eq!((seat.on_failure, seat.limit), (OnFailure::Open, Duration::from_millis(50)));
        let auth =
            json!({ "users": { "a": "$2y$04$abcdefghijklmnopqrstuuu5N9l3jbV7WwLTlzMGJ5D7zL4lT2i7a" } });
        assert_eq!(build("basic-auth", auth).unwrap().on_failure, OnFailure::Closed);
        assert_eq!(
            build("forward-auth", json!({ "url": "http://a:1/" })).unwrap().on_failure,
            OnFailure::Closed
        );
    }

    #[test]
    fn a_plugin_with_mistakes_is_not_made() {
        let unknown = build("ratelimit", json!({})).unwrap_err().to_string();
        assert!(unknown.contains("`rate-limit`") && unknown.contains("forward-auth"), "{unknown}");
        let Err(NotBuilt::Mistakes(mistakes)) =
            build("ip-allow", json!({ "alow": [], "timeout": "2h", "on_failure": "ajar" }))
        else {
            panic!("it was made");
        };
        let keys: Vec<_> = mistakes.iter().map(|mistake| mistake.key.as_str()).collect();
        assert_eq!(keys, ["on_failure", "timeout", "allow", "alow"]);
    }
}
