//! What a device can do at best, to stand beside what kernels do; and weights of no meaning to do it with.

use bytemuck::{Pod, Zeroable};
use half::bf16;

use crate::device::Device;
use crate::error::CudaError;
use crate::images::image;
use crate::kind::Kind;
use crate::launch::Launch;
use crate::layout::Layout;
use crate::memory::Buffer;
use crate::module::Function;
use crate::stream::Stream;

/// How often a warp repeats its instructions, how many it has at once, and warps of a block.
const MATRIX_ROUNDS: u32 = 4000;
const MATRIX_AT_ONCE: u32 = 8;
const MATRIX_WARPS: u32 = 16;

/// The kernels.
#[derive(Debug)]
pub struct Measure {
    read: Function,
    fill: Function,
    numbers: Function,
    bytes: Function,
    halves: Function,
    multiprocessors: u32,
}

#[repr(C)]
#[derive(Debug, Clone, Copy, Pod, Zeroable)]
struct ReadParams {
    from: u64,
    count: u64,
    result: u64,
}

#[repr(C)]
#[derive(Debug, Clone, Copy, Pod, Zeroable)]
struct FillParams {
    to: u64,
    count: u64,
    seed: u64,
    tile: u32,
    codes: u32,
}

#[repr(C)]
#[derive(Debug, Clone, Copy, Pod, Zeroable)]
struct NumbersParams {
    to: u64,
    count: u64,
    seed: u64,
}

#[repr(C)]
#[derive(Debug, Clone, Copy, Pod, Zeroable)]
struct MatrixParams {
    result: u64,
    rounds: u32,
    pad: u32,
}

impl Measure {
    /// Loads the kernels; `None` if this build has none for the device.
    ///
    /// # Errors
    /// When the driver refuses them.
    pub fn load(device: &Device) -> Result<Option<Self>, CudaError> {
        let properties = device.properties();
        let Some(image) = image("measure", properties.capability) else { return Ok(None) };
        let module = device.module(image)?;
        let (read, fill) = (module.function("measure_read", 0)?, module.function("measure_fill", 0)?);
        let numbers = module.function("measure_numbers", 0)?;
        let (bytes, halves) = (module.function("measure_matrix_u8s8", 0)?, module.function("measure_matrix_f16", 0)?);
        Ok(Some(Self { read, fill, numbers, bytes, halves, multiprocessors: properties.multiprocessors }))
    }

    /// Bytes a second at which the whole of `from` is read, the best of `rounds`. It should be far larger than the L2 cache.
    ///
    /// # Errors
    /// When the driver fails.
    pub fn bandwidth(&self, stream: &Stream, from: &Buffer<u8>, rounds: usize) -> Result<f64, CudaError> {
        let result = stream.device().zeroed::<u32>(1)?;
        let params = ReadParams { from: from.address(), count: from.len() as u64 / 16, result: result.address() };
        let launch = Launch::of(self.multiprocessors * 4, 512);
        // SAFETY: the kernel reads as many 16 bytes as the buffer has, and writes one number.
        let best = fastest(stream, rounds, || unsafe { stream.launch(&self.read, &launch, &params) })?;
        Ok(from.len() as f64 / best * 1e6)
    }

    /// Multiplications and additions a second of the matrix instructions that products use, the best of `rounds`: of bytes, and
    /// of halves.
    ///
    /// # Errors
    /// When the driver fails.
    pub fn matrix_rates(&self, stream: &Stream, rounds: usize) -> Result<[f64; 2], CudaError> {
        Ok([self.matrix_rate(stream, &self.bytes, 32, rounds)?, self.matrix_rate(stream, &self.halves, 16, rounds)?])
    }

    /// Of an instruction that multiplies 16 rows by 8 columns over `inputs` inputs.
    fn matrix_rate(&self, stream: &Stream, function: &Function, inputs: u64, rounds: usize) -> Result<f64, CudaError> {
        let result = stream.device().zeroed::<u32>(1)?;
        let params = MatrixParams { result: result.address(), rounds: MATRIX_ROUNDS, pad: 0 };
        let launch = Launch::of(self.multiprocessors, MATRIX_WARPS * 32);
        // SAFETY: the kernel writes one number.
        let best = fastest(stream, rounds, || unsafe { stream.launch(function, &launch, &params) })?;
        let instructions = u64::from(MATRIX_ROUNDS * MATRIX_AT_ONCE * MATRIX_WARPS * self.multiprocessors);
        Ok((instructions * 2 * 16 * 8 * inputs) as f64 / best * 1e6)
    }

    /// Random numbers, between 2^-1 and 1 in size, of both signs.
    ///
    /// # Errors
    /// When the driver fails.
    pub fn numbers(&self, stream: &Stream, to: &mut Buffer<bf16>, seed: u64) -> Result<(), CudaError> {
        let params = NumbersParams { to: to.address(), count: to.len() as u64 / 2, seed };
        // SAFETY: the kernel writes as many pairs as the buffer has.
        unsafe { stream.launch(&self.numbers, &Launch::of(self.multiprocessors * 8, 256), &params)? };
        stream.synchronize()
    }

    /// Random weights of a layout: codes of any value, scales between 2^-9 and 2^-8.
    ///
    /// # Errors
    /// When there is not enough memory.
    pub fn weights(&self, stream: &Stream, layout: &Layout, seed: u64) -> Result<Buffer<u8>, CudaError> {
        let bytes = stream.device().zeroed::<u8>(layout.bytes())?;
        let (tile, codes) = (layout.kind().tile_bytes() as u32, code_bytes(layout.kind()));
        let params = FillParams { to: bytes.address(), count: bytes.len() as u64 / 4, seed, tile, codes };
        // SAFETY: the kernel writes as many words as the buffer has.
        unsafe { stream.launch(&self.fill, &Launch::of(self.multiprocessors * 8, 256), &params)? };
        stream.synchronize()?;
        Ok(bytes)
    }
}

/// The least time of some rounds, in microseconds.
fn fastest(stream: &Stream, rounds: usize, launch: impl Fn() -> Result<(), CudaError>) -> Result<f64, CudaError> {
    let (begin, end) = (stream.device().event()?, stream.device().event()?);
    let mut best = f64::INFINITY;
    for _ in 0..rounds {
        begin.record(stream)?;
        launch()?;
        end.record(stream)?;
        end.synchronize()?;
        best = best.min(begin.microseconds_to(&end)?);
    }
    Ok(best)
}

/// Bytes of a tile that may have any bits.
const fn code_bytes(kind: Kind) -> u32 {
    match kind {
        Kind::Int4 => 1024,
        Kind::Int8 => 2048,
        Kind::F16 | Kind::Bf16 => 0,
    }
}
