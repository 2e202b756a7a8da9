//! A launch that was proven to be sound, with all that it needs.

use bytemuck::Pod;

use crate::error::CudaError;
use crate::launch::{self, Launch};
use crate::memory::Memory;
use crate::module::Function;
use crate::stream::Stream;

/// A kernel with its sizes and parameters, ready to run again and again. It keeps the memory that it works on.
#[derive(Debug, Clone)]
pub struct Work {
    function: Function,
    launch: Launch,
    /// In words, so that it is aligned for any parameter.
    params: Vec<u64>,
    memory: Vec<Memory>,
}

impl Work {
    /// Binds a kernel to its parameters.
    ///
    /// # Safety
    /// `params` must be what the kernel takes, and with it every address that the kernel touches must lie in `memory`.
    pub unsafe fn new<P: Pod>(function: &Function, launch: Launch, params: &P, memory: Vec<Memory>) -> Self {
        const { assert!(align_of::<P>() <= align_of::<u64>()) };
        let mut words = vec![0u64; size_of::<P>().div_ceil(size_of::<u64>())];
        bytemuck::cast_slice_mut::<u64, u8>(&mut words)[..size_of::<P>()].copy_from_slice(bytemuck::bytes_of(params));
        Self { function: function.clone(), launch, params: words, memory }
    }

    /// Its kernel.
    pub fn function(&self) -> &Function {
        &self.function
    }

    pub(crate) fn memory(&self) -> &[Memory] {
        &self.memory
    }

    /// Asks for it.
    pub(crate) fn run(&self, stream: &Stream) -> Result<(), CudaError> {
        // SAFETY: whoever bound the parameters answers for them; the memory lives as long as this, and the driver frees none
        // that is in use.
        unsafe { launch::run(stream.handle(), &self.function, &self.launch, self.params.as_ptr().cast()) }
    }
}
