use std::fs;
use std::path::{Path, PathBuf};
use std::time::Instant;

use karst_contract::Options;
use proptest::prelude::*;
use rand::RngCore;
use serde_json::Value;

use super::*;

const PLAIN: Sampling =
    Sampling { temperature: 1.0, top_p: 1.0, top_k: 0, min_p: 0.0, repetition_penalty: 1.0, seed: None };

fn none() -> Generated {
    Generated::default()
}

/// Logits that look like a language model's: a few high ones above a noisy floor.
fn row(length: u32, seed: u64) -> Vec<f32> {
    let mut random = ChaCha8Rng::seed_from_u64(seed);
    let mut logits: Vec<f32> = (0..length).map(|_| (random.next_u32() >> 8) as f32 / (1 << 22) as f32).collect();
    for place in 0..20 {
        logits[(random.next_u32() % length) as usize] += place as f32 / 2.0;
    }
    logits
}

fn folder() -> PathBuf {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let places = [root.join("../shared/golden/sampling"), root.join("tests/golden/sampling")];
    places.into_iter().find(|place| place.is_dir()).expect("tests/golden/sampling is part of the project")
}

/// Tensors of a safetensors file that holds f32 alone.
struct Tensors {
    header: Value,
    data: Vec<u8>,
}

impl Tensors {
    fn read(path: &Path) -> Self {
        let bytes = fs::read(path).unwrap();
        let length = u64::from_le_bytes(bytes[..8].try_into().unwrap()) as usize;
        let header = serde_json::from_slice(&bytes[8..8 + length]).unwrap();
        Self { header, data: bytes[8 + length..].to_vec() }
    }

    fn get(&self, name: &str) -> Vec<f32> {
        let at = |end: usize| self.header[name]["data_offsets"][end].as_u64().unwrap() as usize;
        let words = self.data[at(0)..at(1)].chunks_exact(4);
        words.map(|word| f32::from_le_bytes(word.try_into().unwrap())).collect()
    }
}

fn settings(case: &Value) -> Sampling {
    let number = |name: &str| case[name].as_f64().unwrap() as f32;
    Sampling {
        temperature: number("temperature"),
        top_k: case["top_k"].as_u64().unwrap() as u32,
        top_p: number("top_p"),
        repetition_penalty: number("repetition_penalty"),
        ..PLAIN
    }
}

fn previous(case: &Value) -> Generated {
    case["previous_tokens"].as_array().unwrap().iter().map(|id| id.as_u64().unwrap() as u32).collect()
}

#[test]
fn probabilities_are_the_references() {
    let tensors = Tensors::read(&folder().join("tensors.safetensors"));
    let cases: Vec<Value> = serde_json::from_slice(&fs::read(folder().join("cases.json")).unwrap()).unwrap();
    assert!(cases.len() >= 40, "{} cases", cases.len());
    for (number, case) in cases.iter().enumerate() {
        let logits = tensors.get(&format!("logits{number}"));
        let expected = tensors.get(&format!("probs{number}"));
        let kept = distribution(&logits, &settings(case), &previous(case)).unwrap();
        assert_eq!(kept.len() as u64, case["kept"].as_u64().unwrap(), "case {number}: {case}");
        let mut found = vec![0.0; logits.len()];
        for candidate in kept {
            found[candidate.id as usize] = candidate.probability;
        }
        for (id, (found, expected)) in found.iter().zip(&expected).enumerate() {
            assert!((found - f64::from(*expected)).abs() <= 1e-5, "case {number}, token {id}: {found}, {expected}");
        }
    }
}

#[test]
fn greedy_takes_the_likeliest_and_the_lowest_of_equals() {
    let logits = [1.0, 3.0, 2.0, 3.0];
    for sampling in [Sampling::GREEDY, Sampling { top_k: 1, ..PLAIN }] {
        assert_eq!(choose(&logits, &sampling, &none(), 0.999), Ok(1));
    }
    let penalised = Sampling { repetition_penalty: 1.5, ..Sampling::GREEDY };
    assert_eq!(choose(&logits, &penalised, &[1, 3].into_iter().collect(), 0.0), Ok(1), "3 / 1.5 equals 2: lowest id");
    assert_eq!(choose(&[-1.0, -1.2], &penalised, &[0].into_iter().collect(), 0.0), Ok(1), "negative logits grow");
}

/// R5: such a row fails the request; it is never answered with token 0.
#[test]
fn r5_a_row_that_is_not_finite_is_an_error_and_never_token_0() {
    for value in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
        for sampling in [Sampling::GREEDY, Sampling::FAST, Sampling::DEEP, PLAIN] {
            let one = [1.0, 2.0, value, 0.5];
            let error = choose(&one, &sampling, &none(), 0.5).unwrap_err();
            assert_eq!((error.id, error.count, error.of), (2, 1, 4));
            assert!(choose(&[value; 4], &sampling, &none(), 0.5).is_err(), "all {value}");
        }
    }
    assert!(choose(&[], &PLAIN, &none(), 0.5).is_err());
}

#[test]
fn equal_logits_are_all_drawn() {
    let logits = [7.0; 10];
    for top_p in [0.0, 0.5, 0.95, 1.0] {
        let kept = distribution(&logits, &Sampling { top_p, ..PLAIN }, &none()).unwrap();
        assert_eq!(kept.len(), ((top_p * 10.0).ceil() as usize).max(1), "top_p {top_p}");
    }
    let drawn: HashSet<u32> =
        (0..200).map(|index| choose(&logits, &PLAIN, &none(), uniform(1, index)).unwrap()).collect();
    assert_eq!(drawn.len(), 10);
}

#[test]
fn min_p_drops_what_is_far_below_the_likeliest() {
    let logits = [0.0, -1.0, -2.0, -3.0].map(|power: f32| power * std::f32::consts::LN_10);
    let kept = |min_p| distribution(&logits, &Sampling { min_p, ..PLAIN }, &none()).unwrap().len();
    assert_eq!([kept(0.0), kept(0.0011), kept(0.02), kept(0.5), kept(1.0)], [4, 3, 2, 1, 1]);
}

#[test]
fn chance_depends_on_seed_and_index_alone() {
    let forwards: Vec<f64> = (0..50).map(|index| uniform(9, index)).collect();
    let backwards: Vec<f64> = (0..50).rev().map(|index| uniform(9, index)).collect();
    assert!(forwards.iter().eq(backwards.iter().rev()));
    assert!(forwards.iter().all(|chance| (0.0..1.0).contains(chance)));
    assert_ne!(forwards, (0..50).map(|index| uniform(10, index)).collect::<Vec<_>>());
    let mean = (0..10_000).map(|index| uniform(3, index)).sum::<f64>() / 10_000.0;
    assert!((mean - 0.5).abs() < 0.01, "{mean}");
}

#[test]
fn frequencies_are_the_probabilities() {
    let logits = row(50, 4);
    let sampling = Sampling { temperature: 0.8, top_p: 0.9, top_k: 20, ..PLAIN };
    let kept = distribution(&logits, &sampling, &none()).unwrap();
    let mut counts = vec![0.0; logits.len()];
    for index in 0..20_000 {
        counts[choose(&logits, &sampling, &none(), uniform(7, index)).unwrap() as usize] += 1.0 / 20_000.0;
    }
    for candidate in kept {
        let found: f64 = counts[candidate.id as usize];
        assert!((found - candidate.probability).abs() < 0.015, "{candidate:?}: {found}");
        counts[candidate.id as usize] = 0.0;
    }
    assert!(counts.iter().all(|&count| count == 0.0), "a token that was cut was drawn");
}

#[test]
fn log_probabilities_are_of_the_unmodified_distribution() {
    let logits = [1.0, 3.0, 3.0, -2.0];
    let found = logprobs(&logits, 3, 3);
    let whole: f64 = logits.iter().map(|&logit| f64::from(logit).exp()).sum();
    let of = |logit: f64| (logit.exp() / whole).ln() as f32;
    assert!((found.chosen - of(-2.0)).abs() < 1e-6);
    assert_eq!(found.top.iter().map(|(id, _)| *id).collect::<Vec<_>>(), [1, 2, 0]);
    assert!(found.top.iter().zip([3.0, 3.0, 1.0]).all(|((_, found), logit)| (found - of(logit)).abs() < 1e-6));
    assert!(logprobs(&logits, 0, 0).top.is_empty());
    assert_eq!(logprobs(&logits, 0, 20).top.len(), 4);
}

/// A full sort of the published vocabulary takes some 10 ms on the same machine.
#[test]
fn a_published_vocabulary_is_sampled_within_milliseconds() {
    let logits = row(151_748, 2);
    for sampling in [Sampling::FAST, Sampling::DEEP, Sampling { top_p: 0.8, ..PLAIN }, PLAIN, Sampling::GREEDY] {
        let best = (0..5).map(|index| {
            let start = Instant::now();
            choose(&logits, &sampling, &none(), uniform(5, index)).unwrap();
            logprobs(&logits, 3, 20);
            start.elapsed()
        });
        let best = best.min().unwrap();
        println!("{best:?} for {sampling:?}");
        assert!(best.as_millis() < 60, "{best:?} for {sampling:?}");
    }
}

proptest! {
    /// A7 and A1: whatever the options' parser lets through gives a distribution with at least one token, summing to 1.
    #[test]
    fn every_setting_in_range_leaves_a_distribution(
        seed: u64,
        length in 1u32..300,
        scale in prop_oneof![Just(0.0f32), Just(1e-30), Just(1.0), Just(1e4), Just(1e30), Just(1e36)],
        temperature in prop_oneof![Just(0.0f32), 1e-3f32..2.0],
        top_p in prop_oneof![Just(0.0f32), Just(1.0), 0.0f32..1.0],
        top_k in prop_oneof![Just(0u32), Just(1), 0u32..400, Just(1_000_000)],
        min_p in prop_oneof![Just(0.0f32), Just(1.0), 0.0f32..1.0],
        repetition_penalty in 0.5f32..2.0,
    ) {
        let logits: Vec<f32> = row(length, seed).into_iter().map(|logit| (logit - 2.0) * scale).collect();
        let sampling = Sampling { temperature, top_p, top_k, min_p, repetition_penalty, seed: None };
        let generated: Generated = (0..length).filter(|id| id % 3 == 0).collect();
        let kept = distribution(&logits, &sampling, &generated).unwrap();
        prop_assert!(!kept.is_empty());
        let sum: f64 = kept.iter().map(|candidate| candidate.probability).sum();
        prop_assert!((sum - 1.0).abs() < 1e-9, "{sum}");
        for chance in [0.0, 0.5, 1.0 - f64::EPSILON] {
            let drawn = choose(&logits, &sampling, &generated, chance).unwrap();
            prop_assert!(kept.iter().any(|candidate| candidate.id == drawn && candidate.probability > 0.0));
        }
    }

    /// The cut before sorting never changes what is kept.
    #[test]
    fn top_p_equals_its_definition(seed: u64, length in 1u32..200, top_p in 0.0f32..1.0) {
        let logits = row(length, seed);
        let kept = distribution(&logits, &Sampling { top_p, ..PLAIN }, &none()).unwrap();
        let mut all = distribution(&logits, &PLAIN, &none()).unwrap();
        all.sort_by(|a, b| b.probability.total_cmp(&a.probability).then(a.id.cmp(&b.id)));
        let mut before = 0.0;
        let expected = all.iter().take_while(|candidate| {
            let keeps = before < f64::from(top_p);
            before += candidate.probability;
            keeps
        });
        let expected: Vec<u32> = expected.map(|candidate| candidate.id).collect();
        let kept: Vec<u32> = kept.iter().map(|candidate| candidate.id).collect();
        prop_assert_eq!(&kept[..], if expected.is_empty() { &kept[..1] } else { &expected[..] });
    }
}

#[test]
fn a7_the_parsers_extremes_reach_the_sampler_unharmed() {
    use karst_contract::OptionValue::Number;
    let parse = |name: &str, value| Options::parse(&[(name.to_owned(), Number(value))]).unwrap().sampling;
    for sampling in
        [parse("temperature", 1e-320), parse("temperature", 1e-3), parse("topP", 1e-320), parse("topP", 0.0)]
    {
        assert_eq!(choose(&[0.0, 5.0, 1.0], &sampling, &none(), 0.999), Ok(1), "{sampling:?}");
    }
}
