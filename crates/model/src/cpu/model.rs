//! The whole model: vision, decoder and cache.

use karst_checkpoint::Checkpoint;
use karst_contract::Progress;

use super::cache::{Cache, CacheShape};
use super::decoder::Decoder;
use super::load;
use super::row::{Limits, Row};
use super::vision::Vision;
use crate::ModelError;
use crate::progress::Taken;

/// How a model is loaded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Options {
    /// Threads; without, as many as the process may run on.
    pub threads: Option<usize>,
    /// Tokens that the cache holds, over all requests.
    pub kv_tokens: usize,
    /// Tokens in a block of the cache.
    pub block: usize,
}

/// A model that is ready to run.
pub struct Model {
    vision: Vision,
    decoder: Decoder,
    cache: Cache,
}

/// Where a model's memory goes, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Memory {
    /// Weights of the decoder, embedding and head included.
    pub decoder: u64,
    /// Weights of tower and resampler.
    pub vision: u64,
    /// Keys and values, when the cache is full. Pages are taken from the system only when written.
    pub kv: u64,
}

impl Default for Options {
    /// All threads, 4,096 tokens in blocks of 16.
    fn default() -> Self {
        Self { threads: None, kv_tokens: 4_096, block: 16 }
    }
}

impl Memory {
    /// All weights.
    pub fn weights(&self) -> u64 {
        self.decoder + self.vision
    }
}

impl Model {
    /// Loads all weights, telling `progress` the bytes done. Weights are copied out of the checkpoint, which may be dropped
    /// afterwards.
    ///
    /// # Errors
    /// When a tensor is missing, misshapen or holds what is not a number, or memory does not suffice.
    pub fn load(checkpoint: &Checkpoint, options: &Options, progress: &dyn Fn(Progress)) -> Result<Self, ModelError> {
        let taken = Taken::new(checkpoint, progress);
        let cache = Cache::new(cache_shape(checkpoint, options)?)?;
        let vision = Vision::load_part(checkpoint, options.threads, &taken)?;
        let decoder = load::decoder(checkpoint, vision.threads(), &taken)?;
        taken.finish();
        Ok(Self { vision, decoder, cache })
    }

    /// What turns pictures into features.
    pub fn vision(&self) -> &Vision {
        &self.vision
    }

    /// Appends the rows' chunks to the cache and returns the logits [V] of every wanted position, row by row.
    ///
    /// Nothing is written when a row does not fit. After [`ModelError::NonFinite`] the same rows may be run again without
    /// the one that failed: each writes the same positions of its own blocks.
    ///
    /// # Errors
    /// When a row names ids, blocks or features that do not exist, or its logits are not finite.
    pub fn forward(&mut self, rows: &[Row<'_>]) -> Result<Vec<Vec<f32>>, ModelError> {
        let limits = Limits {
            cache: self.cache.shape(),
            vocabulary: self.decoder.embedding.vocabulary(),
            hidden: self.decoder.hidden(),
        };
        rows.iter().enumerate().try_for_each(|(i, row)| row.check(i, limits))?;
        let (decoder, cache) = (&self.decoder, &mut self.cache);
        self.vision.threads().install(|| decoder.forward(cache, rows))
    }

    /// Blocks in the cache.
    pub fn blocks(&self) -> usize {
        self.cache.shape().blocks
    }

    /// Tokens in a block of the cache.
    pub fn block(&self) -> usize {
        self.cache.shape().block
    }

    /// Numbers in a row of features: H.
    pub fn hidden(&self) -> usize {
        self.decoder.hidden()
    }

    /// Threads that the model runs on.
    pub fn threads(&self) -> usize {
        self.vision.threads().current_num_threads()
    }

    /// Where the memory goes.
    pub fn memory(&self) -> Memory {
        Memory { decoder: self.decoder.bytes(), vision: self.vision.bytes(), kv: self.cache.bytes() }
    }
}

fn cache_shape(checkpoint: &Checkpoint, options: &Options) -> Result<CacheShape, ModelError> {
    let (tokens, block) = (options.kv_tokens, options.block);
    if block == 0 || tokens < block {
        return Err(ModelError::CacheSize { tokens, block });
    }
    let decoder = &checkpoint.config().decoder;
    let (layers, kv_heads, width) = (decoder.layers, decoder.kv_heads, decoder.head_dim);
    Ok(CacheShape { layers, blocks: tokens.div_ceil(block), block, kv_heads, width })
}
