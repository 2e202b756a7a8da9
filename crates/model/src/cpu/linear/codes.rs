//! The forms in which a tile holds its weights, and how each is decoded.
//!
//! A tile's codes are rows of [`TILE`] columns; a row holds one or more consecutive inputs of each column, so that one
//! vector of codes is decoded into one vector of columns.

use super::lanes::Lanes;
use super::line::Line;

/// One form of weights.
pub(super) trait Codes: Copy + Send + Sync {
    /// Lines of a row of codes.
    const LINES: usize;
    /// Inputs in a row of codes.
    const DEPTH: usize;
    /// By what the activation of each input of a row is multiplied beforehand (powers of two, so nothing is rounded).
    const UNITS: &'static [f32];

    /// The `index`th vector of weights of the `depth`th input of a row, each divided by that input's unit.
    fn value<S: Lanes>(simd: S, row: &[Line], index: usize, depth: usize) -> S::Floats;
}

/// Eight unsigned 4-bit codes in a word, as GPTQ stores them: the lowest input in the lowest bits.
#[derive(Clone, Copy)]
pub(super) struct Nibbles;

impl Codes for Nibbles {
    const LINES: usize = 4;
    const DEPTH: usize = 8;
    /// A nibble is converted where it stands, 4 bits higher than its neighbour: that saves the shift. The top one would
    /// reach the sign, so it is shifted after all.
    const UNITS: &'static [f32] =
        &[1.0, 1.0 / 16.0, 1.0 / 256.0, 1.0 / 4_096.0, 1.0 / 65_536.0, 1.0 / 1_048_576.0, 1.0 / 16_777_216.0, 1.0];

    #[inline(always)]
    fn value<S: Lanes>(simd: S, row: &[Line], index: usize, depth: usize) -> S::Floats {
        let words = simd.words(row, index);
        simd.convert(if depth == 7 { simd.top_nibbles(words) } else { simd.and(words, 0xf << (4 * depth)) })
    }
}

/// 8-bit codes less 128, one input in a row.
#[derive(Clone, Copy)]
pub(super) struct Bytes;

impl Codes for Bytes {
    const LINES: usize = 1;
    const DEPTH: usize = 1;
    const UNITS: &'static [f32] = &[1.0];

    #[inline(always)]
    fn value<S: Lanes>(simd: S, row: &[Line], index: usize, _: usize) -> S::Floats {
        simd.convert(simd.signed_bytes(row, index))
    }
}

/// IEEE half precision, one input in a row.
#[derive(Clone, Copy)]
pub(super) struct Half;

impl Codes for Half {
    const LINES: usize = 2;
    const DEPTH: usize = 1;
    const UNITS: &'static [f32] = &[1.0];

    #[inline(always)]
    fn value<S: Lanes>(simd: S, row: &[Line], index: usize, _: usize) -> S::Floats {
        simd.widen_f16(simd.halves(row, index))
    }
}

/// bfloat16, one input in a row.
#[derive(Clone, Copy)]
pub(super) struct Brain;

impl Codes for Brain {
    const LINES: usize = 2;
    const DEPTH: usize = 1;
    const UNITS: &'static [f32] = &[1.0];

    #[inline(always)]
    fn value<S: Lanes>(simd: S, row: &[Line], index: usize, _: usize) -> S::Floats {
        simd.widen_bf16(simd.halves(row, index))
    }
}

/// Single precision, one input in a row.
#[derive(Clone, Copy)]
pub(super) struct Single;

impl Codes for Single {
    const LINES: usize = 4;
    const DEPTH: usize = 1;
    const UNITS: &'static [f32] = &[1.0];

    #[inline(always)]
    fn value<S: Lanes>(simd: S, row: &[Line], index: usize, _: usize) -> S::Floats {
        simd.load(row, index)
    }
}

/// Which form a matrix has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Form {
    Nibbles,
    Bytes,
    Half,
    Brain,
    Single,
}

impl Form {
    /// Inputs in a row of codes.
    pub(super) fn depth(self) -> usize {
        self.units().len()
    }

    /// Lines of a row of codes.
    pub(super) fn lines(self) -> usize {
        match self {
            Form::Nibbles => Nibbles::LINES,
            Form::Bytes => Bytes::LINES,
            Form::Half => Half::LINES,
            Form::Brain => Brain::LINES,
            Form::Single => Single::LINES,
        }
    }

    /// See [`Codes::UNITS`].
    pub(super) fn units(self) -> &'static [f32] {
        match self {
            Form::Nibbles => Nibbles::UNITS,
            Form::Bytes | Form::Half | Form::Brain | Form::Single => Single::UNITS,
        }
    }

    /// The code that stands for zero where the checkpoint gives no zero points, as the decoders number codes.
    pub(super) fn centre(self) -> f32 {
        if self == Form::Nibbles { 8.0 } else { 0.0 }
    }
}
