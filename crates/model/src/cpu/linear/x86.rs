//! AVX2 and AVX-512, through the tokens of `pulp`, which exist only where the machine has the instructions.

use std::arch::x86_64::{__m256, __m256i, __m512, __m512i};

use pulp::x86::{V3, V4};
use pulp::{NullaryFnOnce, cast};

use super::activations::Block;
use super::codes::Codes;
use super::kernel::{self, Job};
use super::lanes::{Lanes, SUBNORMAL, shapes};
use super::line::{Line, part, part_mut};

impl Lanes for V4 {
    type Floats = __m512;
    type Words = __m512i;
    const WIDTH: usize = 16;
    const FUSED: usize = 4;

    #[inline(always)]
    fn run<W: NullaryFnOnce>(self, work: W) -> W::Output {
        self.vectorize(work)
    }

    #[inline(always)]
    fn splat(self, value: f32) -> __m512 {
        self.avx512f._mm512_set1_ps(value)
    }

    #[inline(always)]
    fn add(self, a: __m512, b: __m512) -> __m512 {
        self.avx512f._mm512_add_ps(a, b)
    }

    #[inline(always)]
    fn multiply_add(self, a: __m512, b: __m512, c: __m512) -> __m512 {
        self.avx512f._mm512_fmadd_ps(a, b, c)
    }

    #[inline(always)]
    fn load(self, lines: &[Line], index: usize) -> __m512 {
        cast(lines[index].0)
    }

    #[inline(always)]
    fn store(self, lines: &mut [Line], index: usize, value: __m512) {
        lines[index].0 = cast(value);
    }

    #[inline(always)]
    fn words(self, lines: &[Line], index: usize) -> __m512i {
        cast(lines[index].0)
    }

    #[inline(always)]
    fn halves(self, lines: &[Line], index: usize) -> __m512i {
        self.avx512f._mm512_cvtepu16_epi32(cast(*part::<[u16; 16]>(lines, index)))
    }

    #[inline(always)]
    fn bytes(self, lines: &[Line], index: usize) -> __m512i {
        self.avx512f._mm512_cvtepu8_epi32(cast(*part::<[u8; 16]>(lines, index)))
    }

    #[inline(always)]
    fn signed_bytes(self, lines: &[Line], index: usize) -> __m512i {
        self.avx512f._mm512_cvtepi8_epi32(cast(*part::<[u8; 16]>(lines, index)))
    }

    #[inline(always)]
    fn and(self, words: __m512i, mask: u32) -> __m512i {
        self.avx512f._mm512_and_si512(words, cast([mask; 16]))
    }

    #[inline(always)]
    fn top_nibbles(self, words: __m512i) -> __m512i {
        self.avx512f._mm512_srli_epi32::<28>(words)
    }

    #[inline(always)]
    fn convert(self, words: __m512i) -> __m512 {
        self.avx512f._mm512_cvtepi32_ps(words)
    }

    #[inline(always)]
    fn widen_f16(self, words: __m512i) -> __m512 {
        self.avx512f._mm512_cvtph_ps(self.avx512f._mm512_cvtepi32_epi16(words))
    }

    #[inline(always)]
    fn widen_bf16(self, words: __m512i) -> __m512 {
        cast(self.avx512f._mm512_slli_epi32::<16>(words))
    }

    shapes!(6 rows, 4 wide: 1 => 4, 2 => 4, 3 => 4, 4 => 4, 5 => 4, 6 => 4);
}

impl Lanes for V3 {
    type Floats = __m256;
    type Words = __m256i;
    const WIDTH: usize = 8;
    const FUSED: usize = 1;

    #[inline(always)]
    fn run<W: NullaryFnOnce>(self, work: W) -> W::Output {
        self.vectorize(work)
    }

    #[inline(always)]
    fn splat(self, value: f32) -> __m256 {
        self.avx._mm256_set1_ps(value)
    }

    #[inline(always)]
    fn add(self, a: __m256, b: __m256) -> __m256 {
        self.avx._mm256_add_ps(a, b)
    }

    #[inline(always)]
    fn multiply_add(self, a: __m256, b: __m256, c: __m256) -> __m256 {
        self.fma._mm256_fmadd_ps(a, b, c)
    }

    #[inline(always)]
    fn load(self, lines: &[Line], index: usize) -> __m256 {
        cast(*part::<[f32; 8]>(lines, index))
    }

    #[inline(always)]
    fn store(self, lines: &mut [Line], index: usize, value: __m256) {
        *part_mut::<[f32; 8]>(lines, index) = cast(value);
    }

    #[inline(always)]
    fn words(self, lines: &[Line], index: usize) -> __m256i {
        cast(*part::<[u32; 8]>(lines, index))
    }

    #[inline(always)]
    fn halves(self, lines: &[Line], index: usize) -> __m256i {
        self.avx2._mm256_cvtepu16_epi32(cast(*part::<[u16; 8]>(lines, index)))
    }

    #[inline(always)]
    fn bytes(self, lines: &[Line], index: usize) -> __m256i {
        self.avx2._mm256_cvtepu8_epi32(cast([*part::<u64>(lines, index), 0]))
    }

    #[inline(always)]
    fn signed_bytes(self, lines: &[Line], index: usize) -> __m256i {
        self.avx2._mm256_cvtepi8_epi32(cast([*part::<u64>(lines, index), 0]))
    }

    #[inline(always)]
    fn and(self, words: __m256i, mask: u32) -> __m256i {
        self.avx2._mm256_and_si256(words, cast([mask; 8]))
    }

    #[inline(always)]
    fn top_nibbles(self, words: __m256i) -> __m256i {
        self.avx2._mm256_srli_epi32::<28>(words)
    }

    #[inline(always)]
    fn convert(self, words: __m256i) -> __m256 {
        self.avx._mm256_cvtepi32_ps(words)
    }

    /// F16C is not among the instructions of the token, so the exponent is rebiased by hand, as in the portable path: the
    /// sign of `magnitude - 2^23` tells a subnormal, which `blendv` reads.
    #[inline(always)]
    fn widen_f16(self, words: __m256i) -> __m256 {
        let shifted = self.avx2._mm256_slli_epi32::<13>(words);
        let magnitude = self.and(shifted, 0x7fff << 13);
        let normal = self.avx2._mm256_add_epi32(magnitude, cast([112u32 << 23; 8]));
        let subnormal = self.avx._mm256_mul_ps(self.convert(magnitude), self.splat(SUBNORMAL));
        let choice = self.avx2._mm256_sub_epi32(magnitude, cast([1u32 << 23; 8]));
        let value = self.avx._mm256_blendv_ps(cast(normal), subnormal, cast(choice));
        let sign = self.and(self.avx2._mm256_slli_epi32::<3>(shifted), 1 << 31);
        self.avx._mm256_or_ps(value, cast(sign))
    }

    #[inline(always)]
    fn widen_bf16(self, words: __m256i) -> __m256 {
        cast(self.avx2._mm256_slli_epi32::<16>(words))
    }

    shapes!(6 rows, 2 wide: 1 => 8, 2 => 4, 3 => 2, 4 => 2, 5 => 2, 6 => 2);
}
