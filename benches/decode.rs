//! Decoding on a CUDA device: the products of a step on random weights of the published shapes, each beside the time in which
//! its bytes can be read. Needs a driver and nothing else, so that the program can be copied to where a device is.

use half::bf16;
use karst_kernels::{
    Buffer, Device, Flow, Input, Kind, Layout, Measure, Output, Prepared, Products, Residual, SQUARES, Setting, Stream,
    Weights, Work,
};

type Result<T> = std::result::Result<T, Box<dyn std::error::Error>>;

const LAYERS: usize = 36;
const HIDDEN: usize = 4096;
const INTERMEDIATE: usize = 12288;
const QUERIES_KEYS_VALUES: [usize; 3] = [4096, 1024, 1024];
const VOCABULARY: usize = 151_748;
const EPSILON: f32 = 1e-6;
const MOST_TOKENS: usize = 64;

/// Blocks of threads of the decoder's products: the shapes come out even.
const CTAS: usize = 128;

/// The weights of one layer's four products.
struct Layer {
    qkv: Weights,
    output: Weights,
    gate_up: Weights,
    down: Weights,
}

struct Bench {
    stream: Stream,
    measure: Measure,
    products: Products,
    layers: Vec<Layer>,
    head: Weights,
    norm: Buffer<f32>,
    /// Bytes a second.
    bandwidth: f64,
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

impl Values {
    fn new(device: &Device, layouts: &[&Layout]) -> Result<Self> {
        let numbers = |n: usize, at: f32| -> Vec<f32> { (0..n).map(|i| (i as f32 * at).sin()).collect() };
        let halves = |n: usize| -> Vec<bf16> { numbers(n, 0.37).into_iter().map(bf16::from_f32).collect() };
        Ok(Self {
            residual: device.upload(&numbers(MOST_TOKENS * HIDDEN, 0.71))?,
            normed: device.upload(&halves(MOST_TOKENS * HIDDEN))?,
            squares: device.upload(&vec![16.0; MOST_TOKENS * SQUARES])?,
            qkv: device.zeroed(MOST_TOKENS * QUERIES_KEYS_VALUES.iter().sum::<usize>())?,
            attended: device.upload(&halves(MOST_TOKENS * HIDDEN))?,
            gated: device.upload(&halves(MOST_TOKENS * INTERMEDIATE))?,
            logits: device.zeroed(MOST_TOKENS * VOCABULARY)?,
            prepared: Prepared::new(device, layouts.iter().copied(), MOST_TOKENS)?,
        })
    }
}

impl Bench {
    fn new() -> Result<Self> {
        let device = Device::open(0)?;
        let properties = device.properties().clone();
        let (stream, none) = (device.stream()?, "this build has no kernels for the device");
        let (products, measure) = (Products::load(&device)?.ok_or(none)?, Measure::load(&device)?.ok_or(none)?);
        let bandwidth = measure.bandwidth(&stream, &device.zeroed(4 << 30)?, 10)?;
        println!("{properties:?}");
        println!("read: {:.2} TB/s", bandwidth / 1e12);
        let weights = |layout: Layout, seed: u64| -> Result<Weights> {
            let bytes = measure.weights(&stream, &layout, seed)?;
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
        let head =
            weights(Layout::stacked(Kind::F16, HIDDEN, &[VOCABULARY], properties.multiprocessors as usize)?, 999)?;
        let norm = device.upload(&vec![1.0; HIDDEN])?;
        Ok(Self { stream, measure, products, layers, head, norm, bandwidth })
    }

    fn work(
        &self,
        weights: &Weights,
        input: Input<'_>,
        mut output: Output<'_>,
        prepared: &mut Prepared,
        setting: Setting,
    ) -> Result<Vec<Work>> {
        Ok(self.products.work(weights, input, &mut output, prepared, setting)?)
    }

    /// The four products of a layer.
    fn layer(&self, layer: &Layer, v: &mut Values, setting: Setting) -> Result<[Vec<Work>; 4]> {
        let normed = Input { values: &v.normed, squares: Some(&v.squares) };
        let qkv = self.work(&layer.qkv, normed, Output::Plain(&mut v.qkv), &mut v.prepared, setting)?;
        let gate_up = self.work(&layer.gate_up, normed, Output::Gated(&mut v.gated), &mut v.prepared, setting)?;
        let mut add = |weights: &Weights, values: &Buffer<bf16>| {
            let residual =
                Residual { values: &mut v.residual, norm: &self.norm, normed: &mut v.normed, squares: &mut v.squares };
            self.work(weights, Input { values, squares: None }, Output::Add(residual), &mut v.prepared, setting)
        };
        let output = add(&layer.output, &v.attended)?;
        let down = add(&layer.down, &v.gated)?;
        Ok([qkv, output, gate_up, down])
    }

    fn head(&self, v: &mut Values, setting: Setting) -> Result<Vec<Work>> {
        let input = Input { values: &v.normed, squares: Some(&v.squares) };
        self.work(&self.head, input, Output::Plain(&mut v.logits), &mut v.prepared, setting)
    }

    /// The median time of a graph of these products, in microseconds.
    fn time(&self, products: &[&Work]) -> Result<f64> {
        let graph = self.stream.record(products.iter().copied())?;
        let device = self.stream.device();
        let events = (0..=ROUNDS).map(|_| device.event()).collect::<std::result::Result<Vec<_>, _>>()?;
        let launch = || graph.launch(&self.stream);
        (0..3).try_for_each(|_| launch())?;
        events[0].record(&self.stream)?;
        for event in &events[1..] {
            launch()?;
            event.record(&self.stream)?;
        }
        self.stream.synchronize()?;
        let mut times = events
            .windows(2)
            .map(|pair| pair[0].microseconds_to(&pair[1]))
            .collect::<std::result::Result<Vec<_>, _>>()?;
        times.sort_by(f64::total_cmp);
        Ok(times[times.len() / 2])
    }

    fn line(&self, name: &str, us: f64, bytes: usize) {
        let limit = bytes as f64 / self.bandwidth * 1e6;
        println!(
            "{name:56} {us:9.1} us  limit {limit:8.1} us  share {:5.1} %  {:.2} TB/s",
            100.0 * limit / us,
            bytes as f64 / us / 1e6
        );
    }
}

const ROUNDS: usize = 40;

fn main() -> Result<()> {
    let bench = Bench::new()?;
    let layer = &bench.layers[0];
    let parts = [&layer.qkv, &layer.output, &layer.gate_up, &layer.down];
    let bytes = parts.map(Weights::bytes);
    let layouts = [parts.map(Weights::layout).as_slice(), &[bench.head.layout()]].concat();
    let mut values = Values::new(bench.stream.device(), &layouts)?;
    println!("matrix instructions, bytes and halves: {:?}", bench.measure.matrix_rates(&bench.stream, 5)?);
    for tokens in [1, 2, 4, 8, 16, 32, 64] {
        for (slots, flight) in [(100, 3), (100, 2), (100, 100)] {
            let setting = Setting { tokens, epsilon: EPSILON, flow: Flow { slots, flight } };
            let chain = bench
                .layers
                .iter()
                .map(|layer| bench.layer(layer, &mut values, setting))
                .collect::<Result<Vec<_>>>()?;
            let name = format!("{tokens} tokens, ring {slots}, {flight} under way");
            let all: Vec<&Work> = chain.iter().flatten().flatten().collect();
            bench.line(&format!("{name}: 36 layers"), bench.time(&all)?, LAYERS * bytes.iter().sum::<usize>());
            if flight == 3 {
                for (i, part) in ["q, k, v", "output", "gate, up", "down"].iter().enumerate() {
                    let same: Vec<&Work> = chain.iter().flat_map(|layer| &layer[i]).collect();
                    bench.line(
                        &format!("{tokens} tokens: {part}, each of 36"),
                        bench.time(&same)? / LAYERS as f64,
                        bytes[i],
                    );
                }
                let head = bench.head(&mut values, setting)?;
                bench.line(
                    &format!("{name}: head"),
                    bench.time(&head.iter().chain(&head).collect::<Vec<_>>())? / 2.0,
                    bench.head.bytes(),
                );
            }
        }
    }
    Ok(())
}
