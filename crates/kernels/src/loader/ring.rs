//! Pinned memory that is used again and again.

use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};

use crate::device::Device;
use crate::error::CudaError;
use crate::event::Event;
use crate::memory::{Buffer, Pinned};
use crate::stream::Stream;

/// Chunks, those first that have been on their way for the longest.
#[derive(Debug)]
pub(super) struct Ring {
    chunks: Mutex<VecDeque<Chunk>>,
    chunk_bytes: usize,
}

/// Bytes on their way to the device.
#[derive(Debug)]
pub(super) struct Chunk {
    bytes: Pinned<u8>,
    len: usize,
    /// When the device has copied them; reached too where nothing was sent.
    copied: Event,
}

impl Ring {
    pub(super) fn new(device: &Device, count: usize, chunk_bytes: usize) -> Result<Self, CudaError> {
        let chunk = |_| Ok(Chunk { bytes: device.pinned(chunk_bytes)?, len: 0, copied: device.event()? });
        let chunks = (0..count).map(chunk).collect::<Result<_, _>>()?;
        Ok(Self { chunks: Mutex::new(chunks), chunk_bytes })
    }

    /// Most bytes of a chunk.
    pub(super) const fn chunk_bytes(&self) -> usize {
        self.chunk_bytes
    }

    /// Lends a chunk.
    ///
    /// # Panics
    /// When all are lent: more threads than chunks ask at once.
    pub(super) fn with_chunk<T>(&self, work: impl FnOnce(&mut Chunk) -> T) -> T {
        let chunks = || self.chunks.lock().unwrap_or_else(PoisonError::into_inner);
        let mut chunk = chunks().pop_front().expect("there are more chunks than threads");
        let result = work(&mut chunk);
        chunks().push_back(chunk);
        result
    }
}

impl Chunk {
    /// Takes a copy of `bytes` as soon as the device has copied what was sent before.
    pub(super) fn fill(&mut self, bytes: &[u8]) -> Result<(), CudaError> {
        self.copied.synchronize()?;
        self.bytes[..bytes.len()].copy_from_slice(bytes);
        self.len = bytes.len();
        Ok(())
    }

    /// Sends the copy to the place `at` of `to`, in the order of the stream.
    pub(super) fn send(&mut self, to: &mut Buffer<u8>, at: usize, stream: &Stream) -> Result<(), CudaError> {
        to.write_later(at, &self.bytes, 0..self.len, stream)?;
        self.copied.record(stream)
    }
}

impl Drop for Chunk {
    /// The device must not read memory that was given back. On a lost device nothing reads any more.
    fn drop(&mut self) {
        let _ = self.copied.synchronize();
    }
}
