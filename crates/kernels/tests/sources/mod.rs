//! Random layers in every form, for the tests of packing.

use half::{bf16, f16};
use karst_kernels::{Dense, Float, Form, Kind, Layout, Quantised, Source};
use rand::seq::SliceRandom;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

/// A layout and what goes into it.
pub struct Case {
    pub layout: Layout,
    pub layers: Vec<Layer>,
}

/// A layer that owns its weights.
pub enum Layer {
    Codes { form: Form, codes: Vec<u32>, zeros: Option<Vec<u8>>, scales: Vec<f16>, order: Option<Vec<u32>> },
    Numbers { inputs: usize, outputs: usize, float: Float, bytes: Vec<u8> },
}

/// What a quantised layer has beyond its form.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum With {
    Middle,
    Zeros,
    Order,
    ZerosAndOrder,
}

impl Layer {
    pub fn source(&self) -> Source<'_> {
        match self {
            Self::Codes { form, codes, zeros, scales, order } => Source::Quantised(Quantised {
                name: "codes",
                form: *form,
                codes,
                zeros: zeros.as_deref(),
                scales,
                order: order.as_deref(),
            }),
            Self::Numbers { inputs, outputs, float, bytes } => {
                Source::Dense(Dense { name: "numbers", inputs: *inputs, outputs: *outputs, float: *float, bytes })
            }
        }
    }

    /// The weight of an output for an input, as the checkpoint means it.
    pub fn weight(&self, output: usize, input: usize) -> f64 {
        match self {
            Self::Codes { form: Form { bits, outputs, group, .. }, codes, zeros, scales, order } => {
                let bit = input * bits;
                let code = codes[bit / 32 * outputs + output] >> (bit % 32) & ((1 << bits) - 1);
                let group = order.as_ref().map_or(input / group, |order| order[input] as usize);
                let place = group * outputs + output;
                let zero = zeros.as_ref().map_or(if *bits == 4 { 8 } else { 128 }, |zeros| zeros[place]);
                (f64::from(code) - f64::from(zero)) * scales[place].to_f64()
            }
            Self::Numbers { inputs, float, bytes, .. } => {
                let at = (output * inputs + input) * float.bytes();
                match float {
                    Float::F16 => f16::from_le_bytes([bytes[at], bytes[at + 1]]).to_f64(),
                    Float::Bf16 => bf16::from_le_bytes([bytes[at], bytes[at + 1]]).to_f64(),
                    Float::F32 => f32::from_le_bytes([0, 1, 2, 3].map(|byte| bytes[at + byte])).into(),
                }
            }
        }
    }
}

impl Case {
    pub fn sources(&self) -> Vec<Source<'_>> {
        self.layers.iter().map(Layer::source).collect()
    }

    fn stacked(layers: Vec<Layer>, limit: usize) -> Self {
        Self::of(layers, |kind, inputs, outputs| Layout::stacked(kind, inputs, outputs, limit))
    }

    fn interleaved(layers: Vec<Layer>, limit: usize) -> Self {
        Self::of(layers, |kind, inputs, outputs| Layout::interleaved(kind, inputs, outputs[0], limit))
    }

    /// The case with tiles of another kind than its layers would have.
    fn of_kind(self, kind: Kind, limit: usize) -> Self {
        let layout = Layout::stacked(kind, self.layout.inputs(), self.layout.sources(), limit).expect("a layout");
        Self { layout, ..self }
    }

    fn of<E: std::fmt::Debug>(layers: Vec<Layer>, layout: impl Fn(Kind, usize, &[usize]) -> Result<Layout, E>) -> Self {
        let sources: Vec<_> = layers.iter().map(Layer::source).collect();
        let outputs: Vec<_> = sources.iter().map(Source::outputs).collect();
        let layout = layout(Kind::of(&sources).expect("a kind"), sources[0].inputs(), &outputs).expect("a layout");
        Self { layout, layers }
    }
}

/// A layer of random codes. `seed` decides its act-order too: layers of one input have the same.
pub fn codes(seed: u64, bits: usize, inputs: usize, outputs: usize, group: usize, with: With) -> Layer {
    let form = Form { bits, inputs, outputs, group };
    let mut random = ChaCha8Rng::seed_from_u64(seed);
    let mut order: Vec<u32> = (0..inputs).map(|input| (input / group) as u32).collect();
    order.shuffle(&mut random);
    let mut random = ChaCha8Rng::seed_from_u64(seed << 32 | outputs as u64);
    let each = form.groups() * outputs;
    let zeros = (0..each).map(|_| random.random_range(0..1_u32 << bits) as u8).collect();
    Layer::Codes {
        form,
        codes: (0..inputs * bits / 32 * outputs).map(|_| random.random()).collect(),
        zeros: matches!(with, With::Zeros | With::ZerosAndOrder).then_some(zeros),
        scales: (0..each).map(|_| f16::from_f32(random.random_range(1e-3..0.1))).collect(),
        order: matches!(with, With::Order | With::ZerosAndOrder).then_some(order),
    }
}

/// A layer of random numbers, some of them very small.
pub fn numbers(seed: u64, float: Float, inputs: usize, outputs: usize) -> Layer {
    let mut random = ChaCha8Rng::seed_from_u64(seed);
    let mut number = || random.random_range(-1.0_f32..1.0) * 10_f32.powi(random.random_range(-9..3));
    let bytes = (0..inputs * outputs).flat_map(|_| match float {
        Float::F16 => f16::from_f32(number()).to_le_bytes().to_vec(),
        Float::Bf16 => bf16::from_f32(number()).to_le_bytes().to_vec(),
        Float::F32 => number().to_le_bytes().to_vec(),
    });
    Layer::Numbers { inputs, outputs, float, bytes: bytes.collect() }
}

/// Every kind and form, with sides that are whole and sides that are not.
pub fn cases() -> Vec<Case> {
    use With::{Middle, Order, Zeros, ZerosAndOrder};
    let mut cases = vec![
        // 4 bits about the middle: one scale a tile.
        Case::stacked(vec![codes(1, 4, 4096, 96, 128, Middle), codes(1, 4, 4096, 32, 128, Middle)], 128),
        Case::stacked(vec![codes(2, 4, 128, 388, 128, Middle)], 7),
        Case::stacked(vec![codes(3, 4, 768, 64, 256, Middle)], 3),
        Case::stacked(vec![codes(4, 4, 384, 388, 384, Middle)], 128),
        Case::stacked(vec![codes(5, 4, 104, 40, 104, Middle)], 2),
        Case::stacked(vec![codes(6, 4, 320, 24, 128, Middle)], 1),
        Case::stacked(vec![codes(7, 4, 12288, 24, 128, Middle)], 128),
        Case::stacked(vec![codes(8, 4, 1280, 48, 128, Order), codes(8, 4, 1280, 40, 128, Order)], 2),
        Case::stacked(vec![codes(9, 4, 320, 16, 128, Order)], 128),
        Case::interleaved(vec![codes(10, 4, 256, 388, 128, Middle), codes(11, 4, 256, 388, 128, Middle)], 5),
        Case::interleaved(vec![codes(12, 4, 2048, 48, 128, Order), codes(12, 4, 2048, 48, 128, Order)], 128),
        // All other codes: a scale and a zero point for 32 inputs.
        Case::stacked(vec![codes(13, 4, 12288, 24, 128, Zeros)], 2),
        Case::stacked(vec![codes(14, 4, 256, 388, 32, Middle)], 10),
        Case::stacked(vec![codes(15, 4, 416, 40, 64, ZerosAndOrder)], 128),
        Case::stacked(vec![codes(16, 4, 328, 16, 192, Middle)], 128),
        Case::stacked(vec![codes(17, 8, 4096, 72, 128, Middle)], 128),
        Case::stacked(vec![codes(18, 8, 388, 388, 32, ZerosAndOrder)], 4),
        Case::stacked(vec![codes(19, 8, 2052, 20, 2052, Zeros)], 1),
        Case::stacked(vec![codes(20, 4, 512, 32, 128, Middle), codes(20, 8, 512, 24, 64, Zeros)], 2),
        Case::interleaved(vec![codes(21, 8, 2176, 40, 128, Order), codes(21, 8, 2176, 40, 128, Order)], 2),
    ];
    // Numbers; the second of a pair may be rounded.
    let [half, brain, single] = [Float::F16, Float::Bf16, Float::F32];
    for (seed, (first, second)) in (22..).zip([(half, half), (brain, brain), (single, single), (half, brain)]) {
        cases.push(Case::stacked(vec![numbers(seed, first, 100, 32), numbers(seed, second, 100, 1283)], 10));
        cases.push(Case::stacked(vec![numbers(seed, second, 101, 21)], 128));
        cases.push(Case::stacked(vec![numbers(seed, second, 2048, 64)], 3));
        cases.push(Case::interleaved(vec![numbers(seed, first, 1100, 40), numbers(seed, second, 1100, 40)], 2));
    }
    cases.push(Case::stacked(vec![numbers(30, brain, 12288, 24)], 128));
    cases.push(Case::stacked(vec![numbers(31, single, 65, 48), numbers(31, brain, 65, 8)], 1).of_kind(Kind::F16, 2));
    cases.push(Case::stacked(vec![codes(32, 4, 640, 40, 128, Middle)], 1).of_kind(Kind::Int8, 2));
    cases
}
