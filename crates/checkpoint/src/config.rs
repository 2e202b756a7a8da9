//! What the checkpoint's configuration files say, checked.

mod eos;
mod error;
mod fields;
mod quantization;
mod read;

pub use error::ConfigError;
pub(crate) use read::{check, read};

/// The whole configuration. Each number lies in a range in which no product of two of them overflows.
#[derive(Debug, Clone, PartialEq)]
pub struct Config {
    /// The language model.
    pub decoder: DecoderConfig,
    /// The vision tower.
    pub vision: VisionConfig,
    /// What turns patches into rows for the decoder.
    pub resampler: ResamplerConfig,
    /// How pictures are cut.
    pub preprocessing: Preprocessing,
    /// Tokens that end an answer.
    pub eos: Vec<u32>,
    /// How linear layers are quantised; `None` if none is.
    pub quantization: Option<Quantization>,
}

/// The language model: L layers of H numbers.
#[derive(Debug, Clone, PartialEq)]
pub struct DecoderConfig {
    /// L.
    pub layers: usize,
    /// H.
    pub hidden: usize,
    /// N.
    pub heads: usize,
    /// K; divides N.
    pub kv_heads: usize,
    /// D; even.
    pub head_dim: usize,
    /// I.
    pub intermediate: usize,
    /// V.
    pub vocabulary: usize,
    /// Added to the mean square in the norms.
    pub rms_norm_eps: f64,
    /// The base of the rotary frequencies.
    pub rope_theta: f64,
    /// Longest context the model was made for.
    pub max_positions: usize,
    /// Whether the head is the embedding table.
    pub tied_head: bool,
    /// Whether the projections of attention have biases. The family has none and checkpoints with them are refused.
    pub attention_bias: bool,
}

/// The vision tower.
#[derive(Debug, Clone, PartialEq)]
pub struct VisionConfig {
    /// Layers in the file's configuration, the dropped one included.
    pub layers: usize,
    /// Numbers of a patch.
    pub hidden: usize,
    /// Attention heads; divides `hidden`.
    pub heads: usize,
    /// Width of the MLP.
    pub intermediate: usize,
    /// Pixels of a side that the position table was made for.
    pub image_size: usize,
    /// Pixels of a side of a patch.
    pub patch_size: usize,
    /// Whether the last layer is left out.
    pub drop_last_layer: bool,
    /// Added to the variance in the norms.
    pub layer_norm_eps: f64,
}

impl VisionConfig {
    /// Layers that run.
    pub fn used_layers(&self) -> usize {
        self.layers - usize::from(self.drop_last_layer)
    }

    /// Positions along a side of the position table.
    pub fn position_side(&self) -> usize {
        self.image_size / self.patch_size
    }
}

/// The resampler.
#[derive(Debug, Clone, PartialEq)]
pub struct ResamplerConfig {
    /// Q: rows that a view or a pack becomes.
    pub queries: usize,
    /// H of the decoder.
    pub hidden: usize,
    /// Attention heads: one for 128 numbers.
    pub heads: usize,
    /// Whether all packs are resampled in a batch (`batch_3d_resampler`), as the published model does it. The reference's
    /// other way lays the keys of padded frames in another order than their mask.
    pub batched: bool,
}

/// How pictures are cut into views.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Preprocessing {
    /// Side of the square whose area a view has.
    pub scale_resolution: u32,
    /// Most slices of a picture.
    pub max_slices: u32,
    /// Pixels of a side of a patch.
    pub patch_size: u32,
    /// Whether pictures are numbered in the prompt.
    pub use_image_id: bool,
}

/// How linear layers are quantised. Which are is told by their tensors.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Quantization {
    /// Bits of a code: 4 or 8.
    pub bits: u32,
    /// G: inputs that share a scale; `None` for all of them.
    pub group: Option<usize>,
    /// Whether the zero point is the middle code everywhere.
    pub symmetric: bool,
    /// Whether inputs may be assigned to groups in any order.
    pub act_order: bool,
    /// How zero points are stored.
    pub zeros: ZeroForm,
}

/// How zero points are stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ZeroForm {
    /// Less one, as the first tools wrote them: `gptq`, and files that do not say.
    V1,
    /// As they are: `gptq_v2`.
    V2,
}
