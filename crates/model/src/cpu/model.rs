//! The whole model: tower, resampler, decoder and cache, with the threads that they run on.

use karst_checkpoint::Checkpoint;
use karst_contract::{Progress, limits};
use karst_vision_input::{Pack, View};
use rayon::ThreadPool;

use super::cache::{Cache, CacheShape};
use super::decoder::Decoder;
use super::load;
use super::resampler::{Encoded, Resampler};
use super::row::{Limits, Row};
use super::tower::Tower;
use super::unbatched;
use crate::ModelError;

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
    threads: ThreadPool,
    tower: Tower,
    resampler: Resampler,
    decoder: Decoder,
    cache: Cache,
    /// Whether the checkpoint resamples all packs in a batch.
    batched: bool,
}

/// What packs of views became: rows that stand in for embeddings.
#[derive(Debug, Clone, PartialEq)]
pub struct Features {
    /// For each pack, [Q, H].
    pub packs: Vec<Vec<f32>>,
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

impl Features {
    /// What holding them costs.
    pub fn bytes(&self) -> u64 {
        self.packs.iter().map(|pack| 4 * pack.len() as u64).sum()
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
        let count = options.threads.unwrap_or_else(|| std::thread::available_parallelism().map_or(1, Into::into));
        let name = |i| format!("karst-{i}");
        let threads = rayon::ThreadPoolBuilder::new().num_threads(count).thread_name(name).build()?;
        let cache = Cache::new(cache_shape(checkpoint, options)?)?;
        let (tower, resampler, decoder) = load::load(checkpoint, &threads, progress)?;
        let batched = checkpoint.config().resampler.batched;
        Ok(Self { threads, tower, resampler, decoder, cache, batched })
    }

    /// The tower's output of each view, [P, Hv].
    ///
    /// # Errors
    /// When a view's bytes do not fit its sides.
    pub fn tower(&self, views: &[View]) -> Result<Vec<Vec<f32>>, ModelError> {
        self.threads.install(|| views.iter().map(|view| self.tower.forward(view)).collect())
    }

    /// The features [Q, H] of one pack.
    ///
    /// # Errors
    /// When a view's numbers do not fit its sides.
    pub fn resample(&self, pack: &[Encoded<'_>]) -> Result<Vec<f32>, ModelError> {
        self.threads.install(|| self.resampler.forward(pack))
    }

    /// The features of all packs. What the tower makes of a view lives no longer than its pack is worked on. A pack's features
    /// depend on its own views alone, unless the checkpoint does not resample in a batch: then on the longest view, too.
    ///
    /// # Errors
    /// When a pack names views that do not exist, or its features are not finite.
    pub fn encode(&self, views: &[View], packs: &[Pack]) -> Result<Features, ModelError> {
        let packs = packs.iter().enumerate().map(|(i, pack)| self.encode_pack(views, i, pack));
        Ok(Features { packs: packs.collect::<Result<_, _>>()? })
    }

    fn encode_pack(&self, views: &[View], index: usize, pack: &Pack) -> Result<Vec<f32>, ModelError> {
        check_pack(views.len(), index, pack)?;
        let time = |i: usize| pack.times.as_ref().map(|times| times[i]);
        let frames: Vec<_> = pack.views.iter().enumerate().map(|(i, &view)| (&views[view], time(i))).collect();
        let length = views.iter().map(View::count).max().unwrap_or(0);
        // Where nothing is padded, and where there is one frame, both ways are the same.
        let batched = self.batched || frames.len() == 1 || frames.iter().all(|(view, _)| view.count() == length);
        let features = self.threads.install(|| match batched {
            true => self.encode_batched(&frames),
            false => unbatched::encode(&self.tower, &self.resampler, &frames, length),
        })?;
        if features.iter().all(|number| number.is_finite()) {
            Ok(features)
        } else {
            Err(ModelError::NonFiniteFeatures { pack: index })
        }
    }

    fn encode_batched(&self, frames: &[(&View, Option<u32>)]) -> Result<Vec<f32>, ModelError> {
        let patches = frames.iter().map(|(view, _)| self.tower.forward(view)).collect::<Result<Vec<_>, _>>()?;
        let encoded = frames.iter().zip(&patches).map(|(&(view, time), patches)| Encoded {
            rows: view.rows,
            columns: view.columns,
            patches,
            time,
        });
        self.resampler.forward(&encoded.collect::<Vec<_>>())
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
        self.threads.install(|| decoder.forward(cache, rows))
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
        self.threads.current_num_threads()
    }

    /// Where the memory goes.
    pub fn memory(&self) -> Memory {
        Memory {
            decoder: self.decoder.bytes(),
            vision: self.tower.bytes() + self.resampler.bytes(),
            kv: self.cache.bytes(),
        }
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

fn check_pack(available: usize, index: usize, pack: &Pack) -> Result<(), ModelError> {
    let (views, times) = (&pack.views, pack.times.as_ref().map(Vec::len));
    let count = (1..=limits::MAX_PACKING).contains(&views.len());
    if count && times.is_none_or(|times| times == views.len()) && views.iter().all(|&view| view < available) {
        return Ok(());
    }
    Err(ModelError::Pack { pack: index, views: views.clone(), times, available })
}
