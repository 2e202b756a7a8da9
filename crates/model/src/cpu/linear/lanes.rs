//! The few vector operations that the products need, and what a machine without wide instructions does for them.

use pulp::NullaryFnOnce;

use super::activations::Block;
use super::codes::Codes;
use super::kernel::{self, Job};
use super::line::{Line, part, part_mut};

/// Vectors of one instruction set. Every method is inlined into the function that [`Lanes::run`] compiles for that set.
pub(super) trait Lanes: Copy + Send + Sync {
    /// `WIDTH` numbers.
    type Floats: Copy;
    /// `WIDTH` words of 32 bits.
    type Words: Copy;
    /// Numbers in a vector.
    const WIDTH: usize;
    /// Activation rows that one pass over the weights serves.
    const ROWS: usize;
    /// Blocks of rows up to which it is quicker to decode each weight again for each block than to keep what was decoded.
    const FUSED: usize;
    /// Vectors side by side in a panel of decoded weights.
    const PANEL: usize;

    /// Runs `work` compiled for this instruction set.
    fn run<W: NullaryFnOnce>(self, work: W) -> W::Output;

    fn splat(self, value: f32) -> Self::Floats;
    fn add(self, a: Self::Floats, b: Self::Floats) -> Self::Floats;
    /// `a * b + c`, rounded once where the machine can.
    fn multiply_add(self, a: Self::Floats, b: Self::Floats, c: Self::Floats) -> Self::Floats;
    /// The `index`th vector of `lines`.
    fn load(self, lines: &[Line], index: usize) -> Self::Floats;
    fn store(self, lines: &mut [Line], index: usize, value: Self::Floats);

    /// The `index`th vector of 32-bit words.
    fn words(self, lines: &[Line], index: usize) -> Self::Words;
    /// The `index`th vector of 16-bit words, each widened.
    fn halves(self, lines: &[Line], index: usize) -> Self::Words;
    /// The `index`th vector of bytes, each widened.
    fn bytes(self, lines: &[Line], index: usize) -> Self::Words;
    /// The `index`th vector of signed bytes, each widened.
    fn signed_bytes(self, lines: &[Line], index: usize) -> Self::Words;

    fn and(self, words: Self::Words, mask: u32) -> Self::Words;
    /// The top four bits of each word.
    fn top_nibbles(self, words: Self::Words) -> Self::Words;
    /// Signed words as numbers.
    fn convert(self, words: Self::Words) -> Self::Floats;
    /// The bits of finite IEEE half-precision numbers as numbers.
    fn widen_f16(self, words: Self::Words) -> Self::Floats;
    /// The bits of bfloat16 numbers as numbers.
    fn widen_bf16(self, words: Self::Words) -> Self::Floats;

    /// Multiplies one block of rows with one segment of a tile, decoding each weight in a register.
    fn fused<C: Codes>(self, job: &Job<'_>, segment: usize, block: &Block, totals: &mut [Line]);
    /// The same with a segment that is already decoded into a panel.
    fn panel(self, job: &Job<'_>, segment: usize, panel: &[Line], block: &Block, totals: &mut [Line]);
}

/// Chooses the kernel for a block's number of rows: rows => vectors side by side. Rows times vectors is what fits the registers.
macro_rules! shapes {
    ($rows:literal rows, $panel:literal wide: $($count:literal => $vectors:literal),+) => {
        const ROWS: usize = $rows;
        const PANEL: usize = $panel;

        #[inline(always)]
        fn fused<C: Codes>(self, job: &Job<'_>, segment: usize, block: &Block, totals: &mut [Line]) {
            match block.rows() {
                $($count => kernel::fused::<Self, C, $count, $vectors>(self, job, segment, block, totals),)+
                rows => unreachable!("a block of {rows} rows"),
            }
        }

        #[inline(always)]
        fn panel(self, job: &Job<'_>, segment: usize, panel: &[Line], block: &Block, totals: &mut [Line]) {
            match block.rows() {
                $($count => kernel::panel::<Self, $count, $panel>(self, job, segment, panel, block, totals),)+
                rows => unreachable!("a block of {rows} rows"),
            }
        }
    };
}
pub(super) use shapes;

/// Four lanes in plain code, which the compiler turns into whatever the target always has (NEON, SSE2).
#[derive(Clone, Copy)]
pub(super) struct Portable;

/// One lane's conversion from half precision. The exponent is rebiased; a subnormal's fraction is an integer times 2^-24.
#[inline(always)]
fn widen(half: u32) -> f32 {
    let magnitude = (half & 0x7fff) << 13;
    let normal = f32::from_bits(magnitude + (112 << 23));
    let subnormal = magnitude as f32 * SUBNORMAL;
    let value = if magnitude < 1 << 23 { subnormal } else { normal };
    f32::from_bits(value.to_bits() | (half & 0x8000) << 16)
}

/// 2^-37: the place value of a half-precision subnormal's last bit (2^-24) after its shift by 13.
pub(super) const SUBNORMAL: f32 = f32::from_bits((127 - 37) << 23);

impl Lanes for Portable {
    type Floats = [f32; 4];
    type Words = [u32; 4];
    const WIDTH: usize = 4;
    const FUSED: usize = 1;

    #[inline(always)]
    fn run<W: NullaryFnOnce>(self, work: W) -> W::Output {
        work.call()
    }

    #[inline(always)]
    fn splat(self, value: f32) -> [f32; 4] {
        [value; 4]
    }

    #[inline(always)]
    fn add(self, a: [f32; 4], b: [f32; 4]) -> [f32; 4] {
        [a[0] + b[0], a[1] + b[1], a[2] + b[2], a[3] + b[3]]
    }

    #[inline(always)]
    fn multiply_add(self, a: [f32; 4], b: [f32; 4], c: [f32; 4]) -> [f32; 4] {
        [madd(a[0], b[0], c[0]), madd(a[1], b[1], c[1]), madd(a[2], b[2], c[2]), madd(a[3], b[3], c[3])]
    }

    #[inline(always)]
    fn load(self, lines: &[Line], index: usize) -> [f32; 4] {
        *part::<[f32; 4]>(lines, index)
    }

    #[inline(always)]
    fn store(self, lines: &mut [Line], index: usize, value: [f32; 4]) {
        *part_mut::<[f32; 4]>(lines, index) = value;
    }

    #[inline(always)]
    fn words(self, lines: &[Line], index: usize) -> [u32; 4] {
        *part::<[u32; 4]>(lines, index)
    }

    #[inline(always)]
    fn halves(self, lines: &[Line], index: usize) -> [u32; 4] {
        part::<[u16; 4]>(lines, index).map(u32::from)
    }

    #[inline(always)]
    fn bytes(self, lines: &[Line], index: usize) -> [u32; 4] {
        part::<[u8; 4]>(lines, index).map(u32::from)
    }

    #[inline(always)]
    fn signed_bytes(self, lines: &[Line], index: usize) -> [u32; 4] {
        part::<[i8; 4]>(lines, index).map(|byte| i32::from(byte) as u32)
    }

    #[inline(always)]
    fn and(self, words: [u32; 4], mask: u32) -> [u32; 4] {
        words.map(|word| word & mask)
    }

    #[inline(always)]
    fn top_nibbles(self, words: [u32; 4]) -> [u32; 4] {
        words.map(|word| word >> 28)
    }

    #[inline(always)]
    fn convert(self, words: [u32; 4]) -> [f32; 4] {
        words.map(|word| word as i32 as f32)
    }

    #[inline(always)]
    fn widen_f16(self, words: [u32; 4]) -> [f32; 4] {
        words.map(widen)
    }

    #[inline(always)]
    fn widen_bf16(self, words: [u32; 4]) -> [f32; 4] {
        words.map(|word| f32::from_bits(word << 16))
    }

    shapes!(4 rows, 4 wide: 1 => 4, 2 => 4, 3 => 4, 4 => 4);
}

/// A fused multiply-add only where every machine of the target has the instruction: elsewhere it is a slow library call.
#[inline(always)]
fn madd(a: f32, b: f32, c: f32) -> f32 {
    if cfg!(any(target_arch = "aarch64", target_feature = "fma")) { a.mul_add(b, c) } else { a * b + c }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_finite_half_is_widened_exactly() {
        for bits in 0..=u16::MAX {
            let half = half::f16::from_bits(bits);
            if half.is_finite() {
                assert_eq!(widen(u32::from(bits)).to_bits(), half.to_f32().to_bits(), "{bits:#06x}");
            }
        }
    }
}
