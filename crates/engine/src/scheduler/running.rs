//! A request that runs, and what it does next.

use std::collections::VecDeque;
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use super::Job;
use crate::blocks::Table;
use crate::plan::{Append, Chunk, Draw, FeaturesId, Placement, Row};

#[derive(Debug)]
pub(super) struct Running {
    pub(super) job: Job,
    pub(super) slot: usize,
    pub(super) table: Table,
    /// Positions that the plans so far have appended.
    past: usize,
    /// Tokens that the plans so far have drawn.
    drawn: usize,
    /// Packs that have features.
    pub(super) encoded: usize,
    /// Features that a later plan may name, with the packs that they are of.
    pub(super) features: VecDeque<(FeaturesId, Range<usize>)>,
    /// Since when its reader has been too slow.
    pub(super) held: Option<Duration>,
    pub(super) served: u64,
}

impl Running {
    pub(super) fn new(job: Job, slot: usize, table: Table, served: u64) -> Self {
        Self { job, slot, table, past: 0, drawn: 0, encoded: 0, features: VecDeque::new(), held: None, served }
    }

    /// Has packs without features.
    pub(super) fn encodes(&self) -> bool {
        self.encoded < self.job.packs.len()
    }

    /// Has features for all its packs, and prompt left.
    pub(super) fn prefills(&self) -> bool {
        !self.encodes() && self.past < self.job.prompt.len()
    }

    /// Has drawn a token, may draw another, and its reader keeps up.
    pub(super) fn decodes(&self) -> bool {
        (1..self.job.max_tokens).contains(&self.drawn) && self.held.is_none()
    }

    /// Packs without features, up to `patches` patches and at least one pack.
    pub(super) fn next_packs(&self, patches: usize) -> Range<usize> {
        let mut sum = 0;
        let fitting = self.job.packs[self.encoded..].iter().take_while(|pack| {
            sum += pack.patches;
            sum <= patches
        });
        self.encoded..self.encoded + fitting.count().max(1)
    }

    /// The next `chunk` positions of the prompt, or what is left of it.
    pub(super) fn next_chunk(&self, chunk: usize) -> Range<usize> {
        self.past..self.job.prompt.len().min(self.past + chunk.max(1))
    }

    /// A row that appends `range` of the prompt and, at its end, draws the first token.
    pub(super) fn append(&mut self, range: Range<usize>, pack_rows: usize) -> Row {
        let features = self.placements(&range, pack_rows);
        let last = range.end == self.job.prompt.len();
        let prompt = Arc::clone(&self.job.prompt);
        self.row(range.len(), Append::Chunk(Chunk { prompt, range, features }), last)
    }

    /// A row that appends the token drawn last and draws the next.
    pub(super) fn next_token(&mut self) -> Row {
        self.row(1, Append::Drawn, true)
    }

    fn row(&mut self, appended: usize, append: Append, draws: bool) -> Row {
        let past = self.past;
        let draw = draws.then(|| self.draw());
        self.past += appended;
        self.drawn += usize::from(draws);
        let (request, slot, blocks) = (self.job.request, self.slot, self.table.ids());
        Row { request, slot, first: past == 0, blocks, past, append, draw }
    }

    fn draw(&self) -> Draw {
        let Job { sampling, seed, logprobs, .. } = self.job;
        Draw { sampling, seed, index: self.drawn, logprobs }
    }

    /// Where rows of features go in `range` of the prompt; a border of `range` may cut a pack's rows.
    fn placements(&self, range: &Range<usize>, pack_rows: usize) -> Vec<Placement> {
        let mut placements = Vec::new();
        for (features, packs) in &self.features {
            for (pack, place) in self.job.packs[packs.clone()].iter().enumerate() {
                let start = place.start.max(range.start);
                let end = (place.start + pack_rows).min(range.end);
                if start < end {
                    let rows = start - place.start..end - place.start;
                    placements.push(Placement {
                        offset: start - range.start,
                        features: *features,
                        pack,
                        rows,
                        of: pack_rows,
                    });
                }
            }
        }
        placements
    }

    /// Takes out the features whose last row has been appended.
    pub(super) fn spent(&mut self, pack_rows: usize) -> Vec<FeaturesId> {
        let mut spent = Vec::new();
        while let Some((features, packs)) = self.features.front() {
            if self.job.packs[packs.end - 1].start + pack_rows > self.past {
                break;
            }
            spent.push(*features);
            self.features.pop_front();
        }
        spent
    }
}
