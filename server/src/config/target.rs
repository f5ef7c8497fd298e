//! Where a rule sends its requests.

use ops::config::{Problems, Value};
use policy::rule::WeightedTarget;

use super::names::Names;

/// `"GROUP/SERVICE"`, or a list of those and of `{ to = "GROUP/SERVICE", weight = 9 }`.
pub(super) fn targets(value: Value<'_>, names: &mut Names, problems: &mut Problems) -> Vec<WeightedTarget> {
    if !value.is_list() {
        if !value.is_text() {
            value.wrong_type("a target or a list of them", problems);
            return Vec::new();
        }
        let target = value.text(problems).and_then(|text| names.target(&text, problems));
        return target.map(|target| WeightedTarget { target, weight: 1 }).into_iter().collect();
    }
    let items = value.list("a list of targets", problems);
    if items.is_empty() {
        problems.add(value.span(), "a rule needs a target at least");
    }
    let known = problems.found.len();
    let targets: Vec<_> = items.into_iter().filter_map(|item| weighted(item, names, problems)).collect();
    let complete = problems.found.len() == known;
    if complete && !targets.is_empty() && targets.iter().all(|target| target.weight == 0) {
        problems.add(value.span(), "the weight of every target is 0: nothing would get there");
    }
    targets
}

fn weighted(value: Value<'_>, names: &mut Names, problems: &mut Problems) -> Option<WeightedTarget> {
    if value.is_text() {
        let target = names.target(&value.text(problems)?, problems)?;
        return Some(WeightedTarget { target, weight: 1 });
    }
    let mut section = value.section(problems)?;
    let to = section.text("to", problems);
    let weight = section.number("weight", 0..=u32::from(u16::MAX), problems).map_or(1, |weight| weight.value);
    section.require("to", "\"GROUP/SERVICE\"", problems);
    section.finish(&[], problems);
    Some(WeightedTarget { target: names.target(&to?, problems)?, weight })
}
