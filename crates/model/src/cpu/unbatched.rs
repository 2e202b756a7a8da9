//! Features of a clip as the reference makes them for a checkpoint that says `"batch_3d_resampler": false`.
//!
//! There the keys of a clip's frames are laid patch after patch, but their mask frame after frame: as soon as another
//! picture of the call has more patches, so that the frames are padded to its length, real patches are hidden and padding is
//! seen. A checkpoint that was made with this has learnt it, so it is kept where the configuration asks for it, and there
//! alone: the published model resamples in a batch, and its features do not depend on their neighbours.

use karst_vision_input::{Pack, View, position};

use super::activation::gelu;
use super::attention::{Heads, attend};
use super::model::Model;
use super::product;
use super::vector::{add, add_scaled};
use crate::ModelError;

/// A frame's values, and its keys without their time; after its patches, one of padding.
struct Padded {
    values: Vec<f32>,
    keys: Vec<f32>,
    patches: usize,
}

impl Model {
    /// The features [Q, H] of frames that are padded to `length` patches, the longest view's of the call.
    pub(super) fn encode_unbatched(&self, views: &[View], pack: &Pack, length: usize) -> Result<Vec<f32>, ModelError> {
        let frames = pack.views.iter().map(|&view| self.padded_frame(&views[view])).collect::<Result<Vec<_>, _>>()?;
        let (resampler, hidden) = (&self.resampler, self.hidden());
        let (mut keys, mut values) = (Vec::new(), Vec::new());
        // The mask counts through one frame after the other, the keys through all frames' patches at once.
        let seen = (0..length * frames.len()).filter(|i| i % length < frames[i / length].patches);
        for i in seen {
            let (patch, frame) = (i / frames.len(), &frames[i % frames.len()]);
            let row = patch.min(frame.patches) * hidden;
            values.extend_from_slice(&frame.values[row..row + hidden]);
            keys.extend_from_slice(&frame.keys[row..row + hidden]);
            if let Some(times) = &pack.times {
                let last = keys.len() - hidden;
                add_scaled(&mut keys[last..], 1.0, &position::temporal(times[i % frames.len()], hidden));
            }
        }
        let (keys, values) = (product(&keys, &resampler.key), product(&values, &resampler.value));
        let heads = Heads { queries: resampler.heads, keys: resampler.heads, width: hidden / resampler.heads };
        let found = attend(heads, resampler.queries.clone(), keys, values, None)?;
        Ok(product(&resampler.norm.of(&product(&found, &resampler.output)), &resampler.projection))
    }

    fn padded_frame(&self, view: &View) -> Result<Padded, ModelError> {
        let mut values = product(&self.padded_tower(view)?, &self.resampler.kv);
        self.resampler.kv_norm.apply(&mut values);
        let (hidden, mut keys) = (self.hidden(), values.clone());
        for (i, key) in keys.chunks_exact_mut(hidden).take(view.count()).enumerate() {
            let (row, column) = (i as u32 / view.columns, i as u32 % view.columns);
            add_scaled(key, 1.0, &position::spatial(row, column, hidden));
        }
        Ok(Padded { values, keys, patches: view.count() })
    }

    /// The tower with a patch of padding after the view's own: it sees them, but they do not see it. All padding is alike.
    fn padded_tower(&self, view: &View) -> Result<Vec<f32>, ModelError> {
        let tower = &self.tower;
        let mut x = tower.embed(view)?;
        let (real, hidden) = (x.len(), tower.patch.outputs());
        x.extend(product(&vec![0.0; tower.patch.inputs()], &tower.patch));
        add_scaled(&mut x[real..], 1.0, &tower.positions[..hidden]);
        let heads = Heads { queries: tower.heads, keys: tower.heads, width: hidden / tower.heads };
        for layer in &tower.layers {
            let normed = layer.attention_norm.of(&x);
            let [key, value] = [&layer.key, &layer.value].map(|weight| product(&normed[..real], weight));
            let found = attend(heads, product(&normed, &layer.query), key, value, None)?;
            add(&mut x, &product(&found, &layer.output));
            let mut inner = product(&layer.mlp_norm.of(&x), &layer.up);
            gelu(&mut inner, layer.up.outputs());
            add(&mut x, &product(&inner, &layer.down));
        }
        tower.norm.apply(&mut x);
        Ok(x)
    }
}
