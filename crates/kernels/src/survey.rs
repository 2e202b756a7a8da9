//! What this build and this machine have for CUDA, and whether that suffices.

use crate::device::{Device, Properties};
use crate::driver::driver_version;
use crate::error::{CudaError, Unavailable};
use crate::images;

/// The least compute capability: bf16 products and asynchronous copies begin with it.
const LEAST_CAPABILITY: (u32, u32) = (8, 0);

/// The least CUDA version of a driver: images of every 12.x compiler load from it on.
const LEAST_DRIVER: (u32, u32) = (12, 0);

/// `CUDA_ERROR_NO_DEVICE`: the driver works and sees no device, or is told to see none.
const NO_DEVICE: u32 = 100;

/// The devices that the driver sees, or why none can be used. No device is opened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Survey(Result<Vec<Properties>, Unusable>);

/// Why no device can compute, the first cause of several.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Unusable {
    /// The kernels were not compiled.
    #[error("this build has no CUDA kernels")]
    NoKernels,
    /// There is no driver, it does not work, or it sees fewer devices.
    #[error(transparent)]
    Driver(Unavailable),
    /// The driver is older than every image.
    #[error(
        "the NVIDIA driver is too old: it knows CUDA {}.{}, and {}.{} is needed",
        .version.0, .version.1, LEAST_DRIVER.0, LEAST_DRIVER.1
    )]
    OldDriver {
        /// The CUDA version that it knows.
        version: (u32, u32),
    },
    /// The driver sees no device at all.
    #[error("the NVIDIA driver sees no device")]
    NoDevices,
    /// The device is too old.
    #[error(
        "{name} has compute capability {}.{}, and {}.{} is needed",
        .capability.0, .capability.1, LEAST_CAPABILITY.0, LEAST_CAPABILITY.1
    )]
    OldDevice {
        /// Its name.
        name: String,
        /// Its compute capability.
        capability: (u32, u32),
    },
    /// The kernels were compiled for other devices only.
    #[error(
        "this build has no CUDA kernels for {name} with compute capability {}.{}: {lacking} lacks them",
        .capability.0, .capability.1
    )]
    NoImage {
        /// The device's name.
        name: String,
        /// Its compute capability.
        capability: (u32, u32),
        /// The first source that has no image for it.
        lacking: &'static str,
    },
}

impl Survey {
    /// Looks at this build and this machine.
    pub fn take() -> Self {
        Self::of(images::has_images(), || {
            let version = driver_version()?;
            let devices = (0..Device::count()?).map(Device::describe).collect::<Result<_, _>>()?;
            Ok((version, devices))
        })
    }

    /// `look` asks the driver for its version and its devices; it is not called where there are no kernels to run.
    fn of(kernels: bool, look: impl FnOnce() -> Result<((u32, u32), Vec<Properties>), Unavailable>) -> Self {
        if !kernels {
            return Self(Err(Unusable::NoKernels));
        }
        Self(look().map_err(Unusable::from).and_then(|(version, devices)| match devices.len() {
            _ if version < LEAST_DRIVER => Err(Unusable::OldDriver { version }),
            0 => Err(Unusable::NoDevices),
            _ => Ok(devices),
        }))
    }

    /// The devices in the driver's order, at least one, whether they can compute or not.
    ///
    /// # Errors
    /// When there is none, or nothing to run on it.
    pub fn devices(&self) -> Result<&[Properties], Unusable> {
        self.0.as_deref().map_err(Clone::clone)
    }

    /// The device to compute on: the one that is wanted, or else the first that can. Where none can, the reason is the first
    /// device's.
    ///
    /// # Errors
    /// When there is none; the first cause in the order of [`Unusable`].
    pub fn choose(&self, wanted: Option<u32>) -> Result<u32, Unusable> {
        let devices = self.devices()?;
        if let Some(ordinal) = wanted {
            let count = u32::try_from(devices.len()).unwrap_or(u32::MAX);
            let device = devices.get(ordinal as usize).ok_or(Unavailable::NoDevice { ordinal, count })?;
            return check(device).map(|()| ordinal);
        }
        let checked: Vec<_> = (0u32..).zip(devices).map(|(ordinal, device)| check(device).map(|()| ordinal)).collect();
        checked.iter().find(|it| it.is_ok()).or(checked.first()).cloned().unwrap_or(Err(Unusable::NoDevices))
    }
}

fn check(device: &Properties) -> Result<(), Unusable> {
    let (name, capability) = (device.name.clone(), device.capability);
    if capability < LEAST_CAPABILITY {
        return Err(Unusable::OldDevice { name, capability });
    }
    images::lacking(capability).map_or(Ok(()), |lacking| Err(Unusable::NoImage { name, capability, lacking }))
}

impl From<Unavailable> for Unusable {
    /// A driver that sees no device refuses to begin; that is not a fault of its.
    fn from(why: Unavailable) -> Self {
        match why {
            Unavailable::Driver(CudaError { code: NO_DEVICE, .. }) => Self::NoDevices,
            _ => Self::Driver(why),
        }
    }
}

#[cfg(test)]
mod tests;
