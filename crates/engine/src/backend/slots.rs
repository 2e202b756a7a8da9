//! What sampling remembers between the steps of a request, for backends that sample on the host.

use super::{Drawn, RowFault};
use crate::plan::{Draw, Row};
use crate::sampler::{self, Generated};

/// One place for each request that runs.
#[derive(Debug)]
pub(super) struct Slots(Vec<Slot>);

#[derive(Debug, Default)]
struct Slot {
    latest: u32,
    generated: Generated,
}

impl Slots {
    pub(super) fn new(count: usize) -> Self {
        Self((0..count).map(|_| Slot::default()).collect())
    }

    /// Forgets the request that had the slot of `row` before, if `row` is its first.
    pub(super) fn enter(&mut self, row: &Row) {
        if row.first {
            self.0[row.slot] = Slot::default();
        }
    }

    /// The token that was drawn last.
    pub(super) fn latest(&self, slot: usize) -> u32 {
        self.0[slot].latest
    }

    /// Draws the next token of a slot from `logits`, `[V]`.
    pub(super) fn draw(&mut self, slot: usize, draw: &Draw, logits: &[f32]) -> Result<Drawn, RowFault> {
        let slot = &mut self.0[slot];
        let chance = sampler::uniform(draw.seed, draw.index);
        let id = sampler::choose(logits, &draw.sampling, &slot.generated, chance);
        let id = id.map_err(|error| RowFault::NonFinite(error.to_string()))?;
        let logprobs = draw.logprobs.map(|top| sampler::logprobs(logits, id, top as usize));
        slot.latest = id;
        slot.generated.insert(id);
        Ok(Drawn { id, logprobs })
    }
}
