//! The innermost loops: a block of activation rows times a tile of weights.
//!
//! Every output is summed in one order, whatever the number of rows: within a segment of inputs one after the other from
//! zero, then segment by segment. That is what keeps a row's result independent of its batch.

use std::marker::PhantomData;

use super::activations::Block;
use super::codes::Codes;
use super::lanes::Lanes;
use super::layout::{Layout, Segment};
use super::line::{LINES, Line, TILE};
use super::tile::{Tile, Zeros};

/// One tile of a matrix, as the kernels see it.
pub(super) struct Job<'a> {
    pub(super) layout: &'a Layout,
    pub(super) tile: &'a Tile,
    pub(super) zeros: Zeros,
}

/// Memory that a thread keeps from tile to tile.
#[derive(Default)]
pub(super) struct Scratch {
    /// The outputs, `[rows, TILE]`.
    pub(super) totals: Vec<Line>,
    /// A segment's weights in `f32`: strips of [`Lanes::PANEL`] vectors, each `[inputs, strip]`.
    panel: Vec<Line>,
}

/// Multiplies `blocks` with the tile of `job` into `scratch.totals`.
pub(super) struct Multiply<'a, S, C> {
    pub(super) simd: S,
    pub(super) codes: PhantomData<C>,
    pub(super) job: Job<'a>,
    pub(super) blocks: &'a [Block],
    pub(super) scratch: &'a mut Scratch,
}

impl<S: Lanes, C: Codes> pulp::NullaryFnOnce for Multiply<'_, S, C> {
    type Output = ();

    #[inline(always)]
    fn call(self) {
        let Multiply { simd, job, blocks, scratch, .. } = self;
        scratch.totals.clear();
        scratch.totals.resize(blocks.iter().map(|block| block.rows() * LINES).sum(), Line::ZERO);
        let fused = blocks.len() <= S::FUSED;
        for segment in 0..job.layout.segments.len() {
            if !fused {
                decode::<S, C>(simd, &job, segment, &mut scratch.panel);
            }
            let mut totals = scratch.totals.as_mut_slice();
            for block in blocks {
                let totals = next(&mut totals, block);
                if fused {
                    simd.fused::<C>(&job, segment, block, totals);
                } else {
                    simd.panel(&job, segment, &scratch.panel, block, totals);
                }
            }
        }
    }
}

/// Takes the totals of `block` off the front of `totals`.
#[inline(always)]
fn next<'a>(totals: &mut &'a mut [Line], block: &Block) -> &'a mut [Line] {
    let (mine, rest) = std::mem::take(totals).split_at_mut(block.rows() * LINES);
    *totals = rest;
    mine
}

/// A segment's weights in `f32`, where more than one block of rows is to use them.
#[inline(always)]
fn decode<S: Lanes, C: Codes>(simd: S, job: &Job<'_>, segment: usize, panel: &mut Vec<Line>) {
    let segment = &job.layout.segments[segment];
    let inputs = segment.rows.len() * C::DEPTH;
    panel.resize(inputs * LINES, Line::ZERO);
    let codes = &job.tile.codes[segment.rows.start * C::LINES..segment.rows.end * C::LINES];
    for (row, codes) in codes.chunks_exact(C::LINES).enumerate() {
        for depth in 0..C::DEPTH {
            for index in 0..TILE / S::WIDTH {
                let (strip, column) = (index / S::PANEL, index % S::PANEL);
                let place = (strip * inputs + row * C::DEPTH + depth) * S::PANEL + column;
                simd.store(panel, place, C::value(simd, codes, index, depth));
            }
        }
    }
}

/// One strip of a panel.
#[derive(Clone, Copy)]
struct Strip<S>(PhantomData<S>);

impl<P: Lanes> Codes for Strip<P> {
    const LINES: usize = P::PANEL * P::WIDTH / 16;
    const DEPTH: usize = 1;
    const UNITS: &'static [f32] = &[1.0];

    #[inline(always)]
    fn value<S: Lanes>(simd: S, row: &[Line], index: usize, _: usize) -> S::Floats {
        simd.load(row, index)
    }
}

/// See [`Lanes::panel`].
#[inline(always)]
pub(super) fn panel<S: Lanes, const R: usize, const V: usize>(
    simd: S,
    job: &Job<'_>,
    segment: usize,
    panel: &[Line],
    block: &Block,
    totals: &mut [Line],
) {
    let inputs = job.layout.segments[segment].inputs.clone();
    let strip = inputs.len() * Strip::<S>::LINES;
    for (index, panel) in panel.chunks_exact(strip).enumerate() {
        let sums = accumulate::<S, Strip<S>, R, V>(simd, panel, 0, block.inputs(inputs.clone()));
        finish(simd, job, segment, index * V, &sums, block, totals);
    }
}

/// See [`Lanes::fused`].
#[inline(always)]
pub(super) fn fused<S: Lanes, C: Codes, const R: usize, const V: usize>(
    simd: S,
    job: &Job<'_>,
    segment: usize,
    block: &Block,
    totals: &mut [Line],
) {
    let Segment { inputs, rows, .. } = &job.layout.segments[segment];
    let codes = &job.tile.codes[rows.start * C::LINES..rows.end * C::LINES];
    for first in (0..TILE / S::WIDTH).step_by(V) {
        let sums = accumulate::<S, C, R, V>(simd, codes, first, block.inputs(inputs.clone()));
        finish(simd, job, segment, first, &sums, block, totals);
    }
}

/// The sums over one segment, of `R` rows and `V` vectors of columns from the `first`th on.
#[inline(always)]
fn accumulate<S: Lanes, C: Codes, const R: usize, const V: usize>(
    simd: S,
    codes: &[Line],
    first: usize,
    x: &[f32],
) -> [[S::Floats; V]; R] {
    let mut sums = [[simd.splat(0.0); V]; R];
    let (x, _) = x.as_chunks::<R>();
    for (row, x) in codes.chunks_exact(C::LINES).zip(x.chunks_exact(C::DEPTH)) {
        for (depth, x) in (0..C::DEPTH).zip(x) {
            if R < V {
                few_rows::<S, C, R, V>(simd, row, first, depth, x, &mut sums);
            } else {
                many_rows::<S, C, R, V>(simd, row, first, depth, x, &mut sums);
            }
        }
    }
    sums
}

/// One input, the activations kept in registers while the weights come one after the other.
#[inline(always)]
fn few_rows<S: Lanes, C: Codes, const R: usize, const V: usize>(
    simd: S,
    row: &[Line],
    first: usize,
    depth: usize,
    x: &[f32; R],
    sums: &mut [[S::Floats; V]; R],
) {
    let mut numbers = [simd.splat(0.0); R];
    for (number, &x) in numbers.iter_mut().zip(x) {
        *number = simd.splat(x);
    }
    for column in 0..V {
        let weight = C::value(simd, row, first + column, depth);
        for (sums, &number) in sums.iter_mut().zip(&numbers) {
            sums[column] = simd.multiply_add(weight, number, sums[column]);
        }
    }
}

/// One input, the weights kept in registers while the activations come one after the other.
#[inline(always)]
fn many_rows<S: Lanes, C: Codes, const R: usize, const V: usize>(
    simd: S,
    row: &[Line],
    first: usize,
    depth: usize,
    x: &[f32; R],
    sums: &mut [[S::Floats; V]; R],
) {
    let mut weights = [simd.splat(0.0); V];
    for (column, weight) in weights.iter_mut().enumerate() {
        *weight = C::value(simd, row, first + column, depth);
    }
    for (sums, &x) in sums.iter_mut().zip(x) {
        let number = simd.splat(x);
        for (sum, &weight) in sums.iter_mut().zip(&weights) {
            *sum = simd.multiply_add(weight, number, *sum);
        }
    }
}

/// Adds a segment's sums to the totals: as they are, or as `scale * (sum - zero * sum of activations)`.
#[inline(always)]
fn finish<S: Lanes, const R: usize, const V: usize>(
    simd: S,
    job: &Job<'_>,
    segment: usize,
    first: usize,
    sums: &[[S::Floats; V]; R],
    block: &Block,
    totals: &mut [Line],
) {
    let group = job.layout.segments[segment].group;
    let x = block.sums(segment);
    let mut weighs = [None; V];
    for (column, weigh) in weighs.iter_mut().enumerate() {
        *weigh = scale_and_zero(simd, job, group, first + column);
    }
    for (row, (sums, &x)) in sums.iter().zip(x).enumerate() {
        for (column, (&sum, weigh)) in sums.iter().zip(&weighs).enumerate() {
            let place = row * (TILE / S::WIDTH) + first + column;
            let total = simd.load(totals, place);
            let total = match *weigh {
                Some((scale, minus)) => simd.multiply_add(scale, simd.multiply_add(minus, simd.splat(x), sum), total),
                None => simd.add(total, sum),
            };
            simd.store(totals, place, total);
        }
    }
}

/// The scales and the negated zero points of a group, where there are groups. (No closures here: they would not be compiled
/// for the instruction set.)
#[inline(always)]
fn scale_and_zero<S: Lanes>(simd: S, job: &Job<'_>, group: usize, index: usize) -> Option<(S::Floats, S::Floats)> {
    let scales = job.tile.scales(group)?;
    let minus = match job.zeros {
        Zeros::All(zero) => simd.splat(-zero),
        Zeros::Stored { centre } => {
            let zeros = simd.convert(simd.bytes(job.tile.zeros(group), index));
            simd.multiply_add(zeros, simd.splat(-1.0), simd.splat(centre))
        }
    };
    Some((simd.widen_f16(simd.halves(scales, index)), minus))
}
