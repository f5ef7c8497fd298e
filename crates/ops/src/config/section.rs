//! A table of the file, read key by key.

use std::fmt::Display;
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use std::time::Duration;

use toml::de::DeTable;

use super::placed::{Placed, Span};
use super::problem::Problems;
use super::value::Value;
use crate::cli::did_you_mean;

/// What every value of a file may refer to.
#[derive(Clone, Copy)]
pub struct Scope<'d> {
    /// The variables of `${…}`.
    pub env: &'d dyn Fn(&str) -> Option<String>,
    /// Where relative paths start.
    pub base: &'d Path,
}

/// A table of which every key is asked for once; the keys that nobody asked for are the unknown ones.
pub struct Section<'d> {
    table: &'d DeTable<'d>,
    /// Where it stands, for what it lacks.
    pub span: Span,
    scope: Scope<'d>,
    known: Vec<&'static str>,
}

impl<'d> Section<'d> {
    pub(super) const fn new(table: &'d DeTable<'d>, span: Span, scope: Scope<'d>) -> Self {
        Self { table, span, scope, known: Vec::new() }
    }

    /// The value at `key`, of any type.
    pub fn value(&mut self, key: &'static str) -> Option<Value<'d>> {
        self.known.push(key);
        let value = self.table.get(key)?;
        Some(Value { key, value, scope: self.scope })
    }

    /// Whether `key` is there.
    #[must_use]
    pub fn has(&self, key: &str) -> bool {
        self.table.contains_key(key)
    }

    /// A string, with its variables replaced.
    pub fn text(&mut self, key: &'static str, problems: &mut Problems) -> Option<Placed<String>> {
        self.value(key)?.text(problems)
    }

    /// A list of strings; empty if there is none.
    pub fn texts(&mut self, key: &'static str, problems: &mut Problems) -> Vec<Placed<String>> {
        let Some(value) = self.value(key) else { return Vec::new() };
        value.list("a list of strings", problems).iter().filter_map(|item| item.text(problems)).collect()
    }

    /// The path of a file; a relative one starts at the configuration.
    pub fn path(&mut self, key: &'static str, problems: &mut Problems) -> Option<Placed<PathBuf>> {
        self.value(key)?.path(problems)
    }

    /// True or false.
    pub fn flag(&mut self, key: &'static str, problems: &mut Problems) -> Option<Placed<bool>> {
        self.value(key)?.flag(problems)
    }

    /// A whole number within `range`.
    pub fn number<N>(
        &mut self,
        key: &'static str,
        range: RangeInclusive<N>,
        problems: &mut Problems,
    ) -> Option<Placed<N>>
    where
        N: TryFrom<i64> + PartialOrd + Display,
    {
        self.value(key)?.number(&range, problems)
    }

    /// A number of bytes within `range`.
    pub fn bytes(
        &mut self,
        key: &'static str,
        range: RangeInclusive<u64>,
        problems: &mut Problems,
    ) -> Option<Placed<u64>> {
        self.value(key)?.bytes(&range, problems)
    }

    /// A span of time within `range`.
    pub fn duration(
        &mut self,
        key: &'static str,
        range: RangeInclusive<Duration>,
        problems: &mut Problems,
    ) -> Option<Placed<Duration>> {
        self.value(key)?.duration(&range, problems)
    }

    /// One of `words`, with what it stands for.
    pub fn word<T: Copy>(
        &mut self,
        key: &'static str,
        words: &[(&str, T)],
        problems: &mut Problems,
    ) -> Option<Placed<T>> {
        let text = self.text(key, problems)?;
        if let Some((_, meant)) = words.iter().find(|(word, _)| *word == text.value) {
            return Some(text.map(|_| *meant));
        }
        let known = || words.iter().map(|(word, _)| *word);
        let hint = did_you_mean(&text.value, known());
        let hint = if hint.is_empty() {
            format!(": there is {}", known().collect::<Vec<_>>().join(", "))
        } else {
            hint
        };
        text.wrong(format_args!("{:?} is no `{key}`{hint}", text.value), problems);
        None
    }

    /// A table.
    pub fn section(&mut self, key: &'static str, problems: &mut Problems) -> Option<Self> {
        self.value(key)?.section(problems)
    }

    /// A list of tables, written either way: `key = [{ … }]` or `[[key]]`.
    pub fn sections(&mut self, key: &'static str, problems: &mut Problems) -> Vec<Self> {
        let Some(value) = self.value(key) else { return Vec::new() };
        if !value.is_list() {
            let mut wrong = Problems::default();
            value.wrong_type("a list of tables", &mut wrong);
            let help = format!("write `[[{key}]]`, or `{key} = [{{ … }}]`");
            problems.found.extend(wrong.found.into_iter().map(|mut problem| {
                problem.help = Some(help.clone());
                problem
            }));
            return Vec::new();
        }
        let tables = value.list("a list of tables", problems).into_iter().filter_map(|item| {
            if !item.is_table() {
                item.wrong_type("a table in this list", problems);
                return None;
            }
            item.section(problems)
        });
        tables.collect()
    }

    /// All keys that were not asked for, as names that the user gives.
    pub fn rest(&mut self) -> Vec<(Placed<String>, Value<'d>)> {
        let known = std::mem::take(&mut self.known);
        let entries = self.table.iter().filter(|(key, _)| !known.contains(&key.get_ref().as_ref()));
        let entries = entries.map(|(key, value)| {
            let name: &str = key.get_ref();
            let value = Value { key: name, value, scope: self.scope };
            (Placed::new(name.to_owned(), key.span()), value)
        });
        entries.collect()
    }

    /// Reports that `key` is missing, if it is.
    pub fn require(&self, key: &str, example: &str, problems: &mut Problems) {
        if !self.has(key) {
            problems.add(self.span.clone(), format_args!("`{key}` is missing here: add {key} = {example}"));
        }
    }

    /// Reports the keys that nobody asked for; those of `later` are of a later version.
    pub fn finish(self, later: &[&str], problems: &mut Problems) {
        for (key, _) in self.table.iter() {
            let name: &str = key.get_ref();
            if self.known.contains(&name) {
                continue;
            }
            if later.contains(&name) {
                problems.add(key.span(), format_args!("`{name}` is not in this version"));
                continue;
            }
            let hint = did_you_mean(name, self.known.iter().copied());
            problems.add_with_help(
                key.span(),
                format_args!("unknown key `{name}`{hint}"),
                format_args!("keys here: {}", self.known.join(", ")),
            );
        }
    }
}

impl std::fmt::Debug for Section<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Section")
            .field("span", &self.span)
            .field("known", &self.known)
            .finish_non_exhaustive()
    }
}
