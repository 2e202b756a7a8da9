//! The 3D-Resampler: the patches of one view, or of up to six frames, become `Q` rows of the decoder's width.
//!
//! Keys carry positions (row and column of the patch, time of the frame), values do not. All frames of a pack stand in one
//! softmax.

use karst_vision_input::position;

use super::attention::{Heads, attend};
use super::linear::Linear;
use super::norm::LayerNorm;
use super::product;
use super::vector::add_scaled;
use crate::ModelError;

/// Cross attention of learned queries over patches.
pub(crate) struct Resampler {
    /// The learned queries [Q, H], normed and projected: they are the same for every picture.
    pub(crate) queries: Vec<f32>,
    pub(crate) kv: Linear,
    pub(crate) kv_norm: LayerNorm,
    pub(crate) key: Linear,
    pub(crate) value: Linear,
    pub(crate) output: Linear,
    pub(crate) norm: LayerNorm,
    pub(crate) projection: Linear,
    pub(crate) heads: usize,
}

/// One view as the tower left it.
#[derive(Debug, Clone, Copy)]
pub struct Encoded<'a> {
    /// Rows of patches.
    pub rows: u32,
    /// Columns of patches.
    pub columns: u32,
    /// The tower's output [rows * columns, Hv].
    pub patches: &'a [f32],
    /// Temporal id of a clip's frame: its time in steps of 0.1 s.
    pub time: Option<u32>,
}

impl Resampler {
    /// The views of one pack -> [Q, H].
    pub(crate) fn forward(&self, views: &[Encoded<'_>]) -> Result<Vec<f32>, ModelError> {
        let (mut keys, mut values) = (Vec::new(), Vec::new());
        for view in views {
            self.check(view)?;
            let mut x = self.project(view.patches);
            values.extend(product(&x, &self.value));
            self.add_positions(view, &mut x);
            keys.extend(product(&x, &self.key));
        }
        self.attend(keys, values)
    }

    /// Patches [P, Hv] in the decoder's width, normed: the values, and the keys without their positions.
    pub(crate) fn project(&self, patches: &[f32]) -> Vec<f32> {
        let mut x = product(patches, &self.kv);
        self.kv_norm.apply(&mut x);
        x
    }

    /// From projected keys and values [S, H], in any order, to features [Q, H].
    pub(crate) fn attend(&self, keys: Vec<f32>, values: Vec<f32>) -> Result<Vec<f32>, ModelError> {
        let heads = Heads { queries: self.heads, keys: self.heads, width: self.width() / self.heads };
        let mut x = product(&attend(heads, self.queries.clone(), keys, values, None)?, &self.output);
        self.norm.apply(&mut x);
        Ok(product(&x, &self.projection))
    }

    /// H.
    pub(crate) fn width(&self) -> usize {
        self.kv.outputs()
    }

    fn check(&self, view: &Encoded<'_>) -> Result<(), ModelError> {
        let Encoded { rows, columns, patches, .. } = *view;
        let expected = (rows as usize).saturating_mul(columns as usize).saturating_mul(self.kv.inputs());
        if expected == 0 || patches.len() != expected {
            return Err(ModelError::View { rows, columns, patch: self.kv.inputs(), found: patches.len() });
        }
        Ok(())
    }

    /// Adds positions to the patches of a view, which `keys` [P, H] begins with. A position's first half depends on the column alone and its second on the row alone, so that `rows + columns` vectors
    /// serve the whole grid.
    pub(crate) fn add_positions(&self, view: &Encoded<'_>, keys: &mut [f32]) {
        let (hidden, half) = (self.width(), self.width() / 2);
        let columns: Vec<_> = (0..view.columns).map(|column| position::spatial(0, column, hidden)).collect();
        let rows: Vec<_> = (0..view.rows).map(|row| position::spatial(row, 0, hidden)).collect();
        let time = view.time.map(|time| position::temporal(time, hidden));
        let places = rows.iter().flat_map(|row| columns.iter().map(move |column| (row, column)));
        for (key, (row, column)) in keys.chunks_exact_mut(hidden).zip(places) {
            add_scaled(&mut key[..half], 1.0, &column[..half]);
            add_scaled(&mut key[half..], 1.0, &row[half..]);
            if let Some(time) = &time {
                add_scaled(key, 1.0, time);
            }
        }
    }

    pub(crate) fn bytes(&self) -> u64 {
        let linears = [&self.kv, &self.key, &self.value, &self.output, &self.projection];
        let linears: u64 = linears.iter().map(|linear| linear.bytes() as u64).sum();
        linears + 4 * self.queries.len() as u64 + self.kv_norm.bytes() + self.norm.bytes()
    }
}
