//! Softmax over the keys that a query sees, as an operation on a tensor of scores.

use candle_core::{CpuStorage, InplaceOp1, Layout, Result, bail};

use super::activation::exp;
use super::vector::{max, sum, vectorised};

/// Softmax of `scale * scores` [T, S] along the keys. Query `t` sees the first `first + t` keys, where `first` is given,
/// and all of them otherwise; keys that it does not see get 0.
pub(crate) struct Softmax {
    pub(crate) scale: f32,
    pub(crate) first: Option<usize>,
}

impl InplaceOp1 for Softmax {
    fn name(&self) -> &'static str {
        "softmax"
    }

    fn cpu_fwd(&self, storage: &mut CpuStorage, layout: &Layout) -> Result<()> {
        let (_, keys) = layout.shape().dims2()?;
        let (CpuStorage::F32(scores), Some((start, end))) = (storage, layout.contiguous_offsets()) else {
            bail!("softmax takes contiguous scores in f32");
        };
        vectorised(
            #[inline(always)]
            || {
                for (t, row) in scores[start..end].chunks_exact_mut(keys).enumerate() {
                    let (seen, hidden) = row.split_at_mut(self.first.map_or(keys, |first| keys.min(first + t)));
                    softmax(seen, self.scale);
                    hidden.fill(0.0);
                }
            },
        );
        Ok(())
    }
}

/// Softmax of `scale * scores`, in place. A score that is not a number makes all of them so.
#[inline(always)]
pub(crate) fn softmax(scores: &mut [f32], scale: f32) {
    let greatest = max(scores);
    for score in scores.iter_mut() {
        *score = exp((*score - greatest) * scale);
    }
    let factor = 1.0 / sum(scores);
    for score in scores.iter_mut() {
        *score *= factor;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use candle_core::{Device, Tensor};

    fn run(scores: &[f32], rows: usize, op: &Softmax) -> Vec<Vec<f32>> {
        let tensor = Tensor::from_slice(scores, (rows, scores.len() / rows), &Device::Cpu).unwrap();
        tensor.inplace_op1(op).unwrap();
        tensor.to_vec2().unwrap()
    }

    #[test]
    fn a_query_gives_no_weight_to_keys_after_it() {
        let rows = run(&[0.0, 0.0, 9.0, 0.0, 1.0, 9.0], 2, &Softmax { scale: 2.0, first: Some(1) });
        assert_eq!(rows[0], [1.0, 0.0, 0.0]);
        let e = 2.0f32.exp();
        assert!((rows[1][0] - 1.0 / (1.0 + e)).abs() < 1e-6 && (rows[1][1] - e / (1.0 + e)).abs() < 1e-6);
        assert_eq!(rows[1][2], 0.0);
    }

    #[test]
    fn without_a_mask_weights_add_up_to_one_however_large_the_scores() {
        let rows = run(&[1e4, 1e4, -1e4, 0.0], 1, &Softmax { scale: 1.0, first: None });
        assert!((rows[0].iter().sum::<f32>() - 1.0).abs() < 1e-6, "{rows:?}");
        assert!((rows[0][0] - 0.5).abs() < 1e-6);
    }

    #[test]
    fn a_score_that_is_not_a_number_is_not_hidden() {
        let rows = run(&[1.0, f32::NAN, 2.0], 1, &Softmax { scale: 1.0, first: None });
        assert!(rows[0].iter().all(|weight| weight.is_nan()));
    }
}
