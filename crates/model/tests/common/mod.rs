//! Conversations with known answers: their pictures, packs, ids and tensors.

#![allow(dead_code)] // each test binary uses its own part

pub mod tensors;

use std::fs;
use std::path::{Path, PathBuf};

use karst_contract::Frame;
use karst_model::cpu::{Features, Logits, Model, Row};
use karst_vision_input::{Pack, Settings, Size, View, plan, views};
use serde_json::Value;

/// A path below the project's root.
pub fn project(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").join(path)
}

pub fn json(path: &Path) -> Value {
    serde_json::from_slice(&fs::read(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))).unwrap()
}

pub fn ids(value: &Value) -> Vec<u32> {
    value.as_array().unwrap().iter().map(|id| u32::try_from(id.as_u64().unwrap()).unwrap()).collect()
}

/// The folders of the checkpoints that the reference answered.
pub fn checkpoints() -> Vec<PathBuf> {
    let mut folders: Vec<_> =
        fs::read_dir(project("tests/golden/tiny")).unwrap().map(|entry| entry.unwrap().path()).collect();
    folders.sort();
    assert!(folders.len() >= 7, "{folders:?}");
    folders
}

/// The pictures of a conversation as views and packs, in the order of their placement.
pub struct Pictures {
    pub views: Vec<View>,
    pub packs: Vec<Pack>,
}

impl Pictures {
    /// Reads the pictures named in `messages` from `folder` and packs them as `options` say.
    pub fn of(conversation: &Value, folder: &Path, settings: &Settings) -> Self {
        let options = &conversation["options"];
        let max_slices = options["max_slice_nums"].as_u64().map_or(settings.max_slices, |slices| slices as u32);
        let mut pictures = Self { views: Vec::new(), packs: Vec::new() };
        let cut: Vec<Vec<usize>> =
            names(conversation).map(|name| pictures.cut(&frame(&folder.join(name)), max_slices, settings)).collect();
        let groups = match options["temporal_ids"].as_array() {
            Some(groups) => groups.iter().map(times).collect(),
            None => vec![vec![-1]; cut.len()],
        };
        let mut frames = cut.iter();
        for group in groups {
            let group_views: Vec<&Vec<usize>> = frames.by_ref().take(group.len()).collect();
            pictures.pack(&group_views, &group);
        }
        assert!(frames.next().is_none(), "every picture has a group");
        pictures
    }

    /// Cuts one picture; the indices of its views.
    fn cut(&mut self, frame: &Frame, max_slices: u32, settings: &Settings) -> Vec<usize> {
        let size = Size { width: frame.width(), height: frame.height() };
        let slicing = plan(size, max_slices, settings).unwrap();
        let first = self.views.len();
        self.views.extend(views(frame, &slicing, settings));
        (first..self.views.len()).collect()
    }

    /// View `k` of all frames of a group makes one pack.
    fn pack(&mut self, frames: &[&Vec<usize>], times: &[i64]) {
        let times = (times[0] >= 0).then(|| times.iter().map(|&time| u32::try_from(time).unwrap()).collect::<Vec<_>>());
        for k in 0..frames[0].len() {
            let views = frames.iter().map(|views| views[k]).collect();
            self.packs.push(Pack { views, times: times.clone() });
        }
    }
}

fn times(group: &Value) -> Vec<i64> {
    group.as_array().unwrap().iter().map(|time| time.as_i64().unwrap()).collect()
}

/// The file names of a conversation's pictures.
fn names(conversation: &Value) -> impl Iterator<Item = &str> {
    let parts = conversation["messages"].as_array().unwrap().iter().filter_map(|message| message["content"].as_array());
    parts.flatten().filter_map(|part| part["image"].as_str())
}

/// A picture file, its alpha dropped.
fn frame(path: &Path) -> Frame {
    let picture = image::open(path).unwrap_or_else(|error| panic!("{}: {error}", path.display())).to_rgb8();
    let (width, height) = picture.dimensions();
    Frame::new(width, height, picture.into_raw()).unwrap()
}

/// Where the features of each pack begin: the first of each run of 64 placeholders.
pub fn spans(ids: &[u32], placeholder: u32) -> Vec<usize> {
    (0..ids.len()).filter(|&i| ids[i] == placeholder && (i == 0 || ids[i - 1] != placeholder)).collect()
}

/// One row whose blocks lie in order in the cache.
pub struct Session {
    pub blocks: Vec<u32>,
    pub past: usize,
}

impl Session {
    /// On the blocks from `first` on.
    pub fn on(first: u32, tokens: usize) -> Self {
        Self { blocks: (first..first + tokens.div_ceil(16) as u32).collect(), past: 0 }
    }

    /// Appends ids and returns the wanted logits.
    pub fn append(
        &mut self,
        model: &mut Model,
        ids: &[u32],
        features: &[(usize, &[f32])],
        logits: Logits,
    ) -> Vec<Vec<f32>> {
        let row = Row { blocks: &self.blocks, past: self.past, ids, features, logits };
        let out = model.forward(&[row]).unwrap();
        self.past += ids.len();
        out
    }

    /// Decodes greedily from `logits` on.
    pub fn greedy(&mut self, model: &mut Model, mut logits: Vec<f32>, count: usize) -> Vec<u32> {
        let mut found = vec![best(&logits)];
        while found.len() < count {
            let last = [*found.last().unwrap()];
            logits = self.append(model, &last, &[], Logits::Last).remove(0);
            found.push(best(&logits));
        }
        found
    }
}

/// Each pack's features at its place.
pub fn placed<'a>(features: &'a Features, spans: &[usize]) -> Vec<(usize, &'a [f32])> {
    assert_eq!(features.packs.len(), spans.len(), "one run of placeholders for each pack");
    spans.iter().copied().zip(features.packs.iter().map(Vec::as_slice)).collect()
}

pub fn best(logits: &[f32]) -> u32 {
    let better = |a: usize, b: usize| if logits[b] > logits[a] { b } else { a };
    (0..logits.len()).reduce(better).unwrap() as u32
}

/// The greatest difference, relative to the greatest number expected.
pub fn relative(found: &[f32], expected: &[f32]) -> f64 {
    assert_eq!(found.len(), expected.len());
    let greatest = expected.iter().fold(0.0, |a: f64, &b| a.max(f64::from(b).abs()));
    let differences = found.iter().zip(expected).map(|(&a, &b)| (f64::from(a) - f64::from(b)).abs());
    differences.fold(0.0, |a: f64, b| if b.is_nan() { f64::INFINITY } else { a.max(b) }) / greatest
}
