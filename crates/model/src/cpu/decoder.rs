//! The decoder: Qwen3. All rows' tokens go through the weights together; attention takes each row apart.

use super::activation::silu_times;
use super::attention::Heads;
use super::cache::Cache;
use super::embedding::Embedding;
use super::linear::Linear;
use super::norm::RmsNorm;
use super::paged::{Queries, attend_chunk, attend_tokens};
use super::product;
use super::rope::{Angles, Rope};
use super::row::Row;
use super::vector::add;
use crate::ModelError;

/// Embedding, layers, last norm, head.
pub(crate) struct Decoder {
    pub(crate) embedding: Embedding,
    pub(crate) layers: Vec<DecoderLayer>,
    pub(crate) norm: RmsNorm,
    pub(crate) head: Linear,
    pub(crate) rope: Rope,
    pub(crate) heads: Heads,
}

/// Attention and gated MLP, each behind its norm and beside the residual.
pub(crate) struct DecoderLayer {
    pub(crate) attention_norm: RmsNorm,
    pub(crate) query: Linear,
    pub(crate) key: Linear,
    pub(crate) value: Linear,
    /// Over each head's `D` numbers, before rotation.
    pub(crate) query_norm: RmsNorm,
    pub(crate) key_norm: RmsNorm,
    pub(crate) output: Linear,
    pub(crate) mlp_norm: RmsNorm,
    pub(crate) gate: Linear,
    pub(crate) up: Linear,
    pub(crate) down: Linear,
}

impl Decoder {
    /// Appends the rows to the cache; the logits [V] of the wanted positions, row by row.
    pub(crate) fn forward(&self, cache: &mut Cache, rows: &[Row<'_>]) -> Result<Vec<Vec<f32>>, ModelError> {
        let mut x = self.embed(rows);
        let angles = self.rope.angles(rows.iter().flat_map(|row| row.past..row.past + row.ids.len()));
        for (i, layer) in self.layers.iter().enumerate() {
            let queries = self.append(i, &layer.attention_norm.of(&x), &angles, cache, rows);
            add(&mut x, &product(&self.attend(i, &queries, cache, rows)?, &layer.output));
            let mlp = layer.mlp(&layer.mlp_norm.of(&x));
            add(&mut x, &mlp);
        }
        self.logits(&x, rows)
    }

    /// The numbers of a token's hidden state: H.
    pub(crate) fn hidden(&self) -> usize {
        self.embedding.hidden
    }

    /// Embeddings of all rows' ids, with features in their places: [T, H].
    fn embed(&self, rows: &[Row<'_>]) -> Vec<f32> {
        let hidden = self.hidden();
        let mut x = vec![0.0; tokens(rows) * hidden];
        for (row, start) in starts(rows) {
            let x = &mut x[start * hidden..(start + row.ids.len()) * hidden];
            for (&id, x) in row.ids.iter().zip(x.chunks_exact_mut(hidden)) {
                self.embedding.row(id, x);
            }
            for (offset, features) in row.features {
                x[offset * hidden..offset * hidden + features.len()].copy_from_slice(features);
            }
        }
        x
    }

    /// Writes the keys and values of `x` [T, H] to the cache and returns its queries [T, N * D].
    fn append(&self, i: usize, x: &[f32], angles: &Angles, cache: &mut Cache, rows: &[Row<'_>]) -> Vec<f32> {
        let (layer, heads) = (&self.layers[i], self.heads);
        let [mut queries, mut keys, values] = [&layer.query, &layer.key, &layer.value].map(|weight| product(x, weight));
        layer.query_norm.apply(&mut queries);
        layer.key_norm.apply(&mut keys);
        angles.rotate(&mut queries, heads.queries, heads.width);
        angles.rotate(&mut keys, heads.keys, heads.width);
        let width = heads.keys * heads.width;
        for (row, start) in starts(rows) {
            let part = start * width..(start + row.ids.len()) * width;
            cache.write(i, row.blocks, row.past, &keys[part.clone()], &values[part]);
        }
        queries
    }

    /// Attention of each row's queries over its own cache: [T, N * D].
    fn attend(&self, i: usize, queries: &[f32], cache: &Cache, rows: &[Row<'_>]) -> Result<Vec<f32>, ModelError> {
        let width = self.heads.queries * self.heads.width;
        let mut out = vec![0.0; queries.len()];
        let mut single = Vec::new();
        for (row, start) in starts(rows) {
            let part = start * width..(start + row.ids.len()) * width;
            let (queries, length) = (&queries[part.clone()], row.past + row.ids.len());
            let queries = Queries { queries, cache: cache.row(i, row.blocks), length };
            if row.ids.len() == 1 {
                single.push((start, queries));
            } else {
                out[part].copy_from_slice(&attend_chunk(self.heads, &queries)?);
            }
        }
        let (places, single): (Vec<usize>, Vec<Queries<'_>>) = single.into_iter().unzip();
        let mut found = vec![0.0; single.len() * width];
        attend_tokens(self.heads, &single, &mut found);
        for (start, found) in places.into_iter().zip(found.chunks_exact(width)) {
            out[start * width..(start + 1) * width].copy_from_slice(found);
        }
        Ok(out)
    }

    /// Logits of the wanted positions.
    fn logits(&self, x: &[f32], rows: &[Row<'_>]) -> Result<Vec<Vec<f32>>, ModelError> {
        let hidden = self.hidden();
        let wanted: Vec<(usize, usize)> = starts(rows)
            .enumerate()
            .flat_map(|(i, (row, start))| row.wanted().map(move |offset| (i, start + offset)))
            .collect();
        let states = wanted.iter().flat_map(|&(_, t)| &x[t * hidden..(t + 1) * hidden]).copied().collect::<Vec<f32>>();
        let logits = product(&self.norm.of(&states), &self.head);
        let logits = logits.chunks_exact(self.head.outputs()).zip(wanted);
        logits.map(|(logits, (row, _))| finite(logits).ok_or(ModelError::NonFinite { row })).collect()
    }

    pub(crate) fn bytes(&self) -> u64 {
        let layers: u64 = self.layers.iter().map(DecoderLayer::bytes).sum();
        self.embedding.bytes() + layers + self.norm.bytes() + self.head.bytes() as u64
    }
}

impl DecoderLayer {
    fn mlp(&self, x: &[f32]) -> Vec<f32> {
        let mut gate = product(x, &self.gate);
        silu_times(&mut gate, &product(x, &self.up), self.up.outputs());
        product(&gate, &self.down)
    }

    fn bytes(&self) -> u64 {
        let linears = [&self.query, &self.key, &self.value, &self.output, &self.gate, &self.up, &self.down];
        let linears: u64 = linears.iter().map(|linear| linear.bytes() as u64).sum();
        let norms = [&self.attention_norm, &self.query_norm, &self.key_norm, &self.mlp_norm];
        linears + norms.iter().map(|norm| norm.bytes()).sum::<u64>()
    }
}

/// The number of all rows' tokens: T.
fn tokens(rows: &[Row<'_>]) -> usize {
    rows.iter().map(|row| row.ids.len()).sum()
}

/// Each row with the index of its first token among all.
fn starts<'a, 'b>(rows: &'b [Row<'a>]) -> impl Iterator<Item = (&'b Row<'a>, usize)> {
    rows.iter().scan(0, |next, row| {
        let start = *next;
        *next += row.ids.len();
        Some((row, start))
    })
}

fn finite(logits: &[f32]) -> Option<Vec<f32>> {
    logits.iter().all(|logit| logit.is_finite()).then(|| logits.to_vec())
}
