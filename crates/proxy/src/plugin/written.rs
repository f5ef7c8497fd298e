//! One entry of `plugin` in a configuration file.

use std::collections::HashMap;

use ops::config::{Placed, Problems, Section};
use policy::part::PluginPart;
use serde_json::Map;

use super::{Kinds, NotBuilt};

impl Kinds {
    /// Reads an entry of `plugin`, and checks its keys as its kind does. Whether it is the only one of its name, which is given
    /// with its place, is for whoever knows the others. None only if there are problems.
    pub fn read(
        &self,
        mut section: Section<'_>,
        problems: &mut Problems,
    ) -> Option<(Placed<String>, PluginPart)> {
        let name = section.text("name", problems);
        let words: Vec<_> = self.names().map(|kind| (kind, kind)).collect();
        let kind = section.word("kind", &words, problems);
        section.require("name", "\"NAME\"", problems);
        section.require("kind", "\"rate-limit\"", problems);
        let span = section.span.clone();
        let (mut settings, mut places) = (Map::new(), HashMap::new());
        let ((), lacks) = problems.part(|problems| {
            for (key, value) in section.rest() {
                problems.hide(value.span());
                places.insert(key.value.clone(), key.span);
                if let Some(json) = value.json(problems) {
                    settings.insert(key.value, json);
                }
            }
        });
        let (name, kind) = (name?, kind?.value);
        if lacks.is_some() {
            let part = PluginPart { name: name.value.clone(), kind: kind.to_owned(), settings, lacks };
            return Some((name, part));
        }
        if let Err(error) = self.build(&name.value, kind, settings.clone()) {
            // The kind is one of them: what is wrong is in the keys.
            let NotBuilt::Mistakes(mistakes) = error else { return None };
            for mistake in mistakes {
                let key = mistake.key.split_once('.').map_or(&*mistake.key, |(table, _)| table);
                problems.add(places.get(key).unwrap_or(&span).clone(), mistake);
            }
        }
        let part = PluginPart { name: name.value.clone(), kind: kind.to_owned(), settings, lacks: None };
        Some((name, part))
    }
}
