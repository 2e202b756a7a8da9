//! How a token is chosen from a row of logits.
//!
//! The order is the reference's: repetition penalty, temperature, top-k, top-p, min-p, each seeing what the one before left.
//! Comparisons keep ties as the reference does (all tokens equal to the k-th stay); where it leaves the order of equals to
//! chance, the lower id comes first. Sums are in f64, because the cut of top-p adds up to a hundred thousand numbers.

mod logprobs;

use std::collections::HashSet;

use karst_contract::Sampling;
use rand::{RngCore, SeedableRng};
use rand_chacha::ChaCha8Rng;

pub use logprobs::{Logprobs, logprobs};

/// The distinct tokens that a request has generated; what the penalty sees. The prompt is not among them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Generated(HashSet<u32>);

/// A token that may be drawn.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Candidate {
    /// The token.
    pub id: u32,
    /// Its share among all candidates.
    pub probability: f64,
}

/// A row of logits that nothing can be drawn from.
#[derive(Debug, Clone, Copy, PartialEq, thiserror::Error)]
#[error("the model gave {value} for token {id}, and {count} of {of} numbers that are not finite")]
pub struct NonFinite {
    /// The first such token.
    pub id: u32,
    /// Its number.
    pub value: f32,
    /// How many there are.
    pub count: usize,
    /// The length of the row.
    pub of: usize,
}

impl Generated {
    /// Notes a token.
    pub fn insert(&mut self, id: u32) {
        self.0.insert(id);
    }
}

impl FromIterator<u32> for Generated {
    fn from_iter<I: IntoIterator<Item = u32>>(ids: I) -> Self {
        Self(ids.into_iter().collect())
    }
}

/// A number in [0, 1) that depends on the seed and on how many were drawn before, and on nothing else.
pub fn uniform(seed: u64, index: usize) -> f64 {
    let mut random = ChaCha8Rng::seed_from_u64(seed);
    random.set_word_pos(2 * index as u128);
    // 53 bits, the precision of an f64.
    (random.next_u64() >> 11) as f64 / (1u64 << 53) as f64
}

/// Chooses a token; `chance` lies in [0, 1).
///
/// # Errors
/// When a logit is not finite.
pub fn choose(logits: &[f32], sampling: &Sampling, generated: &Generated, chance: f64) -> Result<u32, NonFinite> {
    if sampling.is_greedy() {
        return Ok(argmax(&penalised(logits, sampling, generated)?));
    }
    Ok(draw(&distribution(logits, sampling, generated)?, chance))
}

/// The tokens that may be drawn and their probabilities, which sum to 1.
///
/// # Errors
/// When a logit is not finite.
pub fn distribution(logits: &[f32], sampling: &Sampling, generated: &Generated) -> Result<Vec<Candidate>, NonFinite> {
    let scores = penalised(logits, sampling, generated)?;
    if sampling.temperature == 0.0 {
        return Ok(vec![Candidate { id: argmax(&scores), probability: 1.0 }]);
    }
    let mut candidates = weighed(&scores, least_of_top(&scores, sampling.top_k), f64::from(sampling.temperature));
    if sampling.top_p < 1.0 {
        keep_top_share(&mut candidates, f64::from(sampling.top_p));
    }
    if sampling.min_p > 0.0 {
        let likeliest = candidates.iter().fold(0.0, |best: f64, candidate| best.max(candidate.probability));
        candidates.retain(|candidate| candidate.probability >= f64::from(sampling.min_p) * likeliest);
    }
    normalise(&mut candidates);
    Ok(candidates)
}

/// The logits after the penalty on generated tokens; all are finite.
fn penalised(logits: &[f32], sampling: &Sampling, generated: &Generated) -> Result<Vec<f32>, NonFinite> {
    check(logits)?;
    let mut scores = logits.to_vec();
    if sampling.repetition_penalty != 1.0 {
        for &id in &generated.0 {
            if let Some(score) = scores.get_mut(id as usize) {
                let penalty = sampling.repetition_penalty;
                let changed = if *score < 0.0 { *score * penalty } else { *score / penalty };
                *score = changed.clamp(f32::MIN, f32::MAX);
            }
        }
    }
    Ok(scores)
}

/// Nothing masks logits yet, so that even one negative infinity is a fault and not a mask.
fn check(logits: &[f32]) -> Result<(), NonFinite> {
    let odd = || logits.iter().enumerate().filter(|(_, logit)| !logit.is_finite());
    match odd().next() {
        Some((id, &value)) => Err(NonFinite { id: id as u32, value, count: odd().count(), of: logits.len() }),
        None if logits.is_empty() => Err(NonFinite { id: 0, value: f32::NAN, count: 0, of: 0 }),
        None => Ok(()),
    }
}

/// The greatest score's token, the lowest of equals.
fn argmax(scores: &[f32]) -> u32 {
    let best = scores.iter().enumerate().fold(
        (0, f32::NEG_INFINITY),
        |best, (id, &score)| {
            if score > best.1 { (id, score) } else { best }
        },
    );
    best.0 as u32
}

/// The k-th greatest score; 0 is no limit. Selecting takes one pass or two where sorting would take seventeen.
fn least_of_top(scores: &[f32], k: u32) -> f32 {
    let k = k as usize;
    if k == 0 || k >= scores.len() {
        return f32::NEG_INFINITY;
    }
    let mut scores = scores.to_vec();
    *scores.select_nth_unstable_by(k - 1, |a, b| b.total_cmp(a)).1
}

/// The tokens with at least `least`, in the order of their ids, with probabilities. The greatest score is taken off before
/// the division, so that no temperature overflows.
fn weighed(scores: &[f32], least: f32, temperature: f64) -> Vec<Candidate> {
    let greatest = f64::from(scores.iter().copied().fold(f32::NEG_INFINITY, f32::max));
    let weight = |score: f32| ((f64::from(score) - greatest) / temperature).exp();
    let kept = scores.iter().enumerate().filter(|&(_, &score)| score >= least);
    let mut candidates: Vec<_> =
        kept.map(|(id, &score)| Candidate { id: id as u32, probability: weight(score) }).collect();
    normalise(&mut candidates);
    candidates
}

/// Keeps the likeliest tokens until their share reaches `share`, at least one; what is kept is sorted.
fn keep_top_share(candidates: &mut Vec<Candidate>, share: f64) {
    // Tokens below this cannot be kept: all of them together have less than the share that is cut. Few are left to sort.
    // The factor keeps rounding from dropping all of a level row.
    let hopeless = (1.0 - share) / candidates.len() as f64 * (1.0 - 1e-9);
    candidates.retain(|candidate| candidate.probability >= hopeless);
    candidates.sort_unstable_by(|a, b| b.probability.total_cmp(&a.probability).then(a.id.cmp(&b.id)));
    let mut before = 0.0;
    let kept = candidates.iter().take_while(|candidate| {
        let keeps = before < share;
        before += candidate.probability;
        keeps
    });
    let kept = kept.count().max(1);
    candidates.truncate(kept);
}

fn normalise(candidates: &mut [Candidate]) {
    let sum: f64 = candidates.iter().map(|candidate| candidate.probability).sum();
    for candidate in candidates {
        candidate.probability /= sum;
    }
}

/// The first candidate at which the running sum passes `chance`.
fn draw(candidates: &[Candidate], chance: f64) -> u32 {
    let mut sum = 0.0;
    let drawn = candidates.iter().find(|candidate| {
        sum += candidate.probability;
        sum > chance
    });
    // Rounding may leave the whole sum a hair below 1. The likeliest token survives every cut, so one is left.
    match drawn.or(candidates.last()) {
        Some(candidate) => candidate.id,
        None => unreachable!("no candidate is left of a finite row"),
    }
}

#[cfg(test)]
mod tests;
