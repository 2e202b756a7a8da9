//! Tables that the reference implementation made, against ours: equal, or the difference printed.

#![allow(clippy::unwrap_used)] // a test fails by panicking

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::PathBuf;

use karst_contract::Frame;
use karst_contract::limits::MAX_PATCHES;
use karst_vision_input::sampling::{self, Choice, Options, is_tie};
use karst_vision_input::{Settings, Size, SlicingError, View, normalised, plan, position, rule, views};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use sha2::{Digest, Sha256};

const PATCH: usize = 14;

fn path(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../tests/golden").join(name)
}

fn table<T: DeserializeOwned>(name: &str) -> T {
    serde_json::from_slice(&fs::read(path(name)).unwrap()).unwrap()
}

/// The tensors of a safetensors file: shape and bytes.
fn tensors(name: &str) -> BTreeMap<String, (Vec<usize>, Vec<u8>)> {
    #[derive(Deserialize)]
    struct Entry {
        shape: Vec<usize>,
        data_offsets: [usize; 2],
    }
    let file = fs::read(path(name)).unwrap();
    let start = 8 + usize::try_from(u64::from_le_bytes(file[..8].try_into().unwrap())).unwrap();
    let header: BTreeMap<String, serde_json::Value> = serde_json::from_slice(&file[8..start]).unwrap();
    let entries = header.into_iter().filter(|(name, _)| name != "__metadata__");
    let read = |(name, entry): (String, serde_json::Value)| {
        let Entry { shape, data_offsets: [from, to] } = serde_json::from_value(entry).unwrap();
        (name, (shape, file[start + from..start + to].to_vec()))
    };
    entries.map(read).collect()
}

fn singles(bytes: &[u8]) -> Vec<f32> {
    bytes.chunks_exact(4).map(|four| f32::from_le_bytes(four.try_into().unwrap())).collect()
}

#[derive(Deserialize)]
struct Cut {
    width: u32,
    height: u32,
    max_slice_nums: u32,
    grid: Option<[u32; 2]>,
    source_size: [u32; 2],
    refine_size: Option<[u32; 2]>,
}

#[test]
fn every_cut_is_the_references() {
    let cases: Vec<Cut> = table("slicing.json");
    assert_eq!(cases.len(), 488);
    let mut refused = BTreeSet::new();
    for case in &cases {
        let size = Size { width: case.width, height: case.height };
        let ours = rule(size, case.max_slice_nums, &Settings::default());
        let what = format!("{} x {}, {}", case.width, case.height, case.max_slice_nums);
        assert_eq!([ours.overview.width, ours.overview.height], case.source_size, "{what}");
        assert_eq!(ours.slices.map(|slices| [slices.grid.columns, slices.grid.rows]), case.grid, "{what}");
        assert_eq!(ours.slices.map(|slices| [slices.refined.width, slices.refined.height]), case.refine_size, "{what}");
        let most = ours.sizes().map(|view| view.width / 14 * (view.height / 14)).max().unwrap();
        match plan(size, case.max_slice_nums, &Settings::default()) {
            Ok(planned) => assert_eq!((planned, most <= MAX_PATCHES), (ours, true), "{what}"),
            Err(SlicingError::TooThin { patches, .. }) => {
                assert!(patches == u64::from(most) && most > MAX_PATCHES, "{what}");
                refused.insert((case.width, case.height));
            }
            Err(error) => panic!("{what}: {error}"),
        }
    }
    // What the reference accepts and we refuse is thinner than 1000:1.
    assert_eq!(refused.len(), 10);
    assert!(refused.iter().all(|&(width, height)| width.max(height) > 1000 * width.min(height)), "{refused:?}");
}

#[derive(Deserialize)]
struct Buckets {
    num_patches_per_side: u32,
    buckets: BTreeMap<u32, Vec<u32>>,
}

#[test]
fn every_position_bucket_is_the_references() {
    let golden: Buckets = table("positions/siglip_buckets.json");
    assert_eq!(golden.buckets.len(), 140);
    let mut below = 0;
    for (n, expected) in &golden.buckets {
        let ours = position::buckets(*n, golden.num_patches_per_side);
        assert_eq!(&ours, expected, "{n}");
        below += (0..*n).zip(&ours).filter(|&(i, &bucket)| bucket != golden.num_patches_per_side * i / n).count();
    }
    assert_eq!(below, 47, "patches whose bucket is not the quotient");
}

#[derive(Deserialize)]
struct Codes {
    temporal_rows: Vec<u32>,
    spatial_row_col: Vec<[u32; 2]>,
    embed_dim: usize,
}

#[test]
fn position_codes_are_the_references_to_the_last_bit_but_one() {
    let (golden, tensors): (Codes, _) = (table("positions/sincos.json"), tensors("positions/sincos.safetensors"));
    let width = golden.embed_dim;
    let times = golden.temporal_rows.iter().flat_map(|&id| position::temporal(id, width));
    let places = golden.spatial_row_col.iter().flat_map(|&[row, column]| position::spatial(row, column, width));
    for (name, ours) in [("temporal", times.collect::<Vec<_>>()), ("spatial", places.collect())] {
        let expected = singles(&tensors[name].1);
        assert_eq!(ours.len(), expected.len());
        let errors = ours.iter().zip(&expected).map(|(a, b)| (a - b).abs());
        let (most, count) =
            errors.fold((0f32, 0), |(most, count), error| (most.max(error), count + usize::from(error > 0.0)));
        println!("{name}: {count} of {} numbers differ, by at most {most:e}", ours.len());
        assert!(most <= f32::EPSILON / 2.0, "{name}: {most:e}");
    }
}

#[derive(Deserialize)]
struct Clip {
    frames: usize,
    fps: f64,
    choose_fps: f64,
    max_num_frames: usize,
    max_num_packing: u32,
    force_packing: Option<u32>,
    packing: u32,
    frame_idx: Vec<usize>,
    temporal_ids: Vec<Vec<u32>>,
}

impl Clip {
    fn choice(&self) -> Choice {
        sampling::choose(&Options {
            frames: self.frames,
            fps: self.fps,
            choose_fps: self.choose_fps,
            max_frames: self.max_num_frames,
            max_packing: self.max_num_packing,
            force_packing: self.force_packing,
        })
    }
}

/// Cases of the table with temporal ids that are ours by decision, and how many: at a tie between two tenths of a second the
/// reference goes up or down by the shape of a search tree, we go down.
const TIES: [(usize, usize); 8] = [(13, 7), (17, 2), (27, 1), (28, 9), (29, 1), (47, 7), (53, 2), (56, 1)];

#[test]
fn every_choice_of_frames_is_the_references_but_for_listed_ties() {
    let cases: Vec<Clip> = table("video_sampling.json");
    assert_eq!(cases.len(), 60);
    let mut ties = Vec::new();
    for (index, case) in cases.iter().enumerate() {
        let ours = case.choice();
        assert_eq!((ours.packing, &ours.frame_indices), (case.packing, &case.frame_idx), "{index}");
        let lengths = |groups: &[Vec<u32>]| groups.iter().map(Vec::len).collect::<Vec<_>>();
        assert_eq!(lengths(&ours.temporal_ids), lengths(&case.temporal_ids), "{index}");
        let ids = ours.temporal_ids.iter().flatten().zip(case.temporal_ids.iter().flatten()).zip(&case.frame_idx);
        let differing: Vec<_> = ids.filter(|((ours, theirs), _)| ours != theirs).collect();
        for &((&ours, &theirs), &frame) in &differing {
            assert!(is_tie(frame as f64 / case.fps), "case {index}, frame {frame}: {ours}, not {theirs}");
            assert!(ours < theirs, "case {index}, frame {frame}: a tie goes down");
        }
        if !differing.is_empty() {
            ties.push((index, differing.len()));
        }
    }
    assert_eq!(ties, TIES);
}

#[derive(Deserialize)]
struct Picture {
    file: String,
    max_slice_nums: u32,
    slices: Vec<[u32; 2]>,
    sha256: Vec<String>,
    tgt_sizes: Vec<[u32; 2]>,
    patch_sum: Vec<f64>,
}

impl Picture {
    fn views(&self) -> Vec<View> {
        let picture = image::open(path("pixels").join(&self.file)).unwrap().to_rgb8();
        let size = Size { width: picture.width(), height: picture.height() };
        let frame = Frame::new(size.width, size.height, picture.into_raw()).unwrap();
        let settings = Settings::default();
        views(&frame, &plan(size, self.max_slice_nums, &settings).unwrap(), &settings)
    }

    fn stem(&self) -> &str {
        self.file.trim_end_matches(".png")
    }
}

/// A view's pixels, `[14 * rows, 14 * columns, 3]`, from its patches.
fn pixels(view: &View) -> Vec<u8> {
    let columns = view.columns as usize;
    let mut rgb = vec![0; view.patches().len()];
    for (index, &sample) in view.patches().iter().enumerate() {
        let (patch, channel) = (index / (3 * PATCH * PATCH), index / (PATCH * PATCH) % 3);
        let (y, x) = (index / PATCH % PATCH, index % PATCH);
        let (row, column) = (patch / columns * PATCH + y, patch % columns * PATCH + x);
        rgb[(row * columns * PATCH + column) * 3 + channel] = sample;
    }
    rgb
}

#[test]
fn every_view_is_the_references_to_the_byte() {
    let (cases, tensors): (Vec<Picture>, _) = (table("pixels/cases.json"), tensors("pixels/slices.safetensors"));
    let mut compared = 0;
    for case in &cases {
        let views = case.views();
        assert_eq!(views.len(), case.sha256.len(), "{}", case.file);
        for (index, view) in views.iter().enumerate() {
            let what = format!("{} view {index}", case.file);
            let rgb = pixels(view);
            assert_eq!([view.rows, view.columns], case.tgt_sizes[index], "{what}");
            assert_eq!([view.columns * 14, view.rows * 14], case.slices[index], "{what}");
            let (shape, kept) = &tensors[&format!("{}.slice{index}", case.stem())];
            let step = if shape[0] * shape[1] * 3 == rgb.len() { 1 } else { 16 };
            let rows: Vec<u8> = rgb.chunks_exact(shape[1] * 3).step_by(step).flatten().copied().collect();
            assert!(&rows == kept, "{what}");
            let hash: String = Sha256::digest(&rgb).iter().map(|byte| format!("{byte:02x}")).collect();
            assert_eq!(hash, case.sha256[index], "{what}");
            compared += 1;
        }
    }
    assert_eq!((cases.len(), compared), (8, tensors.keys().filter(|name| name.contains(".slice")).count()));
}

#[test]
fn every_normalised_patch_is_the_references_to_the_bit() {
    let (cases, tensors): (Vec<Picture>, _) = (table("pixels/cases.json"), tensors("pixels/slices.safetensors"));
    for case in &cases {
        let views = case.views();
        let (shape, head) = &tensors[&format!("{}.patches_head", case.stem())];
        assert_eq!(shape, &[3, PATCH, 8 * PATCH], "{}", case.file);
        for (index, expected) in singles(head).into_iter().enumerate() {
            let (line, x) = (index / (8 * PATCH), index % (8 * PATCH));
            let sample = views[0].patches()[x / PATCH * 3 * PATCH * PATCH + line * PATCH + x % PATCH];
            assert_eq!(normalised()[usize::from(sample)].to_bits(), expected.to_bits(), "{} {index}", case.file);
        }
        for (view, expected) in views.iter().zip(&case.patch_sum) {
            let sum: f64 = view.patches().iter().map(|&sample| f64::from(normalised()[usize::from(sample)])).sum();
            assert!((sum - expected).abs() < 1e-6 * expected.abs(), "{}: {sum}, not {expected}", case.file);
        }
    }
}
