//! A table of the file, read key by key.

use std::ops::{Range, RangeInclusive};

use ops::cli::did_you_mean;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::expand::expand;
use super::problem::Problems;

/// A table of which every key is asked for once; the keys that nobody asked for are the unknown ones.
pub(super) struct Section<'d, E> {
    table: &'d DeTable<'d>,
    /// Where it stands, for what it lacks.
    pub(super) span: Range<usize>,
    env: E,
    known: Vec<&'static str>,
}

impl<'d, E: Fn(&str) -> Option<String> + Copy> Section<'d, E> {
    pub(super) fn new(table: &'d DeTable<'d>, span: Range<usize>, env: E) -> Self {
        Self { table, span, env, known: Vec::new() }
    }

    fn take(&mut self, key: &'static str) -> Option<&'d Spanned<DeValue<'d>>> {
        self.known.push(key);
        self.table.get(key)
    }

    /// A string, with its variables replaced.
    pub(super) fn text(&mut self, key: &'static str, problems: &mut Problems) -> Option<Spanned<String>> {
        let value = self.take(key)?;
        self.expanded(key, value, problems)
    }

    /// A list of strings; empty if there is none.
    pub(super) fn texts(&mut self, key: &'static str, problems: &mut Problems) -> Vec<Spanned<String>> {
        let Some(value) = self.take(key) else { return Vec::new() };
        let Some(list) = value.get_ref().as_array() else {
            problems.add(value.span(), wrong_type(key, "a list of strings", value));
            return Vec::new();
        };
        list.iter().filter_map(|item| self.expanded(key, item, problems)).collect()
    }

    /// A whole number within `range`.
    pub(super) fn number(
        &mut self,
        key: &'static str,
        range: RangeInclusive<u16>,
        problems: &mut Problems,
    ) -> Option<Spanned<u16>> {
        let value = self.take(key)?;
        let Some(integer) = value.get_ref().as_integer() else {
            problems.add(value.span(), wrong_type(key, "a number", value));
            return None;
        };
        let number = u16::from_str_radix(integer.as_str(), integer.radix()).ok();
        let number = number.filter(|number| range.contains(number));
        if number.is_none() {
            let (first, last) = range.into_inner();
            problems.add(value.span(), format_args!("`{key}` is a number from {first} to {last}"));
        }
        Some(Spanned::new(value.span(), number?))
    }

    /// A list of tables, written either way: `key = [{ … }]` or `[[key]]`.
    pub(super) fn sections(&mut self, key: &'static str, problems: &mut Problems) -> Vec<Self> {
        let Some(value) = self.take(key) else { return Vec::new() };
        let env = self.env;
        let Some(list) = value.get_ref().as_array() else {
            problems.add_with_help(
                value.span(),
                wrong_type(key, "a list of tables", value),
                format_args!("write `[[{key}]]`, or `{key} = [{{ … }}]`"),
            );
            return Vec::new();
        };
        let tables = list.iter().filter_map(|item| {
            let table = item.get_ref().as_table();
            if table.is_none() {
                problems.add(item.span(), wrong_type(key, "a table in this list", item));
            }
            Some(Self::new(table?, item.span(), env))
        });
        tables.collect()
    }

    /// Reports that `key` is missing, if it is.
    pub(super) fn require(&self, key: &str, example: &str, problems: &mut Problems) {
        if !self.table.contains_key(key) {
            problems.add(self.span.clone(), format_args!("`{key}` is missing here: add {key} = {example}"));
        }
    }

    /// Reports the keys that nobody asked for; those of `later` are of a later version.
    pub(super) fn finish(self, later: &[&str], problems: &mut Problems) {
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

    fn expanded(
        &self,
        key: &str,
        value: &Spanned<DeValue<'_>>,
        problems: &mut Problems,
    ) -> Option<Spanned<String>> {
        let Some(text) = value.get_ref().as_str() else {
            problems.add(value.span(), wrong_type(key, "a string", value));
            return None;
        };
        let text = problems.check(value.span(), expand(text, self.env))?;
        Some(Spanned::new(value.span(), text))
    }
}

fn wrong_type(key: &str, wanted: &str, value: &Spanned<DeValue<'_>>) -> String {
    format!("`{key}` wants {wanted}, and this is {}", article(value.get_ref().type_str()))
}

fn article(kind: &str) -> String {
    let vowel = kind.starts_with(['a', 'e', 'i', 'o', 'u']);
    format!("{} {kind}", if vowel { "an" } else { "a" })
}
