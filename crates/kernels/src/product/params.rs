//! What the kernels of a product are told.

use bytemuck::{Pod, Zeroable};

use super::{SQUARES, Task};

/// Tokens of a step that a kernel takes together.
#[derive(Debug, Clone, Copy)]
pub(super) struct Rows {
    pub(super) first: usize,
    pub(super) count: usize,
}

/// `ProductParams`; what a kernel has no use for is 0.
#[repr(C)]
#[derive(Debug, Clone, Copy, Pod, Zeroable)]
pub(super) struct Params {
    pub(super) weights: u64,
    pub(super) input: u64,
    pub(super) permutation: u64,
    pub(super) squares_in: u64,
    pub(super) output: u64,
    pub(super) norm: u64,
    pub(super) normed: u64,
    pub(super) squares_out: u64,
    pub(super) tokens: u32,
    pub(super) inputs: u32,
    pub(super) outputs: u32,
    pub(super) groups: u32,
    pub(super) all_groups: u32,
    pub(super) parts: u32,
    pub(super) row_blocks: u32,
    pub(super) tiles: u32,
    pub(super) chunk: u32,
    pub(super) stages: u32,
    pub(super) flight: u32,
    pub(super) epsilon: f32,
    pub(super) left: u64,
    pub(super) mail: u64,
}

impl Params {
    /// Of any kernel for these rows: without activations, and without what only some kernels take.
    pub(super) fn new(Task { weights, input, output, setting, .. }: Task<'_>, rows: Rows) -> Self {
        let layout = &weights.layout;
        let [output, norm, normed, squares_out] = output.addresses(rows.first, layout.outputs());
        Self {
            weights: weights.bytes.address(),
            squares_in: input.squares.map_or(0, |squares| squares.address_of(rows.first * SQUARES)),
            output,
            norm,
            normed,
            squares_out,
            tokens: rows.count as u32,
            inputs: layout.inputs() as u32,
            outputs: layout.outputs() as u32,
            parts: layout.ctas() as u32,
            row_blocks: layout.blocks() as u32,
            tiles: layout.groups() as u32,
            chunk: layout.chunk_len() as u32,
            epsilon: setting.epsilon,
            ..Self::zeroed()
        }
    }
}
