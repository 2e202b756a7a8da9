//! Names under `vpm.` and `resampler.`: the vision tower and the resampler.

use karst_checkpoint::Tensor;

use super::Loader;
use crate::ModelError;
use crate::cpu::product;
use crate::cpu::resampler::Resampler;
use crate::cpu::tower::{EncoderLayer, Tower};

impl Loader<'_> {
    pub(super) fn tower(&self) -> Result<Tower, ModelError> {
        let config = &self.checkpoint.config().vision;
        let (hidden, patch, side) = (config.hidden, config.patch_size, config.position_side());
        let filters = self.tensor("vpm.embeddings.patch_embedding.weight", &[hidden, 3, patch, patch])?;
        let bias = self.tensor("vpm.embeddings.patch_embedding.bias", &[hidden])?;
        let matrix = Tensor { shape: &[hidden, 3 * patch * patch], ..filters };
        Ok(Tower {
            patch: self.dense(&matrix, Some(&bias))?,
            positions: self.numbers("vpm.embeddings.position_embedding.weight", &[side * side, hidden])?,
            side: side as u32,
            layers: (0..config.used_layers()).map(|layer| self.encoder_layer(layer)).collect::<Result<_, _>>()?,
            norm: self.layer_norm("vpm.post_layernorm", hidden)?,
            heads: config.heads,
        })
    }

    fn encoder_layer(&self, layer: usize) -> Result<EncoderLayer, ModelError> {
        let config = &self.checkpoint.config().vision;
        let (hidden, intermediate) = (config.hidden, config.intermediate);
        let name = |part: &str| format!("vpm.encoder.layers.{layer}.{part}");
        let square = |part: &str| self.linear(&name(part), hidden, hidden);
        Ok(EncoderLayer {
            attention_norm: self.layer_norm(&name("layer_norm1"), hidden)?,
            query: square("self_attn.q_proj")?,
            key: square("self_attn.k_proj")?,
            value: square("self_attn.v_proj")?,
            output: square("self_attn.out_proj")?,
            mlp_norm: self.layer_norm(&name("layer_norm2"), hidden)?,
            up: self.linear(&name("mlp.fc1"), hidden, intermediate)?,
            down: self.linear(&name("mlp.fc2"), intermediate, hidden)?,
        })
    }

    /// The queries are the same for every picture, so their norm and projection are made here, once.
    pub(super) fn resampler(&self) -> Result<Resampler, ModelError> {
        let config = &self.checkpoint.config().resampler;
        let (hidden, vision) = (config.hidden, self.checkpoint.config().vision.hidden);
        let weight = self.tensor("resampler.attn.in_proj_weight", &[3 * hidden, hidden])?;
        let bias = self.tensor("resampler.attn.in_proj_bias", &[3 * hidden])?;
        let third = |i: usize| {
            let weight = Tensor { shape: &[hidden, hidden], bytes: part(weight.bytes, i), ..weight };
            self.dense(&weight, Some(&Tensor { shape: &[hidden], bytes: part(bias.bytes, i), ..bias }))
        };
        let learned = self.numbers("resampler.query", &[config.queries, hidden])?;
        let learned = self.layer_norm("resampler.ln_q", hidden)?.of(&learned);
        let query = third(0)?;
        Ok(Resampler {
            queries: self.threads.install(|| product(&learned, &query)),
            kv: self.linear("resampler.kv_proj", vision, hidden)?,
            kv_norm: self.layer_norm("resampler.ln_kv", hidden)?,
            key: third(1)?,
            value: third(2)?,
            output: self.linear("resampler.attn.out_proj", hidden, hidden)?,
            norm: self.layer_norm("resampler.ln_post", hidden)?,
            projection: {
                let matrix = self.tensor("resampler.proj", &[hidden, hidden])?;
                self.dense(&Tensor { bytes: &transposed(&matrix, hidden), ..matrix }, None)?
            },
            heads: config.heads,
        })
    }
}

/// The `i`-th third.
fn part(bytes: &[u8], i: usize) -> &[u8] {
    let third = bytes.len() / 3;
    &bytes[i * third..(i + 1) * third]
}

/// The bytes of a square matrix, rows and columns exchanged: `x @ proj` multiplies with its columns.
fn transposed(matrix: &Tensor<'_>, side: usize) -> Vec<u8> {
    let width = matrix.bytes.len() / (side * side);
    let mut out = Vec::with_capacity(matrix.bytes.len());
    for column in 0..side {
        for row in 0..side {
            out.extend_from_slice(&matrix.bytes[(row * side + column) * width..][..width]);
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use karst_checkpoint::Dtype;

    #[test]
    fn transposing_exchanges_rows_and_columns_of_any_width() {
        let bytes = [1, 2, 3, 4, 5, 6, 7, 8];
        let matrix = Tensor { name: "proj", dtype: Dtype::F16, shape: &[2, 2], bytes: &bytes };
        assert_eq!(transposed(&matrix, 2), [1, 2, 5, 6, 3, 4, 7, 8]);
    }

    #[test]
    fn the_thirds_of_a_packed_tensor_are_its_rows() {
        assert_eq!(part(&[1, 2, 3, 4, 5, 6], 1), [3, 4]);
    }
}
