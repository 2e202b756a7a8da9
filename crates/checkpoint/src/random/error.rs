//! Why a random checkpoint cannot be written.

use std::io;
use std::path::PathBuf;

use karst_contract::{Code, Coded};

use crate::{ConfigError, Dtype, JsonError};

/// Why a random checkpoint cannot be written.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RandomError {
    /// A number that a configuration may not have.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// A layer whose codes do not fill whole words.
    #[error("layer {layer} has {k} inputs and {n} outputs; with {bits} bits both must be multiples of {codes}")]
    NotWhole {
        /// The layer.
        layer: String,
        /// Inputs.
        k: usize,
        /// Outputs.
        n: usize,
        /// Bits of a code.
        bits: u32,
        /// Codes in a word.
        codes: usize,
    },
    /// Weights of a format that the model cannot have.
    #[error("weights cannot be {dtype}; choose F32, F16 or BF16")]
    Dtype {
        /// The format.
        dtype: Dtype,
    },
    /// The vocabulary is smaller than the tokenizer.
    #[error("a vocabulary of {vocabulary} does not hold the tokenizer's {tokens} tokens")]
    Vocabulary {
        /// Tokens of the model.
        vocabulary: usize,
        /// Tokens of the tokenizer.
        tokens: usize,
    },
    /// A given tokenizer is not of this family.
    #[error("{} is no tokenizer of this family: {problem}", .path.display())]
    Tokenizer {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        problem: String,
    },
    /// A given tokenizer is not JSON.
    #[error("{} cannot be used: {source}", .path.display())]
    TokenizerJson {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        source: JsonError,
    },
    /// A given tokenizer cannot be read.
    #[error("{} cannot be read: {source}", .path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// The system's reason.
        source: io::Error,
    },
    /// The folder holds something already.
    #[error("{} is not empty", .folder.display())]
    NotEmpty {
        /// The folder.
        folder: PathBuf,
    },
    /// A file cannot be written.
    #[error("{} cannot be written: {source}", .path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// The system's reason.
        source: io::Error,
    },
}

impl Coded for RandomError {
    fn code(&self) -> Code {
        match self {
            Self::Read { .. } => Code::ModelNotFound,
            Self::Write { .. } => Code::Internal,
            _ => Code::InvalidOption,
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            Self::NotEmpty { .. } => Some("name a new folder; nothing is overwritten".into()),
            _ => None,
        }
    }
}
