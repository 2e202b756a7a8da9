//! The decoder's weights on the device.

use karst_kernels::{Buffer, Float, Weights};

/// Embedding, layers, last norm, head.
pub(super) struct DecoderWeights {
    /// [V, H], bits of `embedding_float`.
    pub(super) embedding: Buffer<u16>,
    pub(super) embedding_float: Float,
    pub(super) layers: Vec<LayerWeights>,
    /// [H].
    pub(super) norm: Buffer<f32>,
    pub(super) head: Weights,
}

/// One layer's products and norms.
pub(super) struct LayerWeights {
    /// [H].
    pub(super) attention_norm: Buffer<f32>,
    pub(super) qkv: Weights,
    /// [D].
    pub(super) query_norm: Buffer<f32>,
    /// [D].
    pub(super) key_norm: Buffer<f32>,
    pub(super) output: Weights,
    /// [H].
    pub(super) mlp_norm: Buffer<f32>,
    pub(super) gate_up: Weights,
    pub(super) down: Weights,
}

impl DecoderWeights {
    pub(super) fn bytes(&self) -> u64 {
        let layers: usize = self.layers.iter().map(LayerWeights::bytes).sum();
        (self.embedding.bytes() + layers + self.norm.bytes() + self.head.bytes()) as u64
    }

    /// All weights of products.
    pub(super) fn products(&self) -> impl Iterator<Item = &Weights> {
        let layers = self.layers.iter().flat_map(|layer| [&layer.qkv, &layer.output, &layer.gate_up, &layer.down]);
        layers.chain([&self.head])
    }
}

impl LayerWeights {
    fn bytes(&self) -> usize {
        let products = [&self.qkv, &self.output, &self.gate_up, &self.down];
        let norms = [&self.attention_norm, &self.query_norm, &self.key_norm, &self.mlp_norm];
        products.map(Weights::bytes).iter().sum::<usize>() + norms.map(Buffer::bytes).iter().sum::<usize>()
    }
}
