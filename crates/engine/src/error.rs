//! Why an engine cannot be opened.

use karst_checkpoint::CheckpointError;
use karst_contract::{Code, Coded};
use karst_model::ModelError;
use karst_prompt::TokenizerError;

/// Why an engine cannot be opened.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum EngineError {
    /// The folder is no model that karst can use.
    #[error(transparent)]
    Checkpoint(#[from] CheckpointError),
    /// The folder's tokenizer cannot be used.
    #[error(transparent)]
    Tokenizer(#[from] TokenizerError),
    /// Tokenizer and embedding do not belong together.
    #[error("the tokenizer has {tokens} tokens and the model knows {vocabulary}")]
    Vocabulary {
        /// Tokens of the tokenizer.
        tokens: usize,
        /// V.
        vocabulary: usize,
    },
    /// The resampler makes another number of rows than prompts have places for.
    #[error("the resampler makes {queries} rows of a view; this family of models has {expected}")]
    PackRows {
        /// Rows of this one.
        queries: usize,
        /// Rows of the family's.
        expected: usize,
    },
    /// The weights cannot be loaded.
    #[error(transparent)]
    Model(#[from] ModelError),
    /// The device cannot be used.
    #[error("device {device} cannot be used: {reason}")]
    Device {
        /// As it was asked for.
        device: String,
        /// Why.
        reason: String,
    },
    /// A number is outside its range.
    #[error("{name} is {value}; it takes {least} to {most}")]
    Range {
        /// Which.
        name: &'static str,
        /// What was given.
        value: usize,
        /// The least.
        least: usize,
        /// The most.
        most: usize,
    },
    /// There is not enough memory for one context.
    #[error(
        "the model needs {} MiB, and a context of {context} tokens {} MiB more; {} MiB are free",
        mebibytes(*weights), mebibytes(*cache), mebibytes(*free)
    )]
    OutOfMemory {
        /// Bytes of the weights.
        weights: u64,
        /// Positions of one request.
        context: usize,
        /// Bytes of the cache for them.
        cache: u64,
        /// Bytes that the system can give.
        free: u64,
    },
    /// The system gives no threads.
    #[error("no threads can be started: {reason}")]
    Threads {
        /// Why.
        reason: String,
    },
}

impl Coded for EngineError {
    fn code(&self) -> Code {
        match self {
            Self::Checkpoint(error) => error.code(),
            Self::Tokenizer(error) => error.code(),
            Self::Vocabulary { .. } => Code::InvalidCheckpoint,
            Self::PackRows { .. } => Code::UnsupportedCheckpoint,
            Self::Model(error) => error.code(),
            Self::Device { .. } => Code::DeviceUnavailable,
            Self::Range { .. } => Code::InvalidOption,
            Self::OutOfMemory { .. } => Code::OutOfMemory,
            Self::Threads { .. } => Code::Internal,
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            Self::Checkpoint(error) => error.hint(),
            Self::Tokenizer(error) => error.hint(),
            Self::Model(error) => error.hint(),
            Self::Device { .. } => Some("choose the device auto or cpu".to_owned()),
            Self::OutOfMemory { .. } => Some("choose a smaller maxContext, or free memory".to_owned()),
            Self::Vocabulary { .. } | Self::PackRows { .. } | Self::Range { .. } | Self::Threads { .. } => None,
        }
    }
}

fn mebibytes(bytes: u64) -> u64 {
    bytes.div_ceil(1 << 20)
}
