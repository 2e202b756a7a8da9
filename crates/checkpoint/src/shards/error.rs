//! What can be wrong between an index and its shards.

use std::io;

use karst_contract::{Code, Coded};

/// Why the shards are not the checkpoint that the index describes.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ShardError {
    /// Neither an index nor a single file.
    #[error("{folder} holds neither model.safetensors.index.json nor model.safetensors")]
    NoWeights {
        /// The folder.
        folder: String,
    },
    /// The index has no `weight_map`, or it is no object.
    #[error("model.safetensors.index.json has no object weight_map")]
    NoWeightMap,
    /// A tensor is not given the name of a file.
    #[error("model.safetensors.index.json gives tensor {tensor} {found} where the name of a shard is expected")]
    NotName {
        /// The tensor.
        tensor: String,
        /// What stands there.
        found: &'static str,
    },
    /// A shard that is no safetensors file.
    #[error("model.safetensors.index.json names {shard:?} as a shard; only .safetensors files are read")]
    NotSafetensors {
        /// The shard.
        shard: String,
    },
    /// More tensors than any checkpoint has.
    #[error("model.safetensors.index.json names {found} tensors; at most {limit} are allowed")]
    TooManyTensors {
        /// How many.
        found: usize,
        /// The limit.
        limit: usize,
    },
    /// More shards than any checkpoint has.
    #[error("model.safetensors.index.json names {found} shards; at most {limit} are allowed")]
    TooManyShards {
        /// How many.
        found: usize,
        /// The limit.
        limit: usize,
    },
    /// A tensor lies in another shard than the index says.
    #[error("tensor {tensor} should be in {listed} but is in {found}")]
    WrongShard {
        /// The tensor.
        tensor: String,
        /// Where the index says it is.
        listed: String,
        /// Where it is.
        found: String,
    },
    /// A tensor lies in two shards.
    #[error("tensor {tensor} is in {first} and in {second}")]
    TwoShards {
        /// The tensor.
        tensor: String,
        /// One shard.
        first: String,
        /// The other.
        second: String,
    },
    /// A tensor lies in no shard.
    #[error("tensor {tensor} should be in {listed} but is in no shard")]
    Absent {
        /// The tensor.
        tensor: String,
        /// Where the index says it is.
        listed: String,
    },
    /// Tensors that the index does not name.
    #[error("{shard} holds {count} tensors that the index does not name, such as {}", .tensors.join(", "))]
    LeftOver {
        /// The shard.
        shard: String,
        /// How many.
        count: usize,
        /// The first of them.
        tensors: Vec<String>,
    },
    /// A shard cannot be mapped or copied.
    #[error("{shard} cannot be read: {source}")]
    Unmapped {
        /// The shard.
        shard: String,
        /// The system's reason.
        source: io::Error,
    },
}

impl Coded for ShardError {
    fn code(&self) -> Code {
        match self {
            Self::NoWeights { .. } => Code::ModelNotFound,
            Self::Unmapped { source, .. } if source.kind() == io::ErrorKind::OutOfMemory => Code::OutOfMemory,
            _ => Code::InvalidCheckpoint,
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            Self::NoWeights { .. } => Some("only safetensors files are read; convert other formats first".into()),
            Self::Unmapped { .. } => None,
            _ => Some("fetch the checkpoint again: its index and its shards do not belong together".into()),
        }
    }
}
