//! What a launch runs, recorded once for each number of tokens.

use karst_checkpoint::DecoderConfig;
use karst_kernels::{
    Angles, Attention, Buffer, CudaError, Device, Embed, Embeddings, Flow, Gathered, Graph, HeadNorms, Input, KvCache,
    Layer, Left, Output, Places, Prepared, Products, Published, Residual, SampleResult, SampleState, Sampler, Setting,
    Stream, Weights, Work,
};

use super::activations::Activations;
use super::inputs::{DeviceInputs, PLACES};
use super::weights::{DecoderWeights, LayerWeights};
use crate::ModelError;

/// The kernels.
pub(super) struct Kernels {
    embed: Embed,
    products: Products,
    attention: Attention,
    sampler: Sampler,
}

/// All that kernels work on.
pub(super) struct Memory {
    pub(super) weights: DecoderWeights,
    pub(super) inputs: DeviceInputs,
    pub(super) activations: Activations,
    pub(super) cache: KvCache,
    pub(super) angles: Angles,
    pub(super) state: SampleState,
    pub(super) results: Buffer<SampleResult>,
}

/// Recordings for 1, 2, 4, ... tokens or rows.
pub(super) struct Graphs {
    /// A token of each row, and its draw.
    decode: Vec<Graph>,
    /// Any tokens; the rows to draw for are put aside.
    append: Vec<Graph>,
    /// Draws for the rows that were put aside.
    draw: Vec<Graph>,
}

/// What is recorded.
#[derive(Debug, Clone, Copy)]
enum Part {
    Decode,
    Append,
    Draw,
}

/// What a number of tokens runs.
struct Recorder<'a> {
    kernels: &'a Kernels,
    memory: &'a mut Memory,
    config: &'a DecoderConfig,
    tokens: usize,
    /// Of the residual, by the product that came last.
    left: Option<Left>,
}

impl Kernels {
    pub(super) fn load(device: &Device, config: &DecoderConfig) -> Result<Self, ModelError> {
        let kernels = (
            Embed::load(device)?,
            Products::load(device)?,
            Attention::load(device, config.heads, config.kv_heads, PLACES)?,
            Sampler::load(device)?,
        );
        let (Some(embed), Some(products), Some(attention), Some(sampler)) = kernels else {
            return Err(ModelError::NoKernels);
        };
        Ok(Self { embed, products, attention, sampler })
    }
}

impl Graphs {
    /// For steps of up to `rows` rows.
    pub(super) fn record(
        stream: &Stream,
        kernels: &Kernels,
        memory: &mut Memory,
        config: &DecoderConfig,
        rows: usize,
    ) -> Result<Self, CudaError> {
        let mut record = |part: Part, most: usize| {
            let sizes = (0..=most.next_power_of_two().ilog2()).map(|log| 1 << log);
            let graph = |tokens| {
                let mut recorder = Recorder { kernels, memory: &mut *memory, config, tokens, left: None };
                let work = match part {
                    Part::Decode => recorder.decode(),
                    Part::Append => recorder.append(),
                    Part::Draw => recorder.draw(),
                };
                stream.record(&work?)
            };
            sizes.map(graph).collect::<Result<Vec<_>, _>>()
        };
        Ok(Self {
            decode: record(Part::Decode, rows)?,
            append: record(Part::Append, PLACES)?,
            draw: record(Part::Draw, rows)?,
        })
    }

    /// Of a step of `tokens` rows with a token each.
    pub(super) fn decode(&self, tokens: usize) -> &Graph {
        at(&self.decode, tokens)
    }

    /// Of any `tokens` tokens.
    pub(super) fn append(&self, tokens: usize) -> &Graph {
        at(&self.append, tokens)
    }

    /// Of the draws for `rows` rows.
    pub(super) fn draw(&self, rows: usize) -> &Graph {
        at(&self.draw, rows)
    }
}

/// The smallest recording with room for so many.
fn at(graphs: &[Graph], count: usize) -> &Graph {
    &graphs[count.next_power_of_two().ilog2() as usize]
}

impl Recorder<'_> {
    fn decode(&mut self) -> Result<Vec<Work>, CudaError> {
        let mut work = self.layers(false)?;
        let Memory { weights, activations: a, .. } = &mut *self.memory;
        let input = Input { values: &a.normed, squares: Some(&a.squares), left: self.left };
        let logits = Output::Plain(&mut a.logits);
        work.extend(product(self.kernels, self.config, &weights.head, input, logits, &mut a.prepared, self.tokens)?);
        work.extend(self.sample());
        Ok(work)
    }

    fn append(&mut self) -> Result<Vec<Work>, CudaError> {
        let mut work = self.layers(true)?;
        let Memory { inputs, activations: a, .. } = &mut *self.memory;
        let from = Published { normed: &a.normed, squares: &a.squares };
        let mut to = Gathered { normed: &mut a.picked, squares: &mut a.picked_squares };
        let size = (self.tokens, self.config.hidden);
        work.push(self.kernels.embed.gather(from, &inputs.pick, &mut to, PLACES, size));
        Ok(work)
    }

    fn draw(&mut self) -> Result<Vec<Work>, CudaError> {
        let Memory { weights, activations: a, .. } = &mut *self.memory;
        let input = Input { values: &a.picked, squares: Some(&a.picked_squares), left: None };
        let logits = Output::Plain(&mut a.logits);
        let head = product(self.kernels, self.config, &weights.head, input, logits, &mut a.prepared, self.tokens)?;
        Ok(head.into_iter().chain(self.sample()).collect())
    }

    /// From tokens to what the head reads. `general`: tokens of one request may follow one another.
    fn layers(&mut self, general: bool) -> Result<Vec<Work>, CudaError> {
        let mut work = vec![self.embed()];
        for layer in 0..self.config.layers {
            work.extend(self.attention(layer, general)?);
            work.extend(self.mlp(layer)?);
        }
        Ok(work)
    }

    fn embed(&mut self) -> Work {
        let Memory { weights, inputs, activations: a, state, .. } = &mut *self.memory;
        let places = Places {
            position: &inputs.tokens.position,
            ids: &inputs.id,
            slots: &inputs.tokens.table,
            given: &a.given,
            latest: state.latest(),
        };
        let table = Embeddings { float: weights.embedding_float, numbers: &weights.embedding };
        let norm = weights.layers.first().map_or(&weights.norm, |layer| &layer.attention_norm);
        self.left = None;
        let mut residual = Residual { values: &mut a.residual, norm, normed: &mut a.normed, squares: &mut a.squares };
        self.kernels.embed.embed(&table, places, &mut residual, self.tokens, self.config.hidden)
    }

    fn attention(&mut self, index: usize, general: bool) -> Result<Vec<Work>, CudaError> {
        let (kernels, config, tokens) = (self.kernels, self.config, self.tokens);
        let Memory { weights, inputs, activations: a, cache, angles, .. } = &mut *self.memory;
        let layer = &weights.layers[index];
        let input = Input { values: &a.normed, squares: Some(&a.squares), left: self.left };
        let qkv = Output::Plain(&mut a.qkv);
        let mut work = product(kernels, config, &layer.qkv, input, qkv, &mut a.prepared, tokens)?;
        let epsilon = config.rms_norm_eps as f32;
        let norms = HeadNorms { queries: &layer.query_norm, keys: &layer.key_norm, epsilon };
        let left = kernels.products.left_to(&layer.output, tokens);
        let room = left.map(|left| (&mut a.prepared, left));
        let attended = Layer { qkv: &a.qkv, output: &mut a.attended, norms, cache: (cache, index), left: room };
        if general {
            work.extend(kernels.attention.general(attended, &inputs.tokens, angles, tokens)?);
        } else {
            work.push(kernels.attention.decode(attended, &inputs.tokens, angles, tokens)?);
        }
        let residual = Output::Add(Residual {
            values: &mut a.residual,
            norm: &layer.mlp_norm,
            normed: &mut a.normed,
            squares: &mut a.squares,
        });
        let input = Input { values: &a.attended, squares: None, left };
        work.extend(product(kernels, config, &layer.output, input, residual, &mut a.prepared, tokens)?);
        self.left = kernels.products.left_by(&layer.output, tokens);
        Ok(work)
    }

    fn mlp(&mut self, index: usize) -> Result<Vec<Work>, CudaError> {
        let (kernels, config, tokens) = (self.kernels, self.config, self.tokens);
        let Memory { weights, activations: a, .. } = &mut *self.memory;
        let LayerWeights { gate_up, down, .. } = &weights.layers[index];
        let next = weights.layers.get(index + 1).map_or(&weights.norm, |layer| &layer.attention_norm);
        let input = Input { values: &a.normed, squares: Some(&a.squares), left: self.left };
        let gated = Output::Gated(&mut a.gated);
        let mut work = product(kernels, config, gate_up, input, gated, &mut a.prepared, tokens)?;
        let residual = Output::Add(Residual {
            values: &mut a.residual,
            norm: next,
            normed: &mut a.normed,
            squares: &mut a.squares,
        });
        let input = Input { values: &a.gated, squares: None, left: None };
        work.extend(product(kernels, config, down, input, residual, &mut a.prepared, tokens)?);
        self.left = kernels.products.left_by(down, tokens);
        Ok(work)
    }

    fn sample(&mut self) -> [Work; 2] {
        let Memory { inputs, activations, state, results, .. } = &mut *self.memory;
        self.kernels.sampler.work(&activations.logits, &inputs.rows, state, results, self.tokens)
    }
}

fn product(
    kernels: &Kernels,
    config: &DecoderConfig,
    weights: &Weights,
    input: Input<'_>,
    mut output: Output<'_>,
    prepared: &mut Prepared,
    tokens: usize,
) -> Result<Vec<Work>, CudaError> {
    let setting = Setting { tokens, epsilon: config.rms_norm_eps as f32, flow: Flow::default() };
    kernels.products.work(weights, input, &mut output, prepared, setting)
}
