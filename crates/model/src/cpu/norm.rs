//! RMS norm (decoder) and layer norm (tower, resampler), over rows, in place.

use super::vector::{Rowwise, each_row, sum, sum_of_squares};

/// x / sqrt(mean(x^2) + epsilon) * weight.
pub(crate) struct RmsNorm {
    pub(crate) weight: Vec<f32>,
    pub(crate) epsilon: f32,
}

impl RmsNorm {
    /// Normalises every row of `x`, each as long as the weight.
    pub(crate) fn apply(&self, x: &mut [f32]) {
        each_row(x, self.weight.len(), self);
    }

    /// The same into a new buffer.
    pub(crate) fn of(&self, x: &[f32]) -> Vec<f32> {
        let mut out = x.to_vec();
        self.apply(&mut out);
        out
    }

    pub(crate) fn bytes(&self) -> u64 {
        4 * self.weight.len() as u64
    }
}

impl Rowwise for RmsNorm {
    #[inline(always)]
    fn row(&self, _: usize, row: &mut [f32]) {
        let scale = 1.0 / (sum_of_squares(row) / row.len() as f32 + self.epsilon).sqrt();
        for (x, &weight) in row.iter_mut().zip(&self.weight) {
            *x = *x * scale * weight;
        }
    }
}

/// (x - mean) / sqrt(variance + epsilon) * weight + bias.
pub(crate) struct LayerNorm {
    pub(crate) weight: Vec<f32>,
    pub(crate) bias: Vec<f32>,
    pub(crate) epsilon: f32,
}

impl LayerNorm {
    /// Normalises every row of `x`, each as long as the weight.
    pub(crate) fn apply(&self, x: &mut [f32]) {
        each_row(x, self.weight.len(), self);
    }

    /// The same into a new buffer.
    pub(crate) fn of(&self, x: &[f32]) -> Vec<f32> {
        let mut out = x.to_vec();
        self.apply(&mut out);
        out
    }

    pub(crate) fn bytes(&self) -> u64 {
        8 * self.weight.len() as u64
    }
}

impl Rowwise for LayerNorm {
    /// The variance is taken of the differences: that of the squares loses its digits where the mean is large.
    #[inline(always)]
    fn row(&self, _: usize, row: &mut [f32]) {
        let mean = sum(row) / row.len() as f32;
        for x in row.iter_mut() {
            *x -= mean;
        }
        let scale = 1.0 / (sum_of_squares(row) / row.len() as f32 + self.epsilon).sqrt();
        for ((x, &weight), &bias) in row.iter_mut().zip(&self.weight).zip(&self.bias) {
            *x = *x * scale * weight + bias;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn numbers(count: usize) -> Vec<f32> {
        (0..count).map(|i| (i as f32 * 0.7).sin() * 3.0 + 0.5).collect()
    }

    #[test]
    fn rms_norm_is_its_definition() {
        for width in [1, 72, 128, 4096] {
            let norm = RmsNorm { weight: numbers(width), epsilon: 1e-6 };
            let x = numbers(3 * width);
            let out = norm.of(&x);
            for (x, out) in x.chunks(width).zip(out.chunks(width)) {
                let mean = x.iter().map(|&x| f64::from(x).powi(2)).sum::<f64>() / width as f64;
                for i in 0..width {
                    let exact = f64::from(x[i]) / (mean + 1e-6).sqrt() * f64::from(norm.weight[i]);
                    assert!((f64::from(out[i]) - exact).abs() < 1e-5, "{width} {i}");
                }
            }
        }
    }

    #[test]
    fn layer_norm_keeps_its_digits_under_a_large_mean() {
        let width = 1152;
        let norm = LayerNorm { weight: vec![1.0; width], bias: vec![0.25; width], epsilon: 1e-6 };
        let x: Vec<f32> = numbers(width).iter().map(|x| x + 1000.0).collect();
        let mean = x.iter().map(|&x| f64::from(x)).sum::<f64>() / width as f64;
        let variance = x.iter().map(|&x| (f64::from(x) - mean).powi(2)).sum::<f64>() / width as f64;
        for (&x, out) in x.iter().zip(norm.of(&x)) {
            let exact = (f64::from(x) - mean) / (variance + 1e-6).sqrt() + 0.25;
            assert!((f64::from(out) - exact).abs() < 1e-4, "{out} {exact}");
        }
    }
}
