//! The distribution that a token is drawn from: penalty, temperature, top-k, top-p.

use karst_contract::Sampling;
use karst_engine::sampler::{Generated, distribution};
use serde_json::Value;

use crate::folder::Table;
use crate::report::{Kind, Report};
use crate::tensors;

const BOUND: f64 = 1e-5;

pub fn run(table: &Table, report: &mut Report) {
    let tensors = tensors::beside(table.path.parent().expect("a table lies in a folder"));
    for (index, case) in table.rows.as_array().expect("a list of cases").iter().enumerate() {
        let logits = &tensors[&format!("logits{index}")].values;
        let expected = &tensors[&format!("probs{index}")].values;
        match probabilities(logits, case) {
            Ok((ours, kept)) => {
                let expected_kept = case["kept"].as_u64().expect("a count");
                let error = ours.iter().zip(expected).map(|(&a, &b)| (a - f64::from(b)).abs()).fold(0.0, f64::max);
                let error = if kept as u64 == expected_kept { error } else { f64::INFINITY };
                report.error(Kind::Sampling, format!("{index} (kept {kept}, expected {expected_kept})"), error, BOUND);
            }
            Err(problem) => report.case(Kind::Sampling, index, Err(problem)),
        }
    }
}

/// The probability of every token and how many may be drawn.
fn probabilities(logits: &[f32], case: &Value) -> Result<(Vec<f64>, usize), String> {
    let number = |name: &str, default: f64| case[name].as_f64().unwrap_or(default) as f32;
    let sampling = Sampling {
        temperature: number("temperature", 1.0),
        top_p: number("top_p", 1.0),
        top_k: case["top_k"].as_u64().and_then(|k| u32::try_from(k).ok()).unwrap_or(0),
        min_p: number("min_p", 0.0),
        repetition_penalty: number("repetition_penalty", 1.0),
        seed: None,
    };
    let previous = case["previous_tokens"].as_array().into_iter().flatten();
    let generated: Generated = previous.filter_map(|id| u32::try_from(id.as_u64()?).ok()).collect();
    let candidates = distribution(logits, &sampling, &generated).map_err(|error| error.to_string())?;
    let mut probabilities = vec![0.0; logits.len()];
    for candidate in &candidates {
        probabilities[candidate.id as usize] = candidate.probability;
    }
    Ok((probabilities, candidates.len()))
}
