//! One device and its context.

use std::ffi::c_char;
use std::sync::Arc;

use bytemuck::Pod;
use cudarc::driver::sys::{self, CUcontext, CUdevice_attribute as Attribute};

use crate::driver::{number, ready};
use crate::error::{CudaError, Unavailable, check};
use crate::event::Event;
use crate::memory::{Buffer, Pinned};
use crate::module::Module;
use crate::stream::Stream;

/// A device that was opened; copies share it. What was made on it keeps it open.
#[derive(Debug, Clone)]
pub struct Device(Arc<Context>);

/// What a device is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Properties {
    /// Its name.
    pub name: String,
    /// Compute capability, major and minor.
    pub capability: (u32, u32),
    /// Multiprocessors.
    pub multiprocessors: u32,
    /// Bytes of its memory.
    pub memory: u64,
    /// Bytes of its L2 cache.
    pub l2: u64,
    /// Most bytes of shared memory a block may ask for.
    pub shared: u32,
}

#[derive(Debug)]
struct Context {
    handle: CUcontext,
    device: i32,
    properties: Properties,
}

// SAFETY: a context may be used from any thread that makes it current, and every call here does so first.
unsafe impl Send for Context {}
// SAFETY: the driver locks what calls share.
unsafe impl Sync for Context {}

impl Device {
    /// How many devices the driver sees.
    ///
    /// # Errors
    /// When there is no driver, or it does not work.
    pub fn count() -> Result<u32, Unavailable> {
        ready()?;
        // SAFETY: the driver writes one number.
        let count = number("cuDeviceGetCount", |count| unsafe { sys::cuDeviceGetCount(count) })?;
        Ok(count.unsigned_abs())
    }

    /// Looks at a device by its number, without opening it.
    ///
    /// # Errors
    /// When there is no driver or no such device.
    pub fn describe(ordinal: u32) -> Result<Properties, Unavailable> {
        Ok(properties(find(ordinal)?)?)
    }

    /// Opens a device by its number.
    ///
    /// # Errors
    /// When there is no driver or no such device.
    pub fn open(ordinal: u32) -> Result<Self, Unavailable> {
        let device = find(ordinal)?;
        let properties = properties(device)?;
        let mut handle = std::ptr::null_mut();
        // SAFETY: the device exists; the context is released when the last owner is dropped.
        check("cuDevicePrimaryCtxRetain", unsafe { sys::cuDevicePrimaryCtxRetain(&raw mut handle, device) })?;
        Ok(Self(Arc::new(Context { handle, device, properties })))
    }

    /// What it is.
    pub fn properties(&self) -> &Properties {
        &self.0.properties
    }

    /// Bytes of free memory.
    ///
    /// # Errors
    /// When the driver fails.
    pub fn free_memory(&self) -> Result<u64, CudaError> {
        self.bind()?;
        let (mut free, mut total) = (0, 0);
        // SAFETY: the driver writes two numbers.
        check("cuMemGetInfo", unsafe { sys::cuMemGetInfo_v2(&raw mut free, &raw mut total) })?;
        Ok(free as u64)
    }

    /// Waits for everything that was asked of the device.
    ///
    /// # Errors
    /// When something before has failed.
    pub fn synchronize(&self) -> Result<(), CudaError> {
        self.bind()?;
        // SAFETY: a context is current.
        check("cuCtxSynchronize", unsafe { sys::cuCtxSynchronize() })
    }

    /// Memory on the device, all zero.
    ///
    /// # Errors
    /// When there is not enough.
    pub fn zeroed<T: Pod>(&self, len: usize) -> Result<Buffer<T>, CudaError> {
        Buffer::zeroed(self, len)
    }

    /// A copy of `values` on the device.
    ///
    /// # Errors
    /// When there is not enough memory.
    pub fn upload<T: Pod>(&self, values: &[T]) -> Result<Buffer<T>, CudaError> {
        let mut buffer = Buffer::zeroed(self, values.len())?;
        buffer.write(0, values)?;
        Ok(buffer)
    }

    /// Memory of the host that the device can copy without the processor, all zero.
    ///
    /// # Errors
    /// When the system gives no more.
    pub fn pinned<T: Pod>(&self, len: usize) -> Result<Pinned<T>, CudaError> {
        Pinned::zeroed(self, len)
    }

    /// A queue of work.
    ///
    /// # Errors
    /// When the driver fails.
    pub fn stream(&self) -> Result<Stream, CudaError> {
        Stream::new(self)
    }

    /// A point in a queue that can be waited for and timed.
    ///
    /// # Errors
    /// When the driver fails.
    pub fn event(&self) -> Result<Event, CudaError> {
        Event::new(self)
    }

    /// Loads an image of kernels.
    ///
    /// # Errors
    /// When the image is not for this device or driver.
    pub fn module(&self, image: &[u8]) -> Result<Module, CudaError> {
        Module::load(self, image)
    }

    /// Makes its context the current one of this thread.
    pub(crate) fn bind(&self) -> Result<(), CudaError> {
        // SAFETY: the context lives as long as this.
        check("cuCtxSetCurrent", unsafe { sys::cuCtxSetCurrent(self.0.handle) })
    }
}

impl Drop for Context {
    fn drop(&mut self) {
        // SAFETY: it was retained once; nothing that was made on it is left. A device that is lost cannot be released: then
        // the driver has nothing to give back.
        let _ = unsafe { sys::cuDevicePrimaryCtxRelease_v2(self.device) };
    }
}

/// The driver's handle of a device.
fn find(ordinal: u32) -> Result<i32, Unavailable> {
    let count = Device::count()?;
    if ordinal >= count {
        return Err(Unavailable::NoDevice { ordinal, count });
    }
    // SAFETY: the device exists.
    Ok(number("cuDeviceGet", |device| unsafe { sys::cuDeviceGet(device, ordinal.cast_signed()) })?)
}

fn properties(device: i32) -> Result<Properties, CudaError> {
    let attribute = |attribute: Attribute| {
        // SAFETY: the driver writes one number.
        let ask = |value| unsafe { sys::cuDeviceGetAttribute(value, attribute, device) };
        number("cuDeviceGetAttribute", ask).map(i32::unsigned_abs)
    };
    // SAFETY: the driver writes one number.
    let memory: usize = number("cuDeviceTotalMem", |bytes| unsafe { sys::cuDeviceTotalMem_v2(bytes, device) })?;
    Ok(Properties {
        name: name(device)?,
        capability: (
            attribute(Attribute::CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR)?,
            attribute(Attribute::CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR)?,
        ),
        multiprocessors: attribute(Attribute::CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT)?,
        memory: memory as u64,
        l2: u64::from(attribute(Attribute::CU_DEVICE_ATTRIBUTE_L2_CACHE_SIZE)?),
        shared: attribute(Attribute::CU_DEVICE_ATTRIBUTE_MAX_SHARED_MEMORY_PER_BLOCK_OPTIN)?,
    })
}

fn name(device: i32) -> Result<String, CudaError> {
    let mut name = [0u8; 256];
    // SAFETY: the driver writes at most as many bytes as the length says, the last of them zero.
    let asked = unsafe { sys::cuDeviceGetName(name.as_mut_ptr().cast::<c_char>(), 256, device) };
    check("cuDeviceGetName", asked)?;
    let end = name.iter().position(|&byte| byte == 0).unwrap_or(name.len());
    Ok(String::from_utf8_lossy(&name[..end]).into_owned())
}
