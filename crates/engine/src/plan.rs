//! What one step of the backend does, as plain data.
//!
//! Only the [`Scheduler`](crate::scheduler::Scheduler) makes plans, and it proves what [`Plan::verify`] checks: a backend
//! need not look at sizes again and can fail only by a fault of the device.

use std::collections::HashSet;
use std::ops::Range;
use std::sync::Arc;

use karst_contract::Sampling;

/// A request's number within its engine; never used again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RequestId(pub u64);

/// Features that a backend holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct FeaturesId(pub u64);

/// Rows that run together. Each belongs to another request.
#[derive(Debug, Clone, Default)]
pub struct Plan {
    rows: Vec<Row>,
}

/// What a step does for one request.
#[derive(Debug, Clone)]
pub struct Row {
    /// Whose row it is.
    pub request: RequestId,
    /// Where the backend keeps what sampling needs to remember: the latest token and all generated ones.
    pub slot: usize,
    /// The request's first row: what the slot remembers is another's.
    pub first: bool,
    /// The request's blocks of the cache; enough for all that it may ever append.
    pub blocks: Arc<[u32]>,
    /// Positions that are in the cache already.
    pub past: usize,
    /// What is appended to them.
    pub append: Append,
    /// How to choose the next token from the last appended position; `None` in the middle of a prompt.
    pub draw: Option<Draw>,
}

/// What a row appends to the cache.
#[derive(Debug, Clone)]
pub enum Append {
    /// A piece of the prompt.
    Chunk(Chunk),
    /// The token that was drawn last on the slot. The host need not have seen it, so that it may run a step behind.
    Drawn,
}

/// A piece of a prompt.
#[derive(Debug, Clone)]
pub struct Chunk {
    /// The whole prompt.
    pub prompt: Arc<[u32]>,
    /// Which positions of it.
    pub range: Range<usize>,
    /// Positions that take rows of features and not the embedding of their id.
    pub features: Vec<Placement>,
}

/// Rows of a pack's features and where they go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Placement {
    /// First position within the chunk.
    pub offset: usize,
    /// Which features.
    pub features: FeaturesId,
    /// Which pack of them.
    pub pack: usize,
    /// Which of the pack's rows; fewer than all where a chunk's border cuts them.
    pub rows: Range<usize>,
    /// Q, all of the pack's rows.
    pub of: usize,
}

/// How a token is chosen.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Draw {
    /// The request's settings.
    pub sampling: Sampling,
    /// With `index` it decides the chance, so that a draw does not depend on what ran before it.
    pub seed: u64,
    /// Tokens drawn before for this request.
    pub index: usize,
    /// How many rivals to give log-probabilities for; `None` gives none at all.
    pub logprobs: Option<u32>,
}

/// The sizes that a plan keeps within.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bounds {
    /// Requests that run at once.
    pub slots: usize,
    /// Blocks of the cache.
    pub blocks: u32,
    /// Tokens a block.
    pub block: usize,
    /// Most prompt tokens a step.
    pub chunk: usize,
    /// Rows of features a pack, Q.
    pub pack_rows: usize,
}

impl Chunk {
    /// The ids of the piece.
    pub fn ids(&self) -> &[u32] {
        &self.prompt[self.range.clone()]
    }
}

impl Row {
    /// Tokens that the row appends.
    pub fn appended(&self) -> usize {
        match &self.append {
            Append::Chunk(chunk) => chunk.range.len(),
            Append::Drawn => 1,
        }
    }
}

impl Plan {
    pub(crate) fn new(rows: Vec<Row>) -> Self {
        Self { rows }
    }

    /// The rows.
    pub fn rows(&self) -> &[Row] {
        &self.rows
    }

    /// Whether there is nothing to do.
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// The same rows, each as a plan of its own: how the rows of a step that was refused are told apart.
    pub fn split(self) -> impl Iterator<Item = Plan> {
        self.rows.into_iter().map(|row| Plan { rows: vec![row] })
    }

    /// Checks what the scheduler proves. Tests and the simulated backend call it; others have no need to.
    ///
    /// # Errors
    /// The first rule that is broken, with the request.
    pub fn verify(&self, bounds: &Bounds) -> Result<(), String> {
        let mut slots = HashSet::new();
        let mut blocks = HashSet::new();
        let mut prefilled = 0;
        for row in &self.rows {
            row.verify(bounds).map_err(|problem| format!("request {}: {problem}", row.request.0))?;
            if !slots.insert(row.slot) {
                return Err(format!("slot {} is used twice", row.slot));
            }
            if let Some(block) = row.blocks.iter().find(|&&block| !blocks.insert(block)) {
                return Err(format!("block {block} is used twice"));
            }
            prefilled += if matches!(row.append, Append::Chunk(_)) { row.appended() } else { 0 };
        }
        if prefilled > bounds.chunk {
            return Err(format!("{prefilled} prompt tokens in a step of at most {}", bounds.chunk));
        }
        Ok(())
    }
}

impl Row {
    fn verify(&self, bounds: &Bounds) -> Result<(), String> {
        let (end, room) = (self.past + self.appended(), self.blocks.len() * bounds.block);
        if self.slot >= bounds.slots {
            return Err(format!("slot {} of {}", self.slot, bounds.slots));
        }
        if let Some(block) = self.blocks.iter().find(|&&block| block >= bounds.blocks) {
            return Err(format!("block {block} of {}", bounds.blocks));
        }
        if self.appended() == 0 || end > room {
            return Err(format!("positions {}..{end} in blocks for {room}", self.past));
        }
        if self.first != (self.past == 0) {
            return Err(format!("first is {} at position {}", self.first, self.past));
        }
        match &self.append {
            Append::Chunk(chunk) => self.verify_chunk(chunk, bounds),
            Append::Drawn if self.draw.is_none() => Err("a drawn token is appended and none is drawn".to_owned()),
            Append::Drawn => Ok(()),
        }
    }

    fn verify_chunk(&self, chunk: &Chunk, bounds: &Bounds) -> Result<(), String> {
        let last = chunk.range.end == chunk.prompt.len();
        if chunk.range.start != self.past || chunk.range.end > chunk.prompt.len() {
            return Err(format!("{:?} of {} after {}", chunk.range, chunk.prompt.len(), self.past));
        }
        if self.draw.is_some() != last {
            return Err(format!("draws: {}, last chunk: {last}", self.draw.is_some()));
        }
        let mut free = 0;
        for placed in &chunk.features {
            let end = placed.offset + placed.rows.len();
            if placed.offset < free
                || end > chunk.range.len()
                || placed.rows.end > placed.of
                || placed.of != bounds.pack_rows
            {
                return Err(format!("{placed:?} in a chunk of {} from {free}", chunk.range.len()));
            }
            free = end;
        }
        Ok(())
    }
}
