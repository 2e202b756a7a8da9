//! The whole model: vision on the processor, the decoder on a device.

use karst_checkpoint::Checkpoint;
use karst_contract::Progress;

use super::decoder::{Decoder, Options};
use crate::ModelError;
use crate::cpu::Vision;
use crate::progress::Taken;

/// A model that is ready to run.
pub struct Model {
    /// What turns pictures into features.
    pub vision: Vision,
    /// What turns tokens and features into tokens.
    pub decoder: Decoder,
}

impl Model {
    /// Loads all weights, telling `progress` the bytes done; `threads` are those of vision, as many as there are cores where
    /// it is `None`. The checkpoint may be dropped afterwards.
    ///
    /// # Errors
    /// As [`Decoder::load`] and [`Vision::load`].
    pub fn load(
        checkpoint: &Checkpoint,
        options: &Options,
        threads: Option<usize>,
        progress: &dyn Fn(Progress),
    ) -> Result<Self, ModelError> {
        let taken = Taken::new(checkpoint, progress);
        let decoder = Decoder::load_part(checkpoint, options, &taken)?;
        let vision = Vision::load_part(checkpoint, threads, &taken)?;
        taken.finish();
        Ok(Self { vision, decoder })
    }
}
