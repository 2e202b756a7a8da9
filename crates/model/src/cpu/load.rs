//! From a checkpoint to a model: the only place that knows the names of tensors.

mod decoder;
mod vision;

use karst_checkpoint::{Checkpoint, Tensor};
use rayon::ThreadPool;

use super::decoder::Decoder;
use super::linear::Linear;
use super::norm::{LayerNorm, RmsNorm};
use super::resampler::Resampler;
use super::tower::Tower;
use crate::ModelError;
use crate::progress::Taken;

/// Loads the decoder, on `threads`.
pub(super) fn decoder(checkpoint: &Checkpoint, threads: &ThreadPool, taken: &Taken<'_>) -> Result<Decoder, ModelError> {
    Loader { checkpoint, threads, taken }.decoder()
}

/// Loads tower and resampler, on `threads`.
pub(super) fn vision(
    checkpoint: &Checkpoint,
    threads: &ThreadPool,
    taken: &Taken<'_>,
) -> Result<(Tower, Resampler), ModelError> {
    let loader = Loader { checkpoint, threads, taken };
    Ok((loader.tower()?, loader.resampler()?))
}

/// What takes weights from a checkpoint.
struct Loader<'a> {
    checkpoint: &'a Checkpoint,
    threads: &'a ThreadPool,
    taken: &'a Taken<'a>,
}

impl<'a> Loader<'a> {
    /// A tensor of exactly this shape.
    fn tensor(&self, name: &str, shape: &[usize]) -> Result<Tensor<'a>, ModelError> {
        Ok(self.checkpoint.expect(name, shape)?)
    }

    /// A tensor's numbers, all finite.
    fn numbers(&self, name: &str, shape: &[usize]) -> Result<Vec<f32>, ModelError> {
        let tensor = self.tensor(name, shape)?;
        let numbers = tensor.to_finite_f32()?;
        self.taken(name, tensor.bytes.len());
        Ok(numbers)
    }

    /// The factors of a norm: finite, and not all zero.
    fn factors(&self, name: &str, width: usize) -> Result<Vec<f32>, ModelError> {
        Ok(self.checkpoint.norm(&format!("{name}.weight"), width)?)
    }

    /// The weight at `prefix`, quantised or not, with its bias where it has one.
    fn linear(&self, prefix: &str, inputs: usize, outputs: usize) -> Result<Linear, ModelError> {
        let source = self.checkpoint.linear(prefix, inputs, outputs)?;
        let linear = self.threads.install(|| Linear::load(&source))?;
        self.taken(prefix, linear.bytes());
        Ok(linear)
    }

    /// A weight that is not named like one: a part of a packed tensor, or one of another shape.
    fn dense(&self, weight: &Tensor<'_>, bias: Option<&Tensor<'_>>) -> Result<Linear, ModelError> {
        let linear = self.threads.install(|| Linear::dense(weight, bias))?;
        self.taken(weight.name, linear.bytes());
        Ok(linear)
    }

    fn rms_norm(&self, name: &str, width: usize, epsilon: f64) -> Result<RmsNorm, ModelError> {
        Ok(RmsNorm { weight: self.factors(name, width)?, epsilon: epsilon as f32 })
    }

    fn layer_norm(&self, name: &str, width: usize) -> Result<LayerNorm, ModelError> {
        Ok(LayerNorm {
            weight: self.factors(name, width)?,
            bias: self.numbers(&format!("{name}.bias"), &[width])?,
            epsilon: self.checkpoint.config().vision.layer_norm_eps as f32,
        })
    }

    fn taken(&self, prefix: &str, bytes: usize) {
        self.taken.take(prefix, bytes);
    }
}
