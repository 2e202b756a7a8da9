//! Rows of logits of many shapes, and settings at and between their ends.

use karst_kernels::{NO_MASK, SampleRow};
use rand::Rng;
use rand_chacha::ChaCha8Rng;

/// What a row of logits looks like.
#[derive(Debug, Clone, Copy)]
pub enum Shape {
    /// As a language model's: a normal spread of this width.
    Normal(f32),
    /// Rounded, so that many are equal.
    Stepped(f32),
    /// All equal.
    Level,
    /// Two levels.
    Halves,
    /// Near the ends of f32.
    Huge,
    /// Zeros of both signs among small numbers.
    Zeros,
    /// Some numbers are not finite.
    Faulty(f32),
}

impl Shape {
    pub fn any(rng: &mut ChaCha8Rng) -> Self {
        let width = pick(&[0.01, 1.0, 3.0, 8.0, 40.0], rng);
        match rng.random_range(0..40) {
            0..24 => Self::Normal(width),
            24..30 => Self::Stepped(width),
            30..32 => Self::Level,
            32..34 => Self::Halves,
            34..36 => Self::Huge,
            36..38 => Self::Zeros,
            _ => Self::Faulty(width),
        }
    }
}

pub fn logits(shape: Shape, vocabulary: usize, rng: &mut ChaCha8Rng) -> Vec<f32> {
    let number = |at: usize, rng: &mut ChaCha8Rng| match shape {
        Shape::Normal(width) | Shape::Faulty(width) => normal(rng) * width,
        Shape::Stepped(width) => (normal(rng) * width).round(),
        Shape::Level => 7.0,
        Shape::Halves => [5.0, 1.0][usize::from(at > vocabulary / 3)],
        Shape::Huge => (normal(rng) * 1e38).clamp(f32::MIN, f32::MAX),
        Shape::Zeros => [0.0, -0.0, -1.0, 1e-3, -1e-3][rng.random_range(0..5)],
    };
    let mut row: Vec<f32> = (0..vocabulary).map(|at| number(at, rng)).collect();
    if matches!(shape, Shape::Faulty(_)) {
        for _ in 0..rng.random_range(1..4) {
            let at = rng.random_range(0..vocabulary);
            row[at] = pick(&[f32::NAN, -f32::NAN, f32::INFINITY, f32::NEG_INFINITY], rng);
        }
    }
    row
}

/// A sum of twelve uniform numbers, which is near enough.
fn normal(rng: &mut ChaCha8Rng) -> f32 {
    (0..12).map(|_| rng.random::<f32>()).sum::<f32>() - 6.0
}

/// Settings of a slot's row.
pub fn row(slot: u32, vocabulary: usize, masks: usize, rng: &mut ChaCha8Rng) -> SampleRow {
    let v = vocabulary as u32;
    let flags = if rng.random_ratio(1, 20) { 0 } else { SampleRow::ACTIVE };
    SampleRow {
        chance: if rng.random_ratio(1, 50) { 1.0 - f64::EPSILON / 2.0 } else { rng.random() },
        slot,
        flags: flags | if rng.random_ratio(1, 4) { SampleRow::FIRST } else { 0 },
        mask: if rng.random_ratio(1, 4) { rng.random_range(0..masks as u32) } else { NO_MASK },
        top_k: pick(&[0, 0, 0, 1, 2, 20, 37, 50, 100, 128, 512, 513, 1000, v.saturating_sub(1), v, v + 1], rng),
        temperature: pick(&[0.0, 1e-3, 0.3, 0.7, 0.7, 1.0, 1.0, 2.0], rng),
        top_p: pick(&[1.0, 1.0, 1.0, 0.0, 0.1, 0.5, 0.8, 0.95, 0.999, 0.999_999_94], rng),
        min_p: pick(&[0.0, 0.0, 0.0, 1.0, 0.5, 0.05, 1e-3, 1e-6, 1e-20], rng),
        repetition_penalty: pick(&[1.0, 1.0, 1.03, 1.5, 2.0, 0.5], rng),
        rivals: rng.random_range(-3..=20),
        pad: 0,
    }
}

pub fn set(bits: &mut [u32], id: u32) {
    bits[id as usize / 32] |= 1 << (id % 32);
}

fn pick<T: Copy>(values: &[T], rng: &mut ChaCha8Rng) -> T {
    values[rng.random_range(0..values.len())]
}
