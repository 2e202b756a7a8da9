//! Features of a clip as the reference makes them for a checkpoint that says `"batch_3d_resampler": false`.
//!
//! There the keys of a clip's frames are laid patch after patch, but their mask frame after frame: as soon as another
//! picture of the call has more patches, so that the frames are padded to its length, real patches are hidden and padding is
//! seen. A checkpoint that was made with this has learnt it, so it is kept where the configuration asks for it, and there
//! alone: the published model resamples in a batch, and its features do not depend on their neighbours.

use karst_vision_input::{View, position};

use super::product;
use super::resampler::{Encoded, Resampler};
use super::tower::Tower;
use super::vector::add_scaled;
use crate::ModelError;

/// A frame's values and keys; after its patches, one of padding.
struct Padded {
    values: Vec<f32>,
    keys: Vec<f32>,
    patches: usize,
}

/// The features [Q, H] of a clip's frames, padded to `length` patches, the longest view's of the call.
pub(super) fn encode(
    tower: &Tower,
    resampler: &Resampler,
    frames: &[(&View, Option<u32>)],
    length: usize,
) -> Result<Vec<f32>, ModelError> {
    let frames = frames
        .iter()
        .map(|&(view, time)| Ok(padded(resampler, view, time, &tower.forward_padded(view)?)))
        .collect::<Result<Vec<_>, ModelError>>()?;
    let hidden = resampler.width();
    let (mut keys, mut values) = (Vec::new(), Vec::new());
    // The mask counts through one frame after the other, the keys through all frames' patches at once.
    for i in (0..length * frames.len()).filter(|i| i % length < frames[i / length].patches) {
        let (patch, frame) = (i / frames.len(), &frames[i % frames.len()]);
        let row = patch.min(frame.patches) * hidden;
        values.extend_from_slice(&frame.values[row..row + hidden]);
        keys.extend_from_slice(&frame.keys[row..row + hidden]);
    }
    resampler.attend(product(&keys, &resampler.key), product(&values, &resampler.value))
}

/// Keys of patches carry their place and time, those of padding the time alone.
fn padded(resampler: &Resampler, view: &View, time: Option<u32>, patches: &[f32]) -> Padded {
    let values = resampler.project(patches);
    let (hidden, mut keys) = (resampler.width(), values.clone());
    let place = Encoded { rows: view.rows, columns: view.columns, patches, time };
    resampler.add_positions(&place, &mut keys);
    if let (Some(time), Some(padding)) = (time, keys.chunks_exact_mut(hidden).last()) {
        add_scaled(padding, 1.0, &position::temporal(time, hidden));
    }
    Padded { values, keys, patches: view.count() }
}
