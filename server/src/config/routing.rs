//! What the registry routes by, from what the file says.

use std::collections::HashMap;

use ops::metrics::Metrics;
use proxy::plugin::{Kinds, Plugins};

use super::document::Document;
use crate::registry::Routing;

/// The rules of the document and how its groups balance, and the plugins that the rules name, of `kinds` and not started;
/// those that are as they were `before` are the same ones.
///
/// # Errors
/// What is wrong with rules that can not be followed, a line each.
pub fn routing(
    document: &Document,
    before: &Plugins,
    kinds: &Kinds,
    metrics: &Metrics,
) -> Result<(Routing, Plugins), String> {
    let plugins = Plugins::after(before, &document.plugins, kinds).map_err(|error| error.to_string())?;
    let groups = document.groups.iter();
    let balances: HashMap<_, _> =
        groups.map(|group| (group.name.as_str().into(), group.balance.clone())).collect();
    let routing = Routing::new(document.rules.clone(), balances, &plugins, metrics).map_err(|errors| {
        let lines: Vec<_> = errors.iter().map(ToString::to_string).collect();
        lines.join("\n")
    })?;
    Ok((routing, plugins))
}
