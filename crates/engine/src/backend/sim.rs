//! A backend without a model: the next token is a pure function of what stands in the request's blocks of the cache, and
//! faults come on demand.
//!
//! It keeps a cache of its own and reads it only through the block tables of the plans, so that a block with two owners, a
//! row in the wrong place or features of another request change an answer. It checks every plan and every handle, and
//! notes what it finds in a [`Log`] that a test reads.

mod fault;

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use karst_vision_input::{Pack, View};

use super::slots::Slots;
use super::{Backend, BackendError, Description, Drawn, Features, Memory, Outcome, RowFault, Ticket};
use crate::plan::{Append, Bounds, Draw, FeaturesId, Plan, Row};
pub use fault::{At, Fault, Gate};

/// What decides the next token: the cache's cells of a request so far (ids, and marks of feature rows, which are greater
/// than any id) and how many tokens were drawn before.
pub type Rule = Arc<dyn Fn(&[u64], usize) -> u32 + Send + Sync>;

/// How a simulation behaves.
#[derive(Clone)]
pub struct Options {
    /// Sizes that plans keep within.
    pub bounds: Bounds,
    /// Most patches an encode.
    pub patches: usize,
    /// V.
    pub vocabulary: usize,
    /// Whether steps begin before those before them are settled.
    pub ahead: bool,
    /// The next token under greedy sampling.
    pub rule: Rule,
    /// What goes wrong, and when; each once.
    pub faults: Vec<(At, Fault)>,
}

/// What a simulation has seen.
#[derive(Debug, Default)]
pub struct Log {
    /// Steps that were begun.
    pub steps: u64,
    /// Encodes that were begun.
    pub encodes: u64,
    /// Most rows of a step.
    pub widest: usize,
    /// For each step, the requests of its rows.
    pub rows: Vec<Vec<u64>>,
    /// Features that are held.
    pub features: usize,
    /// Broken rules: bad plans, unknown handles. Empty in an engine that is right.
    pub violations: Vec<String>,
}

/// The simulation.
pub struct Sim {
    description: Description,
    rule: Rule,
    faults: BTreeMap<At, Vec<Fault>>,
    cells: Vec<u64>,
    slots: Slots,
    features: HashMap<FeaturesId, Vec<u64>>,
    made: u64,
    settled: VecDeque<(u64, Vec<Outcome>)>,
    log: Arc<Mutex<Log>>,
}

/// The cells of feature rows lie above all ids.
const FEATURE: u64 = 1 << 32;

impl Default for Options {
    /// Small and quick: 4 requests, 64 blocks of 16 tokens, chunks of 64, the demo model's vocabulary.
    fn default() -> Self {
        let bounds = Bounds { slots: 4, blocks: 64, block: 16, chunk: 64, pack_rows: 64 };
        Self { bounds, patches: 1024, vocabulary: 1284, ahead: false, rule: hashed(1000), faults: Vec::new() }
    }
}

/// A rule without end: a hash of all cells, below `ids`.
pub fn hashed(ids: u32) -> Rule {
    Arc::new(move |cells, _| (hash(cells) % u64::from(ids)) as u32)
}

/// A rule that says `ids`, then the last of them for ever.
pub fn saying(ids: Vec<u32>) -> Rule {
    Arc::new(move |_, drawn| ids.get(drawn).or(ids.last()).copied().unwrap_or(0))
}

impl Sim {
    /// A simulation and the log that it writes.
    pub fn new(options: Options) -> (Self, Arc<Mutex<Log>>) {
        let Options { bounds, patches, vocabulary, ahead, rule, faults } = options;
        let memory = Memory { weights: 0, cache: 8 * bounds.blocks as u64 * bounds.block as u64 };
        let log = Arc::new(Mutex::new(Log::default()));
        let mut by_time: BTreeMap<At, Vec<Fault>> = BTreeMap::new();
        for (at, fault) in faults {
            by_time.entry(at).or_default().push(fault);
        }
        let sim = Self {
            description: Description { device: "simulation".to_owned(), bounds, patches, vocabulary, ahead, memory },
            rule,
            faults: by_time,
            cells: vec![0; bounds.blocks as usize * bounds.block],
            slots: Slots::new(bounds.slots),
            features: HashMap::new(),
            made: 0,
            settled: VecDeque::new(),
            log: Arc::clone(&log),
        };
        (sim, log)
    }

    fn log(&self) -> MutexGuard<'_, Log> {
        self.log.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn violation(&self, what: String) -> BackendError {
        self.log().violations.push(what.clone());
        BackendError::DeviceLost(what)
    }

    fn due(&mut self, at: At) -> Vec<Fault> {
        self.faults.remove(&at).unwrap_or_default()
    }

    /// Appends what a row appends and draws what it draws.
    fn run(&mut self, row: &Row, odd_logit: Option<f32>) -> Result<Outcome, BackendError> {
        self.slots.enter(row);
        for (offset, cell) in self.appended(row)?.into_iter().enumerate() {
            let place = self.place(row, row.past + offset);
            self.cells[place] = cell;
        }
        let Some(draw) = &row.draw else { return Ok(Ok(None)) };
        let mut logits = self.logits(row, draw);
        if let Some(value) = odd_logit {
            logits[1] = value;
        }
        Ok(self.slots.draw(row.slot, draw, &logits).map(Some))
    }

    fn place(&self, row: &Row, position: usize) -> usize {
        let block = self.description.bounds.block;
        row.blocks[position / block] as usize * block + position % block
    }

    fn appended(&self, row: &Row) -> Result<Vec<u64>, BackendError> {
        let chunk = match &row.append {
            Append::Drawn => return Ok(vec![u64::from(self.slots.latest(row.slot))]),
            Append::Chunk(chunk) => chunk,
        };
        let mut cells: Vec<u64> = chunk.ids().iter().map(|&id| u64::from(id)).collect();
        for placed in &chunk.features {
            let packs = self.features.get(&placed.features);
            let Some(mark) = packs.and_then(|packs| packs.get(placed.pack)) else {
                return Err(self.violation(format!("a plan names {:?}, which are not held", placed.features)));
            };
            for (offset, row) in placed.rows.clone().enumerate() {
                cells[placed.offset + offset] = FEATURE + (hash(&[*mark, row as u64]) >> 1);
            }
        }
        Ok(cells)
    }

    /// Level noise from the cells, and the rule's token well above it.
    fn logits(&self, row: &Row, draw: &Draw) -> Vec<f32> {
        let end = row.past + row.appended();
        let cells: Vec<u64> = (0..end).map(|position| self.cells[self.place(row, position)]).collect();
        let seed = hash(&cells);
        let noise = |id: usize| (hash(&[seed, id as u64]) >> 40) as f32 / (1 << 22) as f32;
        let mut logits: Vec<f32> = (0..self.description.vocabulary).map(noise).collect();
        logits[(self.rule)(&cells, draw.index) as usize] = 9.0;
        logits
    }

    fn begin(&mut self, plan: &Plan) -> u64 {
        let verified = plan.verify(&self.description.bounds);
        let mut log = self.log();
        log.violations.extend(verified.err());
        log.widest = log.widest.max(plan.rows().len());
        log.rows.push(plan.rows().iter().map(|row| row.request.0).collect());
        log.steps += 1;
        log.steps - 1
    }
}

impl Backend for Sim {
    fn description(&self) -> &Description {
        &self.description
    }

    fn encode(&mut self, views: &[View], packs: &[Pack]) -> Result<Features, BackendError> {
        let number = self.log().encodes;
        self.log().encodes += 1;
        for fault in self.due(At::Encode(number)) {
            fault.strike("encoding a picture")?;
        }
        if views.is_empty() || packs.iter().any(|pack| pack.views.iter().any(|&view| view >= views.len())) {
            return Err(self.violation(format!("{} packs of {} views", packs.len(), views.len())));
        }
        let marks: Vec<u64> = packs.iter().map(|pack| mark(views, pack)).collect();
        let bytes = 8 * (marks.len() * self.description.bounds.pack_rows) as u64;
        let id = FeaturesId(self.made);
        self.made += 1;
        self.features.insert(id, marks);
        self.log().features = self.features.len();
        Ok(Features { id, bytes })
    }

    fn step(&mut self, plan: &Plan) -> Result<Ticket, BackendError> {
        let number = self.begin(plan);
        let (mut odd_logit, mut no_memory) = (None, false);
        for fault in self.due(At::Step(number)) {
            match fault {
                Fault::Logit(value) => odd_logit = Some(value),
                Fault::RowOutOfMemory => no_memory = true,
                other => other.strike("a step")?,
            }
        }
        let mut outcomes = Vec::new();
        for row in plan.rows() {
            outcomes.push(self.run(row, odd_logit.take_if(|_| row.draw.is_some()))?);
        }
        if no_memory && let Some(first) = outcomes.first_mut() {
            *first = Err(RowFault::OutOfMemory { bytes: 1 << 20 });
        }
        self.settled.push_back((number, outcomes));
        if self.settled.len() > 1 + usize::from(self.description.ahead) {
            return Err(self.violation(format!("{} steps are under way", self.settled.len())));
        }
        Ok(Ticket(number))
    }

    fn settle(&mut self, ticket: Ticket) -> Result<Vec<Result<Option<Drawn>, RowFault>>, BackendError> {
        match self.settled.pop_front() {
            Some((number, outcomes)) if number == ticket.0 => Ok(outcomes),
            other => Err(self.violation(format!("{ticket:?} is settled after {:?}", other.map(|(number, _)| number)))),
        }
    }

    fn release(&mut self, features: FeaturesId) {
        if self.features.remove(&features).is_none() {
            self.violation(format!("{features:?} are released and not held"));
        }
        self.log().features = self.features.len();
    }
}

/// What a pack's rows depend on: its views' pixels and shapes, in their order, and its times.
fn mark(views: &[View], pack: &Pack) -> u64 {
    let mut hasher = DefaultHasher::new();
    pack.times.hash(&mut hasher);
    for &view in &pack.views {
        let view = &views[view];
        (view.rows, view.columns, view.patches()).hash(&mut hasher);
    }
    hasher.finish()
}

fn hash(words: &[u64]) -> u64 {
    let mut hasher = DefaultHasher::new();
    words.hash(&mut hasher);
    hasher.finish()
}
