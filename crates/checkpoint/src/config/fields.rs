//! Reading the keys of a JSON object, each against its type and range. Keys that are not asked for are not looked at.

use std::fmt::Display;
use std::ops::RangeInclusive;

use serde_json::{Map, Value};

use super::ConfigError;

/// An object of a configuration file.
#[derive(Clone, Copy)]
pub(super) struct Fields<'a> {
    pub(super) file: &'static str,
    /// What stands before a key in messages: nothing, or the keys above it, each with a dot.
    path: &'static str,
    map: &'a Map<String, Value>,
}

impl<'a> Fields<'a> {
    pub(super) fn new(file: &'static str, map: &'a Map<String, Value>) -> Self {
        Self { file, path: "", map }
    }

    /// The object below `key`, which messages call `path`; `None` if it is absent or null.
    pub(super) fn below(self, key: &str, path: &'static str) -> Result<Option<Self>, ConfigError> {
        match self.get(key) {
            None => Ok(None),
            Some(Value::Object(map)) => Ok(Some(Self { map, path, ..self })),
            Some(found) => Err(self.wrong(key, "an object", found)),
        }
    }

    /// The value of `key`, if it is neither absent nor null.
    pub(super) fn get(self, key: &str) -> Option<&'a Value> {
        self.map.get(key).filter(|value| !value.is_null())
    }

    /// A whole number that must be there.
    pub(super) fn integer(self, key: &str, range: RangeInclusive<usize>) -> Result<usize, ConfigError> {
        let expected = words(&range);
        let found = self.map.get(key).ok_or_else(|| self.missing(key, &expected))?;
        let integer = found.as_u64().and_then(|number| usize::try_from(number).ok());
        integer.filter(|number| range.contains(number)).ok_or_else(|| self.wrong(key, expected, found))
    }

    /// A whole number that may be absent.
    pub(super) fn integer_or(
        self,
        key: &str,
        range: RangeInclusive<usize>,
        default: usize,
    ) -> Result<usize, ConfigError> {
        self.get(key).map_or(Ok(default), |_| self.integer(key, range))
    }

    /// A number that may be absent.
    pub(super) fn number_or(self, key: &str, range: RangeInclusive<f64>, default: f64) -> Result<f64, ConfigError> {
        let Some(found) = self.get(key) else { return Ok(default) };
        let expected = format!("a number from {:e} to {:e}", range.start(), range.end());
        found.as_f64().filter(|number| range.contains(number)).ok_or_else(|| self.wrong(key, expected, found))
    }

    /// A truth value that may be absent.
    pub(super) fn flag_or(self, key: &str, default: bool) -> Result<bool, ConfigError> {
        let Some(found) = self.get(key) else { return Ok(default) };
        found.as_bool().ok_or_else(|| self.wrong(key, "true or false", found))
    }

    /// A string that may be absent.
    pub(super) fn text(self, key: &str) -> Result<Option<&'a str>, ConfigError> {
        let Some(found) = self.get(key) else { return Ok(None) };
        found.as_str().map(Some).ok_or_else(|| self.wrong(key, "a string", found))
    }

    /// Refuses any value but `supported`, which is also what an absent key means.
    pub(super) fn only(self, key: &str, supported: &'static str) -> Result<(), ConfigError> {
        match self.text(key)? {
            Some(found) if found != supported => Err(self.unsupported(key, found, supported)),
            _ => Ok(()),
        }
    }

    /// Refuses a switch that is not at `supported`, which is also what an absent key means.
    pub(super) fn only_flag(self, key: &str, supported: bool) -> Result<(), ConfigError> {
        if self.flag_or(key, supported)? == supported {
            return Ok(());
        }
        Err(self.unsupported(key, !supported, if supported { "true" } else { "false" }))
    }

    /// Refuses a value unless `divisor` divides it.
    pub(super) fn divisible(
        self,
        key: &str,
        value: usize,
        divisor_name: &'static str,
        divisor: usize,
    ) -> Result<(), ConfigError> {
        if value.is_multiple_of(divisor) {
            return Ok(());
        }
        Err(ConfigError::NotDivisible { file: self.file, field: self.name(key), value, divisor_name, divisor })
    }

    pub(super) fn missing(self, key: &str, expected: impl Display) -> ConfigError {
        ConfigError::Missing { file: self.file, field: self.name(key), expected: expected.to_string() }
    }

    pub(super) fn wrong(self, key: &str, expected: impl Display, found: &Value) -> ConfigError {
        let (expected, found) = (expected.to_string(), short(found));
        ConfigError::Value { file: self.file, field: self.name(key), expected, found }
    }

    pub(super) fn unsupported(self, key: &str, found: impl Display, supported: &'static str) -> ConfigError {
        ConfigError::Unsupported { file: self.file, field: self.name(key), found: found.to_string(), supported }
    }

    fn name(self, key: &str) -> String {
        format!("{}{key}", self.path)
    }
}

fn words(range: &RangeInclusive<usize>) -> String {
    match (range.start(), range.end()) {
        (start, end) if start == end => format!("{start}"),
        (start, end) => format!("a whole number from {start} to {end}"),
    }
}

/// A value as a message may show it: JSON of at most 40 characters.
pub(super) fn short(value: &Value) -> String {
    let text = value.to_string();
    match text.char_indices().nth(40) {
        Some((end, _)) => format!("{}...", &text[..end]),
        None => text,
    }
}
