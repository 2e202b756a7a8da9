//! Kernels that make the inputs of several tokens, once for all blocks of a product.

use bytemuck::{Pod, Zeroable};
use half::bf16;

use super::params::Rows;
use super::{Prepared, Weights};
use crate::kind::SLOTS;
use crate::launch::Launch;
use crate::memory::Buffer;
use crate::module::Function;
use crate::work::Work;

/// One of these kernels.
#[derive(Debug)]
pub(super) struct Prepare {
    pub(super) function: Function,
    /// Tokens of a block of threads, a warp each.
    pub(super) tokens: usize,
    /// Bytes that it makes.
    pub(super) bytes: usize,
    /// As of a [`Launch`].
    pub(super) early: bool,
}

#[repr(C)]
#[derive(Debug, Clone, Copy, Pod, Zeroable)]
struct Params {
    input: u64,
    permutation: u64,
    output: u64,
    tokens: u32,
    inputs: u32,
    tiles: u32,
    chunk: u32,
}

impl Prepare {
    /// Makes the inputs of these rows of `values`, which the caller proved to be there.
    ///
    /// # Panics
    /// When there is no room.
    pub(super) fn work(&self, weights: &Weights, values: &Buffer<bf16>, prepared: &Prepared, rows: Rows) -> Work {
        let (layout, room) = (&weights.layout, prepared.groups.len());
        assert!(room >= self.bytes, "room of {room} bytes for {}", self.bytes);
        let params = Params {
            input: values.address_of(rows.first * layout.inputs()),
            permutation: weights.permutation.as_ref().map_or(0, Buffer::address),
            output: prepared.groups.address(),
            tokens: rows.count as u32,
            inputs: layout.inputs() as u32,
            tiles: layout.groups() as u32,
            chunk: layout.chunk_len() as u32,
        };
        let launch = Launch {
            grid: [(SLOTS * layout.chunks()) as u32, rows.count.div_ceil(self.tokens) as u32, 1],
            threads: 32 * self.tokens as u32,
            shared: 0,
            early: self.early,
        };
        let mut memory = vec![values.memory(), prepared.groups.memory()];
        memory.extend(weights.permutation.as_ref().map(Buffer::memory));
        // SAFETY: the kernel reads the rows' activations, and writes a chunk for each slot, chunk and token, for
        // which there is room.
        unsafe { Work::new(&self.function, launch, &params, memory) }
    }
}
