//! Why a device cannot be used, and what a call to the driver came to.

use cudarc::driver::sys::{self, CUresult};

/// A call that the driver refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{call}: {name} ({code})")]
pub struct CudaError {
    /// The driver's function.
    pub call: &'static str,
    /// The driver's number.
    pub code: u32,
    /// The driver's name of it.
    pub name: String,
}

/// Why there is no device.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Unavailable {
    /// No driver is installed.
    #[error("no NVIDIA driver is installed")]
    NoDriver,
    /// A driver that lacks what karst calls.
    #[error("the NVIDIA driver is too old: it has no {symbol}")]
    OldDriver {
        /// The first function that is missing.
        symbol: &'static str,
    },
    /// There are fewer devices.
    #[error("there is no device {ordinal}: the driver sees {count}")]
    NoDevice {
        /// What was asked for.
        ordinal: u32,
        /// How many there are.
        count: u32,
    },
    /// The driver is there and does not work.
    #[error("the NVIDIA driver does not work: {0}")]
    Driver(#[from] CudaError),
}

impl CudaError {
    /// Whether the device has no memory left; then nothing was changed.
    pub fn is_out_of_memory(&self) -> bool {
        self.code == CUresult::CUDA_ERROR_OUT_OF_MEMORY as u32
    }
}

/// The result of a call.
pub(crate) fn check(call: &'static str, result: CUresult) -> Result<(), CudaError> {
    if result == CUresult::CUDA_SUCCESS {
        return Ok(());
    }
    Err(CudaError { call, code: result as u32, name: name(result) })
}

fn name(result: CUresult) -> String {
    let mut text = std::ptr::null();
    // SAFETY: the driver writes a pointer to a string that it never frees.
    let known = unsafe { sys::cuGetErrorName(result, &raw mut text) };
    if known != CUresult::CUDA_SUCCESS || text.is_null() {
        return "an error unknown to the driver".to_owned();
    }
    // SAFETY: the driver gave a string that ends with a zero.
    unsafe { std::ffi::CStr::from_ptr(text) }.to_string_lossy().into_owned()
}
