//! Weights of a checkpoint onto the device, in tiles.
//!
//! Bytes pass once through pinned memory, which several threads fill, and through a *stage* on the device, from which kernels
//! write tiles. All of it is queued in one stream, in whose order the stage is used again. The host waits for the device only
//! where all pinned memory is on its way.

mod ring;
mod stage;

use crate::device::Device;
use crate::error::CudaError;
use crate::kind::TILE_ROWS;
use crate::layout::Layout;
use crate::memory::Buffer;
use crate::pack;
use crate::repack::{Codes, Repack, Rows, Table, Tiles};
use crate::source::{Dense, Float, PackError, Quantised, Source};
use stage::Stage;

/// How bytes are brought to the device.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Transfer {
    /// Threads that fill pinned memory.
    pub threads: usize,
    /// Bytes that a thread fills at once. There is pinned memory for two of these a thread.
    pub chunk: usize,
    /// Bytes of the stage. It grows where a quantised layer needs more; layers of numbers go through in parts.
    pub stage: usize,
}

/// What brings weights to a device.
#[derive(Debug)]
pub struct Loader {
    device: Device,
    repack: Repack,
    stage: Stage,
}

/// Why weights cannot be loaded.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LoadError {
    /// They cannot be packed.
    #[error(transparent)]
    Pack(#[from] PackError),
    /// The driver failed.
    #[error(transparent)]
    Cuda(#[from] CudaError),
    /// The system gives no threads.
    #[error("the loader's threads: {0}")]
    Threads(#[from] rayon::ThreadPoolBuildError),
}

impl Default for Transfer {
    /// More than eight threads fill memory no faster than a device takes it.
    fn default() -> Self {
        let threads = std::thread::available_parallelism().map_or(1, |count| count.get().min(8));
        Self { threads, chunk: 1 << 20, stage: 64 << 20 }
    }
}

impl Loader {
    /// A loader with a stream of its own; `None` if this build has no kernels for the device.
    ///
    /// # Errors
    /// When memory or threads are refused.
    ///
    /// # Panics
    /// When a number of `transfer` is zero.
    pub fn new(device: &Device, transfer: Transfer) -> Result<Option<Self>, LoadError> {
        let Some(repack) = Repack::load(device)? else { return Ok(None) };
        Ok(Some(Self { device: device.clone(), repack, stage: Stage::new(device, transfer)? }))
    }

    /// Packs all sources of a layout: its bytes, and the inputs sorted by group where there is act-order. The sources are read
    /// before this returns, the bytes are there once [`Loader::finish`] has returned.
    ///
    /// # Errors
    /// When the sources are not those of the layout, its kind of tile does not hold them, or the driver fails.
    pub fn pack(
        &mut self,
        layout: &Layout,
        sources: &[Source<'_>],
    ) -> Result<(Buffer<u8>, Option<Buffer<u32>>), LoadError> {
        let permutation = pack::check(layout, sources)?;
        let permutation = permutation.map(|order| self.device.upload(&order)).transpose()?;
        let mut bytes = self.device.zeroed(layout.bytes())?;
        for (source, weights) in sources.iter().enumerate() {
            let mut tiles = Tiles { layout, source, bytes: &mut bytes };
            match weights {
                Source::Quantised(weights) => self.quantised(&mut tiles, weights, permutation.as_ref())?,
                Source::Dense(weights) => self.dense(&mut tiles, weights)?,
            }
        }
        Ok((bytes, permutation))
    }

    /// [N, K] The numbers of a table in the format `float`, `F16` or `Bf16`, as bits. When they are read and there, see
    /// [`Loader::pack`].
    ///
    /// # Errors
    /// When there are more or fewer numbers than the sides say, or the driver fails.
    ///
    /// # Panics
    /// When the format is `F32`.
    pub fn table(&mut self, source: &Dense<'_>, float: Float) -> Result<Buffer<u16>, LoadError> {
        source.kind()?;
        let mut numbers = self.device.zeroed(source.outputs * source.inputs)?;
        let size = source.float.bytes();
        let most = (self.stage.bytes().len() / size).max(1);
        for (part, bytes) in source.bytes.chunks(most * size).enumerate() {
            self.stage.bring(&[bytes])?;
            let mut table = Table { float, numbers: &mut numbers, first: part * most, count: bytes.len() / size };
            let work = self.repack.convert(&mut table, (self.stage.bytes(), source.float));
            self.stage.run(&work)?;
        }
        Ok(numbers)
    }

    /// Waits until everything is there.
    ///
    /// # Errors
    /// When some of it failed.
    pub fn finish(self) -> Result<(), CudaError> {
        self.stage.synchronize()
    }

    fn quantised(
        &mut self,
        tiles: &mut Tiles<'_>,
        source: &Quantised<'_>,
        permutation: Option<&Buffer<u32>>,
    ) -> Result<(), CudaError> {
        let lists =
            [bytemuck::cast_slice(source.codes), bytemuck::cast_slice(source.scales), source.zeros.unwrap_or(&[])];
        let places = self.stage.bring(&lists)?;
        let codes = Codes {
            form: source.form,
            bytes: self.stage.bytes(),
            codes: places[0],
            scales: places[1],
            zeros: source.zeros.map(|_| places[2]),
            permutation,
        };
        let work = self.repack.quantised(tiles, &codes);
        self.stage.run(&work)
    }

    fn dense(&mut self, tiles: &mut Tiles<'_>, source: &Dense<'_>) -> Result<(), CudaError> {
        let row = source.inputs * source.float.bytes();
        let blocks = (self.stage.bytes().len() / (row * TILE_ROWS)).max(1);
        for (part, bytes) in source.bytes.chunks(blocks * TILE_ROWS * row).enumerate() {
            self.stage.bring(&[bytes])?;
            let (first, count) = (part * blocks * TILE_ROWS, bytes.len() / row);
            let rows = Rows { float: source.float, numbers: self.stage.bytes(), first, count };
            let work = self.repack.dense(tiles, &rows);
            self.stage.run(&work)?;
        }
        Ok(())
    }
}
