//! Tables of integers and text: equal or not.

use std::collections::HashMap;
use std::path::PathBuf;

use karst_prompt::Tokenizer;
use karst_vision_input::{Settings, Size, position, rule, sampling};
use serde_json::Value;

use crate::conversation;
use crate::folder::Table;
use crate::pixels::equal;
use crate::report::{Kind, Report};
use crate::tensors;

const SIN_COS_BOUND: f64 = 1e-6;

fn rows(table: &Table) -> &[Value] {
    table.rows.as_array().map_or(&[], Vec::as_slice)
}

fn whole(value: &Value) -> u32 {
    value.as_u64().and_then(|value| u32::try_from(value).ok()).expect("a whole number")
}

pub fn tokenizer(table: &Table, tokenizers: &[PathBuf], report: &mut Report) {
    let Some(path) = tokenizers.first() else {
        return report.note(Kind::Tokenizer, "not run: the published tokenizer.json is not at hand");
    };
    let bytes = std::fs::read(path).expect("a tokenizer file");
    let tokenizer = Tokenizer::from_bytes(&bytes).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    for row in rows(table) {
        let text = row["text"].as_str().expect("a text");
        let ids: Vec<u32> = row["ids"].as_array().expect("ids").iter().map(whole).collect();
        let outcome = equal("ids", tokenizer.encode_with_control(text), ids.clone());
        let decoded = row["decoded"].as_str().expect("a text").to_owned();
        let outcome = outcome.and_then(|()| equal("text", tokenizer.decode(&ids), decoded));
        report.case(Kind::Tokenizer, format!("{text:?}"), outcome);
    }
}

pub fn chat_template(table: &Table, report: &mut Report) {
    for (index, row) in rows(table).iter().enumerate() {
        let text = conversation::prompt_text(row);
        let outcome = equal("prompt", text.as_str(), row["prompt"].as_str().expect("a prompt"));
        report.case(Kind::ChatTemplate, index, outcome);
    }
}

pub fn slicing(table: &Table, report: &mut Report) {
    for row in rows(table) {
        let (size, most) = (sides(row), whole(&row["max_slice_nums"]));
        report.case(Kind::Slicing, format!("{size:?} in {most}"), sliced(row, size, most));
    }
}

fn sides(row: &Value) -> Size {
    Size { width: whole(&row["width"]), height: whole(&row["height"]) }
}

fn sliced(row: &Value, size: Size, most: u32) -> Result<(), String> {
    let slicing = rule(size, most, &Settings::default());
    let grid = slicing.slices.map(|slices| vec![slices.grid.columns, slices.grid.rows]);
    let refined = slicing.slices.map(|slices| vec![slices.refined.width, slices.refined.height]);
    let expected = |name: &str| row[name].as_array().map(|pair| pair.iter().map(whole).collect::<Vec<_>>());
    equal("grid", grid, expected("grid"))?;
    equal("refined size", refined, expected("refine_size"))?;
    let overview = vec![slicing.overview.width, slicing.overview.height];
    equal("overview", Some(overview), expected("source_size"))?;
    let placeholder = |id: Option<u32>| conversation::placeholder(id, slicing.slices.map(|slices| slices.grid));
    equal("placeholder", placeholder(None).as_str(), row["placeholder"].as_str().unwrap_or(""))?;
    equal("numbered placeholder", placeholder(Some(3)).as_str(), row["placeholder_with_id"].as_str().unwrap_or(""))
}

pub fn buckets(table: &Table, report: &mut Report) {
    let side = whole(&table.rows["num_patches_per_side"]);
    for (n, expected) in table.rows["buckets"].as_object().expect("buckets by side") {
        let expected: Vec<u32> = expected.as_array().expect("a list").iter().map(whole).collect();
        let ours = position::buckets(n.parse().expect("a number"), side);
        report.case(Kind::Buckets, format!("{n} of {side}"), equal("buckets", ours, expected));
    }
}

pub fn sin_cos(table: &Table, report: &mut Report) {
    let tensors = tensors::beside(table.path.parent().expect("a table lies in a folder"));
    let width = table.rows["embed_dim"].as_u64().map_or(0, |width| width as usize);
    let list = |name: &str| table.rows[name].as_array().cloned().unwrap_or_default();
    for (index, row) in list("temporal_rows").iter().enumerate() {
        let ours = position::temporal(whole(row), width);
        let error = tensors::relative_error(&ours, tensors["temporal"].row(index));
        report.error(Kind::SinCos, format!("time {row}"), error, SIN_COS_BOUND);
    }
    for (index, pair) in list("spatial_row_col").iter().enumerate() {
        let ours = position::spatial(whole(&pair[0]), whole(&pair[1]), width);
        let error = tensors::relative_error(&ours, tensors["spatial"].row(index));
        report.error(Kind::SinCos, format!("place {pair}"), error, SIN_COS_BOUND);
    }
}

pub fn video_sampling(table: &Table, report: &mut Report) {
    let mut ties: HashMap<usize, usize> = HashMap::new();
    for (index, row) in rows(table).iter().enumerate() {
        let outcome = chosen(row).map(|at_ties| {
            if at_ties > 0 {
                ties.insert(index, at_ties);
            }
        });
        report.case(Kind::VideoSampling, index, outcome);
    }
    if !ties.is_empty() {
        let ids: usize = ties.values().sum();
        let mut cases: Vec<_> = ties.into_keys().collect();
        cases.sort_unstable();
        let note =
            format!("{ids} temporal ids of cases {cases:?} are ours by decision: a tie between two tenths goes down");
        report.note(Kind::VideoSampling, note);
    }
}

/// Compares a choice of frames; gives the number of temporal ids that differ at exact ties.
fn chosen(row: &Value) -> Result<usize, String> {
    let fps = row["fps"].as_f64().expect("frames a second");
    let choice = sampling::choose(&sampling::Options {
        frames: row["frames"].as_u64().expect("a count") as usize,
        fps,
        choose_fps: row["choose_fps"].as_f64().expect("frames a second"),
        max_frames: row["max_num_frames"].as_u64().expect("a count") as usize,
        max_packing: whole(&row["max_num_packing"]),
        force_packing: row["force_packing"].as_u64().and_then(|packing| u32::try_from(packing).ok()),
    });
    equal("packing", choice.packing, whole(&row["packing"]))?;
    let indices: Vec<usize> = row["frame_idx"].as_array().expect("a list").iter().map(|i| whole(i) as usize).collect();
    equal("frames", &choice.frame_indices, &indices)?;
    let groups = row["temporal_ids"].as_array().expect("a list");
    let expected: Vec<Vec<u32>> =
        groups.iter().map(|ids| ids.as_array().expect("ids").iter().map(whole).collect()).collect();
    let lengths = |groups: &[Vec<u32>]| groups.iter().map(Vec::len).collect::<Vec<_>>();
    equal("groups", lengths(&choice.temporal_ids), lengths(&expected))?;
    let pairs = choice.temporal_ids.iter().flatten().zip(expected.iter().flatten());
    let differing = pairs.zip(&indices).filter(|((ours, theirs), _)| ours != theirs);
    let mut at_ties = 0;
    for ((ours, theirs), &frame) in differing {
        if !sampling::is_tie(frame as f64 / fps) {
            return Err(format!("frame {frame}: temporal id {ours}, not {theirs}"));
        }
        at_ties += 1;
    }
    Ok(at_ties)
}
