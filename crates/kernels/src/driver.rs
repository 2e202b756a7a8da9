//! Whether there is a driver, found out before the first call: the bindings panic where it or a function is missing.

use std::sync::OnceLock;

use cudarc::driver::sys;

use crate::error::{CudaError, Unavailable, check};

/// Every function that this crate calls.
const SYMBOLS: &[&str] = &[
    "cuInit",
    "cuDriverGetVersion",
    "cuGetErrorName",
    "cuDeviceGet",
    "cuDeviceGetCount",
    "cuDeviceGetName",
    "cuDeviceGetAttribute",
    "cuDeviceTotalMem_v2",
    "cuDevicePrimaryCtxRetain",
    "cuDevicePrimaryCtxRelease_v2",
    "cuCtxSetCurrent",
    "cuCtxSynchronize",
    "cuMemGetInfo_v2",
    "cuMemAlloc_v2",
    "cuMemFree_v2",
    "cuMemcpyHtoD_v2",
    "cuMemcpyDtoH_v2",
    "cuMemcpyHtoDAsync_v2",
    "cuMemcpyDtoHAsync_v2",
    "cuMemsetD8_v2",
    "cuMemsetD8Async",
    "cuMemHostAlloc",
    "cuMemFreeHost",
    "cuStreamCreate",
    "cuStreamDestroy_v2",
    "cuStreamSynchronize",
    "cuStreamBeginCapture_v2",
    "cuStreamEndCapture",
    "cuEventCreate",
    "cuEventDestroy_v2",
    "cuEventRecord",
    "cuEventQuery",
    "cuEventSynchronize",
    "cuEventElapsedTime",
    "cuStreamWaitEvent",
    "cuModuleLoadData",
    "cuModuleUnload",
    "cuModuleGetFunction",
    "cuFuncSetAttribute",
    "cuFuncGetAttribute",
    "cuLaunchKernelEx",
    "cuGraphInstantiateWithFlags",
    "cuGraphDestroy",
    "cuGraphExecDestroy",
    "cuGraphLaunch",
];

/// Whether the driver can be called, found out once.
pub(crate) fn ready() -> Result<(), Unavailable> {
    static READY: OnceLock<Result<(), Unavailable>> = OnceLock::new();
    READY.get_or_init(probe).clone()
}

fn probe() -> Result<(), Unavailable> {
    // SAFETY: looking for the driver runs its initialisers, as every program with CUDA does.
    if !unsafe { sys::is_culib_present() } {
        return Err(Unavailable::NoDriver);
    }
    // SAFETY: the library is there.
    let library = unsafe { sys::culib() };
    for symbol in SYMBOLS {
        // SAFETY: the symbol is only looked up, never called through this type.
        if unsafe { library.get::<*const ()>(symbol.as_bytes()) }.is_err() {
            return Err(Unavailable::OldDriver { symbol });
        }
    }
    // SAFETY: every function called from here on is known to exist.
    check("cuInit", unsafe { sys::cuInit(0) }).map_err(Unavailable::Driver)
}

/// The CUDA version that the driver knows, as major and minor.
///
/// # Errors
/// When there is no driver.
pub fn driver_version() -> Result<(u32, u32), Unavailable> {
    ready()?;
    let mut version = 0;
    // SAFETY: the driver writes one number.
    check("cuDriverGetVersion", unsafe { sys::cuDriverGetVersion(&raw mut version) })?;
    let version = version.unsigned_abs();
    Ok((version / 1000, version % 1000 / 10))
}

/// A number that the driver writes.
pub(crate) fn number<T: Default>(
    call: &'static str,
    ask: impl FnOnce(*mut T) -> sys::CUresult,
) -> Result<T, CudaError> {
    let mut value = T::default();
    check(call, ask(&raw mut value))?;
    Ok(value)
}
