//! A folder with a model, opened and proven: a checked [`Config`], and tensors read in place.
//!
//! Takes a folder in the published layout: `config.json`, `tokenizer.json`, safetensors shards with or without an index, and
//! the optional `preprocessor_config.json`, `generation_config.json` and `quantize_config.json`. Gives the configuration with
//! every number in its range, each [`Tensor`] as it lies in the file, and each [`Linear`] layer, quantised with GPTQ or not.
//!
//! The one decision: a folder is hostile until proven. Nothing in it is executed or resolved by name, no number from it
//! reaches an unchecked product or sizes memory, and all shards are proven whole before the first is mapped. What is refused
//! is named, with what was expected and what was found.
//!
//! ```
//! use karst_checkpoint::{Checkpoint, Linear};
//!
//! let demo = concat!(env!("CARGO_MANIFEST_DIR"), "/../../models/demo");
//! let checkpoint = Checkpoint::open(demo.as_ref())?;
//! let decoder = &checkpoint.config().decoder;
//! let query = checkpoint.linear("llm.model.layers.0.self_attn.q_proj", decoder.hidden, decoder.heads * decoder.head_dim)?;
//! assert!(matches!(query, Linear::Gptq(codes) if codes.bits == 4));
//! # Ok::<(), karst_checkpoint::CheckpointError>(())
//! ```

mod checkpoint;
mod config;
mod dtype;
mod error;
mod folder;
mod gptq;
pub mod header;
mod json;
mod layout;
mod linear;
mod map;
pub mod random;
mod shards;
mod tensor;

pub use checkpoint::Checkpoint;
pub use config::{
    Config, ConfigError, DecoderConfig, Preprocessing, Quantization, ResamplerConfig, VisionConfig, ZeroForm,
};
pub use dtype::Dtype;
pub use error::CheckpointError;
pub use folder::FolderError;
pub use gptq::{Gptq, GptqError};
pub use json::JsonError;
pub use linear::Linear;
pub use map::Access;
pub use shards::ShardError;
pub use tensor::Tensor;
