//! The first kernel of a step, which looks tokens up, and the one before the head, which takes the rows to draw for.

use bytemuck::{Pod, Zeroable};
use half::bf16;

use crate::device::Device;
use crate::error::CudaError;
use crate::images::image;
use crate::launch::Launch;
use crate::memory::Buffer;
use crate::module::Function;
use crate::product::{Residual, SQUARES};
use crate::source::Float;
use crate::work::Work;

/// The id of a token that stands for the one drawn last for its request.
pub const DRAWN: u32 = u32::MAX;

/// The id of a token that stands for a row which is given.
pub const GIVEN: u32 = u32::MAX - 1;

const THREADS: usize = 256;

/// Most rows of a launch: the limit of a grid's second axis.
const MOST_ROWS: usize = 65_535;

/// Embeddings of all tokens.
#[derive(Debug)]
pub struct Embeddings<'a> {
    /// The format of the numbers, `F16` or `Bf16`.
    pub float: Float,
    /// [V, H].
    pub numbers: &'a Buffer<u16>,
}

/// What stands at the places of a step. The host writes it before the step.
#[derive(Debug, Clone, Copy)]
pub struct Places<'a> {
    /// [T]: where a token stands in its request; a place with a negative position is unused and left as it is.
    pub position: &'a Buffer<i32>,
    /// [T]: tokens, [`DRAWN`] or [`GIVEN`]. The row of a token that the table lacks is not a number.
    pub ids: &'a Buffer<u32>,
    /// [T]: the slot of each token's request.
    pub slots: &'a Buffer<u32>,
    /// [T, H]: rows that stand for the tokens at their places.
    pub given: &'a Buffer<f32>,
    /// [slots]: the token drawn last.
    pub latest: &'a Buffer<u32>,
}

/// Rows of the residual, as products read them.
#[derive(Debug, Clone, Copy)]
pub struct Published<'a> {
    /// [T, H]: the residual times the norm's weight.
    pub normed: &'a Buffer<bf16>,
    /// [T, 128]: parts of its sum of squares.
    pub squares: &'a Buffer<f32>,
}

/// Some of these rows.
#[derive(Debug)]
pub struct Gathered<'a> {
    /// [M, H].
    pub normed: &'a mut Buffer<bf16>,
    /// [M, 128].
    pub squares: &'a mut Buffer<f32>,
}

/// The kernels.
#[derive(Debug)]
pub struct Embed {
    embed: Function,
    gather: Function,
    early: bool,
}

#[repr(C)]
#[derive(Debug, Clone, Copy, Pod, Zeroable)]
struct EmbedParams {
    table: u64,
    position: u64,
    ids: u64,
    slots: u64,
    given: u64,
    latest: u64,
    norm: u64,
    residual: u64,
    normed: u64,
    squares: u64,
    hidden: u32,
    vocabulary: u32,
    slot_count: u32,
    is_bf16: u32,
}

#[repr(C)]
#[derive(Debug, Clone, Copy, Pod, Zeroable)]
struct GatherParams {
    pick: u64,
    normed_in: u64,
    squares_in: u64,
    normed_out: u64,
    squares_out: u64,
    tokens: u32,
    hidden: u32,
}

impl Embed {
    /// Loads the kernels; `None` if this build has none for the device.
    ///
    /// # Errors
    /// When the driver refuses them.
    pub fn load(device: &Device) -> Result<Option<Self>, CudaError> {
        let capability = device.properties().capability;
        let Some(image) = image("embed", capability) else { return Ok(None) };
        let module = device.module(image)?;
        let (embed, gather) = (module.function("embed", 0)?, module.function("gather", 0)?);
        Ok(Some(Self { embed, gather, early: capability.0 >= 9 }))
    }

    /// Begins the residual of `tokens` rows of `hidden` numbers. It is never launched early, so that everything that the host
    /// and the step before have written is there for all kernels of the step.
    ///
    /// # Panics
    /// When a buffer is too small, or the table is not one of 16-bit numbers.
    pub fn embed(
        &self,
        table: &Embeddings<'_>,
        places: Places<'_>,
        residual: &mut Residual<'_>,
        tokens: usize,
        hidden: usize,
    ) -> Work {
        check_tokens(&places, residual, tokens, hidden);
        assert!(table.float != Float::F32, "a table of {:?}", table.float);
        let vocabulary = table.numbers.len() / hidden;
        assert_eq!(table.numbers.len(), vocabulary * hidden, "numbers of a table of rows of {hidden}");
        let params = EmbedParams {
            table: table.numbers.address(),
            position: places.position.address(),
            ids: places.ids.address(),
            slots: places.slots.address(),
            given: places.given.address(),
            latest: places.latest.address(),
            norm: residual.norm.address(),
            residual: residual.values.address(),
            normed: residual.normed.address(),
            squares: residual.squares.address(),
            hidden: count(hidden),
            vocabulary: count(vocabulary),
            slot_count: count(places.latest.len()),
            is_bf16: u32::from(table.float == Float::Bf16),
        };
        let memory = vec![
            table.numbers.memory(),
            places.position.memory(),
            places.ids.memory(),
            places.slots.memory(),
            places.given.memory(),
            places.latest.memory(),
            residual.norm.memory(),
            residual.values.memory(),
            residual.normed.memory(),
            residual.squares.memory(),
        ];
        let launch = launch(SQUARES * 32, tokens, false);
        // SAFETY: the buffers hold as many rows, which was checked; the kernel looks up no token beyond the table and no slot
        // beyond `latest`.
        unsafe { Work::new(&self.embed, launch, &params, memory) }
    }

    /// Copies `rows` rows of `tokens`, those that `pick` [M] names; a place whose number is not below `tokens` is left as it is.
    ///
    /// # Panics
    /// When a buffer is too small, or `hidden` is no multiple of eight.
    pub fn gather(
        &self,
        from: Published<'_>,
        pick: &Buffer<u32>,
        to: &mut Gathered<'_>,
        rows: usize,
        (tokens, hidden): (usize, usize),
    ) -> Work {
        assert!(hidden.is_multiple_of(8), "rows of {hidden} numbers, no multiple of eight");
        assert!((1..=MOST_ROWS).contains(&rows), "{rows} rows of 1..={MOST_ROWS}");
        let lengths = [from.normed.len(), from.squares.len()];
        assert!(lengths[0] >= tokens * hidden && lengths[1] >= tokens * SQUARES, "{lengths:?} for {tokens} x {hidden}");
        let lengths = [to.normed.len(), to.squares.len()];
        assert!(lengths[0] >= rows * hidden && lengths[1] >= rows * SQUARES, "{lengths:?} for {rows} x {hidden}");
        assert!(pick.len() >= rows, "{} picks for {rows} rows", pick.len());
        let params = GatherParams {
            pick: pick.address(),
            normed_in: from.normed.address(),
            squares_in: from.squares.address(),
            normed_out: to.normed.address(),
            squares_out: to.squares.address(),
            tokens: count(tokens),
            hidden: count(hidden),
        };
        let memory =
            vec![pick.memory(), from.normed.memory(), from.squares.memory(), to.normed.memory(), to.squares.memory()];
        let launch = launch(hidden / 8 + SQUARES / 4, rows, self.early);
        // SAFETY: the buffers hold as many rows, which was checked, and the kernel follows no pick beyond them.
        unsafe { Work::new(&self.gather, launch, &params, memory) }
    }
}

fn check_tokens(places: &Places<'_>, residual: &Residual<'_>, tokens: usize, hidden: usize) {
    assert!((1..=MOST_ROWS).contains(&tokens) && hidden > 0, "{tokens} tokens of 1..={MOST_ROWS}, of {hidden} numbers");
    let lengths = [places.position.len(), places.ids.len(), places.slots.len()];
    assert!(lengths.iter().all(|&len| len >= tokens), "{lengths:?} places for {tokens} tokens");
    let lengths = [residual.values.len(), residual.normed.len(), places.given.len()];
    assert!(lengths.iter().all(|&len| len >= tokens * hidden), "{lengths:?} for {tokens} x {hidden}");
    assert!(residual.norm.len() >= hidden, "{} weights of a norm of {hidden}", residual.norm.len());
    assert!(residual.squares.len() >= tokens * SQUARES, "{} squares for {tokens} tokens", residual.squares.len());
}

fn launch(threads: usize, rows: usize, early: bool) -> Launch {
    Launch { grid: [count(threads.div_ceil(THREADS)), count(rows), 1], threads: THREADS as u32, shared: 0, early }
}

fn count(value: usize) -> u32 {
    u32::try_from(value).unwrap_or_else(|_| panic!("{value} is beyond 32 bits"))
}
