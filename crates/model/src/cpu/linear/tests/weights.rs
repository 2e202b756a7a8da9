//! Random weights in the forms of a checkpoint.

use half::{bf16, f16};
use karst_checkpoint::{Dtype, Gptq, Tensor};
use rand::Rng;
use rand::seq::SliceRandom;

use super::rng;

/// What a random quantised weight is like.
#[derive(Debug, Clone, Copy)]
pub(super) struct Spec {
    pub(super) bits: u32,
    pub(super) inputs: usize,
    pub(super) outputs: usize,
    pub(super) group: usize,
    pub(super) zeros: bool,
    pub(super) act_order: bool,
}

/// A random quantised weight. A few scales are subnormal, and one is negative.
pub(super) fn gptq(spec: &Spec) -> Gptq<'static> {
    let Spec { bits, inputs, outputs, group, zeros, act_order } = *spec;
    let mut rng = rng(inputs as u64 * 31 + outputs as u64);
    let groups = inputs.div_ceil(group);
    let scale = |i| match i % 50 {
        7 => f16::from_bits(3),
        9 => f16::from_f32(-0.01),
        _ => f16::from_f32(rng.random_range(0.001..0.02)),
    };
    let scales = (0..groups * outputs).map(scale).collect();
    let zero = |_| rng.random_range(0..1u32 << bits) as u8;
    let zeros = zeros.then(|| (0..groups * outputs).map(zero).collect());
    let mut order: Vec<u32> = (0..inputs).map(|input| (input / group) as u32).collect();
    order.shuffle(&mut rng);
    let words = inputs.div_ceil(32 / bits as usize) * outputs;
    let qweight = (0..words).map(|_| rng.random()).collect::<Vec<u32>>().into();
    Gptq { bits, k: inputs, n: outputs, group, order: act_order.then_some(order), qweight, zeros, scales }
}

/// A random dense tensor. One number in twenty is tiny, so that half precision has subnormals.
pub(super) struct Dense {
    dtype: Dtype,
    shape: Vec<usize>,
    bytes: Vec<u8>,
}

impl Dense {
    pub(super) fn random(dtype: Dtype, shape: &[usize], seed: u64) -> Dense {
        let mut rng = rng(seed);
        let count = shape.iter().product::<usize>();
        let mut dense = Dense { dtype, shape: shape.into(), bytes: vec![0; count * dtype.bits() as usize / 8] };
        for index in 0..count {
            let scale = if rng.random_range(0..20) == 0 { 3e-6 } else { 1.0 };
            dense.set(index, rng.random_range(-1.0f32..1.0) * scale);
        }
        dense
    }

    /// Changes the number at `index`.
    pub(super) fn set(&mut self, index: usize, number: f32) {
        match self.dtype {
            Dtype::F32 => self.bytes[index * 4..][..4].copy_from_slice(&number.to_le_bytes()),
            Dtype::F16 => self.bytes[index * 2..][..2].copy_from_slice(&f16::from_f32(number).to_le_bytes()),
            _ => self.bytes[index * 2..][..2].copy_from_slice(&bf16::from_f32(number).to_le_bytes()),
        }
    }

    pub(super) fn tensor(&self) -> Tensor<'_> {
        Tensor { name: "weight", dtype: self.dtype, shape: &self.shape, bytes: &self.bytes }
    }
}
