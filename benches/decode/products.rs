//! The products of a layer and the head, each in a chain over all layers, so that weights come from memory.

use half::bf16;
use karst_kernels::{
    Buffer, Device, Flow, Input, Kind, Layout, Output, Prepared, Products, Residual, SQUARES, Setting, Weights, Work,
};

use crate::bench::{Bench, Floor, Result};

const LAYERS: usize = 36;
const HIDDEN: usize = 4096;
const INTERMEDIATE: usize = 12288;
const QUERIES_KEYS_VALUES: [usize; 3] = [4096, 1024, 1024];
const VOCABULARY: usize = 151_748;
const EPSILON: f32 = 1e-6;

/// Blocks of threads of the decoder's products.
const CTAS: usize = 128;

/// The weights of one layer's four products.
struct Layer {
    qkv: Weights,
    output: Weights,
    gate_up: Weights,
    down: Weights,
}

struct Decoder<'a> {
    bench: &'a Bench,
    products: Products,
    layers: Vec<Layer>,
    head: Weights,
    norm: Buffer<f32>,
}

/// What passes between products.
struct Values {
    residual: Buffer<f32>,
    normed: Buffer<bf16>,
    squares: Buffer<f32>,
    qkv: Buffer<f32>,
    attended: Buffer<bf16>,
    gated: Buffer<bf16>,
    logits: Buffer<f32>,
    prepared: Prepared,
}

pub fn run(bench: &Bench, batches: &[usize]) -> Result<()> {
    let decoder = Decoder::new(bench)?;
    let most = batches.iter().copied().max().unwrap_or(1);
    let mut values = Values::new(&bench.device, &decoder.layouts(), most)?;
    for &tokens in batches {
        decoder.run(&mut values, tokens)?;
    }
    Ok(())
}

impl Values {
    fn new(device: &Device, layouts: &[&Layout], tokens: usize) -> Result<Self> {
        let numbers = |n: usize, at: f32| -> Vec<f32> { (0..n).map(|i| (i as f32 * at).sin()).collect() };
        let halves = |n: usize| -> Vec<bf16> { numbers(n, 0.37).into_iter().map(bf16::from_f32).collect() };
        Ok(Self {
            residual: device.upload(&numbers(tokens * HIDDEN, 0.71))?,
            normed: device.upload(&halves(tokens * HIDDEN))?,
            squares: device.upload(&vec![16.0; tokens * SQUARES])?,
            qkv: device.zeroed(tokens * QUERIES_KEYS_VALUES.iter().sum::<usize>())?,
            attended: device.upload(&halves(tokens * HIDDEN))?,
            gated: device.upload(&halves(tokens * INTERMEDIATE))?,
            logits: device.zeroed(tokens * VOCABULARY)?,
            prepared: Prepared::new(device, layouts.iter().copied(), tokens)?,
        })
    }
}

impl<'a> Decoder<'a> {
    fn new(bench: &'a Bench) -> Result<Self> {
        let products = Products::load(&bench.device)?.ok_or("this build has no kernels for the device")?;
        let weights = |layout: Layout, seed: u64| -> Result<Weights> {
            let bytes = bench.measure.weights(&bench.stream, &layout, seed)?;
            Ok(Weights::new(layout, bytes, None))
        };
        let stacked = |inputs, sources: &[usize]| Layout::stacked(Kind::Int4, inputs, sources, CTAS);
        let layer = |seed| -> Result<Layer> {
            Ok(Layer {
                qkv: weights(stacked(HIDDEN, &QUERIES_KEYS_VALUES)?, seed)?,
                output: weights(stacked(HIDDEN, &[HIDDEN])?, seed + 1)?,
                gate_up: weights(Layout::interleaved(Kind::Int4, HIDDEN, INTERMEDIATE, CTAS)?, seed + 2)?,
                down: weights(stacked(INTERMEDIATE, &[HIDDEN])?, seed + 3)?,
            })
        };
        let layers = (0..LAYERS as u64).map(|i| layer(i * 8)).collect::<Result<_>>()?;
        let blocks = bench.device.properties().multiprocessors as usize;
        let head = weights(Layout::stacked(Kind::F16, HIDDEN, &[VOCABULARY], blocks)?, 999)?;
        let norm = bench.device.upload(&vec![1.0; HIDDEN])?;
        Ok(Self { bench, products, layers, head, norm })
    }

    fn layouts(&self) -> Vec<&Layout> {
        self.parts(0).into_iter().chain([&self.head]).map(Weights::layout).collect()
    }

    fn parts(&self, layer: usize) -> [&Weights; 4] {
        let layer = &self.layers[layer];
        [&layer.qkv, &layer.output, &layer.gate_up, &layer.down]
    }

    fn run(&self, values: &mut Values, tokens: usize) -> Result<()> {
        let layers = self.layers.iter().map(|layer| self.layer(layer, values, tokens)).collect::<Result<Vec<_>>>()?;
        for (i, name) in ["q, k, v", "output", "gate, up", "down"].iter().enumerate() {
            let us = self.bench.time(layers.iter().flat_map(|layer| &layer[i]))? / LAYERS as f64;
            self.bench.line(&format!("{tokens} tokens: {name}, each of 36"), us, quantised(self.parts(0)[i], tokens));
        }
        let head = self.head(values, tokens)?;
        let us = self.bench.time(head.iter().chain(&head))? / 2.0;
        let operations = 2.0 * (HIDDEN * VOCABULARY * tokens) as f64;
        let floor = Floor { bytes: self.head.bytes() as f64, half_operations: operations, ..Floor::default() };
        self.bench.line(&format!("{tokens} tokens: head"), us, floor);
        let us = self.bench.time(layers.iter().flatten().flatten())?;
        let each = self.parts(0).map(|weights| quantised(weights, tokens));
        let sum = |of: fn(&Floor) -> f64| LAYERS as f64 * each.iter().map(of).sum::<f64>();
        let floor = Floor {
            bytes: sum(|floor| floor.bytes),
            byte_operations: sum(|floor| floor.byte_operations),
            half_operations: 0.0,
        };
        self.bench.line(&format!("{tokens} tokens: the products of 36 layers"), us, floor);
        println!();
        Ok(())
    }

    fn work(
        &self,
        weights: &Weights,
        input: Input<'_>,
        mut output: Output<'_>,
        prepared: &mut Prepared,
        tokens: usize,
    ) -> Result<Vec<Work>> {
        let setting = Setting { tokens, epsilon: EPSILON, flow: Flow::default() };
        Ok(self.products.work(weights, input, &mut output, prepared, setting)?)
    }

    /// The four products of a layer.
    fn layer(&self, layer: &Layer, v: &mut Values, tokens: usize) -> Result<[Vec<Work>; 4]> {
        let left = self.products.left_by(&layer.down, tokens);
        let normed = Input { values: &v.normed, squares: Some(&v.squares), left };
        let qkv = self.work(&layer.qkv, normed, Output::Plain(&mut v.qkv), &mut v.prepared, tokens)?;
        let gate_up = self.work(&layer.gate_up, normed, Output::Gated(&mut v.gated), &mut v.prepared, tokens)?;
        let mut add = |weights: &Weights, values: &Buffer<bf16>| {
            let residual =
                Residual { values: &mut v.residual, norm: &self.norm, normed: &mut v.normed, squares: &mut v.squares };
            self.work(
                weights,
                Input { values, squares: None, left: None },
                Output::Add(residual),
                &mut v.prepared,
                tokens,
            )
        };
        let output = add(&layer.output, &v.attended)?;
        let down = add(&layer.down, &v.gated)?;
        Ok([qkv, output, gate_up, down])
    }

    fn head(&self, v: &mut Values, tokens: usize) -> Result<Vec<Work>> {
        let input = Input { values: &v.normed, squares: Some(&v.squares), left: None };
        self.work(&self.head, input, Output::Plain(&mut v.logits), &mut v.prepared, tokens)
    }
}

/// Activations are two bytes each, so that every weight meets two for each token.
fn quantised(weights: &Weights, tokens: usize) -> Floor {
    let layout = weights.layout();
    let operations = 2 * 2 * layout.inputs() * layout.outputs() * tokens;
    Floor { bytes: weights.bytes() as f64, byte_operations: operations as f64, half_operations: 0.0 }
}
