//! The decoder on a device: steps that begin and are settled.

use std::collections::VecDeque;
use std::sync::Arc;

use karst_checkpoint::{Checkpoint, DecoderConfig};
use karst_contract::Progress;
use karst_kernels::{
    Angles, Buffer, CudaError, Device, Event, KvCache, Pinned, SampleResult, SampleState, Stream, Weights,
};

use super::activations::Activations;
use super::graphs::{Graphs, Kernels, Memory};
use super::inputs::{DeviceInputs, Inputs, PLACES};
use super::places::{Pass, Row, decode_pass, is_decode, passes};
use super::{load, support};
use crate::ModelError;
use crate::progress::Taken;

/// Steps that may be under way at once.
const UNDER_WAY: usize = 2;

/// How a decoder is loaded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Options {
    /// The device's number.
    pub device: u32,
    /// Requests at once, 64 at most.
    pub slots: usize,
    /// Positions of a request.
    pub context: usize,
    /// Tokens that the cache holds, over all requests.
    pub kv_tokens: usize,
    /// Tokens in a block of the cache, a power of two from 16 on.
    pub block: usize,
    /// Most tokens of a step.
    pub tokens: usize,
}

/// Rows of features [Q, H] on the device.
#[derive(Debug)]
pub struct Features(Buffer<f32>);

/// The number of a step that has begun.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use = "a step must be settled"]
pub struct Step(pub u64);

/// Embedding, layers, head and sampler.
pub struct Decoder {
    stream: Stream,
    graphs: Graphs,
    memory: Memory,
    config: DecoderConfig,
    options: Options,
    /// The blocks that the device knows for each slot.
    known: Vec<Option<Arc<[u32]>>>,
    /// What the host has to copy, for each of the steps that may be under way.
    desks: Vec<Desk>,
    begun: u64,
    /// Steps under way: their numbers and for which of their rows a token is drawn.
    waiting: VecDeque<(u64, Drawing)>,
}

/// How results belong to rows.
enum Drawing {
    /// Result `i` is that of row `i` where it is true.
    Each(Vec<bool>),
    /// Results are those of the rows where it is true, in their order.
    Dense(Vec<bool>),
}

/// Memory of the host for one step, which the device copies from and to.
struct Desk {
    inputs: Pinned<Inputs>,
    /// [slots, row_blocks].
    blocks: Pinned<u32>,
    results: Pinned<SampleResult>,
    done: Event,
}

impl Features {
    /// Their size on the device.
    pub fn bytes(&self) -> u64 {
        self.0.bytes() as u64
    }
}

impl Options {
    /// Blocks that a request may have.
    fn row_blocks(&self) -> usize {
        self.context.div_ceil(self.block)
    }

    /// Launches of a step: decoding rows come beside the other tokens.
    fn passes(&self) -> usize {
        (self.tokens + self.slots).div_ceil(PLACES)
    }
}

impl Desk {
    fn new(device: &Device, options: &Options) -> Result<Self, CudaError> {
        Ok(Self {
            inputs: device.pinned(options.passes())?,
            blocks: device.pinned(options.slots * options.row_blocks())?,
            results: device.pinned(PLACES)?,
            done: device.event()?,
        })
    }
}

impl Decoder {
    /// Loads the weights, reserves the cache and records what steps launch.
    ///
    /// # Errors
    /// When the kernels do not compute the model, a tensor is missing or misshapen, or memory does not suffice.
    ///
    /// # Panics
    /// When a number of `options` is outside its range.
    pub fn load(checkpoint: &Checkpoint, options: &Options, progress: &dyn Fn(Progress)) -> Result<Self, ModelError> {
        Self::load_part(checkpoint, options, &Taken::new(checkpoint, progress))
    }

    pub(crate) fn load_part(checkpoint: &Checkpoint, options: &Options, taken: &Taken<'_>) -> Result<Self, ModelError> {
        let config = checkpoint.config().decoder.clone();
        support::check(&config)?;
        assert!((1..=PLACES).contains(&options.slots) && options.context > 0 && options.tokens > 0, "{options:?}");
        let device = Device::open(options.device)?;
        let kernels = Kernels::load(&device, &config)?;
        let weights = load::decoder(checkpoint, &device, taken)?;
        let layouts = weights.products().map(Weights::layout);
        let mut memory = Memory {
            activations: Activations::new(&device, &config, layouts)?,
            inputs: DeviceInputs::new(&device, options.slots, options.row_blocks())?,
            cache: cache(&device, &config, options)?,
            angles: Angles::new(&device, config.rope_theta, options.row_blocks() * options.block)?,
            state: SampleState::new(&device, config.vocabulary, options.slots, PLACES, 0)?,
            results: device.zeroed(PLACES)?,
            weights,
        };
        let stream = device.stream()?;
        let graphs = Graphs::record(&stream, &kernels, &mut memory, &config, options.slots)?;
        let desks = (0..UNDER_WAY).map(|_| Desk::new(&device, options)).collect::<Result<_, _>>()?;
        let known = vec![None; options.slots];
        let (options, waiting) = (*options, VecDeque::new());
        Ok(Self { stream, graphs, memory, config, options, known, desks, begun: 0, waiting })
    }

    /// Brings rows of features [Q, H] to the device.
    ///
    /// # Errors
    /// When there is not enough memory.
    pub fn features(&self, rows: &[f32]) -> Result<Features, ModelError> {
        Ok(Features(self.device().upload(rows)?))
    }

    /// Begins a step: appends the rows' tokens to the cache and draws for those that say how.
    ///
    /// # Errors
    /// When the device fails.
    ///
    /// # Panics
    /// When two steps are under way already, or a row does not keep within the options.
    pub fn begin(&mut self, rows: &[Row<'_>]) -> Result<Step, ModelError> {
        assert!(self.waiting.len() < UNDER_WAY, "{} steps are under way", self.waiting.len());
        rows.iter().for_each(|row| self.check(row));
        let desk = (self.begun % UNDER_WAY as u64) as usize;
        self.bring_blocks(desk, rows)?;
        let draws: Vec<bool> = rows.iter().map(|row| row.draw.is_some()).collect();
        let drawing = if is_decode(rows) {
            self.launch(desk, 0, &decode_pass(rows), true)?;
            Drawing::Each(draws)
        } else {
            for (index, pass) in passes(rows).iter().enumerate() {
                self.launch(desk, index, pass, false)?;
            }
            let count = draws.iter().filter(|&&draws| draws).count();
            if count > 0 {
                self.graphs.draw(count).launch(&self.stream)?;
            }
            Drawing::Dense(draws)
        };
        self.memory.results.read_later(&mut self.desks[desk].results, PLACES, &self.stream)?;
        self.desks[desk].done.record(&self.stream)?;
        self.begun += 1;
        self.waiting.push_back((self.begun, drawing));
        Ok(Step(self.begun))
    }

    /// Waits for a step's end: what was drawn for each row that draws, in their order. Steps are settled in the order in which
    /// they began.
    ///
    /// # Errors
    /// When the device fails.
    ///
    /// # Panics
    /// When another step began earlier and is not settled.
    pub fn settle(&mut self, step: Step) -> Result<Vec<SampleResult>, ModelError> {
        let first = self.waiting.pop_front();
        let Some((number, drawing)) = first else { panic!("no step is under way") };
        assert_eq!(Step(number), step, "steps are settled in their order");
        let desk = &self.desks[((number - 1) % UNDER_WAY as u64) as usize];
        desk.done.synchronize()?;
        Ok(match drawing {
            Drawing::Each(draws) => {
                let results = draws.iter().zip(desk.results.iter());
                results.filter(|(draws, _)| **draws).map(|(_, result)| *result).collect()
            }
            Drawing::Dense(draws) => {
                let count = draws.iter().filter(|&&draws| draws).count();
                desk.results[..count].to_vec()
            }
        })
    }

    /// The first `rows` rows of logits [V] of the step that ended last.
    ///
    /// # Errors
    /// When the device fails.
    pub fn logits(&self, rows: usize) -> Result<Vec<Vec<f32>>, ModelError> {
        let mut logits = vec![0.0; rows * self.config.vocabulary];
        self.memory.activations.logits.read_into(0, &mut logits)?;
        Ok(logits.chunks(self.config.vocabulary).map(<[f32]>::to_vec).collect())
    }

    /// Its device.
    pub fn device(&self) -> &Device {
        self.stream.device()
    }

    /// Blocks in the cache.
    pub fn blocks(&self) -> usize {
        self.memory.cache.blocks()
    }

    /// Bytes of the weights.
    pub fn weight_bytes(&self) -> u64 {
        self.memory.weights.bytes()
    }

    /// Bytes of the weights that a step reads: all but the embedding.
    pub fn read_bytes(&self) -> u64 {
        self.memory.weights.products().map(|weights| weights.bytes() as u64).sum()
    }

    /// The cache, whose blocks rows name.
    pub fn cache_mut(&mut self) -> &mut KvCache {
        &mut self.memory.cache
    }

    /// Bytes of the cache.
    pub fn cache_bytes(&self) -> u64 {
        self.memory.cache.bytes() as u64
    }

    fn check(&self, row: &Row<'_>) {
        let (slots, blocks, most) = (self.options.slots, row.blocks.len(), self.options.row_blocks());
        assert!(row.slot < slots && blocks <= most, "slot {} of {slots}, {blocks} blocks of {most}", row.slot);
        let (end, room) = (row.past + row.tokens(), blocks * self.options.block);
        assert!(row.tokens() > 0 && end <= room, "positions {}..{end} in blocks for {room}", row.past);
    }

    /// Tells the device the blocks of requests that it does not know.
    fn bring_blocks(&mut self, desk: usize, rows: &[Row<'_>]) -> Result<(), CudaError> {
        let width = self.options.row_blocks();
        for row in rows {
            let known = &mut self.known[row.slot];
            if known.as_ref().is_some_and(|known| Arc::ptr_eq(known, row.blocks)) {
                continue;
            }
            let (host, at) = (&mut self.desks[desk].blocks, row.slot * width);
            let range = at..at + row.blocks.len();
            host[range.clone()].copy_from_slice(row.blocks);
            self.memory.inputs.tokens.blocks.write_later(at, host, range, &self.stream)?;
            *known = Some(Arc::clone(row.blocks));
        }
        Ok(())
    }

    fn launch(&mut self, desk: usize, index: usize, pass: &Pass<'_>, decode: bool) -> Result<(), CudaError> {
        let Self { stream, memory, desks, graphs, config, .. } = self;
        let host = &mut desks[desk].inputs;
        host[index] = pass.inputs;
        memory.inputs.block.write_later(0, host, index..index + 1, stream)?;
        let hidden = config.hidden;
        for (place, features, rows) in &pass.given {
            let (first, len) = (rows.start * hidden, rows.len() * hidden);
            memory.activations.given.copy_later(place * hidden, &features.0, first, len, stream)?;
        }
        let graph = if decode { graphs.decode(pass.tokens) } else { graphs.append(pass.tokens) };
        graph.launch(stream)
    }
}

impl Drop for Decoder {
    /// The device must not write into memory of the host that was given back. On a lost device nothing writes any more.
    fn drop(&mut self) {
        let _ = self.stream.synchronize();
    }
}

fn cache(device: &Device, config: &DecoderConfig, options: &Options) -> Result<KvCache, CudaError> {
    let blocks = options.kv_tokens.div_ceil(options.block);
    KvCache::new(device, config.layers, blocks, options.block, config.kv_heads)
}
