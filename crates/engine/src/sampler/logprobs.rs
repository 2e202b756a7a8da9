//! Log-probabilities under the unmodified distribution.

/// The log-probability of a drawn token and of the likeliest ones.
#[derive(Debug, Clone, PartialEq)]
pub struct Logprobs {
    /// Of the drawn token.
    pub chosen: f32,
    /// Of the likeliest tokens, best first, the lower id before its equals.
    pub top: Vec<(u32, f32)>,
}

/// The log-probability of `chosen` and of the `top` likeliest tokens; all logits are finite.
pub fn logprobs(logits: &[f32], chosen: u32, top: usize) -> Logprobs {
    let whole = log_sum_exp(logits);
    let of = |id: u32| (f64::from(logits[id as usize]) - whole) as f32;
    Logprobs { chosen: of(chosen), top: likeliest(logits, top).into_iter().map(|id| (id, of(id))).collect() }
}

fn log_sum_exp(logits: &[f32]) -> f64 {
    let greatest = f64::from(logits.iter().copied().fold(f32::NEG_INFINITY, f32::max));
    let sum: f64 = logits.iter().map(|&logit| (f64::from(logit) - greatest).exp()).sum();
    greatest + sum.ln()
}

fn likeliest(logits: &[f32], count: usize) -> Vec<u32> {
    let better = |a: &u32, b: &u32| logits[*b as usize].total_cmp(&logits[*a as usize]).then(a.cmp(b));
    let mut ids: Vec<u32> = (0..logits.len() as u32).collect();
    if 0 < count && count < ids.len() {
        ids.select_nth_unstable_by(count - 1, better);
    }
    ids.truncate(count);
    ids.sort_unstable_by(better);
    ids
}
