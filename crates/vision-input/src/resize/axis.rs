//! Which inputs make an output, and with what weights.

use std::ops::Range;

/// Fractional bits of a weight: what 32 bits leave beside 8 of a sample and 2 for overshoot.
pub(super) const PRECISION_BITS: u32 = 32 - 8 - 2;

/// Half of the last place, so that cutting the fraction off rounds.
pub(super) const HALF: i32 = 1 << (PRECISION_BITS - 1);

/// The kernel is zero from here on.
const SUPPORT: f64 = 2.0;

/// The weights of one axis.
pub(super) struct Axis {
    /// For each output, its first input and how many inputs it sums.
    bounds: Vec<(usize, usize)>,
    /// Weights of each output, `stride` apart.
    weights: Vec<i32>,
    stride: usize,
}

impl Axis {
    pub(super) fn new(inputs: usize, outputs: usize) -> Self {
        let scale = inputs as f64 / outputs as f64;
        let stretch = scale.max(1.0);
        let support = SUPPORT * stretch;
        let stride = support.ceil() as usize * 2 + 1;
        let mut axis = Self { bounds: Vec::with_capacity(outputs), weights: vec![0; outputs * stride], stride };
        for (output, weights) in axis.weights.chunks_exact_mut(stride).enumerate() {
            let center = (output as f64 + 0.5) * scale;
            // A negative number becomes 0, as Pillow clips it.
            let first = (center - support + 0.5) as usize;
            let end = ((center + support + 0.5) as usize).min(inputs);
            axis.bounds.push((first, end - first));
            fill(&mut weights[..end - first], first, center, stretch);
        }
        axis
    }

    /// How many outputs there are.
    pub(super) fn outputs(&self) -> usize {
        self.bounds.len()
    }

    /// An output's first input, and the weights from there on.
    pub(super) fn output(&self, index: usize) -> (usize, &[i32]) {
        let (first, count) = self.bounds[index];
        (first, &self.weights[index * self.stride..][..count])
    }

    /// The inputs that any output sums.
    pub(super) fn needed(&self) -> Range<usize> {
        let first = self.bounds.first().map_or(0, |&(first, _)| first);
        first..self.bounds.last().map_or(0, |&(first, count)| first + count)
    }
}

/// Weights of one output: the kernel, made to sum to 1, in fixed point.
fn fill(weights: &mut [i32], first: usize, center: f64, stretch: f64) {
    // A product with the inverse and a plain sum from the left, as Pillow has them: other ways round differently.
    let inverse = 1.0 / stretch;
    let exact: Vec<f64> = (0..weights.len()).map(|i| kernel(((i + first) as f64 - center + 0.5) * inverse)).collect();
    let sum = exact.iter().fold(0.0, |sum, weight| sum + weight);
    for (weight, exact) in weights.iter_mut().zip(exact) {
        let normal = if sum == 0.0 { exact } else { exact / sum };
        let half = if normal < 0.0 { -0.5 } else { 0.5 };
        *weight = (half + normal * f64::from(1 << PRECISION_BITS)) as i32;
    }
}

/// Keys' cubic with a = -0.5.
fn kernel(x: f64) -> f64 {
    const A: f64 = -0.5;
    let x = x.abs();
    if x < 1.0 {
        ((A + 2.0) * x - (A + 3.0)) * x * x + 1.0
    } else if x < SUPPORT {
        (((x - 5.0) * x + 8.0) * x - 4.0) * A
    } else {
        0.0
    }
}
