//! A GPTQ weight: codes of 4 or 8 bits, a scale and a zero point for each group of inputs.

mod error;
mod read;
mod zeros;

use std::borrow::Cow;

use half::f16;

pub use error::GptqError;
pub(crate) use read::Parts;

/// A quantised weight with K inputs and N outputs. Input `k` belongs to group [`Gptq::group_of`]`(k)`.
#[derive(Debug, Clone)]
pub struct Gptq<'a> {
    /// Bits of a code: 4 or 8.
    pub bits: u32,
    /// Inputs.
    pub k: usize,
    /// Outputs.
    pub n: usize,
    /// Inputs in a group; the last group may be shorter.
    pub group: usize,
    /// [K] The group of each input, where it is not `k / group` (act-order).
    pub order: Option<Vec<u32>>,
    /// [K * bits / 32, N] Codes of consecutive inputs, the first in the lowest bits.
    pub qweight: Cow<'a, [u32]>,
    /// [groups, N] The code that means zero; `None` where it is the middle, `2^(bits - 1)`, everywhere.
    pub zeros: Option<Vec<u8>>,
    /// [groups, N].
    pub scales: Vec<f16>,
}

impl Gptq<'_> {
    /// Groups of inputs.
    pub fn groups(&self) -> usize {
        self.k.div_ceil(self.group)
    }

    /// The group of input `k`.
    pub fn group_of(&self, k: usize) -> usize {
        self.order.as_ref().map_or(k / self.group, |order| order[k] as usize)
    }

    /// The code of output `n` for input `k`.
    pub fn code(&self, n: usize, k: usize) -> u32 {
        let codes = 32 / self.bits as usize;
        let word = self.qweight[k / codes * self.n + n];
        word >> (k % codes * self.bits as usize) & ((1 << self.bits) - 1)
    }

    /// The zero point of output `n` in `group`.
    pub fn zero(&self, group: usize, n: usize) -> u32 {
        self.zeros.as_ref().map_or(1 << (self.bits - 1), |zeros| zeros[group * self.n + n].into())
    }

    /// The weight [N, K] as numbers: `(code - zero) * scale`, exact in `f32`. The reference of every product.
    pub fn dequantise(&self) -> Vec<f32> {
        (0..self.n).flat_map(|n| (0..self.k).map(move |k| self.weight(n, k))).collect()
    }

    fn weight(&self, n: usize, k: usize) -> f32 {
        let group = self.group_of(k);
        let steps = self.code(n, k) as i32 - self.zero(group, n) as i32;
        steps as f32 * self.scales[group * self.n + n].to_f32()
    }
}
