//! Views to the byte: decode, resize, crop, cut and normalise as the reference does.

use std::collections::HashMap;
use std::path::Path;

use karst_contract::{Alpha, Frame, Orientation, Picture, Source};
use karst_vision_input::{Settings, Size, View, normalised, plan, views};
use serde_json::Value;
use sha2::{Digest, Sha256};

use crate::folder::Table;
use crate::report::{Kind, Report};
use crate::tensors::{self, Tensor};

/// A row's numbers are sums over a whole view in double precision.
const SUM_BOUND: f64 = 1e-6;

pub fn run(table: &Table, report: &mut Report) {
    let folder = table.path.parent().expect("a table lies in a folder");
    let tensors = tensors::beside(folder);
    for case in table.rows.as_array().expect("a list of pictures") {
        picture(case, folder, &tensors, report);
    }
}

fn picture(case: &Value, folder: &Path, tensors: &HashMap<String, Tensor>, report: &mut Report) {
    let file = case["file"].as_str().expect("a file name");
    let made = match cut(case, &folder.join(file)) {
        Ok(made) => made,
        Err(problem) => return report.case(Kind::Pixels, file, Err(problem)),
    };
    let hashes = case["sha256"].as_array().expect("a hash for each view");
    report.case(Kind::Pixels, format!("{file} views"), equal("views", made.len(), hashes.len()));
    let stem = file.split('.').next().unwrap_or(file);
    for (index, view) in made.iter().enumerate().take(hashes.len()) {
        let name = format!("{file} view {index}");
        report.case(Kind::Pixels, &name, view_agrees(case, index, view));
        if let Some(rows) = tensors.get(&format!("{stem}.slice{index}")) {
            report.case(Kind::Pixels, format!("{name} bytes"), bytes_agree(view, rows));
        }
    }
    if let Some(head) = tensors.get(&format!("{stem}.patches_head")) {
        report.case(Kind::Pixels, format!("{file} normalised"), head_agrees(&made[0], head));
    }
}

fn cut(case: &Value, path: &Path) -> Result<Vec<View>, String> {
    let frame = reference_picture(path)?;
    let settings = Settings::default();
    let most = u32::try_from(case["max_slice_nums"].as_u64().unwrap_or(9)).expect("a small number");
    let size = Size { width: frame.width(), height: frame.height() };
    let slicing = plan(size, most, &settings).map_err(|error| error.to_string())?;
    Ok(views(&frame, &slicing, &settings))
}

/// A picture as the reference reads it: no orientation, alpha thrown away.
pub fn reference_picture(path: &Path) -> Result<Frame, String> {
    let source = Source::Path(path.to_path_buf());
    let picture = Picture { source, max_slices: None, orientation: Orientation::Ignore, alpha: Alpha::Drop };
    karst_media::decode(&picture).map_err(|error| error.to_string())
}

fn view_agrees(case: &Value, index: usize, view: &View) -> Result<(), String> {
    let target = &case["tgt_sizes"][index];
    equal("rows of patches", u64::from(view.rows), target[0].as_u64().unwrap_or(0))?;
    equal("columns of patches", u64::from(view.columns), target[1].as_u64().unwrap_or(0))?;
    let hash: String = Sha256::digest(pixels(view)).iter().map(|byte| format!("{byte:02x}")).collect();
    equal("sha256", hash.as_str(), case["sha256"][index].as_str().unwrap_or(""))?;
    let table = normalised();
    let sum: f64 = view.patches().iter().map(|&byte| f64::from(table[usize::from(byte)])).sum();
    let expected = case["patch_sum"][index].as_f64().unwrap_or(f64::NAN);
    let error = (sum - expected).abs() / expected.abs().max(1.0);
    if error <= SUM_BOUND { Ok(()) } else { Err(format!("the sum is {sum}, not {expected}")) }
}

/// The rows that were kept: all of them, or every 16th.
fn bytes_agree(view: &View, kept: &Tensor) -> Result<(), String> {
    let width = 14 * view.columns as usize * 3;
    let all = pixels(view);
    let step = if kept.shape[0] * width == all.len() { 1 } else { 16 };
    let ours: Vec<f32> = all.chunks(width).step_by(step).flatten().map(|&byte| f32::from(byte)).collect();
    if ours == kept.values { Ok(()) } else { Err("the bytes differ".to_owned()) }
}

/// The first patches, `[3, 14, 14 * patches]`, bit for bit.
fn head_agrees(view: &View, head: &Tensor) -> Result<(), String> {
    let table = normalised();
    let width = head.shape[2];
    for (position, &expected) in head.values.iter().enumerate() {
        let (channel, y, x) = (position / (14 * width), position / width % 14, position % width);
        let byte = view.patches()[x / 14 * 588 + channel * 196 + y * 14 + x % 14];
        let ours = table[usize::from(byte)];
        if ours.to_bits() != expected.to_bits() {
            return Err(format!("channel {channel}, row {y}, column {x}: {ours}, not {expected}"));
        }
    }
    Ok(())
}

/// A view's pixels, `[14 * rows, 14 * columns, 3]`, from its patches.
fn pixels(view: &View) -> Vec<u8> {
    let (rows, columns) = (view.rows as usize, view.columns as usize);
    let mut rgb = vec![0; rows * columns * 588];
    for (index, patch) in view.patches().chunks_exact(588).enumerate() {
        let (top, left) = (index / columns * 14, index % columns * 14);
        for (position, &byte) in patch.iter().enumerate() {
            let (channel, y, x) = (position / 196, position / 14 % 14, position % 14);
            rgb[((top + y) * columns * 14 + left + x) * 3 + channel] = byte;
        }
    }
    rgb
}

#[allow(clippy::needless_pass_by_value, reason = "values are made for the comparison")]
pub fn equal<T: PartialEq + std::fmt::Debug>(what: &str, ours: T, expected: T) -> Result<(), String> {
    if ours == expected { Ok(()) } else { Err(format!("{what}: {ours:?}, not {expected:?}")) }
}
