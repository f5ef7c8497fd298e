//! The keys of a plugin in a configuration, read one by one, with everything that is wrong with them at once.

use std::collections::BTreeMap;
use std::fmt::Display;
use std::net::IpAddr;
use std::ops::RangeInclusive;
use std::time::Duration;

use http::{HeaderName, HeaderValue};
use ipnet::IpNet;
use ops::cli::did_you_mean;
use serde_json::{Map, Value};

/// One thing that is wrong.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{key}` {message}")]
pub struct Mistake {
    /// The key that it is about; may be one that is missing.
    pub key: String,
    /// What is wrong with it, to be read behind the key. Never shows a value that may be a secret.
    pub message: String,
}

/// The keys of a plugin besides `name` and `kind`. Every key is asked for; those that nobody asked for are unknown.
#[derive(Debug)]
pub struct Options {
    values: Map<String, Value>,
    known: Vec<String>,
    mistakes: Vec<Mistake>,
    /// What stands in front of the keys: the table that they are in.
    prefix: String,
}

impl Options {
    /// These.
    #[must_use]
    pub const fn new(values: Map<String, Value>) -> Self {
        Self { values, known: Vec::new(), mistakes: Vec::new(), prefix: String::new() }
    }

    /// Something is wrong with the value of `key`.
    pub fn wrong(&mut self, key: &str, message: impl Display) {
        let key = format!("{}{key}", self.prefix);
        self.mistakes.push(Mistake { key, message: message.to_string() });
    }

    /// Whether something is wrong with the value of `key`.
    #[must_use]
    pub fn is_wrong(&self, key: &str) -> bool {
        let key = format!("{}{key}", self.prefix);
        self.mistakes.iter().any(|mistake| mistake.key == key)
    }

    fn take(&mut self, key: &str) -> Option<Value> {
        self.known.push(key.to_owned());
        self.values.remove(key)
    }

    /// A string.
    pub fn text(&mut self, key: &str) -> Option<String> {
        match self.take(key)? {
            Value::String(text) => Some(text),
            _ => {
                self.wrong(key, "wants a string");
                None
            }
        }
    }

    /// A string that must be there.
    pub fn required(&mut self, key: &str, example: &str) -> Option<String> {
        if !self.values.contains_key(key) {
            self.wrong(key, format_args!("is missing: add {key} = {example:?}"));
        }
        self.text(key)
    }

    /// True or false.
    pub fn flag(&mut self, key: &str, default: bool) -> bool {
        match self.take(key) {
            None => default,
            Some(Value::Bool(flag)) => flag,
            Some(_) => {
                self.wrong(key, "wants true or false");
                default
            }
        }
    }

    /// A whole number within `range`.
    pub fn number(&mut self, key: &str, range: RangeInclusive<u32>) -> Option<u32> {
        let number = self.take(key)?.as_u64().and_then(|number| u32::try_from(number).ok());
        let number = number.filter(|number| range.contains(number));
        if number.is_none() {
            let (first, last) = range.into_inner();
            self.wrong(key, format_args!("is a number from {first} to {last}"));
        }
        number
    }

    /// A span of time within `range`, as in `30s` and `500ms`.
    pub fn duration(&mut self, key: &str, range: RangeInclusive<Duration>) -> Option<Duration> {
        let text = self.text(key)?;
        let duration = humantime::parse_duration(&text).ok().filter(|duration| range.contains(duration));
        if duration.is_none() {
            let [first, last] = [range.start(), range.end()].map(|end| humantime::format_duration(*end));
            self.wrong(key, format_args!("is a time from {first} to {last}, written as in 30s"));
        }
        duration
    }

    /// A list of strings; empty if there is none.
    pub fn texts(&mut self, key: &str) -> Vec<String> {
        let text = |value| match value {
            Value::String(text) => Some(text),
            _ => None,
        };
        let texts = match self.take(key) {
            None => Some(Vec::new()),
            Some(Value::Array(values)) => values.into_iter().map(text).collect(),
            Some(_) => None,
        };
        texts.unwrap_or_else(|| {
            self.wrong(key, "wants a list of strings");
            Vec::new()
        })
    }

    /// A list of what `parse` makes of strings.
    pub fn parsed<T, E: Display>(&mut self, key: &str, parse: impl Fn(&str) -> Result<T, E>) -> Vec<T> {
        let mut values = Vec::new();
        for (text, number) in self.texts(key).into_iter().zip(1_u64..) {
            match parse(&text) {
                Ok(value) => values.push(value),
                // Not the text: it may have come from the environment.
                Err(error) => self.wrong(key, format_args!("is wrong in its entry {number}: {error}")),
            }
        }
        values
    }

    /// A list of networks; an address alone is one too.
    pub fn networks(&mut self, key: &str) -> Vec<IpNet> {
        self.parsed(key, |text| {
            let address = text.parse::<IpAddr>().map(|address| IpNet::from(address.to_canonical()));
            address.or_else(|_| text.parse::<IpNet>()).map_err(|_| "that is no address and no network")
        })
    }

    /// A list of field names.
    pub fn field_names(&mut self, key: &str) -> Vec<HeaderName> {
        self.parsed(key, |text| HeaderName::try_from(text).map_err(|_| "that is no name of a header field"))
    }

    /// The name of a field.
    pub fn field_name(&mut self, key: &str) -> Option<HeaderName> {
        let name = HeaderName::try_from(self.text(key)?).ok();
        if name.is_none() {
            self.wrong(key, "is the name of a header field");
        }
        name
    }

    /// A table of strings.
    pub fn table(&mut self, key: &str) -> BTreeMap<String, String> {
        let mut table = BTreeMap::new();
        match self.take(key) {
            None => {}
            Some(Value::Object(values)) => {
                for (name, value) in values {
                    match value {
                        Value::String(value) => drop(table.insert(name, value)),
                        _ => self.wrong(key, format_args!("wants a string for {name:?}")),
                    }
                }
            }
            Some(_) => self.wrong(key, "wants a table of strings"),
        }
        table
    }

    /// A table of fields.
    pub fn fields(&mut self, key: &str) -> Vec<(HeaderName, HeaderValue)> {
        let mut fields = Vec::new();
        for (name, value) in self.table(key) {
            match (HeaderName::try_from(&name), HeaderValue::try_from(value)) {
                (Ok(name), Ok(value)) => fields.push((name, value)),
                (Err(_), _) => {
                    self.wrong(key, format_args!("holds {name:?}, which is no name of a header field"))
                }
                (_, Err(_)) => {
                    self.wrong(key, format_args!("has a value for {name:?} that a header can not hold"))
                }
            }
        }
        fields
    }

    /// What `read` makes of the table at `key`; an empty one if there is none.
    pub fn within<T>(&mut self, key: &str, read: impl FnOnce(&mut Self) -> T) -> T {
        let values = match self.take(key) {
            None => Map::new(),
            Some(Value::Object(values)) => values,
            Some(_) => {
                self.wrong(key, "wants a table");
                Map::new()
            }
        };
        let mut inner = Self { prefix: format!("{}{key}.", self.prefix), ..Self::new(values) };
        let read = read(&mut inner);
        self.mistakes.extend(inner.finish());
        read
    }

    /// Everything that is wrong.
    pub(super) fn finish(mut self) -> Vec<Mistake> {
        for key in std::mem::take(&mut self.values).keys() {
            let hint = did_you_mean(key, self.known.iter().map(String::as_str));
            let known = self.known.join(", ");
            self.wrong(key, format_args!("is no key here (keys are: {known}){hint}"));
        }
        self.mistakes
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn all_mistakes_are_told_at_once() {
        let Value::Object(values) = json!({
            "realm": 3, "burst": 0, "allow": ["10.0.0.0/8", "x"], "set": { "a b": "x" }, "burts": 1,
        }) else {
            unreachable!()
        };
        let mut options = Options::new(values);
        assert_eq!(options.text("realm"), None);
        assert_eq!(options.number("burst", 1..=10), None);
        assert_eq!(options.networks("allow").len(), 1);
        assert!(options.fields("set").is_empty());
        assert_eq!(options.required("rate", "20/s"), None);
        let mistakes = options.finish();
        let keys: Vec<_> = mistakes.iter().map(|mistake| mistake.key.as_str()).collect();
        assert_eq!(keys, ["realm", "burst", "allow", "set", "rate", "burts"]);
        assert!(mistakes[5].message.contains("`burst`"), "{}", mistakes[5]);
    }

    #[test]
    fn an_address_is_a_network_of_one() {
        let mut options =
            Options::new(Map::from_iter([("allow".to_owned(), json!(["::1", "::ffff:1.2.3.4"]))]));
        let networks = options.networks("allow");
        assert_eq!(networks[1].to_string(), "1.2.3.4/32");
        assert_eq!(networks[0].to_string(), "::1/128");
    }

    #[test]
    fn keys_in_tables_are_named_with_the_table() {
        let mut options = Options::new(Map::from_iter([("request".to_owned(), json!({ "sett": {} }))]));
        options.within("request", |request| drop(request.fields("set")));
        assert_eq!(options.finish()[0].key, "request.sett");
    }
}
