//! Who runs in the next step.
//!
//! Plain data: it knows ids, counts and block numbers, no tensor and no clock (times come in). A request waits in a queue,
//! is admitted when a slot and the blocks for *all* that it may ever write are free (its prompt and its most tokens), has
//! its pictures encoded, its prompt appended chunk by chunk, and then one token a step. So a request that runs can always
//! run to its end and nothing is ever taken from it again; the price is that blocks for tokens that are never said stay
//! reserved until it ends.
//!
//! Requests join and leave between any two steps. A step takes one token of every request that decodes and, beside them,
//! whole chunks of prompts, those that were served longest ago first. The borders of chunks and of batches of packs depend
//! on the request alone, so that its numbers do not depend on its company.

mod running;

use std::collections::VecDeque;
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use karst_contract::Sampling;

use crate::blocks::Blocks;
use crate::plan::{Bounds, FeaturesId, Plan, RequestId};
use running::Running;

/// What the scheduler needs to know of a request.
#[derive(Debug, Clone)]
pub struct Job {
    /// Its number.
    pub request: RequestId,
    /// The ids of its prompt, at least one.
    pub prompt: Arc<[u32]>,
    /// The packs of its pictures, in the order of their places.
    pub packs: Arc<[PackPlace]>,
    /// Most tokens to draw, at least one.
    pub max_tokens: usize,
    /// How to draw them.
    pub sampling: Sampling,
    /// The chance.
    pub seed: u64,
    /// How many rivals to give log-probabilities for.
    pub logprobs: Option<u32>,
}

/// Where the rows of a pack go, and what it costs to make them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PackPlace {
    /// First position in the prompt.
    pub start: usize,
    /// Patches of all its views.
    pub patches: usize,
}

/// A request that has got its slot and blocks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Admission {
    /// Which.
    pub request: RequestId,
    /// How long it waited.
    pub waited: Duration,
}

/// Packs to encode next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Encode {
    /// Whose.
    pub request: RequestId,
    /// Which of its packs.
    pub packs: Range<usize>,
}

/// A request that no cache of this size can hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("prompt and answer need {need} blocks of the cache, which has {have}")]
pub struct NeverFits {
    /// Blocks that it needs.
    pub need: usize,
    /// Blocks that there are.
    pub have: usize,
}

/// The queue, the running requests and the cache's blocks.
#[derive(Debug)]
pub struct Scheduler {
    bounds: Bounds,
    patches: usize,
    blocks: Blocks,
    free_slots: Vec<usize>,
    waiting: VecDeque<(Job, Duration)>,
    /// In the order of admission.
    running: Vec<Running>,
    /// Counts services, so that the longest unserved can be told.
    services: u64,
}

impl Scheduler {
    /// A scheduler for a backend of these bounds that encodes at most `patches` at once.
    pub fn new(bounds: Bounds, patches: usize) -> Self {
        Self {
            bounds,
            patches,
            blocks: Blocks::new(bounds.blocks, bounds.block),
            free_slots: (0..bounds.slots).rev().collect(),
            waiting: VecDeque::new(),
            running: Vec::new(),
            services: 0,
        }
    }

    /// Puts a request at the end of the queue.
    ///
    /// # Errors
    /// When all blocks together would not hold it.
    pub fn enqueue(&mut self, job: Job, now: Duration) -> Result<(), NeverFits> {
        let (need, have) = (self.blocks.blocks_for(positions(&job)), self.blocks.total());
        if need > have {
            return Err(NeverFits { need, have });
        }
        self.waiting.push_back((job, now));
        Ok(())
    }

    /// Admits waiting requests in their order, until one does not fit. None overtakes it, so that none waits for ever.
    pub fn admit(&mut self, now: Duration) -> Vec<Admission> {
        let mut admitted = Vec::new();
        while let Some((job, since)) = self.waiting.pop_front() {
            let slot = self.free_slots.pop();
            let table = slot.and_then(|_| self.blocks.take(positions(&job)));
            let (Some(slot), Some(table)) = (slot, table) else {
                self.free_slots.extend(slot);
                self.waiting.push_front((job, since));
                break;
            };
            admitted.push(Admission { request: job.request, waited: now.saturating_sub(since) });
            self.services += 1;
            self.running.push(Running::new(job, slot, table, self.services));
        }
        admitted
    }

    /// The packs to encode next: those of the request that was served longest ago.
    pub fn encode(&mut self) -> Option<Encode> {
        let index = self.longest_unserved(Running::encodes).into_iter().next()?;
        self.services += 1;
        let running = &mut self.running[index];
        running.served = self.services;
        Some(Encode { request: running.job.request, packs: running.next_packs(self.patches) })
    }

    /// Notes the features of the packs that [`Scheduler::encode`] named.
    pub fn encoded(&mut self, encode: &Encode, features: FeaturesId) {
        if let Some(running) = self.find(encode.request) {
            running.features.push_back((features, encode.packs.clone()));
            running.encoded = encode.packs.end;
        }
    }

    /// The next step's rows. They count as done from now on: a request whose row fails must be removed.
    pub fn plan(&mut self) -> Plan {
        let decoding = self.running.iter_mut().filter(|running| running.decodes());
        let mut rows: Vec<_> = decoding.map(Running::next_token).collect();
        let mut room = self.bounds.chunk;
        for index in self.longest_unserved(Running::prefills) {
            let running = &mut self.running[index];
            let chunk = running.next_chunk(self.bounds.chunk);
            if chunk.len() <= room {
                room -= chunk.len();
                self.services += 1;
                running.served = self.services;
                rows.push(running.append(chunk, self.bounds.pack_rows));
            }
        }
        Plan::new(rows)
    }

    /// Features that no later plan will name; call it when the last plan's step is over.
    pub fn spent(&mut self) -> Vec<FeaturesId> {
        let rows = self.bounds.pack_rows;
        self.running.iter_mut().flat_map(|running| running.spent(rows)).collect()
    }

    /// Takes a request out of the queue or the running ones, whatever its state. Its blocks and its slot are free again and
    /// the features that it still had are returned; `None` if there is no such request.
    pub fn remove(&mut self, request: RequestId) -> Option<Vec<FeaturesId>> {
        if let Some(index) = self.waiting.iter().position(|(job, _)| job.request == request) {
            self.waiting.remove(index);
            return Some(Vec::new());
        }
        let index = self.running.iter().position(|running| running.job.request == request)?;
        let running = self.running.remove(index);
        self.free_slots.push(running.slot);
        self.blocks.give(running.table);
        Some(running.features.into_iter().map(|(features, _)| features).collect())
    }

    /// Leaves a request out of plans, because its reader is slow, from `now` on unless it is left out already.
    pub fn hold(&mut self, request: RequestId, now: Duration) {
        if let Some(running) = self.find(request) {
            running.held.get_or_insert(now);
        }
    }

    /// Takes a request into plans again.
    pub fn resume(&mut self, request: RequestId) {
        if let Some(running) = self.find(request) {
            running.held = None;
        }
    }

    /// Since when each request that is left out has been so.
    pub fn held(&self) -> impl Iterator<Item = (RequestId, Duration)> {
        self.running.iter().filter_map(|running| Some((running.job.request, running.held?)))
    }

    /// Requests that wait for a place.
    pub fn waiting(&self) -> usize {
        self.waiting.len()
    }

    /// Requests that have a place.
    pub fn running(&self) -> usize {
        self.running.len()
    }

    /// The cache's blocks.
    pub fn blocks(&self) -> &Blocks {
        &self.blocks
    }

    fn find(&mut self, request: RequestId) -> Option<&mut Running> {
        self.running.iter_mut().find(|running| running.job.request == request)
    }

    /// The running requests of a kind, those that were served longest ago first. A newcomer counts as served when it came,
    /// so that newcomers do not overtake those before them for ever.
    fn longest_unserved(&self, kind: impl Fn(&Running) -> bool) -> Vec<usize> {
        let mut found: Vec<_> = (0..self.running.len()).filter(|&index| kind(&self.running[index])).collect();
        found.sort_by_key(|&index| self.running[index].served);
        found
    }
}

/// Positions of the cache that a request may come to write.
fn positions(job: &Job) -> usize {
    job.prompt.len().saturating_add(job.max_tokens)
}
