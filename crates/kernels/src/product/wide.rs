//! Products of four-bit weights and of halves with many tokens, on Hopper.

use super::params::{Params, Rows};
use super::prepare::Prepare;
use super::shape::kind_name;
use super::{By, Flow, Input, Left, Output, Setting, Task, Weights, memory};
use crate::device::Device;
use crate::error::CudaError;
use crate::images::image;
use crate::kind::{Kind, SLOTS};
use crate::launch::Launch;
use crate::layout::Layout;
use crate::module::Module;
use crate::work::Work;

/// The byte of words that letter boxes hold until a sum is sent. All ones are a NaN that no sum can be: arithmetic
/// makes NaNs of other bits.
pub(super) const NOTHING: u8 = 0xff;
/// The fewest tokens for which these kernels are the faster ones.
const FEWEST: usize = 17;
/// Most tokens that one kernel takes together.
const MOST: usize = 64;
/// Warps that multiply, each 16 rows.
const WARPS: usize = 12;
/// Warps whose rows are a tile of the next product's inputs.
const LEAVERS: usize = 8;
/// Inputs of a tile.
const TILE: usize = 128;
/// Blocks of threads that share rows where outputs are few; each finishes as large a part of the tokens.
const TEAM: usize = 4;
const THREADS: u32 = 512;
/// Tokens that a block of threads prepares.
const TOKENS: usize = 8;
/// Most stages that the kernels can have under way at once.
const MOST_FLIGHT: usize = 5;

/// The kernels.
#[derive(Debug)]
pub(super) struct Wide {
    module: Module,
    /// Bytes of shared memory that a block may have.
    shared: usize,
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

    /// Whether these kernels are for a product. Of halves there is the head alone.
    pub(super) fn takes(layout: &Layout, output: &Output<'_>, tokens: usize) -> bool {
        takes(layout, tokens) && (layout.kind() == Kind::Int4 || matches!(output, Output::Plain(_)))
    }

    pub(super) fn work(&self, task: Task<'_>) -> Result<Vec<Work>, CudaError> {
        let Task { weights, input, prepared, setting: Setting { tokens, .. }, .. } = task;
        let mail = mail_bytes(&weights.layout, tokens);
        assert!(prepared.mail.len() >= mail, "letter boxes of {} bytes for {mail}", prepared.mail.len());
        let mut work = Vec::new();
        for first in (0..tokens).step_by(MOST) {
            let rows = Rows { first, count: MOST.min(tokens - first) };
            if taken_left(weights, &input, tokens).is_none() {
                let prepare = self.prepare(&weights.layout, rows)?;
                work.push(prepare.work(weights, input.values, prepared, rows));
            }
            work.push(self.product(task, rows)?);
        }
        Ok(work)
    }

    fn prepare(&self, layout: &Layout, rows: Rows) -> Result<Prepare, CudaError> {
        let (width, kind) = (width(rows.count), kind_name(layout.kind()));
        let function = self.module.function(&format!("prepare_wide_{kind}_{width}"), 0)?;
        Ok(Prepare { function, tokens: TOKENS, bytes: all_input_bytes(layout, width), early: true })
    }

    fn product(&self, task: Task<'_>, rows: Rows) -> Result<Work, CudaError> {
        let Task { weights, input, output, prepared, setting: Setting { tokens, flow, .. } } = task;
        let (layout, width) = (&weights.layout, width(rows.count));
        let (kind, team) = (layout.kind(), team(layout.kind(), output));
        let name = format!("product_wide_{}_{}_{width}", kind_name(kind), output.name());
        let function = self.module.function(&name, self.shared as u32)?;
        let (fixed, stage) = (fixed_bytes(kind, output, width), stage_bytes(kind, width));
        let stages = flow.slots.min((self.shared - fixed) / stage).max(2);
        let taken = taken_left(weights, &input, tokens).map(|left| prepared.place(left).0);
        let leaves = matches!(output, Output::Add(_)) && leaves(layout, tokens);
        let left = Left { by: By::Residual, tokens, inputs: layout.outputs() };
        let params = Params {
            input: taken.unwrap_or(&prepared.groups).address(),
            left: if leaves { prepared.place(left).0.address() } else { 0 },
            mail: prepared.mail.address(),
            stages: stages as u32,
            flight: flight(flow, output).min(stages) as u32,
            ..Params::new(task, rows)
        };
        let grid = [layout.ctas().next_multiple_of(team) as u32, 1, 1];
        let launch = Launch { grid, threads: THREADS, shared: (fixed + stages * stage) as u32, early: true };
        // SAFETY: the buffers are as large as the parameters say, which the caller checked.
        Ok(unsafe { Work::new(&function, launch, &params, memory(task)) })
    }
}

/// Blocks of threads that share rows.
fn team(kind: Kind, output: &Output<'_>) -> usize {
    if kind == Kind::F16 || matches!(output, Output::Gated(_)) { 1 } else { TEAM }
}

/// Most stages under way at once. A stage has a tile for each warp with rows: of twelve warps, where `flow` counts
/// stages of sixteen tiles, and of eight at most where the product adds to the residual, whose parts have few row
/// blocks. The smaller stages are, the more of them it takes to cover the latency of memory.
fn flight(flow: Flow, output: &Output<'_>) -> usize {
    let more = if matches!(output, Output::Add(_)) { 3 } else { 1 };
    (flow.flight + more).min(MOST_FLIGHT)
}

/// Bytes of shared memory beside the ring: sums that wait for others, and factors of norms or maxima.
fn fixed_bytes(kind: Kind, output: &Output<'_>, width: usize) -> usize {
    let (team, sums) = (team(kind, output), WARPS * 32 * width / 2);
    let parked = if team == 1 { 2 * sums } else { 0 };
    let factors = width / team;
    4 * match output {
        Output::Plain(_) | Output::Gated(_) => parked + factors,
        Output::Add(_) => sums / TEAM + LEAVERS * factors,
    }
}

/// Bytes of a stage of the ring: a tile for each warp that multiplies, the inputs of one tile, three barriers.
const fn stage_bytes(kind: Kind, width: usize) -> usize {
    WARPS * kind.tile_bytes() + input_bytes(kind, width) + 3 * 8
}

/// Whether the kernels are for such layouts.
fn takes(layout: &Layout, tokens: usize) -> bool {
    matches!(layout.kind(), Kind::Int4 | Kind::F16) && tokens >= FEWEST
}

/// Tokens that a kernel for `count` has room for.
fn width(count: usize) -> usize {
    count.next_power_of_two().max(32)
}

/// Bytes of the inputs of one tile: a token's values, two bytes each, and its scale.
const fn input_bytes(kind: Kind, width: usize) -> usize {
    width * (2 * kind.width() + 4)
}

/// Bytes of the inputs of all tiles.
fn all_input_bytes(layout: &Layout, width: usize) -> usize {
    SLOTS * layout.groups() * input_bytes(layout.kind(), width)
}

/// Bytes of the prepared inputs of `tokens` tokens; none where they are not for these kernels.
pub(super) fn prepared_bytes(layout: &Layout, tokens: usize) -> usize {
    if !takes(layout, tokens) {
        return 0;
    }
    all_input_bytes(layout, width(tokens.min(MOST)))
}

/// Whether a product that adds to the residual leaves the inputs of the next one: the rows of a team are a tile, and tiles fill all
/// slots.
pub(super) fn leaves(layout: &Layout, tokens: usize) -> bool {
    let tiles = layout.blocks() * TEAM == LEAVERS && layout.outputs() == layout.ctas() * layout.blocks() * 16;
    layout.kind() == Kind::Int4
        && takes(layout, tokens)
        && tokens <= MOST
        && tiles
        && layout.outputs().is_multiple_of(SLOTS * TILE)
}

/// Bytes that it leaves.
pub(super) fn left_bytes(layout: &Layout, tokens: usize) -> usize {
    if leaves(layout, tokens) { room(layout.outputs(), tokens).1 } else { 0 }
}

/// Whether attention can leave the inputs of a product: as it computes them, they fill all slots.
pub(super) fn takes_heads(weights: &Weights, tokens: usize) -> bool {
    let whole = weights.layout.inputs().is_multiple_of(SLOTS * TILE) && weights.permutation.is_none();
    weights.layout.kind() == Kind::Int4 && takes(&weights.layout, tokens) && tokens <= MOST && whole
}

/// Tokens that there is room for where the inputs of so many are left, and the bytes of all tiles.
pub(super) fn room(inputs: usize, tokens: usize) -> (usize, usize) {
    let width = width(tokens);
    (width, inputs / TILE * input_bytes(Kind::Int4, width))
}

/// What a product reads of that which others have left. Where inputs are in another order it is nothing.
fn taken_left(weights: &Weights, input: &Input<'_>, tokens: usize) -> Option<Left> {
    let fits = |left: &Left| left.tokens == tokens && left.inputs == weights.layout.inputs();
    input.left.filter(fits).filter(|_| weights.layout.kind() == Kind::Int4 && weights.permutation.is_none())
}

/// Bytes of letter boxes, where the blocks of a team find what the others have of their sums; of halves there are no teams.
pub(super) fn mail_bytes(layout: &Layout, tokens: usize) -> usize {
    if layout.kind() != Kind::Int4 || !takes(layout, tokens) {
        return 0;
    }
    let blocks = layout.ctas().next_multiple_of(TEAM);
    let passes = (layout.blocks() * TEAM).div_ceil(WARPS);
    passes * blocks * (TEAM - 1) * WARPS * 32 * width(tokens.min(MOST)) / 2 / TEAM * 4
}
