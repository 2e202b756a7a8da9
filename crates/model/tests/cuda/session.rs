//! Requests on a device, one a slot.

use std::sync::Arc;

use karst_checkpoint::Checkpoint;
use karst_kernels::{NO_MASK, SampleResult, SampleRow};
use karst_model::cuda::{Append, Features, Given, Model, Options, Row};

use crate::common::Pictures;

pub const BLOCK: usize = 16;

pub struct Session {
    pub model: Model,
    requests: Vec<Request>,
    free: u32,
}

struct Request {
    blocks: Arc<[u32]>,
    past: usize,
    drawn: usize,
    last: u32,
}

/// Greedy, with log-probabilities.
fn greedy(slot: usize, first: bool) -> SampleRow {
    SampleRow {
        slot: slot as u32,
        flags: SampleRow::ACTIVE | if first { SampleRow::FIRST } else { 0 },
        mask: NO_MASK,
        rivals: 2,
        ..SampleRow::UNUSED
    }
}

impl Session {
    pub fn open(checkpoint: &Checkpoint, slots: usize) -> Self {
        let options = Options { device: 0, slots, context: 4096, kv_tokens: slots * 4096, block: BLOCK, tokens: 4096 };
        let model = Model::load(checkpoint, &options, None, &|_| {}).unwrap();
        let request = || Request { blocks: Arc::new([]), past: 0, drawn: 0, last: 0 };
        Self { model, requests: (0..slots).map(|_| request()).collect(), free: 0 }
    }

    pub fn features(&self, pictures: &Pictures) -> Vec<Features> {
        let features = self.model.vision.encode(&pictures.views, &pictures.packs).unwrap();
        features.packs.iter().map(|pack| self.model.decoder.features(pack).unwrap()).collect()
    }

    /// A new request on a slot. Its blocks are spread over the cache.
    pub fn restart(&mut self, slot: usize, tokens: usize) {
        let (total, count) = (self.model.decoder.blocks() as u32, tokens.div_ceil(BLOCK) as u32);
        let blocks = (0..count).map(|i| (self.free + i) * 7 % total).collect();
        self.free = (self.free + count) % total;
        self.requests[slot] = Request { blocks, past: 0, drawn: 0, last: 0 };
    }

    /// Appends ids; `placed` are features and where they begin in the request.
    pub fn append(&mut self, slot: usize, ids: &[u32], placed: &[(usize, &Features)], draws: bool) {
        let request = &self.requests[slot];
        let range = request.past..request.past + ids.len();
        let given = placed.iter().filter_map(|&(at, features)| {
            let (start, end) = (at.max(range.start), (at + 64).min(range.end));
            (start < end).then(|| Given { offset: start - range.start, features, rows: start - at..end - at })
        });
        let row = Row {
            slot,
            blocks: &request.blocks.clone(),
            past: request.past,
            append: Append::Ids { ids, given: given.collect() },
            draw: draws.then(|| greedy(slot, request.drawn == 0)),
        };
        let step = self.model.decoder.begin(&[row]).unwrap();
        let results = self.model.decoder.settle(step).unwrap();
        self.requests[slot].past += ids.len();
        if let [result] = results[..] {
            self.note(slot, &result);
        }
    }

    /// One step of several slots, each with the token that it drew last.
    pub fn step(&mut self, slots: &[usize]) -> Vec<SampleResult> {
        let rows: Vec<_> = slots
            .iter()
            .map(|&slot| Row {
                slot,
                blocks: &self.requests[slot].blocks,
                past: self.requests[slot].past,
                append: Append::Drawn,
                draw: Some(greedy(slot, false)),
            })
            .collect();
        let step = self.model.decoder.begin(&rows).unwrap();
        let results = self.model.decoder.settle(step).unwrap();
        for (&slot, result) in slots.iter().zip(&results) {
            self.requests[slot].past += 1;
            self.note(slot, result);
        }
        results
    }

    fn note(&mut self, slot: usize, result: &SampleResult) {
        assert_eq!(result.faults, 0, "logits of slot {slot}: {result:?}");
        self.requests[slot].last = result.id;
        self.requests[slot].drawn += 1;
    }

    /// The token that a slot drew last.
    pub fn last(&self, slot: usize) -> u32 {
        self.requests[slot].last
    }

    pub fn logits(&self, rows: usize) -> Vec<Vec<f32>> {
        self.model.decoder.logits(rows).unwrap()
    }

    /// `count` tokens, of which the first is drawn already.
    pub fn greedy(&mut self, slot: usize, first: u32, count: usize) -> Vec<u32> {
        let mut found = vec![first];
        while found.len() < count {
            found.push(self.step(&[slot])[0].id);
        }
        found
    }
}
