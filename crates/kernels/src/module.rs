//! Kernels that were loaded.

use std::ffi::{CString, c_int};
use std::sync::Arc;

use cudarc::driver::sys::{self, CUfunction, CUfunction_attribute, CUmodule, CUresult};

use crate::device::Device;
use crate::error::{CudaError, check};

/// An image on a device.
#[derive(Debug, Clone)]
pub struct Module(Arc<Loaded>);

/// A kernel. It keeps its module loaded.
#[derive(Debug, Clone)]
pub struct Function {
    handle: CUfunction,
    _module: Module,
}

#[derive(Debug)]
struct Loaded {
    handle: CUmodule,
    device: Device,
}

// SAFETY: a module may be used from any thread.
unsafe impl Send for Loaded {}
// SAFETY: the driver locks what calls share.
unsafe impl Sync for Loaded {}
// SAFETY: as its module.
unsafe impl Send for Function {}
// SAFETY: as its module.
unsafe impl Sync for Function {}

impl Module {
    pub(crate) fn load(device: &Device, image: &[u8]) -> Result<Self, CudaError> {
        device.bind()?;
        // PTX is text and must end with a zero; binary images do not mind one.
        let image: Vec<u8> = image.iter().copied().chain([0]).collect();
        let mut handle = std::ptr::null_mut();
        // SAFETY: the image is whole and ends with a zero; the driver copies it and writes one handle.
        check("cuModuleLoadData", unsafe { sys::cuModuleLoadData(&raw mut handle, image.as_ptr().cast()) })?;
        Ok(Self(Arc::new(Loaded { handle, device: device.clone() })))
    }

    /// A kernel by its name, allowed `shared` bytes of dynamic shared memory.
    ///
    /// # Errors
    /// When there is no such kernel, or the device has less shared memory.
    pub fn function(&self, name: &str, shared: u32) -> Result<Function, CudaError> {
        self.0.device.bind()?;
        let missing = || CudaError {
            call: "cuModuleGetFunction",
            code: CUresult::CUDA_ERROR_NOT_FOUND as u32,
            name: name.to_owned(),
        };
        let symbol = CString::new(name).map_err(|_| missing())?;
        let mut handle = std::ptr::null_mut();
        // SAFETY: the module lives and the name ends with a zero; the driver writes one handle.
        let found = unsafe { sys::cuModuleGetFunction(&raw mut handle, self.0.handle, symbol.as_ptr()) };
        check("cuModuleGetFunction", found)
            .map_err(|error| CudaError { name: format!("{name}: {}", error.name), ..error })?;
        let attribute = CUfunction_attribute::CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES;
        // SAFETY: the function lives as long as its module.
        let set = unsafe { sys::cuFuncSetAttribute(handle, attribute, shared as c_int) };
        check("cuFuncSetAttribute", set)?;
        Ok(Function { handle, _module: self.clone() })
    }
}

impl Function {
    pub(crate) fn handle(&self) -> CUfunction {
        self.handle
    }

    /// Registers a thread, and bytes of local memory a thread (stack and spills).
    ///
    /// # Errors
    /// When the driver fails.
    pub fn resources(&self) -> Result<(u32, u32), CudaError> {
        let attribute = |attribute| {
            // SAFETY: the function lives; the driver writes one number.
            let ask = |value| unsafe { sys::cuFuncGetAttribute(value, attribute, self.handle) };
            crate::driver::number("cuFuncGetAttribute", ask).map(c_int::unsigned_abs)
        };
        let registers = attribute(CUfunction_attribute::CU_FUNC_ATTRIBUTE_NUM_REGS)?;
        Ok((registers, attribute(CUfunction_attribute::CU_FUNC_ATTRIBUTE_LOCAL_SIZE_BYTES)?))
    }
}

impl Drop for Loaded {
    fn drop(&mut self) {
        // SAFETY: this owns the module, and no function of it is left.
        let _ = self.device.bind().map(|()| unsafe { sys::cuModuleUnload(self.handle) });
    }
}
