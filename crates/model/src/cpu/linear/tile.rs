//! A tile: all inputs of 64 output columns, contiguous, with its scales and zero points beside.

use super::codes::Form;
use super::layout::Layout;
use super::line::{Line, TILE, part_mut};

/// Lines of one group's scales (half precision) and of its zero points (bytes).
const SCALES: usize = 2;
const ZEROS: usize = 1;

/// Where a matrix's zero points come from, as the decoders number codes.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Zeros {
    /// One for all.
    All(f32),
    /// The tile's bytes, less `centre`, negated and so ready to be multiplied.
    Stored {
        /// What a byte of zero stands for.
        centre: f32,
    },
}

/// See the module. Columns beyond the matrix's last are zero.
#[derive(Default)]
pub(super) struct Tile {
    /// Rows of codes.
    pub(super) codes: Vec<Line>,
    /// `[groups, SCALES]`; empty without quantisation.
    scales: Vec<Line>,
    /// `[groups, ZEROS]`; empty where all are the same.
    zeros: Vec<Line>,
}

impl Tile {
    /// A tile of zeros.
    pub(super) fn new(layout: &Layout, form: Form) -> Tile {
        Tile { codes: vec![Line::ZERO; layout.rows() * form.lines()], ..Tile::default() }
    }

    /// Takes its columns' scales from `[groups, columns]`.
    pub(super) fn set_scales(&mut self, scales: &[half::f16], columns: usize, first: usize) {
        self.scales = vec![Line::ZERO; scales.len() / columns * SCALES];
        for (row, lines) in scales.chunks_exact(columns).zip(self.scales.chunks_exact_mut(SCALES)) {
            for (column, scale) in row[first..].iter().take(TILE).enumerate() {
                *part_mut::<u16>(lines, column) = scale.to_bits();
            }
        }
    }

    /// Takes its columns' zero points from `[groups, columns]`.
    pub(super) fn set_zeros(&mut self, zeros: &[u8], columns: usize, first: usize) {
        self.zeros = vec![Line::ZERO; zeros.len() / columns * ZEROS];
        for (row, lines) in zeros.chunks_exact(columns).zip(self.zeros.chunks_exact_mut(ZEROS)) {
            for (column, &zero) in row[first..].iter().take(TILE).enumerate() {
                *part_mut::<u8>(lines, column) = zero;
            }
        }
    }

    /// A group's scales.
    #[inline(always)]
    pub(super) fn scales(&self, group: usize) -> Option<&[Line]> {
        if self.scales.is_empty() { None } else { Some(&self.scales[group * SCALES..(group + 1) * SCALES]) }
    }

    /// A group's zero points.
    #[inline(always)]
    pub(super) fn zeros(&self, group: usize) -> &[Line] {
        &self.zeros[group * ZEROS..(group + 1) * ZEROS]
    }

    /// Bytes that it takes.
    pub(super) fn bytes(&self) -> usize {
        (self.codes.len() + self.scales.len() + self.zeros.len()) * size_of::<Line>()
    }
}
