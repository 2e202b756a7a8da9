//! What sampling keeps on the device from step to step, and what its kernels leave for each other.

use crate::device::Device;
use crate::error::CudaError;
use crate::memory::{Buffer, Memory};

/// Tokens of a word of a bit set.
const WORD: usize = 32;

/// Words of a run, which a warp reads at once.
const RUN_WORDS: usize = 16;

/// Most runs of a row: a thread of the block that draws for each.
const MOST_RUNS: usize = 512;

/// The tokens that were drawn for each slot.
#[derive(Debug)]
pub struct SampleState {
    /// [slots].
    pub(super) latest: Buffer<u32>,
    /// [slots, words].
    pub(super) generated: Buffer<u32>,
    /// [masks, words].
    pub(super) masks: Buffer<u32>,
    /// [rows, runs * 16].
    pub(super) keys: Buffer<u32>,
    /// [rows, runs].
    pub(super) sums: Buffer<f64>,
    pub(super) raw_keys: Buffer<u32>,
    pub(super) raw_sums: Buffer<f64>,
    vocabulary: usize,
    rows: usize,
    mask_count: usize,
}

impl SampleState {
    /// For up to `rows` rows of logits at once. Nothing was drawn yet, and no token is allowed by any of the `masks` masks.
    ///
    /// # Errors
    /// When there is not enough memory.
    ///
    /// # Panics
    /// When the vocabulary is empty or has more than 2^18 tokens.
    pub fn new(device: &Device, vocabulary: usize, slots: usize, rows: usize, masks: usize) -> Result<Self, CudaError> {
        let most = MOST_RUNS * RUN_WORDS * WORD;
        assert!((1..=most).contains(&vocabulary), "{vocabulary} tokens of 1..={most}");
        let (words, runs) = (vocabulary.div_ceil(WORD), vocabulary.div_ceil(WORD * RUN_WORDS));
        Ok(Self {
            latest: device.zeroed(slots)?,
            generated: device.zeroed(slots * words)?,
            masks: device.zeroed(masks * words)?,
            keys: device.zeroed(rows * runs * RUN_WORDS)?,
            sums: device.zeroed(rows * runs)?,
            raw_keys: device.zeroed(rows * runs * RUN_WORDS)?,
            raw_sums: device.zeroed(rows * runs)?,
            vocabulary,
            rows,
            mask_count: masks,
        })
    }

    /// Takes up what was drawn elsewhere: [slots] the token drawn last, and [slots, ceil(V / 32)] bits of all that were.
    ///
    /// # Errors
    /// When the driver fails.
    ///
    /// # Panics
    /// When they are more than there is room for.
    pub fn restore(&mut self, latest: &[u32], generated: &[u32]) -> Result<(), CudaError> {
        self.latest.write(0, latest)?;
        self.generated.write(0, generated)
    }

    /// [slots]: the token drawn last.
    pub fn latest(&self) -> &Buffer<u32> {
        &self.latest
    }

    /// [slots, ceil(V / 32)]: bits of the tokens that were drawn.
    pub fn generated(&self) -> &Buffer<u32> {
        &self.generated
    }

    /// [masks, ceil(V / 32)]: bits of the tokens that may be drawn.
    pub fn masks(&mut self) -> &mut Buffer<u32> {
        &mut self.masks
    }

    /// Tokens of a row of logits.
    pub fn vocabulary(&self) -> usize {
        self.vocabulary
    }

    /// Most rows at once.
    pub fn rows(&self) -> usize {
        self.rows
    }

    pub(super) fn runs(&self) -> usize {
        self.vocabulary.div_ceil(WORD * RUN_WORDS)
    }

    pub(super) fn mask_count(&self) -> usize {
        self.mask_count
    }

    pub(super) fn memory(&self) -> [Memory; 7] {
        [
            self.latest.memory(),
            self.generated.memory(),
            self.masks.memory(),
            self.keys.memory(),
            self.sums.memory(),
            self.raw_keys.memory(),
            self.raw_sums.memory(),
        ]
    }
}
