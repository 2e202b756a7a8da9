//! Why a tokenizer or a conversation is refused.

use karst_contract::{Code, Coded, limits};

/// Why a tokenizer file is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TokenizerError {
    /// It is not JSON.
    #[error("tokenizer.json is not JSON: {0}")]
    Json(String),
    /// A part of it differs from what this family of models has; foreign patterns are not run.
    #[error("tokenizer.json: {part} is {found}, expected {expected}")]
    Form {
        /// Which part.
        part: &'static str,
        /// What is expected there.
        expected: String,
        /// What was found there.
        found: String,
    },
    /// A token that prompts are built from is missing.
    #[error("tokenizer.json has no token {token}")]
    Missing {
        /// The token.
        token: String,
    },
    /// An id is given twice or beyond the number of tokens that fits an index.
    #[error("tokenizer.json: the id {id} of {token:?} is out of range or already taken")]
    Id {
        /// The token.
        token: String,
        /// Its id.
        id: u64,
    },
    /// The library refuses it.
    #[error("tokenizer.json cannot be read: {0}")]
    Library(String),
}

impl Coded for TokenizerError {
    fn code(&self) -> Code {
        match self {
            Self::Form { .. } => Code::UnsupportedCheckpoint,
            _ => Code::InvalidCheckpoint,
        }
    }

    fn hint(&self) -> Option<String> {
        Some("use the tokenizer.json that was published with the model".to_owned())
    }
}

/// Why a conversation is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PromptError {
    /// There are no turns.
    #[error("a conversation needs at least one message")]
    Empty,
    /// A system turn is not the first.
    #[error("message {turn} has the role system; only message 0 may have it")]
    LateSystem {
        /// The turn, from 0.
        turn: usize,
    },
    /// The first turn after the system's is not the user's.
    #[error(
        "message {turn} must be the user's: a conversation begins with the user, after a system message if there is one"
    )]
    FirstTurn {
        /// The turn, from 0.
        turn: usize,
    },
    /// The last turn is not the user's.
    #[error("message {turn}, the last, must be the user's")]
    LastTurn {
        /// The turn, from 0.
        turn: usize,
    },
    /// A picture stands in a turn that is not the user's.
    #[error("message {turn} holds a picture; only the user's may")]
    Visual {
        /// The turn, from 0.
        turn: usize,
    },
    /// The text is too long to be tokenised.
    #[error("the text of the conversation has {bytes} bytes, at most {}", limits::MAX_TEXT_BYTES)]
    TextTooLong {
        /// Its bytes.
        bytes: usize,
    },
}

impl Coded for PromptError {
    fn code(&self) -> Code {
        match self {
            Self::TextTooLong { .. } => Code::ContextOverflow,
            _ => Code::InvalidMessage,
        }
    }
}
