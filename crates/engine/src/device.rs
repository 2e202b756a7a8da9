//! Which device computes, and why.

use std::fmt;

use karst_kernels::{Survey, Unusable};

use crate::error::EngineError;

/// What computes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum DeviceChoice {
    /// The best there is.
    #[default]
    Auto,
    /// The processor.
    Cpu,
    /// A CUDA device, by its number.
    Cuda(u32),
}

/// Where a model runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Place {
    Cpu,
    Cuda(u32),
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Cpu => f.write_str("cpu"),
            Self::Cuda(ordinal) => write!(f, "cuda:{ordinal}"),
        }
    }
}

/// The place that was asked for and why, before the model is known.
pub(crate) fn look(device: DeviceChoice) -> Result<(Place, String), EngineError> {
    choose(device, |wanted| Survey::take().choose(wanted))
}

/// `find` looks for the CUDA device that is wanted, or any.
fn choose(
    device: DeviceChoice,
    find: impl FnOnce(Option<u32>) -> Result<u32, Unusable>,
) -> Result<(Place, String), EngineError> {
    let asked = || "it was asked for".to_owned();
    match device {
        DeviceChoice::Cpu => Ok((Place::Cpu, asked())),
        DeviceChoice::Auto => Ok(match find(None) {
            Ok(ordinal) => (Place::Cuda(ordinal), "it is the first CUDA device that can compute".to_owned()),
            Err(why) => (Place::Cpu, why.to_string()),
        }),
        DeviceChoice::Cuda(number) => match find(Some(number)) {
            Ok(ordinal) => Ok((Place::Cuda(ordinal), asked())),
            Err(why) => Err(EngineError::Device { device: Place::Cuda(number).to_string(), reason: why.to_string() }),
        },
    }
}

/// What `fits` says of the device, or `None` where the processor computes: because it was chosen, or because the model does not
/// run on a device that nobody asked for. Then the reason says why.
pub(crate) fn fit<T>(
    device: DeviceChoice,
    (place, why): (Place, String),
    fits: impl FnOnce(u32) -> Result<T, EngineError>,
) -> Result<(Option<T>, String), EngineError> {
    let Place::Cuda(ordinal) = place else { return Ok((None, why)) };
    match fits(ordinal) {
        Ok(found) => Ok((Some(found), why)),
        Err(EngineError::Range { name, value, least, most }) => Err(EngineError::Range { name, value, least, most }),
        Err(error) if device == DeviceChoice::Auto => Ok((None, format!("{place}: {error}"))),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NO_KERNELS: &str = "this build has no CUDA kernels";

    fn out_of_memory() -> EngineError {
        EngineError::OutOfMemory { weights: 7 << 30, context: 8192, cache: 1 << 30, free: 2 << 30 }
    }

    #[test]
    fn the_first_device_computes_or_the_processor_says_why_not() {
        let none = |_| Err(Unusable::NoKernels);
        assert_eq!(choose(DeviceChoice::Auto, none).unwrap(), (Place::Cpu, NO_KERNELS.to_owned()));
        let some = |wanted: Option<u32>| Ok(wanted.unwrap_or(1));
        assert_eq!(choose(DeviceChoice::Auto, some).unwrap().0, Place::Cuda(1));
        assert_eq!(choose(DeviceChoice::Cuda(3), some).unwrap(), (Place::Cuda(3), "it was asked for".to_owned()));
        let cpu = choose(DeviceChoice::Cpu, |_| panic!("nobody asked for a device")).unwrap();
        assert_eq!(cpu, (Place::Cpu, "it was asked for".to_owned()));
    }

    #[test]
    fn a_cuda_device_is_refused_with_the_reason() {
        let error = choose(DeviceChoice::Cuda(1), |_| Err(Unusable::NoKernels)).unwrap_err();
        assert_eq!(karst_contract::Coded::code(&error), karst_contract::Code::DeviceUnavailable);
        assert_eq!(error.to_string(), format!("device cuda:1 cannot be used: {NO_KERNELS}"));
    }

    #[test]
    fn where_the_model_does_not_fit_the_processor_computes_unless_the_device_was_asked_for() {
        let found = || (Place::Cuda(0), "why".to_owned());
        let fits = |choice, result| fit(choice, found(), |ordinal| Result::map(result, |()| ordinal));
        assert_eq!(fits(DeviceChoice::Auto, Ok(())).unwrap(), (Some(0), "why".to_owned()));
        let why = format!("cuda:0: {}", out_of_memory());
        assert_eq!(fits(DeviceChoice::Auto, Err(out_of_memory())).unwrap(), (None, why));
        let error = fits(DeviceChoice::Cuda(0), Err(out_of_memory())).unwrap_err();
        assert!(matches!(error, EngineError::OutOfMemory { .. }), "{error}");
        let wrong = EngineError::Range { name: "threads", value: 0, least: 1, most: 1024 };
        assert!(fits(DeviceChoice::Auto, Err(wrong)).is_err());
        let cpu =
            fit(DeviceChoice::Auto, (Place::Cpu, "none".to_owned()), |_| -> Result<(), _> { panic!("no device") });
        assert_eq!(cpu.unwrap(), (None, "none".to_owned()));
    }
}
