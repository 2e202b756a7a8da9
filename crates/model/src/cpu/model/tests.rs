//! The one golden conversation whose features are not ours by decision.
//!
//! A checkpoint may ask for the reference's slower way of resampling (`"batch_3d_resampler": false`; the published one does
//! not). There the keys of a clip's frames are laid patch after patch, but their mask frame after frame: as soon as another
//! picture of the call has more patches, so that the frames are padded, real patches are hidden and padding is seen, and a
//! clip's features depend on its neighbours. We keep features independent of neighbours. That nothing else differs is shown by
//! making the same mistake here and finding the reference's numbers.

#[path = "../../../tests/common/mod.rs"]
mod common;

use common::tensors::Tensors;
use common::{Pictures, Session, ids, json, placed, project, relative};
use karst_vision_input::{Settings, position};

use super::*;
use crate::cpu::activation::gelu;
use crate::cpu::attention::{Heads, attend};
use crate::cpu::row::Logits;
use crate::cpu::vector::{add, add_scaled};
use crate::cpu::product;

const CASE: &str = "mixed_image_video";

#[test]
fn the_references_unbatched_resampler_hides_the_wrong_keys() {
    let folder = project("tests/golden/tiny/gptq-drop-last-vision-layer");
    assert_eq!(json(&folder.join("config.json"))["batch_3d_resampler"], false);
    let mut model = Model::load(&Checkpoint::open(&folder).unwrap(), &Options::default(), &|_| {}).unwrap();
    let conversation = &json(&folder.join("expected.json"))[CASE];
    let pictures = Pictures::of(conversation, &folder, &Settings::default());
    let mut features = model.encode(&pictures.views, &pictures.packs).unwrap();
    let tensors = Tensors::open(&folder.join("expected.safetensors"));
    let expected: Vec<&[f32]> =
        tensors.get(&format!("{CASE}.resampler")).unwrap().chunks_exact(16 * model.hidden()).collect();
    let error = |pack: &[f32], expected: &[f32]| {
        let sampled: Vec<f32> = pack.chunks(model.hidden()).step_by(4).flatten().copied().collect();
        relative(&sampled, expected)
    };
    assert!(error(&features.packs[0], expected[0]) < 1e-4, "the still, the longest view, is not padded");
    assert!(error(&features.packs[1], expected[1]) > 1e-3, "the clip is");
    let length = pictures.views.iter().map(View::count).max().unwrap();
    features.packs[1] = model.misled(&pictures, length);
    assert!(error(&features.packs[1], expected[1]) < 1e-4);
    let (prompt, greedy) = (ids(&conversation["input_ids"]), ids(&conversation["greedy_ids"]));
    let starts: Vec<usize> =
        conversation["image_bound"].as_array().unwrap().iter().map(|bound| ids(bound)[0] as usize).collect();
    let mut session = Session::on(0, prompt.len() + greedy.len());
    let logits = session.append(&mut model, &prompt, &placed(&features, &starts), Logits::All);
    let tail = logits[logits.len() - 8..].concat();
    assert!(relative(&tail, tensors.get(&format!("{CASE}.logits_tail")).unwrap()) < 1e-4);
    assert_eq!(session.greedy(&mut model, logits.last().unwrap().clone(), greedy.len()), greedy);
}

impl Model {
    /// The features of the clip as the reference makes them, its frames padded to `length` patches.
    fn misled(&self, pictures: &Pictures, length: usize) -> Vec<f32> {
        let (pack, resampler, hidden) = (&pictures.packs[1], &self.resampler, self.hidden());
        let frames: Vec<_> = pack.views.iter().map(|&view| self.frame(&pictures.views[view])).collect();
        let times = pack.times.as_ref().unwrap();
        let (mut keys, mut values) = (Vec::new(), Vec::new());
        for i in 0..length * frames.len() {
            let (patch, frame) = (i / frames.len(), i % frames.len());
            if i % length >= frames[i / length].1.len() / hidden - 1 {
                continue; // masked, in the mask's own order
            }
            let (x, key) = &frames[frame];
            let row = patch.min(x.len() / hidden - 1) * hidden;
            values.extend_from_slice(&x[row..row + hidden]);
            keys.extend_from_slice(&key[row..row + hidden]);
            let last = keys.len() - hidden;
            add_scaled(&mut keys[last..], 1.0, &position::temporal(times[frame], hidden));
        }
        let (keys, values) = (product(&keys, &resampler.key), product(&values, &resampler.value));
        let heads = Heads { queries: resampler.heads, keys: resampler.heads, width: hidden / resampler.heads };
        let found = attend(heads, resampler.queries.clone(), keys, values, None).unwrap();
        product(&resampler.norm.of(&product(&found, &resampler.output)), &resampler.projection)
    }

    /// A view's values and keys, without its time, and after its patches one of padding.
    fn frame(&self, view: &View) -> (Vec<f32>, Vec<f32>) {
        let mut x = product(&self.padded(view), &self.resampler.kv);
        self.resampler.kv_norm.apply(&mut x);
        let (hidden, mut keys) = (self.hidden(), x.clone());
        for (i, key) in keys.chunks_exact_mut(hidden).take(view.count()).enumerate() {
            let (row, column) = (i as u32 / view.columns, i as u32 % view.columns);
            add_scaled(key, 1.0, &position::spatial(row, column, hidden));
        }
        (x, keys)
    }

    /// The tower with a patch of padding after the view's own: it sees them, but they do not see it.
    fn padded(&self, view: &View) -> Vec<f32> {
        let tower = &self.tower;
        let mut x = tower.embed(view).unwrap();
        let (real, hidden) = (x.len(), tower.patch.outputs());
        x.extend(product(&vec![0.0; tower.patch.inputs()], &tower.patch));
        add_scaled(&mut x[real..], 1.0, &tower.positions[..hidden]);
        let heads = Heads { queries: tower.heads, keys: tower.heads, width: hidden / tower.heads };
        for layer in &tower.layers {
            let normed = layer.attention_norm.of(&x);
            let [key, value] = [&layer.key, &layer.value].map(|weight| product(&normed[..real], weight));
            let found = attend(heads, product(&normed, &layer.query), key, value, None).unwrap();
            add(&mut x, &product(&found, &layer.output));
            let mut inner = product(&layer.mlp_norm.of(&x), &layer.up);
            gelu(&mut inner, layer.up.outputs());
            add(&mut x, &product(&inner, &layer.down));
        }
        tower.norm.apply(&mut x);
        x
    }
}
