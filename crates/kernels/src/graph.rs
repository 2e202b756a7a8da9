//! Recorded work that is launched as one.

use cudarc::driver::sys::{self, CUgraph, CUgraphExec};

use crate::device::Device;
use crate::error::{CudaError, check};
use crate::memory::Memory;
use crate::module::Function;
use crate::stream::Stream;

/// A recording that is ready to run. It keeps its kernels and the memory that they work on.
#[derive(Debug)]
pub struct Graph {
    executable: CUgraphExec,
    device: Device,
    _work: Vec<(Function, Vec<Memory>)>,
}

// SAFETY: a graph may be launched from any thread.
unsafe impl Send for Graph {}

impl Graph {
    /// Takes a recording and makes it ready.
    pub(crate) fn new(device: &Device, graph: CUgraph, work: Vec<(Function, Vec<Memory>)>) -> Result<Self, CudaError> {
        let mut executable = std::ptr::null_mut();
        // SAFETY: the recording is whole; the driver writes one handle, which this owns from now on.
        let made = unsafe { sys::cuGraphInstantiateWithFlags(&raw mut executable, graph, 0) };
        // SAFETY: what was made of the recording does not need it any more.
        let _ = unsafe { sys::cuGraphDestroy(graph) };
        check("cuGraphInstantiateWithFlags", made)?;
        Ok(Self { executable, device: device.clone(), _work: work })
    }

    /// Asks for all of it to run.
    ///
    /// # Errors
    /// When the driver refuses, or something before has failed.
    pub fn launch(&self, stream: &Stream) -> Result<(), CudaError> {
        self.device.bind()?;
        // SAFETY: both live, and so do the kernels and the memory that they work on.
        check("cuGraphLaunch", unsafe { sys::cuGraphLaunch(self.executable, stream.handle()) })
    }
}

impl Drop for Graph {
    fn drop(&mut self) {
        // SAFETY: this owns the executable graph.
        let _ = self.device.bind().map(|()| unsafe { sys::cuGraphExecDestroy(self.executable) });
    }
}
