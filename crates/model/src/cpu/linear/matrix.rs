//! A packed matrix and the division of its product among threads.

use std::fmt;
use std::marker::PhantomData;

use rayon::prelude::*;

use super::activations::{self, Block};
use super::codes::{Brain, Bytes, Codes, Form, Half, Nibbles, Single};
use super::kernel::{Job, Multiply, Scratch};
use super::lanes::{Lanes, Portable};
use super::line::{LINES, Line, TILE};
use super::pack::Packed;
use super::tile::Tile;

/// Multiplications from which a product is worth a second thread (about 30 microseconds of one).
const PAYS: usize = 1 << 20;

/// Rows that are packed at a time, which bounds the memory that their copies take.
const ROWS: usize = 1024;

/// Most rows of a task: enough that decoding a tile's weights costs a hundredth of multiplying with them.
const TASK: usize = 264;

/// Tasks for each thread, so that the last to finish is not far behind.
const TASKS: usize = 3;

/// Which instructions a product uses.
#[derive(Clone, Copy)]
pub(super) enum Path {
    #[cfg(target_arch = "x86_64")]
    Avx512(pulp::x86::V4),
    #[cfg(target_arch = "x86_64")]
    Avx2(pulp::x86::V3),
    Portable(Portable),
}

impl fmt::Debug for Path {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            #[cfg(target_arch = "x86_64")]
            Path::Avx512(_) => "AVX-512",
            #[cfg(target_arch = "x86_64")]
            Path::Avx2(_) => "AVX2",
            Path::Portable(_) => "portable",
        })
    }
}

impl Path {
    /// Those that this machine has, the best first.
    pub(super) fn available() -> impl Iterator<Item = Path> {
        #[cfg(target_arch = "x86_64")]
        let wide = [pulp::x86::V4::try_new().map(Path::Avx512), pulp::x86::V3::try_new().map(Path::Avx2)];
        #[cfg(not(target_arch = "x86_64"))]
        let wide = [None];
        wide.into_iter().flatten().chain([Path::Portable(Portable)])
    }

    /// The best that this machine has.
    pub(super) fn best() -> Path {
        Path::available().next().unwrap_or(Path::Portable(Portable))
    }
}

/// See the module.
pub(super) struct Matrix {
    packed: Packed,
    inputs: usize,
    outputs: usize,
    bias: Option<Vec<f32>>,
}

/// The outputs that one thread computes at a time: some rows of the columns of one tile.
struct Task<'a> {
    tile: &'a Tile,
    blocks: &'a [Block],
    bias: &'a [f32],
    out: Vec<&'a mut [f32]>,
}

impl Matrix {
    pub(super) fn new(packed: Packed, inputs: usize, outputs: usize, bias: Option<Vec<f32>>) -> Matrix {
        Matrix { packed, inputs, outputs, bias }
    }

    pub(super) fn inputs(&self) -> usize {
        self.inputs
    }

    pub(super) fn outputs(&self) -> usize {
        self.outputs
    }

    pub(super) fn bytes(&self) -> usize {
        let bias = self.bias.as_ref().map_or(0, |bias| size_of_val(bias.as_slice()));
        self.packed.tiles.iter().map(Tile::bytes).sum::<usize>() + self.packed.layout.bytes() + bias
    }

    /// `out [T, N] = x [T, K] * W^T + bias`.
    pub(super) fn multiply(&self, path: Path, x: &[f32], out: &mut [f32]) {
        match path {
            #[cfg(target_arch = "x86_64")]
            Path::Avx512(simd) => self.multiply_with(simd, x, out),
            #[cfg(target_arch = "x86_64")]
            Path::Avx2(simd) => self.multiply_with(simd, x, out),
            Path::Portable(simd) => self.multiply_with(simd, x, out),
        }
    }

    fn multiply_with<S: Lanes>(&self, simd: S, x: &[f32], out: &mut [f32]) {
        for (x, out) in x.chunks(ROWS * self.inputs).zip(out.chunks_mut(ROWS * self.outputs)) {
            match self.packed.form {
                Form::Nibbles => self.multiply_rows::<S, Nibbles>(simd, x, out),
                Form::Bytes => self.multiply_rows::<S, Bytes>(simd, x, out),
                Form::Half => self.multiply_rows::<S, Half>(simd, x, out),
                Form::Brain => self.multiply_rows::<S, Brain>(simd, x, out),
                Form::Single => self.multiply_rows::<S, Single>(simd, x, out),
            }
        }
    }

    fn multiply_rows<S: Lanes, C: Codes>(&self, simd: S, x: &[f32], out: &mut [f32]) {
        let blocks = activations::blocks(x, self.inputs, S::ROWS, &self.packed.layout, C::UNITS);
        let tasks = self.tasks(&blocks, out);
        let run = |scratch: &mut Scratch, task: Task<'_>| {
            let job = Job { layout: &self.packed.layout, tile: task.tile, zeros: self.packed.zeros };
            let scratch_in = &mut *scratch;
            simd.run(Multiply { simd, codes: PhantomData::<C>, job, blocks: task.blocks, scratch: scratch_in });
            write(&scratch.totals, task);
        };
        if x.len() * self.outputs < PAYS {
            let mut scratch = Scratch::default();
            tasks.into_iter().for_each(|task| run(&mut scratch, task));
        } else {
            tasks.into_par_iter().for_each_init(Scratch::default, run);
        }
    }

    /// Cuts the outputs into tasks: by tiles, and by rows where there are many or few tiles.
    fn tasks<'a>(&'a self, blocks: &'a [Block], out: &'a mut [f32]) -> Vec<Task<'a>> {
        let parts = (TASKS * rayon::current_num_threads()).div_ceil(self.packed.tiles.len());
        let rows = blocks.iter().map(Block::rows).sum::<usize>();
        let most = rows.div_ceil(parts).clamp(TASK / 4, TASK).div_ceil(blocks[0].rows().max(1));
        let mut tasks = Vec::with_capacity(self.packed.tiles.len() * blocks.len().div_ceil(most));
        let mut rest = out;
        for blocks in blocks.chunks(most) {
            let rows: usize = blocks.iter().map(Block::rows).sum();
            let (mine, others) = rest.split_at_mut(rows * self.outputs);
            rest = others;
            let mut rows: Vec<_> = mine.chunks_exact_mut(self.outputs).map(|row| row.chunks_mut(TILE)).collect();
            for (index, tile) in self.packed.tiles.iter().enumerate() {
                let bias = self.bias.as_ref().map_or(&[][..], |bias| &bias[index * TILE..]);
                tasks.push(Task { tile, blocks, bias, out: rows.iter_mut().filter_map(Iterator::next).collect() });
            }
        }
        tasks
    }
}

/// Totals and bias to the outputs.
fn write(totals: &[Line], task: Task<'_>) {
    for (out, totals) in task.out.into_iter().zip(totals.chunks_exact(LINES)) {
        for (out, total) in out.chunks_mut(16).zip(totals) {
            out.copy_from_slice(&bytemuck::cast::<[u32; 16], [f32; 16]>(total.0)[..out.len()]);
        }
        for (out, bias) in out.iter_mut().zip(task.bias) {
            *out += bias;
        }
    }
}
