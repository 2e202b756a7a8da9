//! How a kernel is started.

use std::ffi::c_void;

use cudarc::driver::sys::{
    self, CUlaunchAttribute, CUlaunchAttributeID, CUlaunchAttributeValue, CUlaunchConfig, CUstream,
};

use crate::error::{CudaError, check};
use crate::module::Function;

/// Blocks, threads and shared memory of a launch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Launch {
    /// Blocks along three axes.
    pub grid: [u32; 3],
    /// Threads a block.
    pub threads: u32,
    /// Bytes of dynamic shared memory a block.
    pub shared: u32,
    /// Whether it may begin before the kernel before it has ended (programmatic dependent launch; compute capability 9 on).
    /// Such a kernel executes `griddepcontrol.wait` before it reads what that one wrote.
    pub early: bool,
}

impl Launch {
    /// Blocks along one axis, no shared memory, in order.
    pub const fn of(blocks: u32, threads: u32) -> Self {
        Self { grid: [blocks, 1, 1], threads, shared: 0, early: false }
    }
}

/// # Safety
/// As for [`Stream::launch`](crate::Stream::launch).
pub(crate) unsafe fn run(
    stream: CUstream,
    function: &Function,
    launch: &Launch,
    params: *const c_void,
) -> Result<(), CudaError> {
    let value = CUlaunchAttributeValue { programmaticStreamSerializationAllowed: 1 };
    let id = CUlaunchAttributeID::CU_LAUNCH_ATTRIBUTE_PROGRAMMATIC_STREAM_SERIALIZATION;
    let mut early = CUlaunchAttribute { id, pad: [0; 4], value };
    let [x, y, z] = launch.grid;
    let config = CUlaunchConfig {
        gridDimX: x,
        gridDimY: y,
        gridDimZ: z,
        blockDimX: launch.threads,
        blockDimY: 1,
        blockDimZ: 1,
        sharedMemBytes: launch.shared,
        hStream: stream,
        attrs: &raw mut early,
        numAttrs: u32::from(launch.early),
    };
    let mut arguments = [params.cast_mut()];
    // SAFETY: the kernel takes one structure, which the driver copies before it returns; the caller answers for its content.
    let asked = unsafe {
        sys::cuLaunchKernelEx(&raw const config, function.handle(), arguments.as_mut_ptr(), std::ptr::null_mut())
    };
    check("cuLaunchKernelEx", asked)
}
