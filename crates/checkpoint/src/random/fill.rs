//! What a random tensor holds, made a block at a time.

use half::{bf16, f16};
use rand::{Rng, RngCore};
use rand_chacha::ChaCha8Rng;

use crate::{Dtype, Quantization, ZeroForm};

/// How many different numbers a tensor has. Drawing from a table costs far less than making each number.
const LEVELS: usize = 4_096;

/// What a tensor holds.
#[derive(Debug, Clone)]
pub(super) enum Fill {
    /// Zero bytes.
    Zeros,
    /// Codes, of which the middle one is the mean.
    Codes { bits: u32 },
    /// Numbers in their bytes, each equally likely.
    Numbers(Vec<[u8; 4]>, usize),
    /// The group of each input; shuffled, or in order.
    Groups { inputs: usize, group: usize, shuffled: bool },
    /// Packed zero points.
    ZeroPoints(Quantization),
}

impl Fill {
    /// Numbers evenly spread around `centre`, with a standard deviation.
    pub(super) fn numbers(dtype: Dtype, centre: f64, deviation: f64) -> Self {
        let reach = 3f64.sqrt() * deviation;
        let level = |level: usize| centre + reach * ((level as f64 + 0.5) / LEVELS as f64 * 2.0 - 1.0);
        let table = (0..LEVELS).map(|i| encode(dtype, level(i) as f32)).collect();
        Self::Numbers(table, dtype.bits() as usize / 8)
    }

    /// Hands the `bytes` bytes of the tensor to `put`, a block at a time.
    pub(super) fn write<E>(
        &self,
        bytes: u64,
        random: &mut ChaCha8Rng,
        mut put: impl FnMut(&[u8]) -> Result<(), E>,
    ) -> Result<(), E> {
        if let Self::Groups { inputs, group, shuffled } = *self {
            return put(&groups(inputs, group, shuffled, random));
        }
        let mut block = vec![0; bytes.min(1 << 20) as usize];
        let mut left = bytes;
        while left > 0 {
            let length = left.min(block.len() as u64) as usize;
            self.block(&mut block[..length], random);
            put(&block[..length])?;
            left -= length as u64;
        }
        Ok(())
    }

    fn block(&self, block: &mut [u8], random: &mut ChaCha8Rng) {
        match self {
            Self::Zeros | Self::Groups { .. } => block.fill(0),
            Self::Codes { bits } => codes(*bits, block, random),
            Self::Numbers(table, 2) => draw::<2>(table, block, random),
            Self::Numbers(table, _) => draw::<4>(table, block, random),
            Self::ZeroPoints(form) => zero_points(form, block, random),
        }
    }
}

fn encode(dtype: Dtype, number: f32) -> [u8; 4] {
    let half = |[low, high]: [u8; 2]| [low, high, 0, 0];
    match dtype {
        Dtype::F16 => half(f16::from_f32(number).to_le_bytes()),
        Dtype::BF16 => half(bf16::from_f32(number).to_le_bytes()),
        _ => number.to_le_bytes(),
    }
}

/// Draws elements of `N` bytes.
fn draw<const N: usize>(table: &[[u8; 4]], block: &mut [u8], random: &mut ChaCha8Rng) {
    let mut bits = [0u16; 256];
    for elements in block.chunks_mut(bits.len() * N) {
        random.fill(&mut bits);
        for (element, bits) in elements.chunks_exact_mut(N).zip(bits) {
            element.copy_from_slice(&table[bits as usize % LEVELS][..N]);
        }
    }
}

/// Draws codes that lie evenly about the middle: the lowest, which has no counterpart above, becomes the middle one. A mean
/// off the middle would be a part that all weights share; it would grow from layer to layer until every prompt got the same
/// answer.
fn codes(bits: u32, block: &mut [u8], random: &mut ChaCha8Rng) {
    random.fill_bytes(block);
    let even = |code: u8| if code == 0 { 1 << (bits - 1) } else { code };
    let table: [u8; 256] = std::array::from_fn(|byte| match bits {
        8 => even(byte as u8),
        _ => even(byte as u8 & 15) | even(byte as u8 >> 4) << 4,
    });
    block.iter_mut().for_each(|byte| *byte = table[usize::from(*byte)]);
}

/// The variance of a layer's codes less their zero points, in steps.
pub(super) fn variance(form: &Quantization) -> f64 {
    let middle = f64::from(1 << (form.bits - 1));
    let reach = if form.symmetric { 0.0 } else { f64::from(reach(form.bits)) };
    (middle - 1.0) * (2.0 * middle - 1.0) / 6.0 + reach * (reach + 1.0) / 3.0
}

/// How far from the middle a zero point may lie.
fn reach(bits: u32) -> u32 {
    1 << (bits - 3)
}

fn groups(inputs: usize, group: usize, shuffled: bool, random: &mut ChaCha8Rng) -> Vec<u8> {
    let mut groups: Vec<u32> = (0..inputs).map(|input| (input / group) as u32).collect();
    if shuffled {
        // Fisher and Yates, so that every group keeps its size.
        (1..inputs).rev().for_each(|last| groups.swap(last, random.random_range(0..=last)));
    }
    groups.into_iter().flat_map(u32::to_le_bytes).collect()
}

/// The middle everywhere, or, where the form is not symmetric, about the middle.
fn zero_points(form: &Quantization, block: &mut [u8], random: &mut ChaCha8Rng) {
    let (bits, less) = (form.bits, u32::from(form.zeros == ZeroForm::V1));
    let (middle, reach) = (1 << (bits - 1), reach(bits));
    for word in block.chunks_exact_mut(4) {
        let mut zero = || if form.symmetric { middle } else { random.random_range(middle - reach..=middle + reach) };
        let packed = (0..32 / bits).fold(0, |word, place| word | (zero() - less) << (place * bits));
        word.copy_from_slice(&packed.to_le_bytes());
    }
}
