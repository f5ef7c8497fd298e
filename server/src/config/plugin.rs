//! `plugin`: what rules and services may have done to their requests.

use std::collections::HashMap;

use ops::config::{Problems, Section};
use policy::part::PluginPart;
use proxy::plugin::{Kinds, NotBuilt};

use super::names::Names;

pub(super) fn plugins(
    sections: Vec<Section<'_>>,
    kinds: &Kinds,
    names: &mut Names,
    problems: &mut Problems,
) -> Vec<PluginPart> {
    sections.into_iter().filter_map(|section| plugin(section, kinds, names, problems)).collect()
}

fn plugin(
    mut section: Section<'_>,
    kinds: &Kinds,
    names: &mut Names,
    problems: &mut Problems,
) -> Option<PluginPart> {
    let name = section.text("name", problems);
    let words: Vec<_> = kinds.names().map(|kind| (kind, kind)).collect();
    let kind = section.word("kind", &words, problems);
    section.require("name", "\"NAME\"", problems);
    section.require("kind", "\"rate-limit\"", problems);
    let span = section.span.clone();
    let (mut settings, mut places) = (serde_json::Map::new(), HashMap::new());
    for (key, value) in section.rest() {
        problems.hide(value.span());
        places.insert(key.value.clone(), key.span);
        if let Some(json) = value.json(problems) {
            settings.insert(key.value, json);
        }
    }
    let name = names.add("plugin", &name?, problems);
    let kind = kind?.value;
    if let Err(error) = kinds.build(name.as_deref().unwrap_or("?"), kind, settings.clone()) {
        // The kind is one of them: what is wrong is in the keys.
        let NotBuilt::Mistakes(mistakes) = error else { return None };
        for mistake in mistakes {
            let key = mistake.key.split_once('.').map_or(&*mistake.key, |(table, _)| table);
            problems.add(places.get(key).unwrap_or(&span).clone(), mistake);
        }
    }
    Some(PluginPart { name: name?, kind: kind.to_owned(), settings })
}
