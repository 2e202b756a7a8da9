//! Weights of a checkpoint into tiles on the device, at load.

use bytemuck::{Pod, Zeroable};
use half::f16;

use crate::device::Device;
use crate::error::CudaError;
use crate::images::image;
use crate::kind::{Kind, SLOTS, TILE_ROWS};
use crate::launch::Launch;
use crate::layout::{Layout, Run};
use crate::memory::Buffer;
use crate::module::Function;
use crate::source::{Float, Form};
use crate::work::Work;

/// A lane for each 16 bytes that a lane of the product loads at once.
const THREADS: u32 = SLOTS as u32 * 32;
/// Threads a block that changes formats, and most of such blocks.
const CONVERT: (u32, usize) = (256, 4096);
/// Most tiles a slot: the limit of a grid's second axis.
const MOST_GROUPS: usize = 65_535;

/// The kernels.
#[derive(Debug)]
pub struct Repack {
    int4: Function,
    int8: Function,
    dense: Function,
    convert: Function,
}

/// Where the weights of one source go.
#[derive(Debug)]
pub struct Tiles<'a> {
    /// The layout.
    pub layout: &'a Layout,
    /// Which of its sources.
    pub source: usize,
    /// All tiles of the layout.
    pub bytes: &'a mut Buffer<u8>,
}

/// A quantised layer on the device, checked by [`Kind::of`].
#[derive(Debug, Clone, Copy)]
pub struct Codes<'a> {
    /// Its form.
    pub form: Form,
    /// Memory that holds its lists, each from a multiple of 4 bytes on.
    pub bytes: &'a Buffer<u8>,
    /// Where [K * bits / 32, N] words of codes begin.
    pub codes: usize,
    /// Where [groups, N] scales begin, `f16`.
    pub scales: usize,
    /// Where [groups, N] codes that mean zero begin, `u8`; `None` where it is the middle everywhere.
    pub zeros: Option<usize>,
    /// [K] The inputs sorted by group (act-order).
    pub permutation: Option<&'a Buffer<u32>>,
}

/// Some rows of a layer of numbers on the device.
#[derive(Debug, Clone, Copy)]
pub struct Rows<'a> {
    /// The format of the numbers.
    pub float: Float,
    /// [count, K]; there may be more behind.
    pub numbers: &'a Buffer<u8>,
    /// The first row, a multiple of 16.
    pub first: usize,
    /// Rows, a multiple of 16 unless they are the last.
    pub count: usize,
}

/// Part of a table on the device.
#[derive(Debug)]
pub struct Table<'a> {
    /// The format of its numbers, `F16` or `Bf16`.
    pub float: Float,
    /// The table.
    pub numbers: &'a mut Buffer<u16>,
    /// Where the part begins.
    pub first: usize,
    /// Numbers of the part.
    pub count: usize,
}

#[repr(C)]
#[derive(Debug, Clone, Copy, Pod, Zeroable)]
struct Target {
    tiles: u64,
    first: u32,
    every: u32,
    shift: u32,
    blocks: u32,
    groups: u32,
    chunk: u32,
}

#[repr(C)]
#[derive(Debug, Clone, Copy, Pod, Zeroable)]
struct QuantisedParams {
    target: Target,
    codes: u64,
    scales: u64,
    zeros: u64,
    permutation: u64,
    inputs: u32,
    outputs: u32,
    group: u32,
    bits: u32,
}

#[repr(C)]
#[derive(Debug, Clone, Copy, Pod, Zeroable)]
struct DenseParams {
    target: Target,
    numbers: u64,
    inputs: u32,
    rows: u32,
    from: u32,
    to: u32,
}

#[repr(C)]
#[derive(Debug, Clone, Copy, Pod, Zeroable)]
struct ConvertParams {
    from: u64,
    to: u64,
    count: u64,
    from_format: u32,
    to_format: u32,
}

impl Repack {
    /// Loads the kernels; `None` if this build has none for the device.
    ///
    /// # Errors
    /// When the driver refuses them.
    pub fn load(device: &Device) -> Result<Option<Self>, CudaError> {
        let Some(image) = image("repack", device.properties().capability) else { return Ok(None) };
        let module = device.module(image)?;
        let function = |name| module.function(name, 0);
        Ok(Some(Self {
            int4: function("repack_int4")?,
            int8: function("repack_int8")?,
            dense: function("repack_dense")?,
            convert: function("convert")?,
        }))
    }

    /// Packs a quantised source, the padding behind it included.
    ///
    /// # Panics
    /// When the layout's tiles do not hold the source, it is not of the layout's size, or a buffer is too short.
    pub fn quantised(&self, tiles: &mut Tiles<'_>, source: &Codes<'_>) -> Work {
        let (layout, form) = (tiles.layout, source.form);
        let function = match layout.kind() {
            Kind::Int4 => &self.int4,
            Kind::Int8 => &self.int8,
            kind => panic!("codes in tiles of {kind:?}"),
        };
        check_form(layout.kind(), source);
        assert_eq!(form.inputs, layout.inputs(), "inputs of the layout");
        assert_eq!(form.outputs, layout.sources()[tiles.source], "outputs of source {} of the layout", tiles.source);
        let run = layout.run(tiles.source);
        let each = form.groups() * form.outputs;
        let words = form.inputs / form.codes_per_word() * form.outputs;
        let params = QuantisedParams {
            target: target(tiles, run),
            codes: list::<u32>(source.bytes, source.codes, words),
            scales: list::<f16>(source.bytes, source.scales, each),
            zeros: source.zeros.map_or(0, |at| list::<u8>(source.bytes, at, each)),
            permutation: source.permutation.map_or(0, |order| whole(order, form.inputs)),
            inputs: count(form.inputs),
            outputs: count(form.outputs),
            // A group that is longer than K is the only one.
            group: count(form.group.min(form.inputs)),
            bits: count(form.bits),
        };
        let mut memory = vec![tiles.bytes.memory(), source.bytes.memory()];
        memory.extend(source.permutation.map(Buffer::memory));
        // SAFETY: the kernel reads codes, scales, zero points and places of the permutation within the lengths that were
        // checked, follows no place beyond K, and writes the tiles of the source's blocks, which the layout has in the buffer.
        unsafe { Work::new(function, launch(layout, run), &params, memory) }
    }

    /// Packs rows of a source of numbers; with its last row the padding behind it.
    ///
    /// # Panics
    /// When the layout's tiles have codes, or the rows are not those of the source or not whole blocks, or a buffer is too
    /// short.
    pub fn dense(&self, tiles: &mut Tiles<'_>, rows: &Rows<'_>) -> Work {
        let layout = tiles.layout;
        let to = match layout.kind() {
            Kind::F16 => Float::F16,
            Kind::Bf16 => Float::Bf16,
            kind => panic!("numbers in tiles of {kind:?}"),
        };
        let run = run_of(layout, tiles.source, rows);
        let params = DenseParams {
            target: target(tiles, run),
            numbers: list::<u8>(rows.numbers, 0, rows.count * layout.inputs() * rows.float.bytes()),
            inputs: count(layout.inputs()),
            rows: count(rows.count),
            from: format(rows.float),
            to: format(to),
        };
        let memory = vec![tiles.bytes.memory(), rows.numbers.memory()];
        // SAFETY: the kernel reads as many rows of K numbers as were checked, and writes the tiles of their blocks, which the
        // layout has in the buffer.
        unsafe { Work::new(&self.dense, launch(layout, run), &params, memory) }
    }

    /// Writes the first numbers of `numbers` to part of a table, in its format.
    ///
    /// # Panics
    /// When a buffer is too short, the part is empty, or the table is to hold `F32`.
    pub fn convert(&self, table: &mut Table<'_>, (numbers, from): (&Buffer<u8>, Float)) -> Work {
        let Table { float, numbers: to, first, count: len } = table;
        assert_ne!(*float, Float::F32, "the format of a table");
        let inside = *len > 0 && first.checked_add(*len).is_some_and(|end| end <= to.len());
        assert!(inside, "numbers {first}..+{len} of {}", to.len());
        let params = ConvertParams {
            from: list::<u8>(numbers, 0, *len * from.bytes()),
            to: to.address_of(*first),
            count: *len as u64,
            from_format: format(from),
            to_format: format(*float),
        };
        let (threads, most) = CONVERT;
        let launch = Launch::of(count(len.div_ceil(threads as usize).min(most)), threads);
        // SAFETY: both buffers have as many numbers of their formats from where the kernel begins.
        unsafe { Work::new(&self.convert, launch, &params, vec![to.memory(), numbers.memory()]) }
    }
}

fn check_form(kind: Kind, source: &Codes<'_>) {
    let Form { bits, inputs, group, .. } = source.form;
    let codes = if kind == Kind::Int4 { bits == 4 && source.zeros.is_none() } else { bits == 4 || bits == 8 };
    assert!(codes, "codes of {bits} bits, zero points: {}, in tiles of {kind:?}", source.zeros.is_some());
    let whole = kind.scaled().is_some_and(|shared| source.form.is_whole_in(shared));
    assert!(whole, "groups of {group} inputs in tiles of {kind:?}");
    assert!(inputs.is_multiple_of(source.form.codes_per_word()), "{inputs} inputs in words of {bits}-bit codes");
}

/// Where a list of `len` values lies that begins at byte `at`.
fn list<T>(bytes: &Buffer<u8>, at: usize, len: usize) -> u64 {
    let size = len * size_of::<T>();
    let inside = at.is_multiple_of(4) && at.checked_add(size).is_some_and(|end| end <= bytes.len());
    assert!(inside, "a list of {size} bytes at byte {at} of {}", bytes.len());
    bytes.address_of(at)
}

/// Where the permutation lies.
fn whole(permutation: &Buffer<u32>, inputs: usize) -> u64 {
    assert_eq!(permutation.len(), inputs, "places of the permutation");
    permutation.address()
}

/// The blocks of some rows of a source; with the last row the blocks of padding behind them.
fn run_of(layout: &Layout, source: usize, rows: &Rows<'_>) -> Run {
    let (outputs, Rows { first, count, .. }) = (layout.sources()[source], *rows);
    let end = first.checked_add(count).filter(|&end| count > 0 && end <= outputs);
    let Some(end) = end else { panic!("rows {first}..+{count} of {outputs}") };
    let last = end == outputs;
    let whole = first.is_multiple_of(TILE_ROWS) && (last || count.is_multiple_of(TILE_ROWS));
    assert!(whole, "rows {first}..+{count} of {outputs} are not whole blocks of {TILE_ROWS}");
    let run = layout.run(source);
    let before = first / TILE_ROWS;
    let blocks = if last { run.blocks - before } else { count / TILE_ROWS };
    Run { first: run.first + before, blocks, ..run }
}

fn target(tiles: &Tiles<'_>, run: Run) -> Target {
    let Tiles { layout, bytes, .. } = tiles;
    assert_eq!(bytes.len(), layout.bytes(), "bytes of {layout:?}");
    assert!(layout.groups() <= MOST_GROUPS, "{} tiles a slot; kernels reach {MOST_GROUPS}", layout.groups());
    Target {
        tiles: bytes.address(),
        first: count(run.first),
        every: count(run.every),
        shift: count(run.shift),
        blocks: count(layout.blocks()),
        groups: count(layout.groups()),
        chunk: count(layout.chunk_len()),
    }
}

fn launch(layout: &Layout, run: Run) -> Launch {
    Launch { grid: [count(run.blocks), count(layout.groups()), 1], ..Launch::of(1, THREADS) }
}

/// A number as kernels take it. No side of a layout is beyond 32 bits.
fn count(number: usize) -> u32 {
    u32::try_from(number).unwrap_or_else(|_| panic!("{number} is beyond what kernels count"))
}

fn format(float: Float) -> u32 {
    match float {
        Float::F16 => 0,
        Float::Bf16 => 1,
        Float::F32 => 2,
    }
}
