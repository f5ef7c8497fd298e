//! `plugin`: what rules and services may have done to their requests.

use ops::config::{Problems, Section};
use policy::part::PluginPart;
use proxy::plugin::Kinds;

use super::names::Names;

pub(super) fn plugins(
    sections: Vec<Section<'_>>,
    kinds: &Kinds,
    names: &mut Names,
    problems: &mut Problems,
) -> Vec<PluginPart> {
    let read = |section| {
        let (name, part) = kinds.read(section, problems)?;
        names.add("plugin", &name, problems).map(|_| part)
    };
    sections.into_iter().filter_map(read).collect()
}
