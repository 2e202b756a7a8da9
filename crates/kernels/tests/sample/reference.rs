//! The processor's sampler, in f64, as the engine has it; a mask takes tokens out before anything is counted or cut.

use karst_kernels::SampleRow;

/// A row to draw from.
pub struct Row<'a> {
    pub logits: &'a [f32],
    pub settings: SampleRow,
    /// Which tokens were drawn before.
    pub generated: &'a [u32],
    /// Which tokens may be drawn.
    pub mask: Option<&'a [u32]>,
}

/// What comes of it.
pub struct Drawn {
    pub id: u32,
    /// How far the sums that decided were from where they would have decided otherwise.
    pub margin: f64,
}

struct Candidate {
    id: u32,
    probability: f64,
}

pub fn has(set: &[u32], id: u32) -> bool {
    set[id as usize / 32] >> (id % 32) & 1 == 1
}

impl Row<'_> {
    /// `None` if no token may be drawn; all logits are finite.
    pub fn draw(&self) -> Option<Drawn> {
        let scores = self.scores();
        let settings = &self.settings;
        if settings.temperature == 0.0 || settings.top_k == 1 {
            let greatest = scores.iter().map(|&(_, score)| score).reduce(f32::max)?;
            let (id, _) = scores.iter().find(|&&(_, score)| score == greatest)?;
            return Some(Drawn { id: *id, margin: 1.0 });
        }
        let mut candidates = weighed(&scores, least(&scores, settings.top_k), f64::from(settings.temperature))?;
        let mut margin: f64 = 1.0;
        if settings.top_p < 1.0 {
            margin = keep_top_share(&mut candidates, f64::from(settings.top_p));
        }
        if settings.min_p > 0.0 {
            let likeliest = candidates.iter().map(|candidate| candidate.probability).fold(0.0, f64::max);
            let bound = f64::from(settings.min_p) * likeliest;
            let distances = candidates.iter().map(|candidate| (candidate.probability / bound - 1.0).abs());
            // Equal to the bound by definition, not by rounding.
            margin = distances.filter(|&distance| distance > 0.0).fold(margin, f64::min);
            candidates.retain(|candidate| candidate.probability >= bound);
        }
        normalise(&mut candidates);
        let (mut sum, mut drawn) = (0.0, None);
        for candidate in &candidates {
            sum += candidate.probability;
            margin = margin.min((sum - settings.chance).abs());
            if sum > settings.chance {
                drawn = drawn.or(Some(candidate.id));
            }
        }
        Some(Drawn { id: drawn.or(candidates.last().map(|last| last.id))?, margin })
    }

    /// The tokens that may be drawn, with their logits after the penalty.
    fn scores(&self) -> Vec<(u32, f32)> {
        let penalty = self.settings.repetition_penalty;
        let penalised = |(id, &logit): (usize, &f32)| {
            let id = id as u32;
            if penalty == 1.0 || !has(self.generated, id) {
                return (id, logit);
            }
            let score = if logit < 0.0 { logit * penalty } else { logit / penalty };
            (id, score.clamp(f32::MIN, f32::MAX))
        };
        let scores = self.logits.iter().enumerate().map(penalised);
        scores.filter(|&(id, _)| self.mask.is_none_or(|mask| has(mask, id))).collect()
    }

    /// The log-probability of a token and of the likeliest ones under the logits themselves.
    pub fn logprobs(&self, chosen: u32, top: usize) -> (f64, Vec<(u32, f64)>) {
        let greatest = f64::from(self.logits.iter().copied().fold(f32::NEG_INFINITY, f32::max));
        let sum: f64 = self.logits.iter().map(|&logit| (f64::from(logit) - greatest).exp()).sum();
        let of = |id: u32| f64::from(self.logits[id as usize]) - (greatest + sum.ln());
        let mut ids: Vec<u32> = (0..self.logits.len() as u32).collect();
        ids.sort_unstable_by(|&a, &b| self.logits[b as usize].total_cmp(&self.logits[a as usize]).then(a.cmp(&b)));
        (of(chosen), ids.into_iter().take(top).map(|id| (id, of(id))).collect())
    }
}

fn least(scores: &[(u32, f32)], k: u32) -> f32 {
    let k = k as usize;
    if k == 0 || k >= scores.len() {
        return f32::NEG_INFINITY;
    }
    let mut scores: Vec<f32> = scores.iter().map(|&(_, score)| score).collect();
    *scores.select_nth_unstable_by(k - 1, |a, b| b.total_cmp(a)).1
}

fn weighed(scores: &[(u32, f32)], least: f32, temperature: f64) -> Option<Vec<Candidate>> {
    let greatest = f64::from(scores.iter().map(|&(_, score)| score).reduce(f32::max)?);
    let weight = |score: f32| ((f64::from(score) - greatest) / temperature).exp();
    let kept = scores.iter().filter(|&&(_, score)| score >= least);
    let mut candidates: Vec<_> = kept.map(|&(id, score)| Candidate { id, probability: weight(score) }).collect();
    normalise(&mut candidates);
    Some(candidates)
}

fn keep_top_share(candidates: &mut Vec<Candidate>, share: f64) -> f64 {
    candidates.sort_unstable_by(|a, b| b.probability.total_cmp(&a.probability).then(a.id.cmp(&b.id)));
    let (mut before, mut kept, mut margin) = (0.0, 0, 1.0f64);
    for candidate in candidates.iter() {
        margin = margin.min(f64::abs(before - share));
        if before >= share {
            break;
        }
        before += candidate.probability;
        kept += 1;
    }
    candidates.truncate(kept.max(1));
    margin
}

fn normalise(candidates: &mut [Candidate]) {
    let sum: f64 = candidates.iter().map(|candidate| candidate.probability).sum();
    candidates.iter_mut().for_each(|candidate| candidate.probability /= sum);
}
