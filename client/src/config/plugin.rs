//! `plugin`, and the names of plugins elsewhere in the file.

use std::collections::HashSet;

use ops::cli::did_you_mean;
use ops::config::{Placed, Problems, Section};
use policy::part::PluginPart;
use proxy::plugin::Kinds;

use crate::tunnel::parse_name;

/// All entries of `plugin`.
pub(super) fn plugins(sections: Vec<Section<'_>>, kinds: &Kinds, problems: &mut Problems) -> Vec<PluginPart> {
    let mut names = HashSet::new();
    let read = |section| {
        let (place, part) = kinds.read(section, problems)?;
        let name = place.parse(parse_name, problems)?;
        if !names.insert(name.clone()) {
            problems.add(place.span.clone(), format_args!("there is another plugin named {name:?}"));
        }
        Some(part)
    };
    sections.into_iter().filter_map(read).collect()
}

/// What `plugins` of a section names, which must be among `known`.
pub(super) fn named(
    section: &mut Section<'_>,
    known: &[PluginPart],
    problems: &mut Problems,
) -> Vec<Placed<String>> {
    let named = section.texts("plugins", problems);
    for name in &named {
        if !known.iter().any(|plugin| plugin.name == name.value) {
            let hint = did_you_mean(&name.value, known.iter().map(|plugin| plugin.name.as_str()));
            problems.add(name.span.clone(), format_args!("there is no plugin {:?}{hint}", name.value));
        }
    }
    named
}
