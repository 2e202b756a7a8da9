//! What can be wrong with a configuration file.

use karst_contract::{Code, Coded};

/// Why a configuration cannot be used. `field` is the path of the key in the file, such as `vision_config.hidden_size`.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ConfigError {
    /// A key that has no default is absent.
    #[error("{file} has no {field}; {expected} is needed")]
    Missing {
        /// The file.
        file: &'static str,
        /// The key.
        field: String,
        /// What it must be.
        expected: String,
    },
    /// A value of another type, or outside its range.
    #[error("{file}: {field} is {found}; it must be {expected}")]
    Value {
        /// The file.
        file: &'static str,
        /// The key.
        field: String,
        /// What it must be.
        expected: String,
        /// What it is.
        found: String,
    },
    /// Two numbers that must divide without a rest.
    #[error("{file}: {field} is {value}, which {divisor_name} ({divisor}) does not divide")]
    NotDivisible {
        /// The file.
        file: &'static str,
        /// The key.
        field: String,
        /// Its value.
        value: usize,
        /// What must divide it.
        divisor_name: &'static str,
        /// That number.
        divisor: usize,
    },
    /// A model or a form that is not supported.
    #[error("{file}: {field} is {found}; only {supported} is supported")]
    Unsupported {
        /// The file.
        file: &'static str,
        /// The key.
        field: String,
        /// What it is.
        found: String,
        /// What is supported.
        supported: &'static str,
    },
    /// Two places say different things.
    #[error("{field} is {first} in {first_file} but {second} in {second_file}")]
    Contradiction {
        /// The key.
        field: &'static str,
        /// One place.
        first_file: &'static str,
        /// Its value.
        first: String,
        /// The other place.
        second_file: &'static str,
        /// Its value.
        second: String,
    },
}

impl Coded for ConfigError {
    fn code(&self) -> Code {
        match self {
            Self::Unsupported { .. } => Code::UnsupportedCheckpoint,
            _ => Code::InvalidCheckpoint,
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            Self::Unsupported { .. } => {
                Some("use MiniCPM-V 4.5, unquantised or as GPTQ with 4 or 8 bits in the gptq or gptq_v2 format".into())
            }
            Self::Contradiction { .. } => Some("keep the value that the weights were made with in both places".into()),
            _ => None,
        }
    }
}
