//! What a random checkpoint shall look like.

use std::path::PathBuf;

use crate::layout::{self, Part};
use crate::{DecoderConfig, Dtype, Quantization, ResamplerConfig, VisionConfig, ZeroForm};

/// Shapes and form of a random checkpoint.
#[derive(Debug, Clone, PartialEq)]
pub struct Spec {
    /// The language model.
    pub decoder: DecoderConfig,
    /// The vision tower.
    pub vision: VisionConfig,
    /// Q.
    pub queries: usize,
    /// How the linear layers of the decoder are quantised; `None` leaves them dense.
    pub quantization: Option<Quantization>,
    /// Format of everything that is not quantised, scales included: F32, F16 or BF16.
    pub dtype: Dtype,
    /// Whether every quantised layer gets a bias of zeros, as some tools write it.
    pub zero_biases: bool,
    /// Most bytes of tensors in a shard.
    pub shard_bytes: u64,
    /// A tokenizer to copy; without one, a small one is made.
    pub tokenizer: Option<PathBuf>,
}

impl Spec {
    /// The published shapes in the published form: GPTQ with 4 bits and groups of 128, the rest in half precision, 7.1 GB.
    pub fn published() -> Self {
        let quantization =
            Quantization { bits: 4, group: Some(128), symmetric: true, act_order: false, zeros: ZeroForm::V1 };
        Self {
            decoder: published_decoder(),
            vision: published_vision(),
            queries: 64,
            quantization: Some(quantization),
            dtype: Dtype::F16,
            zero_biases: false,
            shard_bytes: 4 << 30,
            tokenizer: None,
        }
    }

    /// The published form with shapes small enough for tests.
    pub fn tiny() -> Self {
        let published = Self::published();
        let decoder = DecoderConfig {
            layers: 2,
            hidden: 256,
            heads: 4,
            kv_heads: 2,
            intermediate: 512,
            vocabulary: 512,
            ..published.decoder
        };
        let vision =
            VisionConfig { layers: 2, hidden: 144, heads: 2, intermediate: 304, image_size: 448, ..published.vision };
        Self { decoder, vision, ..published }
    }

    pub(super) fn parts(&self) -> Vec<Part> {
        let hidden = self.decoder.hidden;
        let resampler = ResamplerConfig { queries: self.queries, hidden, heads: hidden / 128, batched: true };
        layout::parts(&self.decoder, &self.vision, &resampler).collect()
    }
}

fn published_decoder() -> DecoderConfig {
    DecoderConfig {
        layers: 36,
        hidden: 4_096,
        heads: 32,
        kv_heads: 8,
        head_dim: 128,
        intermediate: 12_288,
        vocabulary: 151_748,
        rms_norm_eps: 1e-6,
        rope_theta: 1e6,
        max_positions: 40_960,
        tied_head: false,
        attention_bias: false,
    }
}

fn published_vision() -> VisionConfig {
    VisionConfig {
        layers: 27,
        hidden: 1_152,
        heads: 16,
        intermediate: 4_304,
        image_size: 980,
        patch_size: 14,
        drop_last_layer: false,
        layer_norm_eps: 1e-6,
    }
}
