//! Points in a stream that can be waited for and timed.

use cudarc::driver::sys::{self, CUevent, CUresult};

use crate::device::Device;
use crate::error::{CudaError, check};
use crate::stream::Stream;

/// A point in a stream.
#[derive(Debug)]
pub struct Event {
    handle: CUevent,
    device: Device,
}

// SAFETY: an event may be used from any thread.
unsafe impl Send for Event {}

impl Event {
    pub(crate) fn new(device: &Device) -> Result<Self, CudaError> {
        device.bind()?;
        let mut handle = std::ptr::null_mut();
        // SAFETY: the driver writes one handle, which this owns from now on.
        check("cuEventCreate", unsafe { sys::cuEventCreate(&raw mut handle, 0) })?;
        Ok(Self { handle, device: device.clone() })
    }

    /// Puts the point at the end of what was asked of `stream`.
    ///
    /// # Errors
    /// When the driver fails.
    pub fn record(&self, stream: &Stream) -> Result<(), CudaError> {
        self.device.bind()?;
        // SAFETY: both live.
        check("cuEventRecord", unsafe { sys::cuEventRecord(self.handle, stream.handle()) })
    }

    /// Lets `stream` wait for the point.
    ///
    /// # Errors
    /// When the driver fails.
    pub fn hold(&self, stream: &Stream) -> Result<(), CudaError> {
        self.device.bind()?;
        // SAFETY: both live.
        check("cuStreamWaitEvent", unsafe { sys::cuStreamWaitEvent(stream.handle(), self.handle, 0) })
    }

    /// Whether the point was reached.
    ///
    /// # Errors
    /// When something before it failed.
    pub fn is_reached(&self) -> Result<bool, CudaError> {
        self.device.bind()?;
        // SAFETY: the event lives.
        match unsafe { sys::cuEventQuery(self.handle) } {
            CUresult::CUDA_ERROR_NOT_READY => Ok(false),
            result => check("cuEventQuery", result).map(|()| true),
        }
    }

    /// Waits for the point.
    ///
    /// # Errors
    /// When something before it failed.
    pub fn synchronize(&self) -> Result<(), CudaError> {
        self.device.bind()?;
        // SAFETY: the event lives.
        check("cuEventSynchronize", unsafe { sys::cuEventSynchronize(self.handle) })
    }

    /// Microseconds from this point to a later one; both were reached.
    ///
    /// # Errors
    /// When one was not.
    pub fn microseconds_to(&self, later: &Self) -> Result<f64, CudaError> {
        let mut milliseconds = 0.0;
        // SAFETY: both live; the driver writes one number.
        let asked = unsafe { sys::cuEventElapsedTime(&raw mut milliseconds, self.handle, later.handle) };
        check("cuEventElapsedTime", asked)?;
        Ok(f64::from(milliseconds) * 1e3)
    }
}

impl Drop for Event {
    fn drop(&mut self) {
        // SAFETY: this owns the event.
        let _ = self.device.bind().map(|()| unsafe { sys::cuEventDestroy_v2(self.handle) });
    }
}
