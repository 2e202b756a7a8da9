//! Why a file is no tokenizer that karst can use.

use karst_contract::{Code, Coded};

/// What is wrong with a `tokenizer.json`.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TokenizerError {
    /// The file is too long.
    #[error("tokenizer.json has {bytes} bytes, at most {limit}")]
    TooLong {
        /// How long it is.
        bytes: u64,
        /// The limit.
        limit: u64,
    },
    /// The file is not JSON, or lacks a field.
    #[error("tokenizer.json cannot be read: {0}")]
    Json(#[from] serde_json::Error),
    /// The file tokenises in another way than the one known.
    #[error("the tokenizer's {part} is {found}, not {expected}")]
    Form {
        /// Which part.
        part: &'static str,
        /// What the file says, cut short.
        found: String,
        /// What is known.
        expected: String,
    },
    /// A token has no characters.
    #[error("token {id} is empty")]
    EmptyToken {
        /// Its id.
        id: u32,
    },
    /// An id is too large.
    #[error("token {token:?} has the id {id}, but ids are below {limit}")]
    IdTooLarge {
        /// The token.
        token: String,
        /// Its id.
        id: u32,
        /// The limit.
        limit: u32,
    },
    /// A token stands there twice.
    #[error("token {token:?} has the ids {first} and {second}")]
    TwoIds {
        /// The token.
        token: String,
        /// One id.
        first: u32,
        /// The other.
        second: u32,
    },
    /// Two tokens have one id.
    #[error("tokens {first:?} and {second:?} both have the id {id}")]
    SharedId {
        /// The id.
        id: u32,
        /// One token.
        first: String,
        /// The other.
        second: String,
    },
    /// Some text would have no ids.
    #[error("the vocabulary has no token for the byte {byte:#04x}")]
    MissingByte {
        /// The byte.
        byte: u8,
    },
    /// A merge of tokens that are not in the vocabulary.
    #[error(
        "merge {index} joins {left:?} and {right:?}, but not all of these and what they make are in the vocabulary"
    )]
    Merge {
        /// Which one, from 0.
        index: usize,
        /// One token.
        left: String,
        /// The other.
        right: String,
    },
    /// A control token that prompts need is not there.
    #[error("the tokenizer lacks the control token {token}")]
    MissingControl {
        /// The token.
        token: &'static str,
    },
    /// A control token takes white space around it into itself.
    #[error("the control token {token} takes white space beside it away")]
    Greedy {
        /// The token.
        token: &'static str,
    },
    /// The library refuses what was checked.
    #[error("the tokenizer cannot be built: {0}")]
    Library(String),
}

impl TokenizerError {
    pub(super) fn library(error: impl std::fmt::Display) -> Self {
        Self::Library(error.to_string())
    }
}

impl Coded for TokenizerError {
    fn code(&self) -> Code {
        match self {
            Self::Form { .. } | Self::MissingControl { .. } | Self::Greedy { .. } => Code::UnsupportedCheckpoint,
            Self::Library(_) => Code::Internal,
            _ => Code::InvalidCheckpoint,
        }
    }

    fn hint(&self) -> Option<String> {
        match self.code() {
            Code::UnsupportedCheckpoint => {
                Some("use a checkpoint of MiniCPM-V 4.5 with its own tokenizer.json".to_owned())
            }
            Code::InvalidCheckpoint => Some("download tokenizer.json again".to_owned()),
            _ => None,
        }
    }
}
