//! Products of four-bit weights with many tokens, on Hopper.

use bytemuck::{Pod, Zeroable};
use half::bf16;

use super::{Input, Output, Prepared, SQUARES, Setting, Weights, memory};
use crate::device::Device;
use crate::error::CudaError;
use crate::images::image;
use crate::kind::{Kind, SLOTS};
use crate::launch::Launch;
use crate::layout::Layout;
use crate::memory::Buffer;
use crate::module::Module;
use crate::work::Work;

/// A byte of what no sum is.
pub(super) const NOTHING: u8 = 0xff;
/// The fewest tokens for which these kernels are the faster ones.
const FEWEST: usize = 17;
/// Most tokens that one kernel takes together.
const MOST: usize = 64;
/// Warps that multiply, each 16 rows.
const WARPS: usize = 12;
/// Blocks of threads that share rows where outputs are few; each finishes as large a part of the tokens.
const TEAM: usize = 4;
const THREADS: u32 = 512;
/// Tokens that a block of threads prepares.
const TOKENS: usize = 8;

/// The kernels.
#[derive(Debug)]
pub(super) struct Wide {
    module: Module,
    /// Bytes of shared memory that a block may have.
    shared: usize,
}

#[repr(C)]
#[derive(Debug, Clone, Copy, Pod, Zeroable)]
struct Params {
    weights: u64,
    input: u64,
    mail: u64,
    squares_in: u64,
    output: u64,
    norm: u64,
    normed: u64,
    squares_out: u64,
    tokens: u32,
    inputs: u32,
    outputs: u32,
    parts: u32,
    row_blocks: u32,
    tiles: u32,
    chunk: u32,
    stages: u32,
    flight: u32,
    epsilon: f32,
}

#[repr(C)]
#[derive(Debug, Clone, Copy, Pod, Zeroable)]
struct PrepareParams {
    input: u64,
    permutation: u64,
    output: u64,
    tokens: u32,
    inputs: u32,
    tiles: u32,
    chunk: u32,
}

/// Tokens that are taken together.
#[derive(Debug, Clone, Copy)]
struct Pass {
    first: usize,
    count: usize,
    /// Tokens that the kernel has room for.
    width: usize,
}

impl Wide {
    pub(super) fn load(device: &Device) -> Result<Option<Self>, CudaError> {
        let properties = device.properties();
        // The matrix instructions of a warpgroup are of this version alone.
        let Some(image) = image("wide", properties.capability).filter(|_| properties.capability == (9, 0)) else {
            return Ok(None);
        };
        Ok(Some(Self { module: device.module(image)?, shared: properties.shared as usize }))
    }

    /// Whether these kernels are for a product.
    pub(super) fn takes(layout: &Layout, tokens: usize) -> bool {
        layout.kind() == Kind::Int4 && tokens >= FEWEST
    }

    pub(super) fn work(
        &self,
        weights: &Weights,
        input: Input<'_>,
        output: &Output<'_>,
        prepared: &Prepared,
        setting: Setting,
    ) -> Result<Vec<Work>, CudaError> {
        let (tokens, needed) = (setting.tokens, prepared_bytes(&weights.layout, setting.tokens));
        assert!(prepared.groups.len() >= needed, "room of {} bytes for {needed}", prepared.groups.len());
        let mail = mail_bytes(&weights.layout, tokens);
        assert!(prepared.mail.len() >= mail, "letter boxes of {} bytes for {mail}", prepared.mail.len());
        let mut work = Vec::new();
        for first in (0..tokens).step_by(MOST) {
            let count = MOST.min(tokens - first);
            let pass = Pass { first, count, width: width(count) };
            work.push(self.prepare(weights, input.values, prepared, pass)?);
            work.push(self.product(weights, input, output, prepared, (setting, pass))?);
        }
        Ok(work)
    }

    fn prepare(
        &self,
        weights: &Weights,
        values: &Buffer<bf16>,
        prepared: &Prepared,
        pass: Pass,
    ) -> Result<Work, CudaError> {
        let layout = &weights.layout;
        let params = PrepareParams {
            input: values.address_of(pass.first * layout.inputs()),
            permutation: weights.permutation.as_ref().map_or(0, Buffer::address),
            output: prepared.groups.address(),
            tokens: pass.count as u32,
            inputs: layout.inputs() as u32,
            tiles: layout.groups() as u32,
            chunk: layout.chunk_len() as u32,
        };
        let function = self.module.function(&format!("prepare_wide_{}", pass.width), 0)?;
        let grid = [(SLOTS * layout.chunks()) as u32, pass.count.div_ceil(TOKENS) as u32, 1];
        let mut memory = vec![values.memory(), prepared.groups.memory()];
        memory.extend(weights.permutation.as_ref().map(Buffer::memory));
        // SAFETY: the kernel reads the pass's activations and writes a chunk for each slot, chunk and token; the caller checked both.
        Ok(unsafe {
            Work::new(&function, Launch { grid, threads: 32 * TOKENS as u32, shared: 0, early: true }, &params, memory)
        })
    }

    fn product(
        &self,
        weights: &Weights,
        input: Input<'_>,
        output: &Output<'_>,
        prepared: &Prepared,
        (Setting { epsilon, flow, .. }, Pass { first, count, width }): (Setting, Pass),
    ) -> Result<Work, CudaError> {
        let layout = &weights.layout;
        let team = if matches!(output, Output::Gated(_)) { 1 } else { TEAM };
        let parked = match output {
            Output::Plain(_) => 0,
            Output::Gated(_) => 2 * WARPS * 32 * width / 2,
            Output::Add(_) => WARPS * 32 * width / 2 / TEAM,
        };
        let fixed = 4 * (parked + width / team);
        let stage = WARPS * layout.kind().tile_bytes() + input_bytes(width) + 3 * 8;
        let stages = flow.slots.min((self.shared - fixed) / stage).max(2);
        let function = self.module.function(&format!("product_wide_{}_{width}", output.name()), self.shared as u32)?;
        let [output_values, norm, normed, squares_out] = output.addresses(first, layout.outputs());
        let params = Params {
            weights: weights.bytes.address(),
            input: prepared.groups.address(),
            mail: prepared.mail.address(),
            squares_in: input.squares.map_or(0, |squares| squares.address_of(first * SQUARES)),
            output: output_values,
            norm,
            normed,
            squares_out,
            tokens: count as u32,
            inputs: layout.inputs() as u32,
            outputs: layout.outputs() as u32,
            parts: layout.ctas() as u32,
            row_blocks: layout.blocks() as u32,
            tiles: layout.groups() as u32,
            chunk: layout.chunk_len() as u32,
            stages: stages as u32,
            flight: (flow.flight + if matches!(output, Output::Add(_)) { 3 } else { 1 }).min(stages) as u32,
            epsilon,
        };
        let grid = [layout.ctas().next_multiple_of(team) as u32, 1, 1];
        let launch = Launch { grid, threads: THREADS, shared: (fixed + stages * stage) as u32, early: true };
        // SAFETY: the buffers are as large as the parameters say, which the caller checked.
        Ok(unsafe { Work::new(&function, launch, &params, memory(weights, &input, output, prepared)) })
    }
}

/// Tokens that a kernel for `count` has room for.
fn width(count: usize) -> usize {
    count.next_power_of_two().max(32)
}

/// Bytes of the inputs of one tile.
const fn input_bytes(width: usize) -> usize {
    width * (2 * 128 + 4)
}

/// Bytes of the prepared inputs of `tokens` tokens; none where they are not for these kernels.
pub(super) fn prepared_bytes(layout: &Layout, tokens: usize) -> usize {
    if !Wide::takes(layout, tokens) {
        return 0;
    }
    SLOTS * layout.groups() * input_bytes(width(tokens.min(MOST)))
}

/// Bytes of letter boxes, where the blocks of a team find what the others have of their sums.
pub(super) fn mail_bytes(layout: &Layout, tokens: usize) -> usize {
    if !Wide::takes(layout, tokens) {
        return 0;
    }
    let blocks = layout.ctas().next_multiple_of(TEAM);
    let passes = (layout.blocks() * TEAM).div_ceil(WARPS);
    passes * blocks * (TEAM - 1) * WARPS * 32 * width(tokens.min(MOST)) / 2 / TEAM * 4
}
