//! Memory on the device, and memory of the host that it can reach.

use std::marker::PhantomData;
use std::ops::{Deref, DerefMut, Range};
use std::sync::Arc;

use bytemuck::Pod;
use cudarc::driver::sys::{self, CUdeviceptr};

use crate::device::Device;
use crate::error::{CudaError, check};
use crate::stream::Stream;

/// Values on a device.
#[derive(Debug)]
pub struct Buffer<T> {
    memory: Memory,
    /// Where in the memory it begins, in bytes.
    offset: usize,
    len: usize,
    values: PhantomData<T>,
}

/// A share in a buffer's memory, which lives as long as anybody has one.
#[derive(Debug, Clone)]
pub struct Memory(Arc<Allocation>);

#[derive(Debug)]
struct Allocation {
    address: CUdeviceptr,
    device: Device,
}

/// Values of the host in pages that stay where they are.
#[derive(Debug)]
pub struct Pinned<T> {
    values: *mut T,
    len: usize,
    device: Device,
}

// SAFETY: it owns its memory, and whoever writes has it alone.
unsafe impl<T: Send> Send for Pinned<T> {}
// SAFETY: readers of a shared reference only read.
unsafe impl<T: Sync> Sync for Pinned<T> {}

impl<T: Pod> Buffer<T> {
    pub(crate) fn zeroed(device: &Device, len: usize) -> Result<Self, CudaError> {
        device.bind()?;
        let bytes = (len * size_of::<T>()).max(1);
        let mut address = 0;
        // SAFETY: the driver writes one address, which this owns from now on.
        check("cuMemAlloc", unsafe { sys::cuMemAlloc_v2(&raw mut address, bytes) })?;
        let memory = Memory(Arc::new(Allocation { address, device: device.clone() }));
        // SAFETY: as many bytes were just taken.
        check("cuMemsetD8", unsafe { sys::cuMemsetD8_v2(address, 0, bytes) })?;
        wait_for_default_stream()?;
        Ok(Self { memory, offset: 0, len, values: PhantomData })
    }

    /// How many values it holds.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether it holds none.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Its size in bytes.
    pub fn bytes(&self) -> usize {
        self.len * size_of::<T>()
    }

    /// Where it begins, for the structures that kernels take.
    pub fn address(&self) -> u64 {
        self.memory.0.address + self.offset as u64
    }

    /// The `len` values from byte `at` on as a buffer of their own, which shares the memory: what one writes the other reads.
    ///
    /// # Panics
    /// When they lie outside, or not where such values may lie.
    pub fn part<U: Pod>(&self, at: usize, len: usize) -> Buffer<U> {
        let end = len.checked_mul(size_of::<U>()).and_then(|bytes| bytes.checked_add(at));
        assert!(end.is_some_and(|end| end <= self.bytes()), "{len} values from byte {at} on of {}", self.bytes());
        assert!((self.offset + at).is_multiple_of(align_of::<U>()), "values of {} bytes at {at}", size_of::<U>());
        Buffer { memory: self.memory(), offset: self.offset + at, len, values: PhantomData }
    }

    /// A share in its memory.
    pub fn memory(&self) -> Memory {
        self.memory.clone()
    }

    fn device(&self) -> &Device {
        &self.memory.0.device
    }

    /// Where value `at` lies.
    ///
    /// # Panics
    /// When there is no such value.
    pub fn address_of(&self, at: usize) -> u64 {
        assert!(at <= self.len, "value {at} of {}", self.len);
        self.address() + (at * size_of::<T>()) as u64
    }

    /// Copies `values` to the place `at`, and waits for it.
    ///
    /// # Errors
    /// When the driver fails.
    ///
    /// # Panics
    /// When they do not fit.
    pub fn write(&mut self, at: usize, values: &[T]) -> Result<(), CudaError> {
        self.check_range(at, values.len());
        self.device().bind()?;
        let to = self.address_of(at);
        // SAFETY: the range lies within the buffer, and the host's slice is as long.
        check("cuMemcpyHtoD", unsafe { sys::cuMemcpyHtoD_v2(to, values.as_ptr().cast(), size_of_val(values)) })?;
        wait_for_default_stream()
    }

    /// Copies some pinned values to the place `at` in the order of the stream; they must not change until it has done so.
    ///
    /// # Errors
    /// When the driver fails.
    ///
    /// # Panics
    /// When they do not fit.
    pub fn write_later(
        &mut self,
        at: usize,
        values: &Pinned<T>,
        range: Range<usize>,
        stream: &Stream,
    ) -> Result<(), CudaError> {
        let from = &values[range];
        self.check_range(at, from.len());
        self.device().bind()?;
        let (to, bytes) = (self.address_of(at), size_of_val(from));
        // SAFETY: both ranges were checked; pinned pages stay where they are.
        let asked = unsafe { sys::cuMemcpyHtoDAsync_v2(to, from.as_ptr().cast(), bytes, stream.handle()) };
        check("cuMemcpyHtoDAsync", asked)
    }

    /// Copies `len` values of another buffer, from its value `first` on, to the place `at` in the order of the stream.
    ///
    /// # Errors
    /// When the driver fails.
    ///
    /// # Panics
    /// When there are fewer, or they do not fit.
    pub fn copy_later(
        &mut self,
        at: usize,
        from: &Self,
        first: usize,
        len: usize,
        stream: &Stream,
    ) -> Result<(), CudaError> {
        self.check_range(at, len);
        from.check_range(first, len);
        self.device().bind()?;
        let (to, from, bytes) = (self.address_of(at), from.address_of(first), len * size_of::<T>());
        // SAFETY: both ranges were checked; the driver frees no memory before what uses it has run.
        check("cuMemcpyDtoDAsync", unsafe { sys::cuMemcpyDtoDAsync_v2(to, from, bytes, stream.handle()) })
    }

    /// Copies the values `at..at + into.len()` to the host, after everything that was asked of the device.
    ///
    /// # Errors
    /// When something before has failed.
    ///
    /// # Panics
    /// When there are fewer.
    pub fn read_into(&self, at: usize, into: &mut [T]) -> Result<(), CudaError> {
        self.check_range(at, into.len());
        self.device().synchronize()?;
        let from = self.address_of(at);
        // SAFETY: the range lies within the buffer, and the host's slice is as long.
        check("cuMemcpyDtoH", unsafe { sys::cuMemcpyDtoH_v2(into.as_mut_ptr().cast(), from, size_of_val(into)) })
    }

    /// All values, after everything that was asked of the device.
    ///
    /// # Errors
    /// When something before has failed.
    pub fn read(&self) -> Result<Vec<T>, CudaError> {
        let mut values = vec![T::zeroed(); self.len];
        self.read_into(0, &mut values)?;
        Ok(values)
    }

    /// Copies the first `len` values into pinned memory in the order of the stream.
    ///
    /// # Errors
    /// When the driver fails.
    ///
    /// # Panics
    /// When there are fewer.
    pub fn read_later(&self, into: &mut Pinned<T>, len: usize, stream: &Stream) -> Result<(), CudaError> {
        self.check_range(0, len);
        assert!(len <= into.len, "{len} of {} pinned values", into.len);
        self.device().bind()?;
        let bytes = len * size_of::<T>();
        // SAFETY: both ranges were checked; pinned pages stay where they are.
        let asked = unsafe { sys::cuMemcpyDtoHAsync_v2(into.values.cast(), self.address(), bytes, stream.handle()) };
        check("cuMemcpyDtoHAsync", asked)
    }

    /// Sets every byte, in the order of the stream.
    ///
    /// # Errors
    /// When the driver fails.
    pub fn fill(&mut self, byte: u8, stream: &Stream) -> Result<(), CudaError> {
        self.device().bind()?;
        // SAFETY: the buffer has as many bytes.
        let asked = unsafe { sys::cuMemsetD8Async(self.address(), byte, self.bytes(), stream.handle()) };
        check("cuMemsetD8Async", asked)
    }

    fn check_range(&self, at: usize, len: usize) {
        let end = at.checked_add(len);
        assert!(end.is_some_and(|end| end <= self.len), "values {at}..+{len} of {}", self.len);
    }
}

/// Calls without a stream return before the device has done what they ask, and streams of ours do not wait for it.
fn wait_for_default_stream() -> Result<(), CudaError> {
    // SAFETY: the default stream always lives.
    check("cuStreamSynchronize", unsafe { sys::cuStreamSynchronize(std::ptr::null_mut()) })
}

impl Drop for Allocation {
    fn drop(&mut self) {
        // SAFETY: this owns the memory; the driver waits for work that uses it. On a lost device there is nothing to free.
        let _ = self.device.bind().map(|()| unsafe { sys::cuMemFree_v2(self.address) });
    }
}

impl<T: Pod> Pinned<T> {
    pub(crate) fn zeroed(device: &Device, len: usize) -> Result<Self, CudaError> {
        device.bind()?;
        let bytes = (len * size_of::<T>()).max(1);
        let mut values = std::ptr::null_mut();
        // SAFETY: the driver writes one pointer, to pages that this owns from now on and that are aligned for any type.
        check("cuMemHostAlloc", unsafe { sys::cuMemHostAlloc(&raw mut values, bytes, 0) })?;
        // SAFETY: as many bytes were just taken, and zeros are values of any plain type.
        unsafe { std::ptr::write_bytes(values.cast::<u8>(), 0, bytes) };
        Ok(Self { values: values.cast(), len, device: device.clone() })
    }
}

impl<T> Deref for Pinned<T> {
    type Target = [T];

    fn deref(&self) -> &[T] {
        // SAFETY: as many values were taken and set.
        unsafe { std::slice::from_raw_parts(self.values, self.len) }
    }
}

impl<T> DerefMut for Pinned<T> {
    fn deref_mut(&mut self) -> &mut [T] {
        // SAFETY: as many values were taken and set, and nobody else has them.
        unsafe { std::slice::from_raw_parts_mut(self.values, self.len) }
    }
}

impl<T> Drop for Pinned<T> {
    fn drop(&mut self) {
        // SAFETY: this owns the pages.
        let _ = self.device.bind().map(|()| unsafe { sys::cuMemFreeHost(self.values.cast()) });
    }
}
