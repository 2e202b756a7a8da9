//! The demo model's right answers, id by id, as the reference gives them.

#![allow(clippy::unwrap_used)] // a test fails by panicking

mod common;

use std::time::Instant;

use common::{Pictures, Session, ids, json, placed, project, spans};
use karst_checkpoint::Checkpoint;
use karst_model::cpu::{Logits, Model, Options};
use karst_vision_input::Settings;

#[test]
fn all_samples_are_answered_as_listed() {
    let checkpoint = Checkpoint::open(&project("models/demo")).unwrap();
    let start = Instant::now();
    let mut model = Model::load(&checkpoint, &Options::default(), &|_| {}).unwrap();
    println!("loaded in {:?}", start.elapsed());
    let samples = json(&project("models/samples/samples.json"));
    let samples = samples.as_array().unwrap();
    let placeholder = 1200;
    for sample in samples {
        let pictures = Pictures::of(sample, &project("models/samples"), &Settings::default());
        let grids: Vec<Vec<u32>> = sample["grids"].as_array().unwrap().iter().map(ids).collect();
        assert_eq!(pictures.views.iter().map(|view| vec![view.rows, view.columns]).collect::<Vec<_>>(), grids);
        let start = Instant::now();
        let features = model.vision().encode(&pictures.views, &pictures.packs).unwrap();
        let encoded = start.elapsed();
        let (prompt, expected) = (ids(&sample["prompt_ids"]), ids(&sample["greedy_ids"]));
        let mut session = Session::on(0, prompt.len() + expected.len());
        let features = placed(&features, &spans(&prompt, placeholder));
        let start = Instant::now();
        let logits = session.append(&mut model, &prompt, &features, Logits::Last).remove(0);
        let prefilled = start.elapsed();
        let start = Instant::now();
        let found = session.greedy(&mut model, logits, expected.len());
        let token = start.elapsed() / expected.len() as u32;
        println!("{}: encode {encoded:?}, prefill {prefilled:?}, token {token:?}", sample["id"]);
        assert_eq!(found, expected, "{}", sample["id"]);
    }
    assert_eq!(samples.len(), 27);
}
