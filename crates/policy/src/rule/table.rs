//! The rules of a process, indexed so that the winner is found without trying them all.

use std::collections::HashMap;

use super::shelf::Shelf;
use super::{Asked, Explanation, Rule, Summary};
use crate::host_pattern::HostPattern;

/// Rules, in the order of the file. Immutable: another set of rules is another table.
#[derive(Debug, Default)]
pub struct Table {
    rules: Vec<Rule>,
    summaries: Vec<Summary>,
    exact: HashMap<Box<str>, Paths>,
    /// By what follows the `*.`, which is one label.
    wildcard: HashMap<Box<str>, Paths>,
    any: Paths,
}

/// A rule that was found.
#[derive(Debug, Clone, Copy)]
pub struct Found<'t> {
    /// Its place in the file.
    pub place: usize,
    /// The rule.
    pub rule: &'t Rule,
}

/// The rules of one host pattern: a tree of path segments, of which the first node is the root.
#[derive(Debug)]
struct Paths(Vec<Node>);

#[derive(Debug, Default)]
struct Node {
    parent: Option<usize>,
    children: HashMap<Box<str>, usize>,
    rules: Shelf,
}

impl Table {
    /// An index of `rules`.
    #[must_use]
    pub fn new(rules: Vec<Rule>) -> Self {
        let summaries: Vec<Summary> =
            rules.iter().enumerate().map(|(place, rule)| Summary::of(&rule.matcher, place)).collect();
        let mut table = Self { summaries, ..Self::default() };
        let mut places: Vec<usize> = (0..rules.len()).collect();
        // Those that come later are appended, so that every list is in order.
        places.sort_by_key(|place| std::cmp::Reverse(table.summaries.get(*place)));
        for place in places {
            let Some(rule) = rules.get(place) else { continue };
            let paths = match &rule.matcher.host {
                Some(HostPattern::Exact(host)) => table.exact.entry(host.as_str().into()).or_default(),
                Some(HostPattern::Wildcard(suffix)) => {
                    table.wildcard.entry(suffix.as_str().into()).or_default()
                }
                None => &mut table.any,
            };
            if let Some(shelf) = paths.shelf(rule.matcher.prefix()) {
                shelf.add(place);
            }
        }
        let by_host = table.exact.values_mut().chain(table.wildcard.values_mut());
        for node in by_host.chain([&mut table.any]).flat_map(|paths| &mut paths.0) {
            node.rules.finish(&rules);
        }
        table.rules = rules;
        table
    }

    /// The rules, in the order of the file.
    #[must_use]
    pub fn rules(&self) -> &[Rule] {
        &self.rules
    }

    /// The most specific rule that is for `asked`.
    #[must_use]
    pub fn find(&self, asked: &Asked<'_>) -> Option<Found<'_>> {
        if self.rules.is_empty() {
            return None;
        }
        let exact = self.exact.get(asked.host.as_str());
        let wildcard = asked.host.parent().and_then(|suffix| self.wildcard.get(suffix));
        let by_host = [exact, wildcard, Some(&self.any)];
        by_host.into_iter().flatten().find_map(|paths| self.find_by_path(paths, asked))
    }

    /// What every rule says to `asked`.
    #[must_use]
    pub fn explain(&self, asked: &Asked<'_>) -> Explanation<'_> {
        Explanation::new(
            self.rules.iter().zip(&self.summaries),
            self.find(asked).map(|found| found.place),
            asked,
        )
    }

    fn find_by_path(&self, paths: &Paths, asked: &Asked<'_>) -> Option<Found<'_>> {
        let mut node = Some(paths.deepest(asked.path));
        while let Some(Node { parent, rules, .. }) = node.and_then(|node| paths.0.get(node)) {
            if let Some(found) = self.find_on_shelf(rules, asked) {
                return Some(found);
            }
            node = *parent;
        }
        None
    }

    fn find_on_shelf(&self, shelf: &Shelf, asked: &Asked<'_>) -> Option<Found<'_>> {
        let mut best = None;
        shelf.each(asked, &mut |places| {
            let summary = |place: &Option<usize>| place.and_then(|place| self.summaries.get(place));
            let next = self.first(places, asked);
            if summary(&next) > summary(&best) {
                best = next;
            }
        });
        let place = best?;
        self.rules.get(place).map(|rule| Found { place, rule })
    }

    fn first(&self, places: &[usize], asked: &Asked<'_>) -> Option<usize> {
        let fits = |rule: &Rule| rule.matcher.matches_beyond_path(asked).is_ok();
        places.iter().copied().find(|place| self.rules.get(*place).is_some_and(fits))
    }
}

impl Default for Paths {
    fn default() -> Self {
        Self(vec![Node::default()])
    }
}

impl Paths {
    /// Where the rules of `prefix` are kept.
    fn shelf(&mut self, prefix: &str) -> Option<&mut Shelf> {
        let mut at = 0;
        for segment in segments(prefix) {
            let new = self.0.len();
            let node = self.0.get_mut(at)?;
            let next = *node.children.entry(segment.into()).or_insert(new);
            if next == new {
                self.0.push(Node { parent: Some(at), ..Node::default() });
            }
            at = next;
        }
        self.0.get_mut(at).map(|node| &mut node.rules)
    }

    /// The node of the longest known prefix of `path`.
    fn deepest(&self, path: &str) -> usize {
        let mut at = 0;
        for segment in segments(path) {
            match self.0.get(at).and_then(|node| node.children.get(segment)) {
                Some(next) => at = *next,
                None => break,
            }
        }
        at
    }
}

/// What stands between the `/` of a path, behind the first one; of none there is nothing.
fn segments(path: &str) -> impl Iterator<Item = &str> {
    path.strip_prefix('/').into_iter().flat_map(|rest| rest.split('/'))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rule::fakes::{Drawn, asked, matchers, request, requests, rule};
    use proptest::prelude::*;

    fn winner(rules: &[(&str, &str)], path: &str) -> Option<String> {
        let table = Table::new(rules.iter().map(|(name, text)| rule(name, text)).collect());
        asked("app.x.test", path, |asked| table.find(asked).map(|found| found.rule.name.to_string()))
    }

    #[test]
    fn the_most_specific_rule_wins_wherever_it_stands() {
        let mut rules = [
            ("app", "host=app.x.test"),
            ("api", "host=app.x.test path=/api"),
            ("canary", "host=app.x.test header=x-a:1"),
            ("wild", "host=*.x.test path=/api/deep"),
            ("all", ""),
        ];
        for _ in 0..rules.len() {
            rules.rotate_left(1);
            assert_eq!(winner(&rules, "/api/deep").as_deref(), Some("api"));
            assert_eq!(winner(&rules, "/apix").as_deref(), Some("canary"));
        }
        assert_eq!(winner(&rules[..0], "/"), None);
        assert_eq!(winner(&[("other", "host=b.test")], "/"), None);
        assert_eq!(winner(&[("first", "path=/"), ("second", "")], "/").as_deref(), Some("first"));
    }

    #[test]
    fn a_more_specific_rule_that_does_not_match_leaves_the_request_to_the_next() {
        let rules =
            [("post", "host=app.x.test path=/a/b method=POST"), ("a", "path=/a"), ("wild", "host=*.x.test")];
        assert_eq!(winner(&rules, "/a/b/c").as_deref(), Some("wild"));
        assert_eq!(winner(&rules[..2], "/a/b/c").as_deref(), Some("a"));
        assert_eq!(winner(&rules[..1], "/a/b/c"), None);
    }

    proptest! {
        #[test]
        fn the_index_finds_the_greatest_summary_of_all_rules(
            matchers in prop::collection::vec(matchers(), 0..40),
            requests in prop::collection::vec(requests(), 1..20),
        ) {
            let named = |(place, matcher)| Rule { matcher, ..rule(&format!("r{place}"), "") };
            let table = Table::new(matchers.into_iter().enumerate().map(named).collect());
            for Drawn { host, method, path, fields, client } in requests {
                request(host, method, path, &fields, client, |asked| {
                    let all = table.rules().iter().enumerate();
                    let naive = all
                        .filter(|(_, rule)| rule.matcher.matches(asked).is_ok())
                        .max_by_key(|(place, rule)| Summary::of(&rule.matcher, *place))
                        .map(|(place, _)| place);
                    prop_assert_eq!(table.find(asked).map(|found| found.place), naive);
                    Ok(())
                })?;
            }
        }

        #[test]
        fn another_order_of_the_file_decides_between_equals_only(
            matchers in prop::collection::vec(matchers(), 1..20),
            drawn in requests(),
        ) {
            let named = |(place, matcher)| Rule { matcher, ..rule(&format!("r{place}"), "") };
            let rules: Vec<Rule> = matchers.into_iter().enumerate().map(named).collect();
            let backwards = Table::new(rules.iter().rev().cloned().collect());
            let table = Table::new(rules);
            let Drawn { host, method, path, fields, client } = drawn;
            request(host, method, path, &fields, client, |asked| {
                let summary = |found: Found<'_>| Summary::of(&found.rule.matcher, 0);
                prop_assert_eq!(table.find(asked).map(summary), backwards.find(asked).map(summary));
                Ok(())
            })?;
        }
    }
}
