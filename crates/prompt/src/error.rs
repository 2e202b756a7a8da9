//! What can be wrong with a conversation.

use karst_contract::{Code, Coded};

use crate::conversation::Role;

/// Why a conversation has no prompt. Turns are counted from 1.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PromptError {
    /// There are no turns.
    #[error("the conversation has no messages")]
    Empty,
    /// Too many turns.
    #[error("the conversation has {turns} messages, at most {limit}")]
    TooManyTurns {
        /// How many there are.
        turns: usize,
        /// The limit.
        limit: usize,
    },
    /// Nobody asks anything first.
    #[error("message {turn} has the role {}, but the first after a system message must be the user's", role.name())]
    FirstTurn {
        /// Which one.
        turn: usize,
        /// Its role.
        role: Role,
    },
    /// Instructions after other turns.
    #[error("message {turn} has the role system, which only the first may have")]
    LateSystem {
        /// Which one.
        turn: usize,
    },
    /// There is nothing to answer.
    #[error("the last message has the role {}, but only a user's or a tool's can be answered", role.name())]
    LastTurn {
        /// Its role.
        role: Role,
    },
    /// Thoughts of somebody else than the assistant.
    #[error("message {turn} has thoughts and the role {}, not assistant", role.name())]
    ForeignThoughts {
        /// Which one.
        turn: usize,
        /// Its role.
        role: Role,
    },
    /// Calls by somebody else than the assistant.
    #[error("message {turn} calls tools and has the role {}, not assistant", role.name())]
    ForeignCalls {
        /// Which one.
        turn: usize,
        /// Its role.
        role: Role,
    },
    /// A picture or clip without layouts.
    #[error("message {turn} has a picture or clip without views")]
    EmptyVisual {
        /// Which one.
        turn: usize,
    },
    /// More text than any context would hold.
    #[error("the conversation has {bytes} bytes of text, at most {limit}")]
    TextTooLong {
        /// How long it is, tools and calls included.
        bytes: usize,
        /// The limit.
        limit: usize,
    },
}

impl Coded for PromptError {
    fn code(&self) -> Code {
        match self {
            Self::TextTooLong { .. } => Code::ContextOverflow,
            _ => Code::InvalidMessage,
        }
    }

    fn hint(&self) -> Option<String> {
        let hint = match self {
            Self::Empty | Self::FirstTurn { .. } | Self::LastTurn { .. } => "end with the user's question",
            Self::LateSystem { .. } => "put all instructions into the first message",
            Self::TextTooLong { .. } | Self::TooManyTurns { .. } => {
                "shorten the texts or leave out the oldest messages"
            }
            Self::ForeignThoughts { .. } | Self::ForeignCalls { .. } | Self::EmptyVisual { .. } => return None,
        };
        Some(hint.to_owned())
    }
}
