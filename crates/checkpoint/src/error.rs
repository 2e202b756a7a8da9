//! Why a checkpoint cannot be used.

use karst_contract::{Code, Coded};

use crate::Dtype;
use crate::config::ConfigError;
use crate::folder::FolderError;
use crate::gptq::GptqError;
use crate::header::HeaderError;
use crate::json::JsonError;
use crate::shards::ShardError;

/// Why a checkpoint cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CheckpointError {
    /// The folder or a file in it.
    #[error(transparent)]
    Folder(#[from] FolderError),
    /// A configuration or index is not a JSON object.
    #[error("{file} cannot be used: {source}")]
    Json {
        /// The file.
        file: &'static str,
        /// What is wrong.
        source: JsonError,
    },
    /// The configuration.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The header of a shard.
    #[error("{shard} is damaged: {source}")]
    Header {
        /// The shard.
        shard: String,
        /// What is wrong.
        source: HeaderError,
    },
    /// Index and shards do not fit together.
    #[error(transparent)]
    Shards(#[from] ShardError),
    /// A quantised layer.
    #[error(transparent)]
    Gptq(#[from] GptqError),
    /// No such tensor.
    #[error("the checkpoint has no tensor {tensor}")]
    MissingTensor {
        /// The name.
        tensor: String,
    },
    /// A tensor has other sides than the configuration asks for.
    #[error("tensor {tensor} has the shape {found:?}; the configuration asks for {expected:?}")]
    Shape {
        /// The tensor.
        tensor: String,
        /// What the configuration asks for.
        expected: Vec<usize>,
        /// What the file holds.
        found: Vec<usize>,
    },
    /// A tensor's elements are of another format than can be used here.
    #[error("tensor {tensor} holds {found}; {expected} is needed here")]
    Dtype {
        /// The tensor.
        tensor: String,
        /// What can be used.
        expected: &'static str,
        /// What the file holds.
        found: Dtype,
    },
    /// A number that every answer would pass through is NaN or infinite.
    #[error("tensor {tensor} holds {value} at index {index}")]
    NonFinite {
        /// The tensor.
        tensor: String,
        /// Where in it.
        index: usize,
        /// What stands there.
        value: f32,
    },
    /// Factors that are all zero.
    #[error("tensor {tensor} holds nothing but zeros: a part of the file is missing")]
    AllZero {
        /// The tensor.
        tensor: String,
    },
}

impl Coded for CheckpointError {
    fn code(&self) -> Code {
        match self {
            Self::Folder(error) => error.code(),
            Self::Config(error) => error.code(),
            Self::Shards(error) => error.code(),
            Self::Gptq(error) => error.code(),
            _ => Code::InvalidCheckpoint,
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            Self::Folder(error) => error.hint(),
            Self::Config(error) => error.hint(),
            Self::Shards(error) => error.hint(),
            Self::Gptq(error) => error.hint(),
            Self::Header { .. } | Self::AllZero { .. } | Self::NonFinite { .. } => {
                Some("the file is damaged or was cut short; fetch it again".into())
            }
            Self::MissingTensor { .. } | Self::Shape { .. } => {
                Some("config.json and the .safetensors files belong to different models".into())
            }
            Self::Json { .. } | Self::Dtype { .. } => None,
        }
    }
}
