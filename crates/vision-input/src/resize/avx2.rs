//! The sums with 256-bit vectors.
//!
//! First pass: no instruction multiplies bytes by 23-bit weights quickly, but one multiplies pairs of 16-bit numbers and adds
//! them. So a weight is cut into two parts of at most 13 bits, `upper * 2^11 + lower`, whose sums are joined at the end, exactly. A
//! vector holds four pixels: the red, green and blue pairs of the first two and of the other two. Four rows share the
//! weights. Second pass: 32 samples of a row by whole weights.

use std::arch::x86_64::__m256i;

use pulp::cast;
use pulp::x86::V3;

use super::axis::{Axis, HALF, PRECISION_BITS};

/// Pixels in a vector, whose bytes are read 16 at once.
const FOUR: usize = 4;
const READ: usize = 16;

/// Rows that share weights.
const ROWS: usize = 4;

/// Samples of a row that are summed together in the second pass.
const STRIP: usize = 32;

/// Fractional bits of a weight's upper part that the lower part holds.
const LOWER_BITS: i32 = 11;

/// Weights of four pixels: the upper parts, then the lower ones.
type Weights = [i16; 2 * FOUR];

/// Bytes of four RGB pixels to 16-bit pairs: red, green and blue of the first two pixels, then of the other two.
const PAIRS: [i8; 32] = [
    0, -1, 3, -1, 1, -1, 4, -1, 2, -1, 5, -1, -1, -1, -1, -1, 6, -1, 9, -1, 7, -1, 10, -1, 8, -1, 11, -1, -1, -1, -1,
    -1,
];

/// The pairs of weights that these pairs are multiplied with.
const UPPER: [i32; 8] = [0, 0, 0, 0, 1, 1, 1, 1];
const LOWER: [i32; 8] = [2, 2, 2, 2, 3, 3, 3, 3];

/// Sums of the first pass.
pub(super) struct Columns {
    simd: V3,
    /// For each output, its first input.
    first: Vec<usize>,
    /// Weights of each output, `stride` apart, filled up with zeros.
    weights: Vec<Weights>,
    stride: usize,
}

impl Columns {
    /// The weights in the order of the vectors, if this processor has them.
    pub(super) fn new(axis: &Axis) -> Option<Self> {
        let simd = V3::try_new()?;
        let outputs = (0..axis.outputs()).map(|x| axis.output(x));
        let stride = outputs.clone().map(|(_, weights)| weights.len().div_ceil(FOUR)).max().unwrap_or(0);
        let (mut first, mut parts) = (Vec::new(), Vec::new());
        for (start, weights) in outputs {
            first.push(start);
            parts.extend(weights.chunks(FOUR).map(split));
            parts.resize(first.len() * stride, [0; 2 * FOUR]);
        }
        Some(Self { simd, first, weights: parts, stride })
    }

    /// Resizes rows of `row` bytes to those of `out`, `out_row` bytes each.
    pub(super) fn run(&self, source: &[u8], row: usize, out: &mut [u8], out_row: usize) {
        // Vectors reach past the last pixel that has a weight; all but the last rows have others behind them.
        let slack = self.stride * 3 * FOUR + READ;
        for (index, out) in out.chunks_mut(ROWS * out_row).enumerate() {
            let source = &source[index * ROWS * row..];
            if out.len() == ROWS * out_row && source.len() >= ROWS * row + slack {
                self.rows::<ROWS>(source, row, out, out_row);
                continue;
            }
            for (samples, out) in source.chunks_exact(row).zip(out.chunks_exact_mut(out_row)) {
                let mut samples = samples.to_vec();
                samples.resize(row + slack, 0);
                self.rows::<1>(&samples, row, out, out_row);
            }
        }
    }

    fn rows<const R: usize>(&self, source: &[u8], row: usize, out: &mut [u8], out_row: usize) {
        self.simd.vectorize(
            #[inline(always)]
            || {
                for (x, (&first, weights)) in self.first.iter().zip(self.weights.chunks_exact(self.stride)).enumerate()
                {
                    let pixels = weigh::<R>(self.simd, &source[first * 3..], row, weights);
                    for (r, pixel) in pixels.iter().enumerate() {
                        out[r * out_row + x * 3..][..3].copy_from_slice(&pixel[..3]);
                    }
                }
            },
        );
    }
}

/// Cuts up to four weights in two.
fn split(weights: &[i32]) -> Weights {
    let mut parts = [0; 2 * FOUR];
    for (i, weight) in weights.iter().enumerate() {
        let upper = (weight + (1 << (LOWER_BITS - 1))) >> LOWER_BITS;
        parts[i] = upper as i16;
        parts[FOUR + i] = (weight - (upper << LOWER_BITS)) as i16;
    }
    parts
}

/// One pixel, in the lowest three bytes, of each of `R` rows.
#[inline(always)]
fn weigh<const R: usize>(simd: V3, source: &[u8], row: usize, weights: &[Weights]) -> [[u8; 4]; R] {
    let (avx, pairs) = (simd.avx2, cast(PAIRS));
    let half = cast([HALF, HALF, HALF, HALF, 0, 0, 0, 0]);
    let (mut upper, mut lower) = ([cast::<[i32; 8], __m256i>([0; 8]); R], [half; R]);
    for (four, &parts) in weights.iter().enumerate() {
        let parts = avx._mm256_broadcastsi128_si256(cast(parts));
        let parts = [UPPER, LOWER].map(|order| avx._mm256_permutevar8x32_epi32(parts, cast(order)));
        for r in 0..R {
            let samples = avx._mm256_broadcastsi128_si256(cast(read::<READ>(source, r * row + four * 3 * FOUR)));
            let samples = avx._mm256_shuffle_epi8(samples, pairs);
            upper[r] = avx._mm256_add_epi32(upper[r], avx._mm256_madd_epi16(samples, parts[0]));
            lower[r] = avx._mm256_add_epi32(lower[r], avx._mm256_madd_epi16(samples, parts[1]));
        }
    }
    std::array::from_fn(|r| {
        let sums = avx._mm256_add_epi32(avx._mm256_slli_epi32::<LOWER_BITS>(upper[r]), lower[r]);
        let sums =
            simd.sse2._mm_add_epi32(simd.avx._mm256_castsi256_si128(sums), avx._mm256_extracti128_si256::<1>(sums));
        let sums = simd.sse2._mm_srai_epi32::<{ PRECISION_BITS as i32 }>(sums);
        let words = simd.sse2._mm_packs_epi32(sums, sums);
        simd.sse2._mm_cvtsi128_si32(simd.sse2._mm_packus_epi16(words, words)).to_le_bytes()
    })
}

/// `N` bytes from `at`; one load.
#[inline(always)]
fn read<const N: usize>(source: &[u8], at: usize) -> [u8; N] {
    let mut bytes = [0; N];
    bytes.copy_from_slice(&source[at..at + N]);
    bytes
}

/// Sums of the second pass: weighted rows as long as `out`. False where this processor or so short a row cannot have them.
pub(super) fn rows(rows: &[u8], weights: &[i32], out: &mut [u8]) -> bool {
    let (Some(simd), Some(last)) = (V3::try_new(), out.len().checked_sub(STRIP)) else { return false };
    simd.vectorize(
        #[inline(always)]
        || {
            // The last strip may overlap the one before.
            for at in (0..last).step_by(STRIP).chain([last]) {
                let strip = strip(simd, &rows[at..], out.len(), weights);
                out[at..][..STRIP].copy_from_slice(&strip);
            }
        },
    );
    true
}

/// Weighted sums of the first 32 samples of rows that lie `row` bytes apart.
#[inline(always)]
fn strip(simd: V3, rows: &[u8], row: usize, weights: &[i32]) -> [u8; STRIP] {
    let avx = simd.avx2;
    let mut sums = [cast::<[i32; 8], __m256i>([HALF; 8]); 4];
    for (y, &weight) in weights.iter().enumerate() {
        let weight = cast([weight; 8]);
        let samples = cast::<[u8; STRIP], [u64; 4]>(read(rows, y * row));
        for (sum, eight) in sums.iter_mut().zip(samples) {
            let samples = avx._mm256_cvtepu8_epi32(cast([eight, 0]));
            *sum = avx._mm256_add_epi32(*sum, avx._mm256_mullo_epi32(samples, weight));
        }
    }
    let [a, b, c, d] = sums.map(|sums| avx._mm256_srai_epi32::<{ PRECISION_BITS as i32 }>(sums));
    let bytes = avx._mm256_packus_epi16(avx._mm256_packs_epi32(a, b), avx._mm256_packs_epi32(c, d));
    // Packing works on halves of vectors; this puts their quarters in order again.
    cast(avx._mm256_permutevar8x32_epi32(bytes, cast([0i32, 4, 1, 5, 2, 6, 3, 7])))
}
