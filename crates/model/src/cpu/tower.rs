//! The vision tower: SigLIP2 with NaViT positions. Each view runs at its own length; nothing is padded.

use karst_vision_input::{View, normalised, position};

use super::activation::gelu;
use super::attention::{Heads, attend};
use super::linear::Linear;
use super::norm::LayerNorm;
use super::product;
use super::vector::{add, add_scaled};
use crate::ModelError;

/// Patch embedding, learned positions, encoder layers, last norm.
pub(crate) struct Tower {
    /// The convolution over patches as a product: a patch [3, 14, 14] lies in memory as the weights' rows do.
    pub(crate) patch: Linear,
    /// [side, side, Hv].
    pub(crate) positions: Vec<f32>,
    /// Positions along a side of the table.
    pub(crate) side: u32,
    pub(crate) layers: Vec<EncoderLayer>,
    pub(crate) norm: LayerNorm,
    pub(crate) heads: usize,
}

/// Attention and MLP, each behind its norm and beside the residual.
pub(crate) struct EncoderLayer {
    pub(crate) attention_norm: LayerNorm,
    pub(crate) query: Linear,
    pub(crate) key: Linear,
    pub(crate) value: Linear,
    pub(crate) output: Linear,
    pub(crate) mlp_norm: LayerNorm,
    pub(crate) up: Linear,
    pub(crate) down: Linear,
}

impl Tower {
    /// One view's patches -> [P, Hv].
    pub(crate) fn forward(&self, view: &View) -> Result<Vec<f32>, ModelError> {
        let x = self.embed(view)?;
        let real = x.len();
        self.encode(x, real)
    }

    /// The same with a patch of padding after the view's own: [P + 1, Hv]. It sees them, but they do not see it. However many
    /// there are, all padding is alike.
    pub(crate) fn forward_padded(&self, view: &View) -> Result<Vec<f32>, ModelError> {
        let mut x = self.embed(view)?;
        let real = x.len();
        x.extend(product(&vec![0.0; self.patch.inputs()], &self.patch));
        add_scaled(&mut x[real..], 1.0, &self.positions);
        self.encode(x, real)
    }

    /// The encoder over embedded patches, of which the first `real` numbers are seen.
    fn encode(&self, mut x: Vec<f32>, real: usize) -> Result<Vec<f32>, ModelError> {
        let heads = Heads { queries: self.heads, keys: self.heads, width: self.width() / self.heads };
        for layer in &self.layers {
            layer.forward(heads, &mut x, real)?;
        }
        self.norm.apply(&mut x);
        Ok(x)
    }

    fn width(&self) -> usize {
        self.patch.outputs()
    }

    /// Patches and their positions. A grid of other sides than the table's is laid over it, so that positions are spread
    /// rather than cut.
    fn embed(&self, view: &View) -> Result<Vec<f32>, ModelError> {
        let (patches, found) = (view.rows as usize * view.columns as usize, view.patches().len());
        if patches == 0 || found != patches * self.patch.inputs() {
            return Err(ModelError::View { rows: view.rows, columns: view.columns, patch: self.patch.inputs(), found });
        }
        let value = normalised();
        let pixels: Vec<f32> = view.patches().iter().map(|&byte| value[usize::from(byte)]).collect();
        let mut x = product(&pixels, &self.patch);
        let (rows, columns) = (position::buckets(view.rows, self.side), position::buckets(view.columns, self.side));
        let places = rows.iter().flat_map(|row| columns.iter().map(move |column| row * self.side + column));
        for (x, place) in x.chunks_exact_mut(self.width()).zip(places) {
            add_scaled(x, 1.0, &self.positions[place as usize * x.len()..]);
        }
        Ok(x)
    }

    pub(crate) fn bytes(&self) -> u64 {
        let layers: u64 = self.layers.iter().map(EncoderLayer::bytes).sum();
        self.patch.bytes() as u64 + 4 * self.positions.len() as u64 + layers + self.norm.bytes()
    }
}

impl EncoderLayer {
    fn forward(&self, heads: Heads, x: &mut [f32], real: usize) -> Result<(), ModelError> {
        let normed = self.attention_norm.of(x);
        let query = product(&normed, &self.query);
        let [key, value] = [&self.key, &self.value].map(|weight| product(&normed[..real], weight));
        add(x, &product(&attend(heads, query, key, value, None)?, &self.output));
        let mut hidden = product(&self.mlp_norm.of(x), &self.up);
        gelu(&mut hidden, self.up.outputs());
        add(x, &product(&hidden, &self.down));
        Ok(())
    }

    fn bytes(&self) -> u64 {
        let linears = [&self.query, &self.key, &self.value, &self.output, &self.up, &self.down];
        let linears: u64 = linears.iter().map(|linear| linear.bytes() as u64).sum();
        linears + self.attention_norm.bytes() + self.mlp_norm.bytes()
    }
}
