//! The reference implementation's numbers, stage by stage, for every checkpoint under `tests/golden/tiny`.

#![allow(clippy::unwrap_used)] // a test fails by panicking

mod common;

use std::path::{Path, PathBuf};

use common::tensors::Tensors;
use common::{Pictures, Session, checkpoints, ids, json, placed, relative};
use karst_checkpoint::Checkpoint;
use karst_model::cpu::{Encoded, Features, Logits, Model, Options};
use karst_vision_input::Settings;
use serde_json::Value;

const TOLERANCE: f64 = 1e-4;
/// Where the two best logits are nearer than this, rounding decides between them.
const MARGIN: f64 = 1e-3;

/// The greatest relative error of each stage, and how many conversations and greedy ids were compared.
#[derive(Debug, Default)]
struct Worst {
    tower: f64,
    resampler: f64,
    logits: f64,
    conversations: usize,
    ids: usize,
}

impl Worst {
    fn join(&mut self, other: &Worst) {
        self.tower = self.tower.max(other.tower);
        self.resampler = self.resampler.max(other.resampler);
        self.logits = self.logits.max(other.logits);
        self.conversations += other.conversations;
        self.ids += other.ids;
    }
}

/// One checkpoint under test, with what the reference made of it.
struct Case {
    folder: PathBuf,
    model: Model,
    settings: Settings,
    tensors: Tensors,
}

#[test]
fn every_stage_is_the_references() {
    let mut worst = Worst::default();
    for folder in checkpoints() {
        let mut case = Case::open(&folder);
        let mut own = Worst::default();
        for (name, conversation) in json(&folder.join("expected.json")).as_object().unwrap() {
            own.join(&case.run(name, conversation));
        }
        println!("{}: {own:?}", folder.file_name().unwrap().to_string_lossy());
        worst.join(&own);
    }
    println!("all: {worst:?}");
    assert!(worst.conversations >= 63 && worst.ids > 1_900, "{worst:?}");
}

impl Case {
    fn open(folder: &Path) -> Self {
        let checkpoint = Checkpoint::open(folder).unwrap();
        let model = Model::load(&checkpoint, &Options::default(), &|_| {}).unwrap();
        let preprocessing = &checkpoint.config().preprocessing;
        let settings = Settings {
            scale_resolution: preprocessing.scale_resolution,
            patch_size: preprocessing.patch_size,
            max_slices: preprocessing.max_slices,
        };
        Self { folder: folder.into(), model, settings, tensors: Tensors::open(&folder.join("expected.safetensors")) }
    }

    fn run(&mut self, name: &str, conversation: &Value) -> Worst {
        let pictures = Pictures::of(conversation, &self.folder, &self.settings);
        let patches = self.model.vision().tower(&pictures.views).unwrap();
        let features = self.model.vision().encode(&pictures.views, &pictures.packs).unwrap();
        let tower = self.tower_error(name, conversation, &pictures, &patches);
        let resampler = self.resampler_error(name, &features);
        let (logits, ids) = self.decode(name, conversation, &features);
        let worst = Worst { tower, resampler, logits, conversations: 1, ids };
        assert!([tower, resampler, logits].iter().all(|&error| error <= TOLERANCE), "{name}: {worst:?}");
        worst
    }

    /// Sampled patches and the mean over patches of every view.
    fn tower_error(&self, name: &str, conversation: &Value, pictures: &Pictures, patches: &[Vec<f32>]) -> f64 {
        let (Some(rows), Some(means)) =
            (self.tensors.get(&format!("{name}.vision_rows")), self.tensors.get(&format!("{name}.vision_mean")))
        else {
            assert!(patches.is_empty(), "{name} has pictures but no expected tower output");
            return 0.0;
        };
        let width = *self.tensors.shape(&format!("{name}.vision_mean")).last().unwrap();
        let sizes: Vec<Vec<u32>> = conversation["tgt_sizes"].as_array().unwrap().iter().map(ids).collect();
        assert_eq!(pictures.views.iter().map(|view| vec![view.rows, view.columns]).collect::<Vec<_>>(), sizes);
        let sampled = ids(&conversation["vision_rows"]);
        let (mut found_rows, mut found_means) = (Vec::new(), Vec::new());
        for view in patches {
            for &row in &sampled {
                found_rows.extend_from_slice(&view[row as usize * width..][..width]);
            }
            let mean = |i: usize| view.iter().skip(i).step_by(width).map(|&x| f64::from(x)).sum::<f64>();
            found_means.extend((0..width).map(|i| (mean(i) / (view.len() / width) as f64) as f32));
        }
        relative(&found_rows, rows).max(relative(&found_means, means))
    }

    /// Every fourth row of each pack.
    fn resampler_error(&self, name: &str, features: &Features) -> f64 {
        let Some(expected) = self.tensors.get(&format!("{name}.resampler")) else {
            assert!(features.packs.is_empty(), "{name} has pictures but no expected features");
            return 0.0;
        };
        let width = self.model.hidden();
        let found: Vec<f32> =
            features.packs.iter().flat_map(|pack| pack.chunks(width).step_by(4).flatten().copied()).collect();
        relative(&found, expected)
    }

    /// Logits at the end of the prompt, then greedy ids while the reference itself was sure of them.
    fn decode(&mut self, name: &str, conversation: &Value, features: &Features) -> (f64, usize) {
        let prompt = ids(&conversation["input_ids"]);
        let starts: Vec<usize> =
            conversation["image_bound"].as_array().unwrap().iter().map(|bound| ids(bound)[0] as usize).collect();
        let greedy = ids(&conversation["greedy_ids"]);
        let mut session = Session::on(0, prompt.len() + greedy.len());
        let logits = session.append(&mut self.model, &prompt, &placed(features, &starts), Logits::All);
        let tail = format!("{name}.logits_tail");
        let skipped = logits.len() - self.tensors.shape(&tail)[0];
        let error = relative(&logits[skipped..].concat(), self.tensors.get(&tail).unwrap());
        let found = session.greedy(&mut self.model, logits.last().unwrap().clone(), greedy.len());
        let margins = conversation["greedy_margins"].as_array().unwrap();
        let sure = margins.iter().take_while(|margin| margin.as_f64().unwrap() > MARGIN).count();
        assert_eq!(found[..sure], greedy[..sure], "{name}");
        (error, sure)
    }
}

/// Shows that the comparisons above can fail.
#[test]
fn a_wrong_time_is_seen_in_the_features() {
    let case = Case::open(&checkpoints()[0]);
    let conversations = json(&case.folder.join("expected.json"));
    let conversation = &conversations["video_packed"];
    let mut pictures = Pictures::of(conversation, &case.folder, &case.settings);
    assert!(pictures.packs[0].times.is_some());
    pictures.packs[0].times.as_mut().unwrap().reverse();
    let features = case.model.vision().encode(&pictures.views, &pictures.packs).unwrap();
    assert!(case.resampler_error("video_packed", &features) > 10.0 * TOLERANCE);
}

#[test]
fn a_pack_is_its_views_tower_and_resampler_in_turn() {
    let case = Case::open(&checkpoints()[0]);
    let conversations = json(&case.folder.join("expected.json"));
    let pictures = Pictures::of(&conversations["video_six"], &case.folder, &case.settings);
    let patches = case.model.vision().tower(&pictures.views).unwrap();
    let times = pictures.packs[0].times.as_ref().unwrap();
    let views = pictures.views.iter().zip(&patches).zip(times);
    let encoded: Vec<Encoded<'_>> = views
        .map(|((view, patches), &time)| Encoded { rows: view.rows, columns: view.columns, patches, time: Some(time) })
        .collect();
    let features = case.model.vision().encode(&pictures.views, &pictures.packs).unwrap();
    assert_eq!(case.model.vision().resample(&encoded).unwrap(), features.packs[0]);
    assert_eq!(features.bytes(), 4 * features.packs[0].len() as u64);
}

/// The reference's other way of resampling lets a longer picture change a clip's features; it is kept only where asked for.
#[test]
fn features_depend_on_neighbours_only_where_the_checkpoint_does_not_resample_in_a_batch() {
    for folder in checkpoints() {
        let case = Case::open(&folder);
        let conversations = json(&case.folder.join("expected.json"));
        let pictures = Pictures::of(&conversations["mixed_image_video"], &case.folder, &case.settings);
        let together = case.model.vision().encode(&pictures.views, &pictures.packs).unwrap();
        let mut clip = pictures.packs[1].clone();
        clip.views.iter_mut().for_each(|view| *view -= 1);
        let alone = case.model.vision().encode(&pictures.views[1..], &[clip]).unwrap();
        let batched = json(&folder.join("config.json"))["batch_3d_resampler"] != false;
        assert_eq!(together.packs[1] == alone.packs[0], batched, "{}", folder.display());
    }
}
