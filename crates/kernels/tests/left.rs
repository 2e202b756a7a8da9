//! What kernels leave for the products after them, against what these make of the published results by themselves.

use half::bf16;
use karst_kernels::{
    Angles, Attention, Buffer, Device, Flow, HEAD_WIDTH, HeadNorms, Input, Kind, KvCache, Layer, Layout, Left, Measure,
    Output, Prepared, Products, Residual, SQUARES, Setting, Stream, Tokens, Weights,
};

const HIDDEN: usize = 4096;
const OUTPUTS: usize = 6144;
const INNER: usize = 2048;

struct World {
    device: Device,
    stream: Stream,
    measure: Measure,
    products: Products,
}

fn world() -> World {
    let device = Device::open(0).expect("a device");
    let measure = Measure::load(&device).unwrap().expect("kernels for this device");
    let products = Products::load(&device).unwrap().expect("kernels for this device");
    World { stream: device.stream().expect("a stream"), measure, products, device }
}

impl World {
    fn weights(&self, inputs: usize, outputs: usize, ordered: bool) -> Weights {
        let layout = Layout::stacked(Kind::Int4, inputs, &[outputs], 128).unwrap();
        let bytes = self.measure.weights(&self.stream, &layout, outputs as u64).unwrap();
        let order = ordered.then(|| self.device.upload(&(0..inputs as u32).rev().collect::<Vec<_>>()).unwrap());
        Weights::new(layout, bytes, order)
    }

    fn run(&self, weights: &Weights, input: Input<'_>, mut output: Output<'_>, prepared: &mut Prepared, tokens: usize) {
        let setting = Setting { tokens, epsilon: 1e-6, flow: Flow::default() };
        let work = self.products.work(weights, input, &mut output, prepared, setting).unwrap();
        work.iter().for_each(|work| self.stream.run(work).unwrap());
    }
}

/// What a product with a norm before it makes of the residual.
struct Next<'a> {
    world: &'a World,
    weights: &'a Weights,
    normed: &'a Buffer<bf16>,
    squares: &'a Buffer<f32>,
    tokens: usize,
}

impl Next<'_> {
    fn run(&self, left: Option<Left>, prepared: &mut Prepared) -> Vec<u32> {
        let mut out = self.world.device.upload(&vec![f32::NAN; self.tokens * OUTPUTS]).unwrap();
        let input = Input { values: self.normed, squares: Some(self.squares), left };
        self.world.run(self.weights, input, Output::Plain(&mut out), prepared, self.tokens);
        self.world.stream.synchronize().unwrap();
        out.read().unwrap().into_iter().map(f32::to_bits).collect()
    }
}

fn try_tokens(world: &World, tokens: usize, ordered: bool) {
    let World { device, stream, measure, .. } = world;
    let (add, next) = (world.weights(INNER, HIDDEN, false), world.weights(HIDDEN, OUTPUTS, ordered));
    let mut prepared = Prepared::new(device, [add.layout(), next.layout()], tokens).unwrap();
    let mut x = device.zeroed(tokens * INNER).unwrap();
    measure.numbers(stream, &mut x, 3).unwrap();
    // Tokens of very different sizes, one of them zero.
    let residual: Vec<f32> =
        (0..tokens * HIDDEN).map(|i| (i as f32 * 0.7).sin() * 10f32.powi((i / HIDDEN) as i32 % 7 - 3)).collect();
    let norm: Vec<f32> = (0..HIDDEN).map(|i| 0.2 + (i % 13) as f32).collect();
    let (mut values, norm) = (device.upload(&residual).unwrap(), device.upload(&norm).unwrap());
    let mut normed = device.zeroed(tokens * HIDDEN).unwrap();
    let mut squares = device.zeroed(tokens * SQUARES).unwrap();
    let residual = Residual { values: &mut values, norm: &norm, normed: &mut normed, squares: &mut squares };
    let input = Input { values: &x, squares: None, left: None };
    world.run(&add, input, Output::Add(residual), &mut prepared, tokens);
    let next = Next { world, weights: &next, normed: &normed, squares: &squares, tokens };
    let left = world.products.left_by(&add, tokens);
    assert_eq!(left.is_some(), tokens > 16 && device.properties().capability == (9, 0), "{tokens} tokens");
    let taken = next.run(left, &mut prepared);
    let own = next.run(None, &mut prepared);
    assert!(own.iter().any(|&bits| bits << 1 != 0), "all results are zero");
    let differing = own.iter().zip(&taken).filter(|(a, b)| a != b).count();
    assert_eq!(differing, 0, "{differing} of {} results differ with {tokens} tokens", own.len());
}

#[test]
fn what_is_left_is_what_would_have_been_prepared() {
    let world = world();
    for tokens in [1, 16, 17, 31, 32, 33, 61, 64] {
        try_tokens(&world, tokens, false);
    }
    try_tokens(&world, 32, true);
}

const HEADS: usize = 32;
const KV_HEADS: usize = 8;
const BLOCK: usize = 16;

/// Attention of some tokens, one of them missing, and the product after it, which reads what is left or what is published.
fn after_attention(world: &World, tokens: usize, is_left: bool) -> (Vec<u32>, Vec<u16>) {
    let World { device, stream, measure, products } = world;
    let weights = world.weights(HIDDEN, OUTPUTS, false);
    let mut prepared = Prepared::new(device, [weights.layout()], tokens).unwrap();
    let left = products.left_to(&weights, tokens);
    assert_eq!(left.is_some(), device.properties().capability == (9, 0), "{tokens} tokens");
    let left = left.filter(|_| is_left);
    let positions: Vec<i32> = (0..tokens as i32).map(|i| if i == 3 { -1 } else { i * 37 % 300 }).collect();
    let row = 300usize.div_ceil(BLOCK);
    let blocks: Vec<u32> = (0..(tokens * row) as u32).collect();
    let places = Tokens::of(
        device.upload(&positions).unwrap(),
        device.upload(&(0..tokens as u32).collect::<Vec<_>>()).unwrap(),
        device.upload(&blocks).unwrap(),
        row,
    );
    let mut cache = KvCache::new(device, 1, blocks.len(), BLOCK, KV_HEADS).unwrap();
    measure.numbers(stream, cache.values_mut(), 9).unwrap();
    let qkv: Vec<f32> = (0..tokens * (HEADS + 2 * KV_HEADS) * HEAD_WIDTH).map(|i| (i as f32 * 0.37).sin()).collect();
    let (qkv, norm) = (device.upload(&qkv).unwrap(), device.upload(&[1.0; HEAD_WIDTH]).unwrap());
    let mut attended = device.zeroed(tokens * HIDDEN).unwrap();
    let layer = Layer {
        qkv: &qkv,
        output: &mut attended,
        norms: HeadNorms { queries: &norm, keys: &norm, epsilon: 1e-6 },
        cache: (&mut cache, 0),
        left: left.map(|left| (&mut prepared, left)),
    };
    let attention = Attention::load(device, HEADS, KV_HEADS, tokens).unwrap().expect("kernels for this device");
    let angles = Angles::new(device, 1e6, 512).unwrap();
    stream.run(&attention.decode(layer, &places, &angles, tokens).unwrap()).unwrap();
    let mut out = device.upload(&vec![f32::NAN; tokens * OUTPUTS]).unwrap();
    let input = Input { values: &attended, squares: None, left };
    world.run(&weights, input, Output::Plain(&mut out), &mut prepared, tokens);
    stream.synchronize().unwrap();
    let bits = |values: Vec<f32>| values.into_iter().map(f32::to_bits).collect();
    (bits(out.read().unwrap()), attended.read().unwrap().into_iter().map(bf16::to_bits).collect())
}

#[test]
fn what_attention_leaves_is_what_would_have_been_prepared() {
    let world = world();
    for tokens in [17, 24, 32, 33, 64] {
        let (taken, own) = (after_attention(&world, tokens, true), after_attention(&world, tokens, false));
        assert!(own.0.iter().any(|&bits| bits << 1 != 0), "all results are zero");
        assert!(own.1 == taken.1, "what is published differs with {tokens} tokens");
        let differing = own.0.iter().zip(&taken.0).filter(|(a, b)| a != b).count();
        assert_eq!(differing, 0, "{differing} of {} results differ with {tokens} tokens", own.0.len());
    }
}
