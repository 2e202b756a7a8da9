//! Whole checkpoints: prompt, tower, resampler, logits and greedy ids of every conversation that the reference ran.

use std::collections::HashMap;
use std::path::Path;

use karst_checkpoint::Checkpoint;
use karst_model::cpu::{Features, Logits, Model, Options, Row};
use karst_prompt::{Prompt, Tokenizer, build};
use karst_vision_input::{Layout, Pack, Settings, Size, View, plan, views};
use serde_json::Value;

use crate::conversation::conversation;
use crate::folder::json;
use crate::pixels::{equal, reference_picture};
use crate::report::{Kind, Report};
use crate::tensors::{self, Tensor, relative_error};

/// Relative error that a stage may have, in single precision.
const BOUND: f64 = 1e-4;

/// Greedy ids must agree where the reference's two best logits are this far apart.
const MARGIN: f64 = 1e-3;

/// A checkpoint with what it is to be compared with.
struct Subject {
    name: String,
    model: Model,
    tokenizer: Tokenizer,
    settings: Settings,
    tensors: HashMap<String, Tensor>,
}

/// What a conversation's pictures become.
#[derive(Default)]
struct Pictures {
    views: Vec<View>,
    packs: Vec<Pack>,
    /// One entry a picture; empty for frames after the first of a group.
    layouts: Vec<Vec<Layout>>,
}

pub fn run(folder: &Path, report: &mut Report) {
    let name = folder.file_name().map_or_else(String::new, |name| name.to_string_lossy().into_owned());
    let mut subject = match open(folder, &name) {
        Ok(subject) => subject,
        Err(problem) => return report.case(Kind::Prompt, name, Err(problem)),
    };
    let expected = json(&folder.join("expected.json"));
    for (run, case) in expected.as_object().expect("conversations by name") {
        if let Err(problem) = subject.compare(folder, run, case, report) {
            report.case(Kind::Prompt, format!("{name} {run}"), Err(problem));
        }
    }
}

fn open(folder: &Path, name: &str) -> Result<Subject, String> {
    let checkpoint = Checkpoint::open(folder).map_err(|error| error.to_string())?;
    let model = Model::load(&checkpoint, &Options::default(), &|_| {}).map_err(|error| error.to_string())?;
    let tokenizer = Tokenizer::from_bytes(checkpoint.tokenizer_json()).map_err(|error| error.to_string())?;
    let preprocessing = &checkpoint.config().preprocessing;
    let settings = Settings {
        scale_resolution: preprocessing.scale_resolution,
        patch_size: preprocessing.patch_size,
        max_slices: preprocessing.max_slices,
    };
    let tensors = tensors::read(&folder.join("expected.safetensors"));
    Ok(Subject { name: name.to_owned(), model, tokenizer, settings, tensors })
}

impl Subject {
    fn compare(&mut self, folder: &Path, run: &str, case: &Value, report: &mut Report) -> Result<(), String> {
        let pictures = self.read(folder, case)?;
        let built = build(&self.tokenizer, &conversation(case, pictures.layouts.clone()));
        let prompt = built.map_err(|error| error.to_string())?;
        let name = format!("{} {run}", self.name);
        report.case(Kind::Prompt, &name, prompt_agrees(&prompt, &pictures, case));
        let features = self.vision(run, case, &pictures, report)?;
        self.decode(run, case, &prompt, &features, report)
    }

    fn read(&self, folder: &Path, case: &Value) -> Result<Pictures, String> {
        let options = &case["options"];
        let numbered = options["use_image_id"].as_bool().unwrap_or(true);
        let most = options["max_slice_nums"].as_u64().map_or(self.settings.max_slices, |most| most as u32);
        let files: Vec<&str> = pictures_of(case).collect();
        let groups: Vec<Vec<i64>> = match options["temporal_ids"].as_array() {
            Some(groups) => groups.iter().map(numbers).collect(),
            None => vec![vec![-1]; files.len()],
        };
        let mut pictures = Pictures::default();
        let mut next = 0;
        for group in groups {
            let image_id = numbered.then_some(next as u32);
            let members = files.get(next..next + group.len()).ok_or("fewer pictures than temporal ids")?;
            self.read_group(folder, members, &group, most, image_id, &mut pictures)?;
            next += group.len();
        }
        Ok(pictures)
    }

    /// View k of all frames of a group makes one pack.
    fn read_group(
        &self,
        folder: &Path,
        files: &[&str],
        times: &[i64],
        most: u32,
        image_id: Option<u32>,
        pictures: &mut Pictures,
    ) -> Result<(), String> {
        let mut firsts = Vec::new();
        let mut layout = Layout { image_id, grid: None };
        for file in files {
            let frame = reference_picture(&folder.join(file))?;
            let size = Size { width: frame.width(), height: frame.height() };
            let slicing = plan(size, most, &self.settings).map_err(|error| error.to_string())?;
            layout.grid = slicing.slices.map(|slices| slices.grid);
            firsts.push(pictures.views.len());
            pictures.views.extend(views(&frame, &slicing, &self.settings));
        }
        let times: Option<Vec<u32>> = times.iter().map(|&time| u32::try_from(time).ok()).collect();
        for k in 0..layout.blocks() {
            let views = firsts.iter().map(|first| first + k).collect();
            pictures.packs.push(Pack { views, times: times.clone() });
        }
        pictures.layouts.push(vec![layout]);
        pictures.layouts.extend(vec![Vec::new(); files.len() - 1]);
        Ok(())
    }

    fn vision(&self, run: &str, case: &Value, pictures: &Pictures, report: &mut Report) -> Result<Features, String> {
        let tower = self.model.vision().tower(&pictures.views).map_err(|error| error.to_string())?;
        if let Some(rows) = self.tensors.get(&format!("{run}.vision_rows")) {
            let error = tower_error(&tower, &numbers(&case["vision_rows"]), rows);
            report.error(Kind::Tower, format!("{} {run} rows", self.name), error, BOUND);
        }
        if let Some(means) = self.tensors.get(&format!("{run}.vision_mean")) {
            let ours: Vec<f32> = tower.iter().flat_map(|patches| mean(patches, means.shape[1])).collect();
            let error = relative_error(&ours, &means.values);
            report.error(Kind::Tower, format!("{} {run} means", self.name), error, BOUND);
        }
        let features =
            self.model.vision().encode(&pictures.views, &pictures.packs).map_err(|error| error.to_string())?;
        if let Some(expected) = self.tensors.get(&format!("{run}.resampler")) {
            let error = resampler_error(&features.packs, expected);
            report.error(Kind::Resampler, format!("{} {run}", self.name), error, BOUND);
        }
        Ok(features)
    }

    fn decode(
        &mut self,
        run: &str,
        case: &Value,
        prompt: &Prompt,
        features: &Features,
        report: &mut Report,
    ) -> Result<(), String> {
        let placed: Vec<(usize, &[f32])> =
            prompt.spans.iter().map(|span| (span.start, features.packs[span.pack].as_slice())).collect();
        let blocks: Vec<u32> = (0..self.model.blocks() as u32).collect();
        let mut forward = |past, ids: &[u32], features: &[(usize, &[f32])], logits| {
            let row = Row { blocks: &blocks, past, ids, features, logits };
            self.model.forward(&[row]).map_err(|error| error.to_string())
        };
        let logits = forward(0, &prompt.ids, &placed, Logits::All)?;
        if let Some(tail) = self.tensors.get(&format!("{run}.logits_tail")) {
            let ours: Vec<f32> = logits[logits.len() - tail.shape[0]..].concat();
            let error = relative_error(&ours, &tail.values);
            report.error(Kind::Logits, format!("{} {run}", self.name), error, BOUND);
        }
        let expected = numbers(&case["greedy_ids"]);
        let margins = case["greedy_margins"].as_array().expect("margins");
        let mut last = logits.last().cloned().unwrap_or_default();
        let mut outcome = Ok(());
        for (step, (&id, margin)) in expected.iter().zip(margins).enumerate() {
            let ours = argmax(&last);
            // Below the margin either id is right, and what follows is another text.
            if ours != id && margin.as_f64().unwrap_or(0.0) <= MARGIN {
                break;
            }
            if ours != id {
                outcome = Err(format!("step {step}: {ours}, not {id}, at a margin of {margin}"));
                break;
            }
            let id = [u32::try_from(id).expect("an id")];
            last = forward(prompt.ids.len() + step, &id, &[], Logits::Last)?.remove(0);
        }
        report.case(Kind::Greedy, format!("{} {run}", self.name), outcome);
        Ok(())
    }
}

fn prompt_agrees(prompt: &Prompt, pictures: &Pictures, case: &Value) -> Result<(), String> {
    let ids: Vec<i64> = prompt.ids.iter().map(|&id| i64::from(id)).collect();
    equal("ids", ids, numbers(&case["input_ids"]))?;
    let bounds: Vec<Vec<i64>> =
        prompt.spans.iter().map(|span| vec![span.start as i64, span.start as i64 + 64]).collect();
    equal("bounds", bounds, pairs(&case["image_bound"]))?;
    let sizes = pictures.views.iter().map(|view| vec![i64::from(view.rows), i64::from(view.columns)]).collect();
    equal("sizes", sizes, pairs(&case["tgt_sizes"]))
}

fn numbers(value: &Value) -> Vec<i64> {
    value.as_array().into_iter().flatten().filter_map(Value::as_i64).collect()
}

fn pairs(value: &Value) -> Vec<Vec<i64>> {
    value.as_array().into_iter().flatten().map(numbers).collect()
}

fn pictures_of(case: &Value) -> impl Iterator<Item = &str> {
    let messages = case["messages"].as_array().into_iter().flatten();
    messages.filter_map(|message| message["content"].as_array()).flatten().filter_map(|part| part["image"].as_str())
}

/// The reference keeps the same rows of every view; rows beyond a shorter view are not there.
fn tower_error(tower: &[Vec<f32>], rows: &[i64], expected: &Tensor) -> f64 {
    let width = expected.shape[2];
    let row = |patches: &[f32], row: i64| {
        let start = row as usize * width;
        patches.get(start..start + width).map_or_else(|| vec![f32::NAN; width], <[f32]>::to_vec)
    };
    let ours: Vec<f32> = tower.iter().flat_map(|patches| rows.iter().flat_map(move |&r| row(patches, r))).collect();
    relative_error(&ours, &expected.values)
}

fn mean(patches: &[f32], width: usize) -> Vec<f32> {
    let count = (patches.len() / width) as f64;
    (0..width)
        .map(|i| (patches.iter().skip(i).step_by(width).map(|&x| f64::from(x)).sum::<f64>() / count) as f32)
        .collect()
}

/// The reference keeps every 4th row of each pack.
fn resampler_error(packs: &[Vec<f32>], expected: &Tensor) -> f64 {
    let width = expected.shape[2];
    let every = 64 / expected.shape[1];
    let ours: Vec<f32> = packs.iter().flat_map(|pack| pack.chunks(width).step_by(every).flatten()).copied().collect();
    relative_error(&ours, &expected.values)
}

fn argmax(logits: &[f32]) -> i64 {
    let best = logits.iter().enumerate().fold(
        (0, f32::NEG_INFINITY),
        |best, (id, &logit)| {
            if logit > best.1 { (id, logit) } else { best }
        },
    );
    best.0 as i64
}
