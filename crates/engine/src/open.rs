//! From a folder to a running engine.

use std::path::Path;
use std::sync::Arc;

use karst_checkpoint::{Checkpoint, Config};
use karst_contract::{Progress, limits};
use karst_kernels::{Survey, Unusable};
use karst_model::cpu;
use karst_prompt::{PACK_ROWS, Tokenizer};
use karst_vision_input::Settings;

use crate::backend::{Backend, Cpu};
use crate::engine::{Engine, Tuning};
use crate::error::EngineError;
use crate::info::{Info, LimitsInfo};
use crate::memory::{self, Wish};
use crate::prepare::Front;

/// Positions of a request when nobody says how many: a page of text, ten pictures and a long answer.
const CONTEXT: usize = 8192;

/// Requests at once on a processor when nobody says how many. They share the reading of the weights, not the arithmetic.
const REQUESTS: usize = 4;

/// Tokens a block of the cache: so few are left unused at a request's end, and copies stay long.
const BLOCK: usize = 16;

/// How an engine is opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct EngineOptions {
    /// What computes.
    pub device: DeviceChoice,
    /// Positions of a request, answer included; `None` is 8192, or what the model has if that is less.
    pub max_context: Option<usize>,
    /// Requests that run at once; `None` is 4.
    pub max_requests: Option<usize>,
    /// Threads that compute; `None` takes as many as there are cores.
    pub threads: Option<usize>,
}

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

/// Why a CUDA device that could be used is not.
const NO_CUDA: &str = "decoding on CUDA devices is not built into this version yet";

impl Engine {
    /// Opens the model in `folder` and tells `progress` how far it has come.
    ///
    /// # Errors
    /// When the folder is no model that karst can use, the device does not exist, a number is outside its range, or memory
    /// does not suffice.
    pub fn open(folder: &Path, options: &EngineOptions, progress: impl Fn(Progress)) -> Result<Self, EngineError> {
        let why = choose(options.device, |wanted| Survey::take().choose(wanted))?;
        let checkpoint = Checkpoint::open(folder)?;
        let config = checkpoint.config();
        let tokenizer = tokenizer(&checkpoint)?;
        if config.resampler.queries != PACK_ROWS {
            return Err(EngineError::PackRows { queries: config.resampler.queries, expected: PACK_ROWS });
        }
        let sizes = Sizes::of(config, options)?;
        let cache = sizes.cache(&checkpoint, memory::free())?;
        let options = cpu::Options { threads: options.threads, kv_tokens: cache, block: BLOCK };
        let model = cpu::Model::load(&checkpoint, &options, &progress)?;
        let backend = Cpu::new(model, config, sizes.requests);
        let info = Info::of(folder, &checkpoint, &why, backend.description(), sizes.limits(config, cache));
        let front = front(tokenizer, config, &sizes);
        Engine::assemble(Box::new(backend), front, info, Tuning::default())
    }
}

/// Why the processor computes, if it may. `find` looks for the CUDA device that is wanted, or any.
fn choose(
    device: DeviceChoice,
    find: impl FnOnce(Option<u32>) -> Result<u32, Unusable>,
) -> Result<String, EngineError> {
    let why = |found: Result<u32, Unusable>| found.map_or_else(|why| why.to_string(), |_| NO_CUDA.to_owned());
    match device {
        DeviceChoice::Auto => Ok(why(find(None))),
        DeviceChoice::Cpu => Ok("it was asked for".to_owned()),
        DeviceChoice::Cuda(number) => {
            Err(EngineError::Device { device: format!("cuda:{number}"), reason: why(find(Some(number))) })
        }
    }
}

fn tokenizer(checkpoint: &Checkpoint) -> Result<Tokenizer, EngineError> {
    let tokenizer = Tokenizer::from_bytes(checkpoint.tokenizer_json())?;
    let (tokens, vocabulary) = (tokenizer.vocabulary_len(), checkpoint.config().decoder.vocabulary);
    // A table may have rows that no token uses; a token without a row would be read from beyond its end.
    if tokens > vocabulary {
        return Err(EngineError::Vocabulary { tokens, vocabulary });
    }
    Ok(tokenizer)
}

/// Checked sizes of an engine.
struct Sizes {
    context: usize,
    requests: usize,
    position: u64,
}

impl Sizes {
    fn of(config: &Config, options: &EngineOptions) -> Result<Self, EngineError> {
        let most = config.decoder.max_positions;
        let context = options.max_context.unwrap_or(CONTEXT.min(most));
        within("maxContext", context, 1, most)?;
        let requests = options.max_requests.unwrap_or(REQUESTS);
        within("maxRequests", requests, 1, limits::MAX_RUNNING)?;
        if let Some(threads) = options.threads {
            within("threads", threads, 1, 1024)?;
        }
        Ok(Self { context, requests, position: memory::position_bytes(&config.decoder) })
    }

    fn cache(&self, checkpoint: &Checkpoint, free: Option<u64>) -> Result<usize, EngineError> {
        let Self { context, requests, position } = *self;
        let wish = Wish { weights: checkpoint.bytes(), position, context, requests, block: BLOCK };
        memory::cache_positions(&wish, free)
    }

    fn limits(&self, config: &Config, cache_tokens: usize) -> LimitsInfo {
        LimitsInfo {
            max_context: self.context,
            max_requests: self.requests,
            max_waiting: limits::MAX_QUEUE,
            cache_tokens,
            max_slices: config.preprocessing.max_slices,
        }
    }
}

fn within(name: &'static str, value: usize, least: usize, most: usize) -> Result<(), EngineError> {
    if (least..=most).contains(&value) { Ok(()) } else { Err(EngineError::Range { name, value, least, most }) }
}

/// The configuration's end tokens, and the two that end a turn in any conversation of this family.
fn front(tokenizer: Tokenizer, config: &Config, sizes: &Sizes) -> Front {
    let control = tokenizer.control();
    let ends = [control.im_end, control.end_of_text];
    let eos: Vec<u32> = config.eos.iter().copied().chain(ends).collect();
    let preprocessing = &config.preprocessing;
    Front {
        tokenizer: Arc::new(tokenizer),
        eos: eos.into(),
        settings: Settings {
            scale_resolution: preprocessing.scale_resolution,
            patch_size: preprocessing.patch_size,
            max_slices: preprocessing.max_slices,
        },
        image_ids: preprocessing.use_image_id,
        pack_rows: config.resampler.queries,
        max_context: sizes.context,
        max_positions: config.decoder.max_positions,
        position_bytes: sizes.position,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NO_KERNELS: &str = "this build has no CUDA kernels";

    #[test]
    fn the_processor_computes_and_says_why() {
        let none = |_| Err(Unusable::NoKernels);
        assert_eq!(choose(DeviceChoice::Auto, none).unwrap(), NO_KERNELS);
        assert_eq!(choose(DeviceChoice::Auto, |wanted| wanted.map_or(Ok(0), |_| none(wanted))).unwrap(), NO_CUDA);
        assert_eq!(choose(DeviceChoice::Cpu, |_| panic!("nobody asked for a device")).unwrap(), "it was asked for");
    }

    #[test]
    fn a_cuda_device_is_refused_with_the_reason() {
        let refused = |find: fn(Option<u32>) -> Result<u32, Unusable>| {
            let error = choose(DeviceChoice::Cuda(1), find).unwrap_err();
            assert_eq!(karst_contract::Coded::code(&error), karst_contract::Code::DeviceUnavailable);
            error.to_string()
        };
        assert_eq!(refused(|_| Err(Unusable::NoKernels)), format!("device cuda:1 cannot be used: {NO_KERNELS}"));
        assert_eq!(
            refused(|wanted| wanted.ok_or(Unusable::NoDevices)),
            format!("device cuda:1 cannot be used: {NO_CUDA}")
        );
    }
}
