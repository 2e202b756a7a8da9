//! Memory of the device through which weights pass.

use std::sync::{Mutex, PoisonError};

use rayon::prelude::*;
use rayon::{ThreadPool, ThreadPoolBuilder};

use super::ring::Ring;
use super::{LoadError, Transfer};
use crate::device::Device;
use crate::error::CudaError;
use crate::memory::Buffer;
use crate::stream::Stream;
use crate::work::Work;

/// Every piece begins at a multiple of as many bytes, at which all memory of a device begins.
const ALIGNMENT: usize = 256;

/// The memory, and what brings bytes there.
#[derive(Debug)]
pub(super) struct Stage {
    bytes: Buffer<u8>,
    ring: Ring,
    pool: ThreadPool,
    stream: Stream,
}

impl Stage {
    pub(super) fn new(device: &Device, transfer: Transfer) -> Result<Self, LoadError> {
        let Transfer { threads, chunk, stage } = transfer;
        assert!(threads > 0 && chunk > 0 && stage > 0, "no bytes go through {transfer:?}");
        let name = |index| format!("karst-load-{index}");
        Ok(Self {
            bytes: device.zeroed(stage)?,
            ring: Ring::new(device, 2 * threads, chunk)?,
            pool: ThreadPoolBuilder::new().num_threads(threads).thread_name(name).build()?,
            stream: device.stream()?,
        })
    }

    /// The memory.
    pub(super) fn bytes(&self) -> &Buffer<u8> {
        &self.bytes
    }

    /// Brings pieces there in the order of the stream, one behind another: where each begins.
    pub(super) fn bring(&mut self, pieces: &[&[u8]]) -> Result<Vec<usize>, CudaError> {
        let mut end = 0;
        let place = |piece: &&[u8]| {
            let start = end;
            end += piece.len().next_multiple_of(ALIGNMENT);
            start
        };
        let places: Vec<usize> = pieces.iter().map(place).collect();
        if end > self.bytes.len() {
            self.bytes = self.stream.device().zeroed(end)?;
        }
        self.fill(pieces, &places)?;
        Ok(places)
    }

    /// Asks for work with the bytes that were brought last.
    pub(super) fn run(&self, work: &Work) -> Result<(), CudaError> {
        self.stream.run(work)
    }

    /// Waits for all that was asked.
    pub(super) fn synchronize(&self) -> Result<(), CudaError> {
        self.stream.synchronize()
    }

    fn fill(&mut self, pieces: &[&[u8]], places: &[usize]) -> Result<(), CudaError> {
        let Self { bytes, ring, pool, stream } = self;
        let size = ring.chunk_bytes();
        let mut chunks = Vec::new();
        for (piece, start) in pieces.iter().zip(places) {
            chunks.extend(piece.chunks(size).enumerate().map(|(index, chunk)| (start + index * size, chunk)));
        }
        let target = Mutex::new((bytes, stream));
        let send = |&(at, values): &(usize, &[u8])| {
            ring.with_chunk(|chunk| {
                chunk.fill(values)?;
                let mut target = target.lock().unwrap_or_else(PoisonError::into_inner);
                let (bytes, stream) = &mut *target;
                chunk.send(bytes, at, stream)
            })
        };
        pool.install(|| chunks.par_iter().with_max_len(1).try_for_each(send))
    }
}
