//! Where the weights of linear layers lie for the products.
//!
//! A linear layer computes `out[N] = W[N, K] x[K]`. A block of threads (CTA) computes whole blocks of 16 outputs; its 16
//! warps, the *slots*, share K among them: slot `s` covers inputs `s * groups * width ..`, `groups` tiles of `width` inputs.
//! A *tile* is what a warp multiplies at once: 16 outputs x `width` inputs, codes in the order of its registers, scales
//! behind them. A *stage* is 16 tiles, one a slot, and what is fetched at once. A CTA's stages stand one after another in
//! the order in which it works through them, so that it reads one stream:
//!
//! ```text
//! for chunk in 0..groups / chunk_len { for block in 0..blocks { for g in 0..chunk_len { stage } } }
//! ```
//!
//! where a chunk is the part of a slot's inputs that is in shared memory at once. What is beyond K or N is weights of zero.

use std::ops::Range;

use crate::kind::{Kind, SLOTS, TILE_ROWS};

/// Most inputs of a slot that are in shared memory at once.
const CHUNK_INPUTS: usize = 256;
/// The longest side: kernels count in 32 bits, with room for padding, and the bytes of two such sides in 64.
const LONGEST: usize = 1 << 30;

/// The places of one linear layer's weights, or of several that read the same input.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Layout {
    kind: Kind,
    inputs: usize,
    /// [sources] Outputs of each.
    sources: Vec<usize>,
    interleaved: bool,
    ctas: usize,
    blocks: usize,
    groups: usize,
}

/// The place of an output: block `block` of CTA `cta`, row `row` of 16.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Place {
    /// The CTA.
    pub cta: usize,
    /// Which of its blocks of 16 outputs.
    pub block: usize,
    /// Which of the 16.
    pub row: usize,
}

/// How the blocks of a source follow one another: its block `b` is block `(first + b) % every + shift` of CTA
/// `(first + b) / every`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Run {
    pub(crate) first: usize,
    pub(crate) every: usize,
    pub(crate) shift: usize,
    /// Blocks of 16 outputs of the source, those of padding behind it included.
    pub(crate) blocks: usize,
}

/// Why there is no such layout.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum LayoutError {
    /// No weights at all.
    #[error("a layout of {inputs} inputs and {outputs} outputs for {limit} blocks of threads has no weights")]
    Empty {
        /// K.
        inputs: usize,
        /// N of the source that has none, or of all.
        outputs: usize,
        /// The most CTAs.
        limit: usize,
    },
    /// More than kernels count.
    #[error("{inputs} inputs and {outputs} outputs: kernels count to {LONGEST}")]
    TooLarge {
        /// K.
        inputs: usize,
        /// N.
        outputs: usize,
    },
    /// A source that another follows ends within a block.
    #[error("source {source_index} has {outputs} outputs; one that another follows needs a multiple of {TILE_ROWS}")]
    NotWhole {
        /// Which source.
        source_index: usize,
        /// Its outputs.
        outputs: usize,
    },
}

impl Layout {
    /// The layout of layers that read the same `inputs` numbers, their outputs one after another, for at most `limit` CTAs.
    ///
    /// # Errors
    /// When a side is zero or beyond what kernels count, or a source but the last has no whole blocks.
    pub fn stacked(kind: Kind, inputs: usize, sources: &[usize], limit: usize) -> Result<Self, LayoutError> {
        let outputs = check_sides(inputs, sources, limit)?;
        let followed = &sources[..sources.len() - 1];
        if let Some(source_index) = followed.iter().position(|outputs| !outputs.is_multiple_of(TILE_ROWS)) {
            return Err(LayoutError::NotWhole { source_index, outputs: sources[source_index] });
        }
        let (ctas, blocks) = share(outputs.div_ceil(TILE_ROWS), limit);
        let groups = inputs.div_ceil(SLOTS * kind.width());
        Ok(Self { kind, inputs, sources: sources.to_vec(), interleaved: false, ctas, blocks, groups })
    }

    /// The layout of two layers of `outputs` outputs each whose results are combined one by one, such as gate and up: a CTA
    /// has as many blocks of the one as of the other, of the same outputs, those of the first layer first.
    ///
    /// # Errors
    /// When a side is zero or beyond what kernels count.
    pub fn interleaved(kind: Kind, inputs: usize, outputs: usize, limit: usize) -> Result<Self, LayoutError> {
        let sources = vec![outputs; 2];
        check_sides(inputs, &sources, limit)?;
        let (ctas, half) = share(outputs.div_ceil(TILE_ROWS), limit);
        let groups = inputs.div_ceil(SLOTS * kind.width());
        Ok(Self { kind, inputs, sources, interleaved: true, ctas, blocks: 2 * half, groups })
    }

    /// How a tile holds its weights.
    pub const fn kind(&self) -> Kind {
        self.kind
    }

    /// K: inputs, without padding.
    pub const fn inputs(&self) -> usize {
        self.inputs
    }

    /// N: outputs of all sources, without padding.
    pub fn outputs(&self) -> usize {
        self.sources.iter().sum()
    }

    /// Outputs of each source.
    pub fn sources(&self) -> &[usize] {
        &self.sources
    }

    /// Whether every CTA has blocks of both of two sources.
    pub const fn is_interleaved(&self) -> bool {
        self.interleaved
    }

    /// CTAs.
    pub const fn ctas(&self) -> usize {
        self.ctas
    }

    /// Blocks of 16 outputs a CTA.
    pub const fn blocks(&self) -> usize {
        self.blocks
    }

    /// Tiles a slot along K.
    pub const fn groups(&self) -> usize {
        self.groups
    }

    /// Tiles of a slot whose inputs are in shared memory at once: the largest divisor of [`Layout::groups`] that has room.
    pub const fn chunk_len(&self) -> usize {
        let mut len = CHUNK_INPUTS / self.kind.width();
        while !self.groups.is_multiple_of(len) {
            len -= 1;
        }
        len
    }

    /// Chunks a slot.
    pub const fn chunks(&self) -> usize {
        self.groups / self.chunk_len()
    }

    /// Inputs of all slots, with padding.
    pub const fn padded_inputs(&self) -> usize {
        SLOTS * self.groups * self.kind.width()
    }

    /// Stages a CTA.
    pub const fn stages(&self) -> usize {
        self.blocks * self.groups
    }

    /// Bytes of a CTA's stages.
    pub const fn cta_bytes(&self) -> usize {
        self.stages() * self.kind.stage_bytes()
    }

    /// Bytes of all weights.
    pub const fn bytes(&self) -> usize {
        self.ctas * self.cta_bytes()
    }

    /// Where output `output` of a source lies.
    ///
    /// # Panics
    /// When there is no such output.
    pub fn place(&self, source: usize, output: usize) -> Place {
        assert!(output < self.sources[source], "output {output} of {}", self.sources[source]);
        let Run { first, every, shift, .. } = self.run(source);
        let block = first + output / TILE_ROWS;
        Place { cta: block / every, block: block % every + shift, row: output % TILE_ROWS }
    }

    /// The source and its output at a place; `None` where there is padding.
    ///
    /// # Panics
    /// When there is no such place.
    pub fn output(&self, place: Place) -> Option<(usize, usize)> {
        let Place { cta, block, row } = place;
        let inside = cta < self.ctas && block < self.blocks && row < TILE_ROWS;
        assert!(inside, "{place:?} of {} CTAs of {} blocks", self.ctas, self.blocks);
        (0..self.sources.len()).find_map(|source| {
            let Run { first, every, shift, .. } = self.run(source);
            let within = block.checked_sub(shift).filter(|&within| within < every)?;
            let output = ((cta * every + within).checked_sub(first)?) * TILE_ROWS + row;
            (output < self.sources[source]).then_some((source, output))
        })
    }

    /// Where the tile of a CTA's block for tile `group` of slot `slot` begins, in bytes.
    ///
    /// # Panics
    /// When there is no such tile.
    pub fn tile(&self, cta: usize, block: usize, group: usize, slot: usize) -> usize {
        let inside = cta < self.ctas && block < self.blocks && group < self.groups && slot < SLOTS;
        assert!(inside, "tile {group} of slot {slot}, block {block}, CTA {cta} of {self:?}");
        let chunk = self.chunk_len();
        let stage = cta * self.stages() + (group / chunk * self.blocks + block) * chunk + group % chunk;
        (stage * SLOTS + slot) * self.kind.tile_bytes()
    }

    /// The inputs that tile `group` of slot `slot` covers; some may be beyond [`Layout::inputs`].
    pub const fn tile_inputs(&self, group: usize, slot: usize) -> Range<usize> {
        let width = self.kind.width();
        let start = (slot * self.groups + group) * width;
        start..start + width
    }

    /// The tile (of a slot) and the slot that cover an input.
    pub const fn tile_of(&self, input: usize) -> (usize, usize) {
        let tile = input / self.kind.width();
        (tile % self.groups, tile / self.groups)
    }

    /// How the blocks of a source follow one another.
    pub(crate) fn run(&self, source: usize) -> Run {
        if self.interleaved {
            let half = self.blocks / 2;
            return Run { first: 0, every: half, shift: source * half, blocks: self.ctas * half };
        }
        let first = self.sources[..source].iter().map(|outputs| outputs / TILE_ROWS).sum();
        let last = source + 1 == self.sources.len();
        let end = if last { self.ctas * self.blocks } else { first + self.sources[source] / TILE_ROWS };
        Run { first, every: self.blocks, shift: 0, blocks: end - first }
    }
}

/// The sum of all outputs, if there are some and not too many.
fn check_sides(inputs: usize, sources: &[usize], limit: usize) -> Result<usize, LayoutError> {
    let outputs = sources.iter().fold(0, |sum: usize, &outputs| sum.saturating_add(outputs));
    if inputs == 0 || limit == 0 || outputs == 0 || sources.contains(&0) {
        return Err(LayoutError::Empty { inputs, outputs: sources.iter().copied().min().unwrap_or(0), limit });
    }
    if inputs > LONGEST || outputs > LONGEST {
        return Err(LayoutError::TooLarge { inputs, outputs });
    }
    Ok(outputs)
}

/// CTAs and blocks a CTA for `all` blocks and at most `limit` CTAs: none of the CTAs is without work.
fn share(all: usize, limit: usize) -> (usize, usize) {
    let blocks = all.div_ceil(limit.min(all));
    (all.div_ceil(blocks), blocks)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Published shapes and awkward ones.
    fn layouts() -> Vec<Layout> {
        let stacked =
            |kind, inputs, sources: &[usize], limit| Layout::stacked(kind, inputs, sources, limit).expect("layout");
        let interleaved =
            |kind, inputs, outputs, limit| Layout::interleaved(kind, inputs, outputs, limit).expect("layout");
        vec![
            stacked(Kind::Int4, 4096, &[96, 32, 32], 128),
            stacked(Kind::Int4, 128, &[388], 7),
            stacked(Kind::Int8, 384, &[16, 16, 5], 2),
            stacked(Kind::Int8, 2049, &[1], 128),
            stacked(Kind::F16, 12288, &[24], 1),
            stacked(Kind::Bf16, 100, &[1283], 10),
            interleaved(Kind::Int4, 256, 388, 5),
            interleaved(Kind::Bf16, 6144, 48, 128),
            interleaved(Kind::Int8, 8192, 8, 128),
        ]
    }

    #[test]
    fn published_shapes_have_128_ctas() {
        let shape = |layout: &Layout| (layout.ctas(), layout.blocks(), layout.groups(), layout.chunks());
        let stacked = |inputs, sources: &[usize]| Layout::stacked(Kind::Int4, inputs, sources, 128).expect("layout");
        assert_eq!(shape(&stacked(4096, &[4096, 1024, 1024])), (128, 3, 2, 1));
        assert_eq!(shape(&stacked(4096, &[4096])), (128, 2, 2, 1));
        assert_eq!(shape(&Layout::interleaved(Kind::Int4, 4096, 12288, 128).expect("layout")), (128, 12, 2, 1));
        assert_eq!(shape(&stacked(12288, &[4096])), (128, 2, 6, 3));
        let head = Layout::stacked(Kind::Bf16, 4096, &[151_748], 128).expect("layout");
        assert_eq!(shape(&head), (127, 75, 4, 1));
        assert_eq!(stacked(4096, &[4096]).bytes(), 4096 * 4096 / 2 / 1024 * 1056);
    }

    #[test]
    fn every_weight_has_one_place_and_every_place_one_weight() {
        for layout in layouts() {
            let mut tiles = vec![0_u32; layout.bytes() / layout.kind().tile_bytes()];
            for (source, &outputs) in layout.sources().iter().enumerate() {
                for output in 0..outputs {
                    let place = layout.place(source, output);
                    assert_eq!(layout.output(place), Some((source, output)), "{layout:?}");
                    for input in (0..layout.inputs()).step_by(layout.kind().width()) {
                        let (group, slot) = layout.tile_of(input);
                        assert!(layout.tile_inputs(group, slot).contains(&input), "{layout:?}");
                        let at = layout.tile(place.cta, place.block, group, slot);
                        tiles[at / layout.kind().tile_bytes()] |= 1 << place.row;
                    }
                }
            }
            // No two outputs share a row of a tile: as many rows are taken as there are outputs and tiles along K.
            let rows: u32 = tiles.iter().map(|rows| rows.count_ones()).sum();
            assert_eq!(rows as usize, layout.outputs() * layout.inputs().div_ceil(layout.kind().width()), "{layout:?}");
        }
    }

    #[test]
    fn the_runs_of_all_sources_cover_all_blocks_once() {
        for layout in layouts() {
            let mut blocks = vec![0; layout.ctas() * layout.blocks()];
            for source in 0..layout.sources().len() {
                let Run { first, every, shift, blocks: count } = layout.run(source);
                (first..first + count).for_each(|b| blocks[b / every * layout.blocks() + b % every + shift] += 1);
            }
            assert!(blocks.iter().all(|&times| times == 1), "{layout:?}: {blocks:?}");
        }
    }

    #[test]
    fn tiles_stand_in_the_order_of_the_work() {
        let layout = Layout::stacked(Kind::Int4, 12288, &[64], 2).expect("layout");
        let mut next = 0;
        for cta in 0..2 {
            for chunk in 0..3 {
                for block in 0..2 {
                    for group in [2 * chunk, 2 * chunk + 1] {
                        for slot in 0..SLOTS {
                            assert_eq!(layout.tile(cta, block, group, slot), next);
                            next += 1056;
                        }
                    }
                }
            }
        }
        assert_eq!(next, layout.bytes());
    }

    #[test]
    fn what_cannot_be_is_refused() {
        let refused = |inputs, sources: &[usize], limit| {
            Layout::stacked(Kind::Int4, inputs, sources, limit).expect_err("refused")
        };
        assert_eq!(refused(0, &[16], 1), LayoutError::Empty { inputs: 0, outputs: 16, limit: 1 });
        assert_eq!(refused(1, &[16, 0], 1), LayoutError::Empty { inputs: 1, outputs: 0, limit: 1 });
        assert_eq!(refused(1, &[], 1), LayoutError::Empty { inputs: 1, outputs: 0, limit: 1 });
        assert_eq!(refused(1, &[24, 16], 1), LayoutError::NotWhole { source_index: 0, outputs: 24 });
        let long = LONGEST + 1;
        assert_eq!(refused(1, &[long], 1), LayoutError::TooLarge { inputs: 1, outputs: long });
        assert_eq!(
            refused(LONGEST, &[LONGEST, usize::MAX], 1),
            LayoutError::TooLarge { inputs: LONGEST, outputs: usize::MAX }
        );
    }
}
