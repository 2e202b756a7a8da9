//! From a folder to a running engine.

use std::path::Path;
use std::sync::Arc;

use karst_checkpoint::{Checkpoint, Config};
use karst_contract::{Progress, limits};
use karst_kernels::Device;
use karst_model::{ModelError, cpu, cuda};
use karst_prompt::{PACK_ROWS, Tokenizer};
use karst_vision_input::Settings;

use crate::backend::cuda::{CHUNK, Cuda};
use crate::backend::{Backend, Cpu};
use crate::device::{self, DeviceChoice, Place};
use crate::engine::{Engine, Tuning};
use crate::error::EngineError;
use crate::info::{Info, LimitsInfo};
use crate::memory::{self, Wish};
use crate::plan::Bounds;
use crate::prepare::Front;

/// Positions of a request when nobody says how many: a page of text, ten pictures and a long answer.
const CONTEXT: usize = 8192;

/// Requests on a processor share the reading of the weights, not the arithmetic.
const CPU: Habit = Habit { requests: 4, number: 4 };

/// A device computes for several in the time in which it reads the weights once.
const CUDA: Habit = Habit { requests: 16, number: 2 };

/// What a device holds beside weights and cache: the numbers of a step, what weights pass through, recorded launches.
const WORKSPACE: u64 = 512 << 20;

/// Tokens a block of the cache: so few are left unused at a request's end, and copies stay long.
const BLOCK: usize = 16;

/// How an engine is opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct EngineOptions {
    /// What computes.
    pub device: DeviceChoice,
    /// Positions of a request, answer included; `None` is 8192, or what the model has if that is less.
    pub max_context: Option<usize>,
    /// Requests that run at once; `None` is 4 on the processor and 16 on a device.
    pub max_requests: Option<usize>,
    /// Threads that compute; `None` takes as many as there are cores.
    pub threads: Option<usize>,
}

impl Engine {
    /// Opens the model in `folder` and tells `progress` how far it has come.
    ///
    /// # Errors
    /// When the folder is no model that karst can use, the device does not exist, a number is outside its range, or memory
    /// does not suffice.
    pub fn open(folder: &Path, options: &EngineOptions, progress: impl Fn(Progress)) -> Result<Self, EngineError> {
        let found = device::look(options.device)?;
        let checkpoint = Checkpoint::open(folder)?;
        let config = checkpoint.config();
        let tokenizer = tokenizer(&checkpoint)?;
        if config.resampler.queries != PACK_ROWS {
            return Err(EngineError::PackRows { queries: config.resampler.queries, expected: PACK_ROWS });
        }
        let (opened, why) = device::fit(options.device, found, |ordinal| Opened::new(&checkpoint, options, ordinal))?;
        let place = opened.as_ref().map_or(Place::Cpu, |opened| Place::Cuda(opened.loading.device));
        let (backend, sizes) = match opened {
            Some(opened) => opened.load(&checkpoint, options, &progress)?,
            None => on_cpu(&checkpoint, options, &progress)?,
        };
        let limits = sizes.limits(config, backend.description().bounds);
        let info = Info::of(folder, &checkpoint, (place.to_string(), why), backend.description(), limits);
        let front = front(tokenizer, config, &sizes);
        Engine::assemble(backend, front, info, Tuning::default())
    }
}

fn on_cpu(
    checkpoint: &Checkpoint,
    options: &EngineOptions,
    progress: &dyn Fn(Progress),
) -> Result<(Box<dyn Backend>, Sizes), EngineError> {
    let config = checkpoint.config();
    let sizes = Sizes::of(config, options, CPU)?;
    let wish = Wish { weights: checkpoint.bytes(), ..sizes.wish() };
    let kv_tokens = memory::cache_positions(&wish, memory::free())?;
    let loading = cpu::Options { threads: options.threads, kv_tokens, block: BLOCK };
    let model = cpu::Model::load(checkpoint, &loading, progress)?;
    Ok((Box::new(Cpu::new(model, config, sizes.requests)), sizes))
}

/// A device that computes the model and has room for it, and what is to be taken of it.
struct Opened {
    loading: cuda::Options,
    sizes: Sizes,
    /// Opening it takes a while: it stays open until the model is loaded.
    _device: Device,
}

impl Opened {
    fn new(checkpoint: &Checkpoint, options: &EngineOptions, ordinal: u32) -> Result<Self, EngineError> {
        let config = checkpoint.config();
        cuda::check(&config.decoder).map_err(ModelError::from)?;
        let sizes = Sizes::of(config, options, CUDA)?;
        let device = Device::open(ordinal).map_err(ModelError::from)?;
        let free = device.free_memory().map_err(ModelError::from)?;
        let wish = Wish { weights: checkpoint.bytes_under("llm.") + WORKSPACE, ..sizes.wish() };
        let kv_tokens = memory::cache_positions(&wish, Some(free))?;
        let (slots, context) = (sizes.requests, sizes.context);
        let loading = cuda::Options { device: ordinal, slots, context, kv_tokens, block: BLOCK, tokens: CHUNK };
        Ok(Self { loading, sizes, _device: device })
    }

    fn load(
        self,
        checkpoint: &Checkpoint,
        options: &EngineOptions,
        progress: &dyn Fn(Progress),
    ) -> Result<(Box<dyn Backend>, Sizes), EngineError> {
        let model = cuda::Model::load(checkpoint, &self.loading, options.threads, progress)?;
        Ok((Box::new(Cuda::new(model, checkpoint.config(), &self.loading)), self.sizes))
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

/// What depends on where a model runs.
#[derive(Clone, Copy)]
struct Habit {
    /// Requests at once when nobody says how many.
    requests: usize,
    /// Bytes of a number of the cache.
    number: u64,
}

impl Sizes {
    fn of(config: &Config, options: &EngineOptions, habit: Habit) -> Result<Self, EngineError> {
        let most = config.decoder.max_positions;
        let context = options.max_context.unwrap_or(CONTEXT.min(most));
        within("maxContext", context, 1, most)?;
        let requests = options.max_requests.unwrap_or(habit.requests);
        within("maxRequests", requests, 1, limits::MAX_RUNNING)?;
        if let Some(threads) = options.threads {
            within("threads", threads, 1, 1024)?;
        }
        Ok(Self { context, requests, position: memory::position_bytes(&config.decoder, habit.number) })
    }

    /// A cache for all requests, beside weights of no size.
    fn wish(&self) -> Wish {
        let Self { context, requests, position } = *self;
        Wish { weights: 0, position, context, requests, block: BLOCK }
    }

    fn limits(&self, config: &Config, bounds: Bounds) -> LimitsInfo {
        LimitsInfo {
            max_context: self.context,
            max_requests: self.requests,
            max_waiting: limits::MAX_QUEUE,
            cache_tokens: bounds.blocks as usize * bounds.block,
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
