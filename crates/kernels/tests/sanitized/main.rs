//! Every kernel once, on small sizes, for compute-sanitizer to watch, and faults that it must find: `sanitize.sh` runs them.
//! That results are right is shown elsewhere.

mod faults;
mod products;

use half::{bf16, f16};
use karst_kernels::{
    Angles, Attention, Buffer, Codes, DRAWN, Device, Embed, Embeddings, Float, Form, GIVEN, Gathered, HEAD_WIDTH,
    HeadNorms, Kind, KvCache, Layer, Layout, Places, Published, Repack, Residual, Rows, SQUARES, SampleResult,
    SampleRow, SampleState, Sampler, Stream, Table, Tiles, Tokens,
};

struct World {
    device: Device,
    stream: Stream,
}

fn world() -> World {
    let device = Device::open(0).expect("a device");
    World { stream: device.stream().expect("a stream"), device }
}

impl World {
    /// Numbers around zero.
    fn numbers(&self, len: usize) -> Buffer<f32> {
        self.device.upload(&(0..len).map(|i| (i as f32 * 0.73).sin()).collect::<Vec<_>>()).unwrap()
    }

    fn halves(&self, len: usize) -> Buffer<bf16> {
        let half = |i: usize| bf16::from_f32((i as f32 * 0.41).sin());
        self.device.upload(&(0..len).map(half).collect::<Vec<_>>()).unwrap()
    }
}

#[test]
fn attention_once() {
    let world = world();
    let (heads, kv_heads, block, layers) = (8, 2, 16, 2);
    for load in [Attention::load, Attention::load_without_clusters] {
        let attention = load(&world.device, heads, kv_heads, 8).unwrap().expect("kernels for this device");
        let mut cache = KvCache::new(&world.device, layers, 64, block, kv_heads).unwrap();
        let angles = Angles::new(&world.device, 1e6, 512).unwrap();
        let norm: Buffer<f32> = world.device.upload(&[1.0; HEAD_WIDTH]).unwrap();
        for positions in [vec![0], vec![300], vec![15, 16, -1, 31, 64, 127, 200, 299]] {
            let count = positions.len();
            let mut tokens = Tokens::new(&world.device, 8, 8, 32).unwrap();
            tokens.position.write(0, &positions).unwrap();
            tokens.table.write(0, &(0..count as u32).collect::<Vec<_>>()).unwrap();
            tokens.blocks.write(0, &(0..256).map(|i| i * 7 % 64).collect::<Vec<_>>()).unwrap();
            let qkv = world.numbers(count * (heads + 2 * kv_heads) * HEAD_WIDTH);
            let mut output = world.device.zeroed(count * heads * HEAD_WIDTH).unwrap();
            let norms = HeadNorms { queries: &norm, keys: &norm, epsilon: 1e-6 };
            let mut work = Vec::new();
            for layer in 0..layers {
                let own = Layer { qkv: &qkv, output: &mut output, norms, cache: (&mut cache, layer), left: None };
                work.push(attention.decode(own, &tokens, &angles, count).unwrap());
                let own = Layer { qkv: &qkv, output: &mut output, norms, cache: (&mut cache, layer), left: None };
                work.extend(attention.general(own, &tokens, &angles, count).unwrap());
            }
            world.stream.record(&work).unwrap().launch(&world.stream).unwrap();
            world.stream.synchronize().unwrap();
            assert!(output.read().unwrap().iter().all(|number: &bf16| number.is_finite()));
        }
    }
}

#[test]
fn embedding_and_gathering_once() {
    let world = world();
    let (device, hidden, vocabulary, count) = (&world.device, 264, 50, 7);
    let embed = Embed::load(device).unwrap().expect("kernels for this device");
    let table: Buffer<u16> = device.upload(&vec![f16::from_f32(0.3).to_bits(); vocabulary * hidden]).unwrap();
    let places = Places {
        position: &device.upload(&[0, 1, 2, -1, 4, 5, 6]).unwrap(),
        ids: &device.upload(&[0, 49, DRAWN, 3, GIVEN, 50, 7]).unwrap(),
        slots: &device.upload(&[0u32; 7]).unwrap(),
        given: &world.numbers(count * hidden),
        latest: &device.upload(&[11u32]).unwrap(),
    };
    let (mut values, mut normed) = (device.zeroed(count * hidden).unwrap(), device.zeroed(count * hidden).unwrap());
    let (mut squares, norm) = (device.zeroed(count * SQUARES).unwrap(), world.numbers(hidden));
    let mut residual = Residual { values: &mut values, norm: &norm, normed: &mut normed, squares: &mut squares };
    let table = Embeddings { float: Float::F16, numbers: &table };
    world.stream.run(&embed.embed(&table, places, &mut residual, count, hidden)).unwrap();
    let (mut rows, mut parts) = (device.zeroed(3 * hidden).unwrap(), device.zeroed(3 * SQUARES).unwrap());
    let mut to = Gathered { normed: &mut rows, squares: &mut parts };
    let pick = device.upload(&[6, u32::MAX, 0]).unwrap();
    let from = Published { normed: &normed, squares: &squares };
    world.stream.run(&embed.gather(from, &pick, &mut to, 3, (count, hidden))).unwrap();
    world.stream.synchronize().unwrap();
    assert!(parts.read().unwrap()[..SQUARES].iter().sum::<f32>() > 0.0);
}

#[test]
fn sampling_once() {
    let world = world();
    let (device, vocabulary, count) = (&world.device, 1284, 5);
    let sampler = Sampler::load(device).unwrap().expect("kernels for this device");
    let logits = world.numbers(count * vocabulary);
    let mut state = SampleState::new(device, vocabulary, count, count, 1).unwrap();
    state.masks().write(0, &[0x5555_5555]).unwrap();
    let row = |slot, temperature, top_k, top_p, min_p| SampleRow {
        slot,
        flags: SampleRow::ACTIVE | SampleRow::FIRST,
        temperature,
        top_k,
        top_p,
        min_p,
        chance: 0.4,
        repetition_penalty: 1.1,
        rivals: 5,
        ..SampleRow::UNUSED
    };
    let rows = [
        row(0, 0.0, 0, 1.0, 0.0),
        row(1, 0.7, 50, 0.8, 0.0),
        row(2, 1.0, 0, 0.9, 0.0),
        row(3, 2.0, 1000, 1.0, 0.1),
        SampleRow { mask: 0, ..row(4, 1.0, 0, 1.0, 0.0) },
    ];
    let rows = device.upload(&rows).unwrap();
    let mut results: Buffer<SampleResult> = device.zeroed(count).unwrap();
    for _ in 0..2 {
        let work = sampler.work(&logits, &rows, &mut state, &mut results, count);
        world.stream.record(&work).unwrap().launch(&world.stream).unwrap();
    }
    world.stream.synchronize().unwrap();
    assert!(results.read().unwrap().iter().all(|result| (result.id as usize) < vocabulary));
}

#[test]
fn repacking_once() {
    let world = world();
    let repack = Repack::load(&world.device).unwrap().expect("kernels for this device");
    let (inputs, outputs) = (256, 40);
    let form = Form { bits: 4, inputs, outputs, group: 128 };
    let codes = world.device.upload(&vec![0x5au8; inputs / 2 * outputs + 2 * outputs * 2]).unwrap();
    let layout = Layout::stacked(Kind::Int4, inputs, &[outputs], 4).unwrap();
    let mut bytes = world.device.zeroed(layout.bytes()).unwrap();
    let order = world.device.upload(&(0..inputs as u32).rev().collect::<Vec<_>>()).unwrap();
    for permutation in [None, Some(&order)] {
        let mut tiles = Tiles { layout: &layout, source: 0, bytes: &mut bytes };
        let scales = inputs / 2 * outputs;
        let codes = Codes { form, bytes: &codes, codes: 0, scales, zeros: None, permutation };
        world.stream.run(&repack.quantised(&mut tiles, &codes)).unwrap();
    }
    let layout = Layout::stacked(Kind::F16, inputs, &[outputs], 4).unwrap();
    let mut bytes = world.device.zeroed(layout.bytes()).unwrap();
    let mut tiles = Tiles { layout: &layout, source: 0, bytes: &mut bytes };
    let numbers = world.device.upload(&vec![0x2au8; inputs * outputs * 4]).unwrap();
    let rows = Rows { float: Float::F32, numbers: &numbers, first: 0, count: outputs };
    world.stream.run(&repack.dense(&mut tiles, &rows)).unwrap();
    let mut table = world.device.zeroed(inputs * outputs).unwrap();
    let mut table = Table { float: Float::Bf16, numbers: &mut table, first: 0, count: inputs * outputs };
    world.stream.run(&repack.convert(&mut table, (&numbers, Float::F32))).unwrap();
    world.stream.synchronize().unwrap();
}
