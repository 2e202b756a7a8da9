//! Where a step's tokens stand, and how far their queries and keys are turned.

use crate::device::Device;
use crate::error::CudaError;
use crate::kv_cache::HEAD_WIDTH;
use crate::memory::Buffer;

/// What a step says of its tokens. The host writes it before the step begins, and the first kernel of a step is not launched
/// early: kernels read it before they wait for the kernel before them.
#[derive(Debug)]
pub struct Tokens {
    /// [T]: where each token stands in its request; -1 where there is none.
    pub position: Buffer<i32>,
    /// [T]: the row of `blocks` of each token's request.
    pub table: Buffer<u32>,
    /// [rows, B]: the blocks of the cache that have a request's positions, in order.
    pub blocks: Buffer<u32>,
    pub(super) row_blocks: usize,
}

/// Cosine and sine of the rotation at every position.
#[derive(Debug)]
pub struct Angles {
    pub(super) cos: Buffer<f32>,
    pub(super) sin: Buffer<f32>,
}

impl Tokens {
    /// Room for `tokens` tokens of `rows` requests of up to `row_blocks` blocks; no place has a token.
    ///
    /// # Errors
    /// When there is not enough memory.
    pub fn new(device: &Device, tokens: usize, rows: usize, row_blocks: usize) -> Result<Self, CudaError> {
        assert!(tokens > 0 && rows > 0 && row_blocks > 0, "{tokens} tokens, {rows} rows of {row_blocks} blocks");
        let position = device.upload(&vec![-1; tokens])?;
        Ok(Self::of(position, device.zeroed(tokens)?, device.zeroed(rows * row_blocks)?, row_blocks))
    }

    /// These places, of requests of `row_blocks` blocks.
    ///
    /// # Panics
    /// When `blocks` is not so many for each of some rows.
    pub fn of(position: Buffer<i32>, table: Buffer<u32>, blocks: Buffer<u32>, row_blocks: usize) -> Self {
        let whole = row_blocks > 0 && !blocks.is_empty() && blocks.len().is_multiple_of(row_blocks);
        assert!(whole, "{} blocks in rows of {row_blocks}", blocks.len());
        Self { position, table, blocks, row_blocks }
    }

    /// Blocks of a row.
    pub fn row_blocks(&self) -> usize {
        self.row_blocks
    }
}

impl Angles {
    /// For positions below `positions`. The product of position and frequency is rounded to f32 before the sine is taken, as the
    /// reference does.
    ///
    /// # Errors
    /// When there is not enough memory.
    pub fn new(device: &Device, theta: f64, positions: usize) -> Result<Self, CudaError> {
        let frequency = |i: usize| theta.powf(-((2 * i) as f64) / HEAD_WIDTH as f64) as f32;
        let frequencies: Vec<f32> = (0..HEAD_WIDTH / 2).map(frequency).collect();
        let angle = |position: usize, &frequency: &f32| f64::from(position as f32 * frequency).sin_cos();
        let angles = (0..positions).flat_map(|position| frequencies.iter().map(move |f| angle(position, f)));
        let (sin, cos): (Vec<f32>, Vec<f32>) = angles.map(|(sin, cos)| (sin as f32, cos as f32)).unzip();
        Ok(Self { cos: device.upload(&cos)?, sin: device.upload(&sin)? })
    }

    /// How many positions it has.
    pub fn positions(&self) -> usize {
        self.cos.len() / (HEAD_WIDTH / 2)
    }
}
