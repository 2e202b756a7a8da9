//! A queue of work on a device.

use bytemuck::Pod;
use cudarc::driver::sys::{self, CUstream, CUstream_flags, CUstreamCaptureMode};

use crate::device::Device;
use crate::error::{CudaError, check};
use crate::graph::Graph;
use crate::launch::{self, Launch};
use crate::module::Function;
use crate::work::Work;

/// Work in order: each piece begins when the one before has ended, unless both say that it may begin earlier.
#[derive(Debug)]
pub struct Stream {
    handle: CUstream,
    device: Device,
}

// SAFETY: a stream may be used from any thread.
unsafe impl Send for Stream {}

impl Stream {
    pub(crate) fn new(device: &Device) -> Result<Self, CudaError> {
        device.bind()?;
        let mut handle = std::ptr::null_mut();
        let flags = CUstream_flags::CU_STREAM_NON_BLOCKING as u32;
        // SAFETY: the driver writes one handle, which this owns from now on.
        check("cuStreamCreate", unsafe { sys::cuStreamCreate(&raw mut handle, flags) })?;
        Ok(Self { handle, device: device.clone() })
    }

    pub(crate) fn handle(&self) -> CUstream {
        self.handle
    }

    /// Its device.
    pub fn device(&self) -> &Device {
        &self.device
    }

    /// Asks for a kernel to run with `params`, its only argument.
    ///
    /// # Safety
    /// `params` must be what the kernel takes, every address in it must belong to memory that is large enough for what the
    /// kernel does with these sizes, and that memory must live until the kernel has run.
    ///
    /// # Errors
    /// When the driver refuses the launch, or something before has failed.
    pub unsafe fn launch<P: Pod>(&self, function: &Function, launch: &Launch, params: &P) -> Result<(), CudaError> {
        self.device.bind()?;
        // SAFETY: the caller answers for the parameters.
        unsafe { launch::run(self.handle, function, launch, std::ptr::from_ref(params).cast()) }
    }

    /// Asks for a piece of work.
    ///
    /// # Errors
    /// When the driver refuses the launch, or something before has failed.
    pub fn run(&self, work: &Work) -> Result<(), CudaError> {
        self.device.bind()?;
        work.run(self)
    }

    /// Waits for all that was asked of it.
    ///
    /// # Errors
    /// When some of it failed.
    pub fn synchronize(&self) -> Result<(), CudaError> {
        self.device.bind()?;
        // SAFETY: the stream lives.
        check("cuStreamSynchronize", unsafe { sys::cuStreamSynchronize(self.handle) })
    }

    /// Makes one of many pieces of work, which are launched together.
    ///
    /// # Errors
    /// When the driver refuses one of them.
    pub fn record<'a>(&self, work: impl IntoIterator<Item = &'a Work>) -> Result<Graph, CudaError> {
        self.device.bind()?;
        let mode = CUstreamCaptureMode::CU_STREAM_CAPTURE_MODE_THREAD_LOCAL;
        // SAFETY: the stream lives.
        check("cuStreamBeginCapture", unsafe { sys::cuStreamBeginCapture_v2(self.handle, mode) })?;
        let mut kept = Vec::new();
        let worked = work.into_iter().try_for_each(|work| {
            kept.push((work.function().clone(), work.memory().to_vec()));
            work.run(self)
        });
        let mut graph = std::ptr::null_mut();
        // SAFETY: recording was begun above; the driver writes one handle.
        let ended = check("cuStreamEndCapture", unsafe { sys::cuStreamEndCapture(self.handle, &raw mut graph) });
        worked.and(ended)?;
        Graph::new(&self.device, graph, kept)
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        // SAFETY: this owns the stream; work that was asked of it goes on without it.
        let _ = self.device.bind().map(|()| unsafe { sys::cuStreamDestroy_v2(self.handle) });
    }
}
