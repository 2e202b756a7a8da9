//! Products on a device against sums in f64 over weights that are read out of the packed bytes by the rules of the layout.

use half::{bf16, f16};
use karst_kernels::{
    Buffer, Device, Flow, Input, Kind, Layout, Output, Place, Prepared, Products, Residual, SLOTS, SQUARES, Setting,
    Stream, Weights,
};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

const EPSILON: f32 = 1e-6;

struct World {
    device: Device,
    stream: Stream,
    products: Products,
}

fn world() -> World {
    let device = Device::open(0).expect("a device");
    let products = Products::load(&device).expect("a module").expect("kernels for this device");
    World { stream: device.stream().expect("a stream"), products, device }
}

/// A random layer: its bytes, and its weights [N, K] as the layout's rules read them.
struct Layer {
    layout: Layout,
    bytes: Vec<u8>,
    dense: Vec<f32>,
    outputs: Vec<Place>,
}

fn layer(layout: Layout, rng: &mut ChaCha8Rng) -> Layer {
    let kind = layout.kind();
    let tile = kind.tile_bytes();
    let mut bytes = vec![0u8; layout.bytes()];
    rng.fill(&mut bytes[..]);
    let scale = |rng: &mut ChaCha8Rng| f16::from_f32(rng.random_range(0.001..0.01)).to_le_bytes();
    for tile in bytes.chunks_exact_mut(tile) {
        let scales = match kind {
            Kind::Int4 => &mut tile[1024..1056],
            Kind::Int8 => &mut tile[2048..2176],
            Kind::F16 => {
                tile.chunks_exact_mut(2)
                    .for_each(|w| w.copy_from_slice(&f16::from_f32(rng.random_range(-0.1..0.1)).to_le_bytes()));
                continue;
            }
            Kind::Bf16 => {
                tile.chunks_exact_mut(2)
                    .for_each(|w| w.copy_from_slice(&bf16::from_f32(rng.random_range(-0.1..0.1)).to_le_bytes()));
                continue;
            }
        };
        scales.chunks_exact_mut(2).for_each(|bytes| bytes.copy_from_slice(&scale(rng)));
    }
    let places: Vec<Place> = layout
        .sources()
        .iter()
        .enumerate()
        .flat_map(|(s, &n)| (0..n).map(move |o| (s, o)))
        .map(|(s, o)| layout.place(s, o))
        .collect();
    let k = layout.inputs();
    let mut dense = vec![0.0; places.len() * k];
    for (place, row) in places.iter().zip(dense.chunks_exact_mut(k)) {
        for (input, weight) in row.iter_mut().enumerate() {
            *weight = weight_at(&layout, &bytes, *place, input);
        }
    }
    Layer { layout, bytes, dense, outputs: places }
}

/// One weight, by the layout's description alone.
fn weight_at(layout: &Layout, bytes: &[u8], place: Place, k: usize) -> f32 {
    let kind = layout.kind();
    let width = if matches!(kind, Kind::Int4 | Kind::Int8) { 128 } else { 64 };
    let groups = k_groups(layout.inputs(), width);
    let (slot, group, kk) = (k / width / groups, k / width % groups, k % width);
    let chunk = (1..=256 / width).rev().find(|len| groups.is_multiple_of(*len)).unwrap();
    let stage =
        place.cta * layout.blocks() * groups + (group / chunk * layout.blocks() + place.block) * chunk + group % chunk;
    let tile = &bytes[(stage * SLOTS + slot) * kind.tile_bytes()..][..kind.tile_bytes()];
    let r = place.row;
    let word = |at: usize| u32::from_le_bytes(tile[at..at + 4].try_into().unwrap());
    let half = |at: usize| f16::from_le_bytes(tile[at..at + 2].try_into().unwrap()).to_f32();
    match kind {
        Kind::Int4 => {
            let (h, e, tig) = (kk / 64, kk % 16, kk % 64 / 16);
            let (w, lane) = (h * 4 + e % 8 / 4 * 2 + r / 8, r % 8 * 4 + tig);
            let code = word(w / 4 * 512 + lane * 16 + w % 4 * 4) >> (e % 4 * 8 + e / 8 * 4) & 15;
            ((code ^ 8) as f32 - 8.0) * half(1024 + r % 8 * 4 + r / 8 * 2)
        }
        Kind::Int8 => {
            let (j, tig, b) = (kk / 32, kk % 32 / 8, kk % 8);
            let (w, lane) = (b / 4 * 2 + r / 8, r % 8 * 4 + tig);
            let code = tile[j * 512 + lane * 16 + w * 4 + b % 4];
            let zero = tile[2176 + j * 16 + r % 8 * 2 + r / 8];
            (f32::from(code) - f32::from(zero)) * half(2048 + j * 32 + r % 8 * 4 + r / 8 * 2)
        }
        Kind::F16 | Kind::Bf16 => {
            let (u, tig, b) = (kk / 16, kk % 16 / 4, kk % 4);
            let (w, lane) = (b / 2 * 2 + r / 8, r % 8 * 4 + tig);
            let bits = (word(u * 512 + lane * 16 + w * 4) >> (b % 2 * 16)) as u16;
            if kind == Kind::F16 { f16::from_bits(bits).to_f32() } else { bf16::from_bits(bits).to_f32() }
        }
    }
}

fn k_groups(inputs: usize, width: usize) -> usize {
    inputs.div_ceil(SLOTS * width)
}

/// Activations with a few that are far larger than the others.
fn activations(len: usize, rng: &mut ChaCha8Rng) -> Vec<bf16> {
    (0..len)
        .map(|_| bf16::from_f32(rng.random_range(-1.0..1.0f32) * if rng.random_ratio(1, 200) { 50.0 } else { 1.0 }))
        .collect()
}

/// The exact product of one token and a bound on its error: half a step of the fixed point (or of a half-precision number) for each
/// activation, and the rounding of f32 sums.
fn exact(layer: &Layer, order: Option<&[u32]>, x: &[bf16], output: usize) -> (f64, f64) {
    let k = layer.layout.inputs();
    let row = &layer.dense[output * k..][..k];
    let value = |i: usize| f64::from(x[order.map_or(i, |order| order[i] as usize)].to_f32());
    let (kind, width) = (layer.layout.kind(), layer.layout.kind().width());
    let span = k_groups(k, width) * width;
    let (mut sum, mut bound) = (0.0, 0.0);
    for first in (0..k).step_by(span) {
        // Any chunk of a slot has its own greatest value; that of the whole slot is no less.
        let slot = first..k.min(first + span);
        let greatest = slot.clone().map(|i| value(i).abs()).fold(0.0, f64::max);
        for i in slot {
            let weight = f64::from(row[i]);
            sum += weight * value(i);
            let step = match kind {
                Kind::Int4 | Kind::Int8 => greatest * 0.51 / 32639.0,
                Kind::F16 => value(i).abs() * 2f64.powi(-11) + greatest * 2f64.powi(-25),
                Kind::Bf16 => 0.0,
            };
            bound += weight.abs() * (step + value(i).abs() * 4e-6);
        }
    }
    (sum, bound)
}

struct Run {
    values: Vec<f32>,
    normed: Vec<bf16>,
    squares: Vec<f32>,
}

#[derive(Clone, Copy, PartialEq, Debug)]
enum After {
    Plain,
    Gated,
    Add,
}

/// What goes into a case, all tokens of it.
struct Case {
    after: After,
    layer: Layer,
    order: Option<Vec<u32>>,
    x: Vec<bf16>,
    squares: Option<Vec<f32>>,
    residual: Vec<f32>,
    norm: Vec<f32>,
}

const POISON: f32 = f32::NAN;

impl Case {
    fn new(after: After, layout: Layout, tokens: usize, ordered: bool, seed: u64) -> Self {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let (k, n) = (layout.inputs(), layout.outputs());
        let mut order: Vec<u32> = (0..k as u32).collect();
        for i in (1..k).rev() {
            order.swap(i, rng.random_range(0..=i));
        }
        Self {
            after,
            order: ordered.then_some(order),
            x: activations(tokens * k, &mut rng),
            squares: (after != After::Add).then(|| (0..tokens * SQUARES).map(|_| rng.random_range(0.0..2.0)).collect()),
            residual: (0..tokens * n).map(|_| rng.random_range(-4.0..4.0)).collect(),
            norm: (0..n).map(|_| rng.random_range(0.5..1.5)).collect(),
            layer: layer(layout, &mut rng),
        }
    }

    fn tokens(&self) -> usize {
        self.x.len() / self.layer.layout.inputs()
    }

    /// Runs some of the tokens.
    fn run(&self, world: &World, weights: &Weights, tokens: std::ops::Range<usize>, flow: Flow) -> Run {
        let (k, n, count) = (self.layer.layout.inputs(), self.layer.layout.outputs(), tokens.len());
        let device = &world.device;
        let x = device.upload(&self.x[tokens.start * k..tokens.end * k]).unwrap();
        let squares =
            self.squares.as_ref().map(|s| device.upload(&s[tokens.start * SQUARES..tokens.end * SQUARES]).unwrap());
        let input = Input { values: &x, squares: squares.as_ref(), left: None };
        let plain = if self.after == After::Add {
            self.residual[tokens.start * n..tokens.end * n].to_vec()
        } else {
            vec![POISON; count * n]
        };
        let mut values = device.upload(&plain).unwrap();
        let half = if self.after == After::Gated { n / 2 } else { n };
        let mut normed = device.upload(&vec![bf16::NAN; count * half]).unwrap();
        let mut parts = device.upload(&vec![POISON; count * SQUARES]).unwrap();
        let norm = device.upload(&self.norm).unwrap();
        let mut output = match self.after {
            After::Plain => Output::Plain(&mut values),
            After::Gated => Output::Gated(&mut normed),
            After::Add => {
                Output::Add(Residual { values: &mut values, norm: &norm, normed: &mut normed, squares: &mut parts })
            }
        };
        let mut prepared = Prepared::new(device, [weights.layout()], count).unwrap();
        let setting = Setting { tokens: count, epsilon: EPSILON, flow };
        let work = world.products.work(weights, input, &mut output, &mut prepared, setting).unwrap();
        work.iter().for_each(|work| world.stream.run(work).unwrap());
        world.stream.synchronize().unwrap();
        Run { values: values.read().unwrap(), normed: normed.read().unwrap(), squares: parts.read().unwrap() }
    }

    fn upload(&self, world: &World) -> Weights {
        let order = self.order.as_ref().map(|order| world.device.upload(order).unwrap());
        Weights::new(self.layer.layout.clone(), world.device.upload(&self.layer.bytes).unwrap(), order)
    }

    fn factor(&self, token: usize) -> f64 {
        let k = self.layer.layout.inputs();
        let Some(squares) = &self.squares else { return 1.0 };
        let sum: f64 = squares[token * SQUARES..][..SQUARES].iter().map(|&v| f64::from(v)).sum();
        1.0 / (sum / k as f64 + f64::from(EPSILON)).sqrt()
    }

    /// The greatest error of `outputs` of a token, as a part of its bound.
    fn check(&self, run: &Run, token: usize, outputs: impl Iterator<Item = usize>) -> f64 {
        let (k, n) = (self.layer.layout.inputs(), self.layer.layout.outputs());
        let x = &self.x[token * k..][..k];
        let factor = self.factor(token);
        let product = |output: usize| {
            let (value, bound) = exact(&self.layer, self.order.as_deref(), x, output);
            (value * factor, bound * factor + (value * factor).abs() * 1e-6)
        };
        let mut worst = 0.0f64;
        for output in outputs {
            let (found, expected, bound) = match self.after {
                After::Plain => {
                    let (value, bound) = product(output);
                    (f64::from(run.values[token * n + output]), value, bound)
                }
                After::Add => {
                    let (value, bound) = product(output);
                    let residual = f64::from(self.residual[token * n + output]);
                    let found = f64::from(run.values[token * n + output]);
                    let next = f64::from(run.normed[token * n + output].to_f32());
                    let rounded = found * f64::from(self.norm[output]);
                    assert!((next - rounded).abs() <= rounded.abs() * 2f64.powi(-8), "normed {next} of {rounded}");
                    (found, residual + value, bound + (residual.abs() + value.abs()) * 1e-6)
                }
                After::Gated => {
                    let ((gate, e0), (up, e1)) = (product(output), product(output + n / 2));
                    let silu = gate / (1.0 + (-gate).exp());
                    let bound = 1.1 * e0 * up.abs()
                        + silu.abs() * e1
                        + e0 * e1
                        + (silu * up).abs() * (2f64.powi(-8) + 1e-5)
                        + 1e-30;
                    (f64::from(run.normed[token * n / 2 + output].to_f32()), silu * up, bound)
                }
            };
            let part = (found - expected).abs() / bound;
            assert!(
                part <= 1.0,
                "{:?} token {token} output {output}: {found} for {expected}, bound {bound:e}",
                self.layer.layout
            );
            worst = worst.max(part);
        }
        if self.after == After::Add {
            let row = &run.values[token * n..][..n];
            let (sum, expected): (f64, f64) = (
                run.squares[token * SQUARES..][..SQUARES].iter().map(|&v| f64::from(v)).sum(),
                row.iter().map(|&v| f64::from(v).powi(2)).sum(),
            );
            assert!((sum - expected).abs() <= expected * 1e-5, "squares {sum} of {expected}");
        }
        worst
    }
}

fn try_case(world: &World, after: After, layout: Layout, tokens: usize, ordered: bool) {
    let name = format!("{:?} {} -> {:?}", layout.kind(), layout.inputs(), layout.sources());
    let case = Case::new(after, layout, tokens, ordered, tokens as u64 * 77 + 5);
    let weights = case.upload(world);
    let run = case.run(world, &weights, 0..tokens, Flow::default());
    let n = case.layer.outputs.len() / if after == After::Gated { 2 } else { 1 };
    // Of large layers every thirteenth output, from another one for each token.
    let step = if n * case.layer.layout.inputs() > 1 << 22 { 13 } else { 1 };
    let worst = (0..tokens).map(|t| case.check(&run, t, (t % step..n).step_by(step))).fold(0.0, f64::max);
    println!(
        "{name} {after:?} x {tokens}{}: error at most {worst:.3} of its bound",
        if ordered { " ordered" } else { "" }
    );
    let again = case.run(world, &weights, 0..tokens, Flow { slots: 3, flight: 2 });
    assert_same(&run, &again, "another ring");
    for token in [0, tokens - 1] {
        let alone = case.run(world, &weights, token..token + 1, Flow::default());
        assert_same(&cut(&run, token, case.tokens()), &alone, "alone");
    }
}

fn cut(run: &Run, token: usize, tokens: usize) -> Run {
    let part = |len: usize| token * (len / tokens)..(token + 1) * (len / tokens);
    Run {
        values: run.values[part(run.values.len())].to_vec(),
        normed: run.normed[part(run.normed.len())].to_vec(),
        squares: run.squares[part(run.squares.len())].to_vec(),
    }
}

fn assert_same(a: &Run, b: &Run, what: &str) {
    let same = |a: &[f32], b: &[f32]| a.iter().zip(b).all(|(a, b)| a.to_bits() == b.to_bits());
    assert!(same(&a.values, &b.values) && same(&a.squares, &b.squares), "values differ: {what}");
    assert!(a.normed.iter().zip(&b.normed).all(|(a, b)| a.to_bits() == b.to_bits()), "normed values differ: {what}");
}

const KINDS: [Kind; 4] = [Kind::Int4, Kind::Int8, Kind::F16, Kind::Bf16];

const TOKENS: [usize; 12] = [1, 2, 3, 4, 5, 8, 11, 16, 17, 32, 41, 64];

#[test]
fn small_and_awkward_layers_are_right_for_any_number_of_tokens() {
    let world = world();
    for kind in KINDS {
        for tokens in TOKENS {
            for (inputs, outputs) in [(128, 388), (384, 100), (2056, 16), (4096, 48)] {
                try_case(
                    &world,
                    After::Plain,
                    Layout::stacked(kind, inputs, &[outputs], 128).unwrap(),
                    tokens,
                    tokens % 2 == 1,
                );
            }
            try_case(&world, After::Gated, Layout::interleaved(kind, 256, 776, 5).unwrap(), tokens, false);
            try_case(&world, After::Add, Layout::stacked(kind, 768, &[256], 128).unwrap(), tokens, false);
            try_case(&world, After::Add, Layout::stacked(kind, 10240, &[200], 128).unwrap(), tokens, tokens == 3);
        }
    }
}

#[test]
fn the_published_layers_are_right() {
    let world = world();
    let stacked = |inputs, sources: &[usize]| Layout::stacked(Kind::Int4, inputs, sources, 128).unwrap();
    for tokens in [1, 7, 16, 32, 61] {
        try_case(&world, After::Plain, stacked(4096, &[4096, 1024, 1024]), tokens, false);
        try_case(&world, After::Add, stacked(4096, &[4096]), tokens, false);
        try_case(&world, After::Add, stacked(12288, &[4096]), tokens, false);
    }
    for tokens in [1, 8, 64] {
        try_case(&world, After::Gated, Layout::interleaved(Kind::Int4, 4096, 12288, 128).unwrap(), tokens, false);
    }
    for tokens in [1, 3, 64] {
        try_case(&world, After::Plain, Layout::stacked(Kind::F16, 4096, &[20_000], 132).unwrap(), tokens, false);
    }
}

#[test]
#[should_panic(expected = "activations for 2 x 128")]
fn a_buffer_that_is_too_small_is_refused() {
    let world = world();
    let layout = Layout::stacked(Kind::Int4, 128, &[16], 1).unwrap();
    let weights = Weights::new(layout.clone(), world.device.zeroed(layout.bytes()).unwrap(), None);
    let x: Buffer<bf16> = world.device.zeroed(128).unwrap();
    let mut out = world.device.zeroed(32).unwrap();
    let mut prepared = Prepared::new(&world.device, [&layout], 2).unwrap();
    let setting = Setting { tokens: 2, epsilon: EPSILON, flow: Flow::default() };
    let input = Input { values: &x, squares: None, left: None };
    drop(world.products.work(&weights, input, &mut Output::Plain(&mut out), &mut prepared, setting));
}
