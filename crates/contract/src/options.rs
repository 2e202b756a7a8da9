//! A request's options: one table of names, ranges, defaults and words, read by the parser, the documentation and the types.

use std::fmt;

use crate::error::{Code, Coded};
use crate::limits;
use crate::sampling::Sampling;

/// Checked options of a request.
#[derive(Debug, Clone, PartialEq)]
pub struct Options {
    /// Whether the model thinks before it answers.
    pub thinking: bool,
    /// Most tokens to generate, thoughts included.
    pub max_tokens: usize,
    /// How each token is chosen.
    pub sampling: Sampling,
    /// Strings that end the answer; they are not part of it.
    pub stop: Vec<String>,
    /// How many rivals to give log-probabilities for; `None` gives none at all.
    pub logprobs: Option<u32>,
    /// Most slices of a still that names none; `None` is the model's.
    pub max_slices: Option<u32>,
    /// Whether stills are numbered in the prompt; `None` numbers them unless the conversation holds a clip.
    pub image_ids: Option<bool>,
}

impl Default for Options {
    fn default() -> Self {
        Self::of_mode(false)
    }
}

/// An option's value as a caller gave it.
#[derive(Debug, Clone, PartialEq)]
pub enum OptionValue {
    /// A number.
    Number(f64),
    /// True or false.
    Bool(bool),
    /// A text.
    Text(String),
    /// A list of texts.
    List(Vec<String>),
    /// Anything else, by the name of its type.
    Other(String),
}

/// In the words of an error.
impl fmt::Display for OptionValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Number(value) => write!(f, "the number {value}"),
            Self::Bool(value) => write!(f, "{value}"),
            Self::Text(_) => f.write_str("a string"),
            Self::List(_) => f.write_str("a list"),
            Self::Other(name) => f.write_str(name),
        }
    }
}

/// What kind of value an option takes.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Kind {
    /// True or false.
    Bool,
    /// A whole number within the range.
    Integer {
        /// Least value.
        min: u64,
        /// Greatest value.
        max: u64,
    },
    /// A number within the range.
    Number {
        /// Least value.
        min: f64,
        /// Greatest value.
        max: f64,
    },
    /// A list of texts.
    Strings,
}

/// One row of the table of options.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Row {
    /// The name in TypeScript.
    pub name: &'static str,
    /// What it takes.
    pub kind: Kind,
    /// The default, in words.
    pub default: &'static str,
    /// What it does.
    pub doc: &'static str,
}

/// Largest whole number that a JavaScript number holds exactly.
const MAX_SAFE_INTEGER: u64 = (1 << 53) - 1;

/// Temperatures below this are greedy: dividing by them overflows before it changes any choice.
const LEAST_TEMPERATURE: f64 = 1e-3;

const fn row(name: &'static str, kind: Kind, default: &'static str, doc: &'static str) -> Row {
    Row { name, kind, default, doc }
}

/// Every option.
pub const TABLE: &[Row] = &[
    row("thinking", Kind::Bool, "false", "Think before answering; the thoughts come apart from the answer."),
    row("maxTokens", Kind::Integer { min: 1, max: 40_960 }, "2048", "Most tokens to generate, thoughts included."),
    row(
        "temperature",
        Kind::Number { min: 0.0, max: 2.0 },
        "0.7",
        "Higher is more varied; 0 always takes the likeliest token.",
    ),
    row(
        "topP",
        Kind::Number { min: 0.0, max: 1.0 },
        "0.8; 1 when thinking",
        "Choose among the likeliest tokens that hold this share of the probability.",
    ),
    row(
        "topK",
        Kind::Integer { min: 0, max: 1_000_000 },
        "100; 50 when thinking",
        "Choose among this many of the likeliest tokens; 0 is no limit.",
    ),
    row(
        "minP",
        Kind::Number { min: 0.0, max: 1.0 },
        "0",
        "Drop tokens with less than this share of the likeliest one's probability.",
    ),
    row(
        "repetitionPenalty",
        Kind::Number { min: 0.5, max: 2.0 },
        "1.03; 1 when thinking",
        "Above 1, tokens already generated become less likely.",
    ),
    row(
        "seed",
        Kind::Integer { min: 0, max: MAX_SAFE_INTEGER },
        "new each time",
        "Makes sampling repeatable on the same machine and version.",
    ),
    row("stop", Kind::Strings, "none", "Texts that end the answer, at most 16 of 256 bytes each."),
    row(
        "logprobs",
        Kind::Integer { min: 0, max: limits::MAX_LOGPROBS as u64 },
        "off",
        "Log-probability of each token and of this many rivals.",
    ),
    row(
        "maxSlices",
        Kind::Integer { min: 1, max: limits::MAX_SLICES as u64 },
        "9",
        "Most slices that a large picture is cut into.",
    ),
    row(
        "imageIds",
        Kind::Bool,
        "true; false with a clip",
        "Number the pictures in the prompt, as the reference's use_image_id.",
    ),
];

impl Options {
    /// The reference's settings with or without thinking, and 2048 tokens.
    pub const fn of_mode(thinking: bool) -> Self {
        Self {
            thinking,
            max_tokens: 2048,
            sampling: if thinking { Sampling::DEEP } else { Sampling::FAST },
            stop: Vec::new(),
            logprobs: None,
            max_slices: None,
            image_ids: None,
        }
    }

    /// Checks options as a caller gave them; what is not given has the default of its mode.
    ///
    /// # Errors
    /// Names the option, what it takes and what was given.
    pub fn parse(given: &[(String, OptionValue)]) -> Result<Self, OptionError> {
        for (name, _) in given {
            find(name)?;
        }
        let thinking = match given.iter().find(|(name, _)| name == "thinking") {
            Some((name, value)) => boolean(name, value)?,
            None => false,
        };
        let mut options = Self::of_mode(thinking);
        for (name, value) in given {
            options.set(name, value)?;
        }
        Ok(options)
    }

    fn set(&mut self, name: &str, value: &OptionValue) -> Result<(), OptionError> {
        match name {
            "thinking" => self.thinking = boolean(name, value)?,
            "maxTokens" => self.max_tokens = to_usize(integer(name, value)?),
            "temperature" => self.sampling.temperature = temperature(number(name, value)?),
            "topP" => self.sampling.top_p = narrow(number(name, value)?),
            "topK" => self.sampling.top_k = to_u32(integer(name, value)?),
            "minP" => self.sampling.min_p = narrow(number(name, value)?),
            "repetitionPenalty" => self.sampling.repetition_penalty = narrow(number(name, value)?),
            "seed" => self.sampling.seed = Some(integer(name, value)?),
            "stop" => self.stop = stops(value)?,
            "logprobs" => self.logprobs = Some(to_u32(integer(name, value)?)),
            "maxSlices" => self.max_slices = Some(to_u32(integer(name, value)?)),
            "imageIds" => self.image_ids = Some(boolean(name, value)?),
            _ => return Err(unknown(name)),
        }
        Ok(())
    }
}

/// Why options are refused.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum OptionError {
    /// There is no such option.
    Unknown {
        /// The given name.
        name: String,
        /// The known name nearest to it, if any is near.
        nearest: Option<&'static str>,
    },
    /// The value has the wrong type.
    Type {
        /// The option.
        name: String,
        /// What it takes.
        expected: String,
        /// What was given.
        found: String,
    },
    /// The value is outside the range.
    Range {
        /// The option.
        name: String,
        /// What it takes.
        expected: String,
        /// What was given.
        found: String,
    },
    /// A stop string is empty or too long, or there are too many.
    Stop {
        /// What is wrong.
        problem: String,
    },
}

impl fmt::Display for OptionError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unknown { name, nearest: Some(nearest) } => {
                write!(f, "unknown option '{name}'; did you mean '{nearest}'?")
            }
            Self::Unknown { name, nearest: None } => write!(f, "unknown option '{name}'"),
            Self::Type { name, expected, found } | Self::Range { name, expected, found } => {
                write!(f, "option '{name}' takes {expected}, not {found}")
            }
            Self::Stop { problem } => write!(f, "option 'stop': {problem}"),
        }
    }
}

impl std::error::Error for OptionError {}

impl Coded for OptionError {
    fn code(&self) -> Code {
        Code::InvalidOption
    }

    fn hint(&self) -> Option<String> {
        match self {
            Self::Unknown { .. } => {
                let names: Vec<_> = TABLE.iter().map(|row| row.name).collect();
                Some(format!("the options are {}", names.join(", ")))
            }
            _ => None,
        }
    }
}

fn find(name: &str) -> Result<&'static Row, OptionError> {
    TABLE.iter().find(|row| row.name == name).ok_or_else(|| unknown(name))
}

fn unknown(name: &str) -> OptionError {
    OptionError::Unknown { name: name.to_owned(), nearest: nearest(name, TABLE.iter().map(|row| row.name)) }
}

/// The candidate with the fewest changed letters (case and `_` aside), if at most a third of them changed.
pub fn nearest<'a>(name: &str, candidates: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let plain = |text: &str| text.to_lowercase().replace(['_', '-'], "");
    let wanted = plain(name);
    candidates
        .map(|candidate| (edits(&wanted, &plain(candidate)), candidate))
        .min()
        .filter(|&(changes, candidate)| changes * 3 <= candidate.len())
        .map(|(_, candidate)| candidate)
}

/// Levenshtein's distance.
fn edits(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.chars().take(64).enumerate() {
        let mut corner = row[0];
        row[0] = i + 1;
        for (j, &y) in b.iter().enumerate() {
            let replaced = corner + usize::from(x != y);
            corner = row[j + 1];
            row[j + 1] = replaced.min(corner + 1).min(row[j] + 1);
        }
    }
    row[b.len()]
}

fn boolean(name: &str, value: &OptionValue) -> Result<bool, OptionError> {
    match value {
        OptionValue::Bool(value) => Ok(*value),
        _ => Err(wrong_type(name, value)),
    }
}

fn number(name: &str, value: &OptionValue) -> Result<f64, OptionError> {
    let OptionValue::Number(value) = value else { return Err(wrong_type(name, value)) };
    let Kind::Number { min, max } = find(name)?.kind else { return Err(unknown(name)) };
    if (min..=max).contains(value) { Ok(*value) } else { Err(out_of_range(name, *value)) }
}

fn integer(name: &str, value: &OptionValue) -> Result<u64, OptionError> {
    let OptionValue::Number(value) = value else { return Err(wrong_type(name, value)) };
    let Kind::Integer { min, max } = find(name)?.kind else { return Err(unknown(name)) };
    let whole = value.fract() == 0.0 && *value >= min as f64 && *value <= max as f64;
    if whole { Ok(*value as u64) } else { Err(out_of_range(name, *value)) }
}

fn stops(value: &OptionValue) -> Result<Vec<String>, OptionError> {
    let stops = match value {
        OptionValue::Text(stop) => vec![stop.clone()],
        OptionValue::List(stops) => stops.clone(),
        _ => return Err(wrong_type("stop", value)),
    };
    let problem = |problem: String| Err(OptionError::Stop { problem });
    if stops.len() > limits::MAX_STOPS {
        return problem(format!("at most {} strings, {} were given", limits::MAX_STOPS, stops.len()));
    }
    if stops.iter().any(String::is_empty) {
        return problem("a stop string is empty".to_owned());
    }
    match stops.iter().find(|stop| stop.len() > limits::MAX_STOP_BYTES) {
        Some(stop) => problem(format!("a string of {} bytes, at most {}", stop.len(), limits::MAX_STOP_BYTES)),
        None => Ok(stops),
    }
}

fn temperature(value: f64) -> f32 {
    if value < LEAST_TEMPERATURE { 0.0 } else { narrow(value) }
}

/// The value as the kernels take it; the table's ranges are far inside those of `f32`.
fn narrow(value: f64) -> f32 {
    value as f32
}

fn to_u32(value: u64) -> u32 {
    u32::try_from(value).unwrap_or(u32::MAX)
}

fn to_usize(value: u64) -> usize {
    usize::try_from(value).unwrap_or(usize::MAX)
}

fn wrong_type(name: &str, value: &OptionValue) -> OptionError {
    OptionError::Type { name: name.to_owned(), expected: expected(name), found: value.to_string() }
}

fn out_of_range(name: &str, value: f64) -> OptionError {
    OptionError::Range { name: name.to_owned(), expected: expected(name), found: value.to_string() }
}

fn expected(name: &str) -> String {
    match TABLE.iter().find(|row| row.name == name).map(|row| row.kind) {
        Some(Kind::Bool) => "true or false".to_owned(),
        Some(Kind::Integer { min, max }) => format!("a whole number from {min} to {max}"),
        Some(Kind::Number { min, max }) => format!("a number from {min} to {max}"),
        Some(Kind::Strings) | None => "a string or a list of strings".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(name: &str, value: OptionValue) -> Result<Options, OptionError> {
        Options::parse(&[(name.to_owned(), value)])
    }

    #[test]
    fn defaults_are_the_two_modes_of_the_reference() {
        assert_eq!(Options::parse(&[]).unwrap().sampling, Sampling::FAST);
        let deep = parse("thinking", OptionValue::Bool(true)).unwrap();
        assert_eq!(deep.sampling, Sampling::DEEP);
        assert!(deep.thinking);
    }

    #[test]
    fn every_option_is_accepted_at_its_ends_and_refused_beyond_them() {
        for row in TABLE {
            let (ends, beyond) = match row.kind {
                Kind::Integer { min, max } => ([min as f64, max as f64], [min as f64 - 1.0, max as f64 * 2.0]),
                Kind::Number { min, max } => ([min, max], [min - 0.25, max + 0.25]),
                Kind::Bool | Kind::Strings => continue,
            };
            for value in ends {
                assert!(parse(row.name, OptionValue::Number(value)).is_ok(), "{} = {value}", row.name);
            }
            for value in beyond.into_iter().chain([f64::NAN, f64::INFINITY, f64::NEG_INFINITY, -1.0]) {
                let error = parse(row.name, OptionValue::Number(value)).unwrap_err();
                assert!(matches!(error, OptionError::Range { .. }), "{} = {value}: {error}", row.name);
                assert!(error.to_string().contains(row.name), "{error}");
            }
        }
    }

    #[test]
    fn every_option_refuses_every_other_type_by_name() {
        let values = [
            OptionValue::Number(1.0),
            OptionValue::Bool(true),
            OptionValue::Text("1".into()),
            OptionValue::List(vec!["a".into()]),
            OptionValue::Other("a symbol".into()),
        ];
        for row in TABLE {
            for value in &values {
                let fits = matches!(
                    (row.kind, value),
                    (Kind::Bool, OptionValue::Bool(_))
                        | (Kind::Integer { .. } | Kind::Number { .. }, OptionValue::Number(_))
                        | (Kind::Strings, OptionValue::Text(_) | OptionValue::List(_))
                );
                let parsed = parse(row.name, value.clone());
                assert_eq!(parsed.is_ok(), fits, "{} = {value:?}", row.name);
            }
        }
    }

    #[test]
    fn whole_numbers_refuse_fractions_and_what_javascript_cannot_hold() {
        assert!(parse("maxTokens", OptionValue::Number(1.5)).is_err());
        assert!(parse("seed", OptionValue::Number(9_007_199_254_740_992.0)).is_err());
        assert_eq!(parse("seed", OptionValue::Number(7.0)).unwrap().sampling.seed, Some(7));
    }

    #[test]
    fn a_tiny_temperature_is_greedy() {
        for value in [0.0, -0.0, 1e-320, 9e-4] {
            assert!(parse("temperature", OptionValue::Number(value)).unwrap().sampling.is_greedy(), "{value}");
        }
        assert!(!parse("temperature", OptionValue::Number(1e-3)).unwrap().sampling.is_greedy());
    }

    #[test]
    fn an_unknown_option_names_the_nearest() {
        let nearest = |name: &str| match parse(name, OptionValue::Number(1.0)).unwrap_err() {
            OptionError::Unknown { nearest, .. } => nearest,
            other => panic!("{other}"),
        };
        assert_eq!(nearest("top_p"), Some("topP"));
        assert_eq!(nearest("max_tokens"), Some("maxTokens"));
        assert_eq!(nearest("temprature"), Some("temperature"));
        assert_eq!(nearest("frobnicate"), None);
    }

    #[test]
    fn stops_are_counted_and_measured() {
        let list = |n: usize, bytes: usize| OptionValue::List(vec!["x".repeat(bytes); n]);
        assert!(parse("stop", list(limits::MAX_STOPS, limits::MAX_STOP_BYTES)).is_ok());
        assert!(parse("stop", list(limits::MAX_STOPS + 1, 1)).is_err());
        assert!(parse("stop", list(1, limits::MAX_STOP_BYTES + 1)).is_err());
        assert!(parse("stop", list(1, 0)).is_err());
        assert_eq!(parse("stop", OptionValue::Text("END".into())).unwrap().stop, ["END"]);
    }
}
