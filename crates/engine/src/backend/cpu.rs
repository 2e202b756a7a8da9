//! The model on the processor.

use std::collections::HashMap;

use karst_checkpoint::Config;
use karst_model::ModelError;
use karst_model::cpu::{self, Logits, Model};
use karst_vision_input::{Pack, View};

use super::slots::Slots;
use super::{Backend, BackendError, Description, Features, Memory, Outcome, RowFault, Ticket};
use crate::plan::{Append, Bounds, FeaturesId, Plan, Row};

/// Floating-point operations after which a caller's wish to end should be heard: some seconds on a few cores.
pub(super) const OPERATIONS: u64 = 1 << 39;

/// Tokens that share a step whatever they cost: fewer would read the weights too often.
const LEAST_CHUNK: u64 = 32;

/// More bring nothing: the weights are then read seldom enough.
const MOST_CHUNK: u64 = 512;

/// A [`Backend`] of one [`Model`]. A step is over when it has begun: there is nobody else to do the work.
pub struct Cpu {
    model: Model,
    slots: Slots,
    features: HashMap<FeaturesId, cpu::Features>,
    description: Description,
    /// Features made and steps run so far.
    made: u64,
    steps: u64,
    outcomes: Option<Vec<Outcome>>,
}

impl Cpu {
    /// Runs `model`, which was loaded from a checkpoint of this `config`, for at most `slots` requests at once.
    pub fn new(model: Model, config: &Config, slots: usize) -> Self {
        let bounds = Bounds {
            slots,
            blocks: u32::try_from(model.blocks()).unwrap_or(u32::MAX),
            block: model.block(),
            chunk: (OPERATIONS / token_operations(config)).clamp(LEAST_CHUNK, MOST_CHUNK) as usize,
            pack_rows: config.resampler.queries,
        };
        let memory = Memory { weights: model.memory().weights(), cache: model.memory().kv };
        let description = Description {
            device: format!("CPU, {} threads", model.threads()),
            bounds,
            // Where packs are not resampled in a batch, their features depend on the whole call, which is a whole request.
            patches: match config.resampler.batched {
                true => (OPERATIONS / patch_operations(config)) as usize,
                false => usize::MAX,
            },
            vocabulary: config.decoder.vocabulary,
            ahead: false,
            memory,
        };
        let (features, outcomes) = (HashMap::new(), None);
        Self { model, slots: Slots::new(slots), features, description, made: 0, steps: 0, outcomes }
    }

    /// The outcomes of `rows`. A row whose numbers are not finite is taken out and the others run again: each writes the
    /// same numbers to the same positions of its own blocks.
    fn run(&mut self, rows: &[Row]) -> Result<Vec<Outcome>, BackendError> {
        let mut faults: Vec<Option<RowFault>> = vec![None; rows.len()];
        loop {
            let running: Vec<usize> = (0..rows.len()).filter(|&row| faults[row].is_none()).collect();
            match self.forward(running.iter().map(|&row| &rows[row])) {
                Ok(logits) => return Ok(self.draw(rows, faults, logits)),
                Err(ModelError::NonFinite { row }) if row < running.len() => {
                    let error = ModelError::NonFinite { row };
                    faults[running[row]] = Some(RowFault::NonFinite(error.to_string()));
                }
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// The logits `[V]` of the rows that draw.
    fn forward<'a>(&mut self, rows: impl Iterator<Item = &'a Row> + Clone) -> Result<Vec<Vec<f32>>, ModelError> {
        let latest: Vec<[u32; 1]> = rows.clone().map(|row| [self.slots.latest(row.slot)]).collect();
        let features: Vec<Vec<(usize, &[f32])>> = rows.clone().map(|row| placed(&self.features, row)).collect();
        let rows: Vec<_> = rows
            .zip(latest.iter().zip(&features))
            .map(|(row, (latest, features))| cpu::Row {
                blocks: &row.blocks,
                past: row.past,
                ids: if let Append::Chunk(chunk) = &row.append { chunk.ids() } else { latest },
                features,
                logits: if row.draw.is_some() { Logits::Last } else { Logits::None },
            })
            .collect();
        if rows.is_empty() { Ok(Vec::new()) } else { self.model.forward(&rows) }
    }

    /// Draws for the rows without a fault that ask for it; `logits` has one entry for each of them.
    fn draw(&mut self, rows: &[Row], faults: Vec<Option<RowFault>>, logits: Vec<Vec<f32>>) -> Vec<Outcome> {
        let mut logits = logits.into_iter();
        let outcome = |(row, fault): (&Row, Option<RowFault>)| {
            if let Some(fault) = fault {
                return Err(fault);
            }
            let Some(draw) = &row.draw else { return Ok(None) };
            let logits = logits.next().unwrap_or_default();
            self.slots.draw(row.slot, draw, &logits).map(Some)
        };
        rows.iter().zip(faults).map(outcome).collect()
    }
}

/// The rows of features that a row of the plan names.
fn placed<'a>(held: &'a HashMap<FeaturesId, cpu::Features>, row: &Row) -> Vec<(usize, &'a [f32])> {
    let Append::Chunk(chunk) = &row.append else { return Vec::new() };
    let place = |placed: &crate::plan::Placement| {
        let pack = &held[&placed.features].packs[placed.pack];
        let hidden = pack.len() / placed.of;
        (placed.offset, &pack[placed.rows.start * hidden..placed.rows.end * hidden])
    };
    chunk.features.iter().map(place).collect()
}

impl Backend for Cpu {
    fn description(&self) -> &Description {
        &self.description
    }

    fn encode(&mut self, views: &[View], packs: &[Pack]) -> Result<Features, BackendError> {
        let features = self.model.vision().encode(views, packs)?;
        let (id, bytes) = (FeaturesId(self.made), features.bytes());
        self.made += 1;
        self.features.insert(id, features);
        Ok(Features { id, bytes })
    }

    fn step(&mut self, plan: &Plan) -> Result<Ticket, BackendError> {
        plan.rows().iter().for_each(|row| self.slots.enter(row));
        self.outcomes = Some(self.run(plan.rows())?);
        self.steps += 1;
        Ok(Ticket(self.steps))
    }

    fn settle(&mut self, ticket: Ticket) -> Result<Vec<Outcome>, BackendError> {
        let outcomes = self.outcomes.take().filter(|_| ticket == Ticket(self.steps));
        outcomes.ok_or_else(|| BackendError::DeviceLost(format!("{ticket:?} was settled already")))
    }

    fn release(&mut self, features: FeaturesId) {
        self.features.remove(&features);
    }
}

impl From<ModelError> for BackendError {
    fn from(error: ModelError) -> Self {
        match error {
            ModelError::OutOfMemory { what, bytes } => Self::OutOfMemory { what, bytes },
            ModelError::Device(error) => Self::DeviceLost(error.to_string()),
            ModelError::NonFinite { .. } | ModelError::NonFiniteFeatures { .. } => Self::NonFinite(error.to_string()),
            other => Self::Failed(other.to_string()),
        }
    }
}

/// Of the decoder's and the head's products; two for each weight.
fn token_operations(config: &Config) -> u64 {
    let decoder = &config.decoder;
    let (hidden, heads) = (decoder.hidden as u64, (decoder.heads + decoder.kv_heads) as u64);
    let attention = 2 * heads * decoder.head_dim as u64 * hidden;
    let mlp = 3 * hidden * decoder.intermediate as u64;
    (2 * decoder.layers as u64 * (attention + mlp) + 2 * hidden * decoder.vocabulary as u64).max(1)
}

/// Of the tower's products.
pub(super) fn patch_operations(config: &Config) -> u64 {
    let vision = &config.vision;
    let hidden = vision.hidden as u64;
    (2 * vision.used_layers() as u64 * (4 * hidden * hidden + 2 * hidden * vision.intermediate as u64)).max(1)
}
