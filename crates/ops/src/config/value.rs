//! One value of the file, before it is known what it should be.

use std::fmt::Display;
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::time::Duration;

use toml::Spanned;
use toml::de::DeValue;

use super::expand::{ExpandError, expand};
use super::placed::{Placed, Span};
use super::problem::Problems;
use super::section::{Scope, Section};

/// A value and the key that it stands at.
#[derive(Clone, Copy)]
pub struct Value<'d> {
    pub(super) key: &'d str,
    pub(super) value: &'d Spanned<DeValue<'d>>,
    pub(super) scope: Scope<'d>,
}

impl<'d> Value<'d> {
    /// Where it stands.
    #[must_use]
    pub fn span(&self) -> Span {
        self.value.span()
    }

    /// Whether it is a string.
    #[must_use]
    pub fn is_text(&self) -> bool {
        self.value.get_ref().is_str()
    }

    /// Whether it is a list.
    #[must_use]
    pub fn is_list(&self) -> bool {
        self.value.get_ref().is_array()
    }

    /// Whether it is a table.
    #[must_use]
    pub fn is_table(&self) -> bool {
        self.value.get_ref().is_table()
    }

    /// Whether it is true or false.
    #[must_use]
    pub fn is_flag(&self) -> bool {
        self.value.get_ref().is_bool()
    }

    /// A string, with its variables replaced.
    pub fn text(&self, problems: &mut Problems) -> Option<Placed<String>> {
        let Some(text) = self.value.get_ref().as_str() else {
            self.wrong_type("a string", problems);
            return None;
        };
        let expanded = match expand(text, self.scope.env) {
            Ok(expanded) => expanded,
            Err(error @ ExpandError::Unset(_)) => {
                problems.add_lack(self.span(), error);
                return problems.may_lack().then(|| Placed::new(text.to_owned(), self.span()));
            }
            Err(error) => {
                problems.add(self.span(), error);
                return None;
            }
        };
        Some(match expanded == text {
            true => Placed::new(expanded, self.span()),
            false => Placed::unseen(expanded, self.span()),
        })
    }

    /// The path of a file; a relative one starts at the configuration.
    pub fn path(&self, problems: &mut Problems) -> Option<Placed<PathBuf>> {
        Some(self.text(problems)?.map(|text| self.scope.base.join(text)))
    }

    /// True or false.
    pub fn flag(&self, problems: &mut Problems) -> Option<Placed<bool>> {
        let flag = self.value.get_ref().as_bool();
        if flag.is_none() {
            self.wrong_type("true or false", problems);
        }
        Some(Placed::new(flag?, self.span()))
    }

    /// A whole number within `range`.
    pub fn number<N>(&self, range: &RangeInclusive<N>, problems: &mut Problems) -> Option<Placed<N>>
    where
        N: TryFrom<i64> + PartialOrd + Display,
    {
        let Some(integer) = self.value.get_ref().as_integer() else {
            self.wrong_type("a number", problems);
            return None;
        };
        let number = i64::from_str_radix(integer.as_str(), integer.radix()).ok();
        let number =
            number.and_then(|number| N::try_from(number).ok()).filter(|number| range.contains(number));
        if number.is_none() {
            let (first, last) = (range.start(), range.end());
            problems.add(self.span(), format_args!("`{}` is a number from {first} to {last}", self.key));
        }
        Some(Placed::new(number?, self.span()))
    }

    /// A number of bytes within `range`: a number, or `512KiB`, `10MiB` or `2GiB`.
    pub fn bytes(&self, range: &RangeInclusive<u64>, problems: &mut Problems) -> Option<Placed<u64>> {
        if self.value.get_ref().as_integer().is_some() {
            let number = self.number(&(0..=i64::MAX), problems)?;
            let bytes = number.map(|number| u64::try_from(number).unwrap_or(u64::MAX));
            return self.within(bytes, range, problems);
        }
        let text = self.text(problems)?;
        let Some(bytes) = parse_bytes(&text.value) else {
            let value = &text.value;
            text.wrong(
                format_args!("{value:?} is no number of bytes: write 10MiB, 512KiB, 2GiB or 1000"),
                problems,
            );
            return None;
        };
        self.within(text.map(|_| bytes), range, problems)
    }

    fn within(
        &self,
        bytes: Placed<u64>,
        range: &RangeInclusive<u64>,
        problems: &mut Problems,
    ) -> Option<Placed<u64>> {
        if range.contains(&bytes.value) {
            return Some(bytes);
        }
        let (first, last) = (range.start(), range.end());
        problems.add(self.span(), format_args!("`{}` is from {first} to {last} bytes", self.key));
        None
    }

    /// A span of time within `range`, written `30s`, `500ms`, `5m` or `1h`.
    pub fn duration(
        &self,
        range: &RangeInclusive<Duration>,
        problems: &mut Problems,
    ) -> Option<Placed<Duration>> {
        let text = self.text(problems)?;
        let parsed = humantime::parse_duration(&text.value);
        let Ok(duration) = parsed else {
            text.wrong(format_args!("{:?} is no time: write 30s, 500ms, 5m or 1h", text.value), problems);
            return None;
        };
        if !range.contains(&duration) {
            let (first, last) =
                (humantime::format_duration(*range.start()), humantime::format_duration(*range.end()));
            text.wrong(format_args!("`{}` is a time from {first} to {last}", self.key), problems);
            return None;
        }
        Some(text.map(|_| duration))
    }

    /// The elements of a list.
    pub fn list(&self, wanted: &str, problems: &mut Problems) -> Vec<Self> {
        let Some(list) = self.value.get_ref().as_array() else {
            self.wrong_type(wanted, problems);
            return Vec::new();
        };
        list.iter().map(|value| Self { key: self.key, value, scope: self.scope }).collect()
    }

    /// A table.
    pub fn section(&self, problems: &mut Problems) -> Option<Section<'d>> {
        let table = self.value.get_ref().as_table();
        if table.is_none() {
            self.wrong_type("a table", problems);
        }
        Some(Section::new(table?, self.span(), self.scope))
    }

    /// Reports that it is of another type than `wanted`.
    pub fn wrong_type(&self, wanted: &str, problems: &mut Problems) {
        let kind = self.value.get_ref().type_str();
        let article = if kind.starts_with(['a', 'e', 'i', 'o', 'u']) { "an" } else { "a" };
        problems
            .add(self.span(), format_args!("`{}` wants {wanted}, and this is {article} {kind}", self.key));
    }

    /// Everything in it as JSON, with the variables replaced: for what somebody else gives a meaning to.
    pub fn json(&self, problems: &mut Problems) -> Option<serde_json::Value> {
        match self.value.get_ref() {
            DeValue::String(_) => Some(self.text(problems)?.value.into()),
            DeValue::Boolean(flag) => Some((*flag).into()),
            DeValue::Integer(_) => Some(self.number(&(i64::MIN..=i64::MAX), problems)?.value.into()),
            DeValue::Float(float) => {
                let number = float.as_str().parse::<f64>().map_err(|_| "this is no number");
                Some(problems.check(self.span(), number)?.into())
            }
            DeValue::Datetime(_) => {
                self.wrong_type("no date", problems);
                None
            }
            DeValue::Array(_) => {
                Some(self.list("a list", problems).iter().filter_map(|item| item.json(problems)).collect())
            }
            DeValue::Table(_) => {
                let mut section = self.section(problems)?;
                let entries = section.rest();
                let json =
                    entries.into_iter().filter_map(|(key, value)| Some((key.value, value.json(problems)?)));
                Some(serde_json::Value::Object(json.collect()))
            }
        }
    }
}

fn parse_bytes(text: &str) -> Option<u64> {
    let (number, unit) = text.split_at(text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len()));
    let shift = match unit.trim_start() {
        "" | "B" => 0,
        "KiB" => 10,
        "MiB" => 20,
        "GiB" => 30,
        "TiB" => 40,
        _ => return None,
    };
    number.parse::<u64>().ok()?.checked_mul(1 << shift)
}

impl std::fmt::Debug for Value<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // Not the value: it may be a secret.
        f.debug_struct("Value").field("key", &self.key).finish_non_exhaustive()
    }
}
