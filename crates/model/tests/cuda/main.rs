//! The decoder on a device: the reference's numbers, the demo model's answers, and the same bits in any company.

#![allow(clippy::unwrap_used)] // a test fails by panicking

#[path = "../common/mod.rs"]
mod common;
mod samples;
mod session;

use std::path::Path;

use common::tensors::Tensors;
use common::{Pictures, checkpoints, ids, json, project, relative, spans};
use karst_checkpoint::Checkpoint;
use karst_model::cuda::Features;
use karst_vision_input::Settings;
use serde_json::Value;
use session::Session;

/// Relative error that logits may have.
const TOLERANCE: f64 = 2e-2;

#[test]
fn logits_are_the_references() {
    let (mut conversations, mut compared) = (0, 0);
    for folder in checkpoints() {
        let checkpoint = Checkpoint::open(&folder).unwrap();
        let mut session = Session::open(&checkpoint, 1);
        let tensors = Tensors::open(&folder.join("expected.safetensors"));
        let (mut worst, mut ids) = (0.0f64, 0);
        for (name, conversation) in json(&folder.join("expected.json")).as_object().unwrap() {
            let (error, count) = compare(&mut session, &folder, &checkpoint, &tensors, (name, conversation));
            worst = worst.max(error);
            ids += count;
            conversations += 1;
        }
        let name = folder.file_name().unwrap().to_string_lossy().into_owned();
        println!("{name}: relative error of logits {worst:.2e}, {ids} greedy ids");
        assert!(worst <= TOLERANCE, "{name}: {worst:.2e}");
        compared += ids;
    }
    assert!(conversations >= 63 && compared > 1_500, "{conversations} conversations, {compared} ids");
}

/// The greatest relative error of the last logits of a prompt, and how many greedy ids were compared.
fn compare(
    session: &mut Session,
    folder: &Path,
    checkpoint: &Checkpoint,
    tensors: &Tensors,
    (name, conversation): (&str, &Value),
) -> (f64, usize) {
    let preprocessing = &checkpoint.config().preprocessing;
    let settings = Settings {
        scale_resolution: preprocessing.scale_resolution,
        patch_size: preprocessing.patch_size,
        max_slices: preprocessing.max_slices,
    };
    let pictures = Pictures::of(conversation, folder, &settings);
    let features = session.features(&pictures);
    let prompt = ids(&conversation["input_ids"]);
    let starts: Vec<usize> =
        conversation["image_bound"].as_array().unwrap().iter().map(|bound| ids(bound)[0] as usize).collect();
    let placed: Vec<(usize, &Features)> = starts.into_iter().zip(&features).collect();
    let (tail, name) = (format!("{name}.logits_tail"), name.to_owned());
    let (expected, count) = (tensors.get(&tail).unwrap(), tensors.shape(&tail)[0]);
    session.restart(0, prompt.len() + 200);
    let before = prompt.len() - count;
    if before > 0 {
        session.append(0, &prompt[..before], &placed, false);
    }
    let found: Vec<Vec<f32>> = (before..prompt.len())
        .map(|at| {
            session.append(0, &prompt[at..=at], &placed, true);
            session.logits(1).remove(0)
        })
        .collect();
    let error = relative(&found.concat(), expected);
    let greatest = expected.iter().fold(0.0, |a: f64, &b| a.max(f64::from(b).abs()));
    let greedy = ids(&conversation["greedy_ids"]);
    let margins = conversation["greedy_margins"].as_array().unwrap();
    // Two logits that are further apart than their errors stay in their order.
    let sure = margins.iter().take_while(|margin| margin.as_f64().unwrap() > 2.0 * TOLERANCE * greatest).count();
    let sure =
        sure.max(usize::from(margins.first().is_some_and(|margin| margin.as_f64().unwrap() > 2.0 * error * greatest)));
    let first = session.last(0);
    let answer = session.greedy(0, first, greedy.len());
    assert_eq!(answer[..sure], greedy[..sure], "{name}, of {} ids", greedy.len());
    let same = answer.iter().zip(&greedy).take_while(|(a, b)| a == b).count();
    (error, same)
}

#[test]
fn a_prompt_may_be_cut_anywhere() {
    let checkpoint = Checkpoint::open(&project("models/demo")).unwrap();
    let mut session = Session::open(&checkpoint, 2);
    let sample = &samples::all()[1];
    let features = session.features(&sample.pictures);
    let placed: Vec<(usize, &Features)> =
        spans(&sample.prompt, samples::PLACEHOLDER).into_iter().zip(&features).collect();
    let mut whole = None;
    for chunk in [sample.prompt.len(), 1, 7, 63, 64, 65, 100] {
        session.restart(1, sample.prompt.len() + 10);
        let mut from = 0;
        while from < sample.prompt.len() {
            let to = sample.prompt.len().min(from + chunk);
            session.append(1, &sample.prompt[from..to], &placed, to == sample.prompt.len());
            from = to;
        }
        let logits = session.logits(1).remove(0);
        let bits: Vec<u32> = logits.iter().map(|logit| logit.to_bits()).collect();
        assert_eq!(*whole.get_or_insert_with(|| bits.clone()), bits, "chunks of {chunk}");
    }
}

#[test]
fn a_picture_without_room_fails_alone() {
    let checkpoint = Checkpoint::open(&project("models/demo")).unwrap();
    let session = Session::open(&checkpoint, 1);
    let decoder = &session.model.decoder;
    let rows = vec![0.5; 64 * 256 * 1024];
    let free = decoder.device().free_memory().unwrap() as usize;
    let hog = decoder.device().zeroed::<u8>(free - (16 << 20)).unwrap();
    let error = decoder.features(&rows).unwrap_err();
    assert!(error.is_out_of_memory(), "{error}");
    drop(hog);
    assert_eq!(decoder.features(&rows).unwrap().bytes(), 64 << 20);
}
