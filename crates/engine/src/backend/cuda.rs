//! The decoder on an NVIDIA device, vision on the processor.

use std::collections::{HashMap, VecDeque};

use karst_checkpoint::Config;
use karst_kernels::{NO_MASK, NO_TOKEN, SampleResult, SampleRow};
use karst_model::cuda::{self, Given, Model, Step};
use karst_vision_input::{Pack, View};

use super::cpu::{OPERATIONS, patch_operations};
use super::{Backend, BackendError, Description, Drawn, Features, Memory, Outcome, RowFault, Ticket};
use crate::plan::{Append, Bounds, Draw, FeaturesId, Plan, Row};
use crate::sampler::{self, Logprobs, NonFinite};

/// Prompt tokens a step: more would let requests that decode wait longer than they notice.
pub(crate) const CHUNK: usize = 256;

/// A [`Backend`] of one [`Model`].
pub struct Cuda {
    model: Model,
    /// Packs on the device.
    features: HashMap<FeaturesId, Vec<cuda::Features>>,
    description: Description,
    made: u64,
    /// Steps under way, and what their rows draw.
    begun: VecDeque<(Step, Vec<Drawing>)>,
}

/// What a row of a step draws.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Drawing {
    Nothing,
    Token,
    TokenWithLogprobs,
}

impl Cuda {
    /// Runs `model`, which was loaded with these options from a checkpoint of this `config`.
    pub fn new(model: Model, config: &Config, options: &cuda::Options) -> Self {
        let decoder = &model.decoder;
        let properties = decoder.device().properties();
        let (major, minor) = properties.capability;
        let bounds = Bounds {
            slots: options.slots,
            blocks: u32::try_from(decoder.blocks()).unwrap_or(u32::MAX),
            block: options.block,
            chunk: options.tokens,
            pack_rows: config.resampler.queries,
        };
        let memory = Memory { weights: decoder.weight_bytes() + model.vision.bytes(), cache: decoder.cache_bytes() };
        let description = Description {
            device: format!("{}, compute capability {major}.{minor}; vision on the CPU", properties.name),
            bounds,
            patches: match config.resampler.batched {
                true => (OPERATIONS / patch_operations(config)) as usize,
                false => usize::MAX,
            },
            vocabulary: config.decoder.vocabulary,
            ahead: true,
            memory,
        };
        Self { model, features: HashMap::new(), description, made: 0, begun: VecDeque::new() }
    }

    /// Packs that were just made, on the device.
    fn upload(&self, packs: &[Vec<f32>]) -> Result<Vec<cuda::Features>, BackendError> {
        let upload = |pack: &Vec<f32>| {
            self.model.decoder.features(pack).map_err(|error| match error.is_out_of_memory() {
                true => BackendError::OutOfMemory { what: "a picture", bytes: size_of_val(&pack[..]) as u64 },
                false => error.into(),
            })
        };
        packs.iter().map(upload).collect()
    }
}

impl Backend for Cuda {
    fn description(&self) -> &Description {
        &self.description
    }

    fn encode(&mut self, views: &[View], packs: &[Pack]) -> Result<Features, BackendError> {
        let packs = self.model.vision.encode(views, packs)?;
        let held = self.upload(&packs.packs)?;
        let (id, bytes) = (FeaturesId(self.made), held.iter().map(cuda::Features::bytes).sum());
        self.made += 1;
        self.features.insert(id, held);
        Ok(Features { id, bytes })
    }

    fn step(&mut self, plan: &Plan) -> Result<Ticket, BackendError> {
        let rows: Vec<_> = plan.rows().iter().map(|row| device_row(&self.features, row)).collect();
        let step = self.model.decoder.begin(&rows)?;
        self.begun.push_back((step, plan.rows().iter().map(Drawing::of).collect()));
        Ok(Ticket(step.0))
    }

    fn settle(&mut self, ticket: Ticket) -> Result<Vec<Outcome>, BackendError> {
        let Some((step, drawings)) = self.begun.pop_front().filter(|(step, _)| step.0 == ticket.0) else {
            return Err(BackendError::DeviceLost(format!("{ticket:?} is not the step that began first")));
        };
        let mut results = self.model.decoder.settle(step)?.into_iter();
        let vocabulary = self.description.vocabulary;
        let outcome = |drawing| match drawing {
            Drawing::Nothing => Ok(Ok(None)),
            Drawing::Token | Drawing::TokenWithLogprobs => {
                let result = results.next().filter(|result| result.faults > 0 || result.id != NO_TOKEN);
                let lost = || BackendError::DeviceLost(format!("a row of {ticket:?} has no result"));
                result.map(|result| outcome(&result, drawing, vocabulary)).ok_or_else(lost)
            }
        };
        drawings.into_iter().map(outcome).collect()
    }

    fn release(&mut self, features: FeaturesId) {
        self.features.remove(&features);
    }
}

fn device_row<'a>(held: &'a HashMap<FeaturesId, Vec<cuda::Features>>, row: &'a Row) -> cuda::Row<'a> {
    let append = match &row.append {
        Append::Drawn => cuda::Append::Drawn,
        Append::Chunk(chunk) => {
            let given = chunk.features.iter().map(|placed| Given {
                offset: placed.offset,
                features: &held[&placed.features][placed.pack],
                rows: placed.rows.clone(),
            });
            cuda::Append::Ids { ids: chunk.ids(), given: given.collect() }
        }
    };
    let draw = row.draw.as_ref().map(|draw| sample_row(row.slot, draw));
    cuda::Row { slot: row.slot, blocks: &row.blocks, past: row.past, append, draw }
}

fn sample_row(slot: usize, draw: &Draw) -> SampleRow {
    let sampling = &draw.sampling;
    SampleRow {
        chance: if sampling.is_greedy() { 0.0 } else { sampler::uniform(draw.seed, draw.index) },
        slot: slot as u32,
        flags: SampleRow::ACTIVE | if draw.index == 0 { SampleRow::FIRST } else { 0 },
        mask: NO_MASK,
        top_k: sampling.top_k,
        temperature: sampling.temperature,
        top_p: sampling.top_p,
        min_p: sampling.min_p,
        repetition_penalty: sampling.repetition_penalty,
        rivals: draw.logprobs.map_or(-1, |rivals| rivals as i32),
        pad: 0,
    }
}

fn outcome(result: &SampleResult, drawing: Drawing, vocabulary: usize) -> Outcome {
    if result.faults > 0 {
        let (count, of) = (result.faults as usize, vocabulary);
        let error = NonFinite { id: result.fault_id, value: result.fault, count, of };
        return Err(RowFault::NonFinite(error.to_string()));
    }
    let logprobs = (drawing == Drawing::TokenWithLogprobs).then(|| {
        let top = result.rival_ids.iter().zip(&result.rival_logprobs).take(result.rivals as usize);
        Logprobs { chosen: result.logprob, top: top.map(|(&id, &logprob)| (id, logprob)).collect() }
    });
    Ok(Some(Drawn { id: result.id, logprobs }))
}

impl Drawing {
    fn of(row: &Row) -> Self {
        match &row.draw {
            None => Self::Nothing,
            Some(draw) if draw.logprobs.is_some() => Self::TokenWithLogprobs,
            Some(_) => Self::Token,
        }
    }
}
