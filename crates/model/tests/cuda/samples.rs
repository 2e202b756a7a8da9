//! The demo model's right answers, alone and in company.

use karst_checkpoint::Checkpoint;
use karst_kernels::SampleResult;
use karst_model::cuda::Features;
use karst_vision_input::Settings;

use crate::common::{Pictures, ids, json, project, spans};
use crate::session::Session;

pub const PLACEHOLDER: u32 = 1200;

/// Rows that run together.
const ROWS: usize = 64;

pub struct Sample {
    id: String,
    pub pictures: Pictures,
    pub prompt: Vec<u32>,
    expected: Vec<u32>,
}

pub fn all() -> Vec<Sample> {
    let samples = json(&project("models/samples/samples.json"));
    let sample = |sample: &serde_json::Value| Sample {
        id: sample["id"].to_string(),
        pictures: Pictures::of(sample, &project("models/samples"), &Settings::default()),
        prompt: ids(&sample["prompt_ids"]),
        expected: ids(&sample["greedy_ids"]),
    };
    samples.as_array().unwrap().iter().map(sample).collect()
}

impl Sample {
    fn begin(&self, session: &mut Session, slot: usize, features: &[Features]) {
        session.restart(slot, self.prompt.len() + self.expected.len());
        let placed: Vec<(usize, &Features)> = spans(&self.prompt, PLACEHOLDER).into_iter().zip(features).collect();
        assert_eq!(placed.len(), features.len());
        session.append(slot, &self.prompt, &placed, true);
    }
}

fn bits(result: &SampleResult) -> Vec<u8> {
    bytemuck::bytes_of(result).to_vec()
}

#[test]
fn all_samples_are_answered_as_listed_alone_and_together() {
    let checkpoint = Checkpoint::open(&project("models/demo")).unwrap();
    let samples = all();
    let mut session = Session::open(&checkpoint, ROWS);
    let features: Vec<_> = samples.iter().map(|sample| session.features(&sample.pictures)).collect();
    let mut alone = Vec::new();
    for (sample, features) in samples.iter().zip(&features) {
        sample.begin(&mut session, 0, features);
        let mut found = vec![session.last(0)];
        let mut results = Vec::new();
        while found.len() < sample.expected.len() {
            let result = session.step(&[0])[0];
            found.push(result.id);
            results.push(bits(&result));
        }
        assert_eq!(found, sample.expected, "{}", sample.id);
        alone.push(results);
    }
    for _ in 0..2 {
        together(&mut session, &samples, &features, &alone);
    }
    println!("{} samples, alone and {ROWS} together", samples.len());
    assert_eq!(samples.len(), 27);
}

/// 64 at once, each leaving when it has ended: the same bytes as alone.
fn together(session: &mut Session, samples: &[Sample], features: &[Vec<Features>], alone: &[Vec<Vec<u8>>]) {
    let of = |slot: usize| slot % samples.len();
    for slot in 0..ROWS {
        samples[of(slot)].begin(session, slot, &features[of(slot)]);
    }
    let mut step = 0;
    loop {
        let running: Vec<usize> = (0..ROWS).filter(|&slot| step < alone[of(slot)].len()).collect();
        if running.is_empty() {
            return;
        }
        for (&slot, result) in running.iter().zip(session.step(&running)) {
            let sample = &samples[of(slot)];
            assert_eq!(bits(&result), alone[of(slot)][step], "{}, token {step}: {result:?}", sample.id);
        }
        step += 1;
    }
}
