//! Attention of a step over a cache that lies in memory: each kernel of a chain has blocks of its own.

use karst_kernels::{Angles, Attention, Buffer, HEAD_WIDTH, HeadNorms, KvCache, Layer, Tokens};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

use crate::bench::{Bench, Floor, Result};

const HEADS: usize = 32;
const KV_HEADS: usize = 8;
const BLOCK: usize = 16;
/// Bytes of a position's keys and values.
const POSITION: usize = KV_HEADS * 2 * HEAD_WIDTH * 2;
/// Blocks of the cache: 8 GiB.
const BLOCKS: usize = 1 << 17;
/// Kernels of a chain.
const LAYERS: usize = 36;

struct World<'a> {
    bench: &'a Bench,
    attention: Attention,
    angles: Angles,
    cache: KvCache,
    /// The cache's blocks in random order.
    blocks: Vec<u32>,
}

pub fn run(bench: &Bench, batches: &[usize], contexts: &[usize]) -> Result<()> {
    let mut world = World::new(bench)?;
    for &count in batches {
        for &context in contexts {
            let us = world.time(count, context)?;
            let floor = Floor { bytes: (count * context * POSITION) as f64, ..Floor::default() };
            bench.line(&format!("{count} tokens: attention over {context}"), us, floor);
        }
    }
    println!();
    Ok(())
}

impl<'a> World<'a> {
    fn new(bench: &'a Bench) -> Result<Self> {
        let device = &bench.device;
        let mut cache = KvCache::new(device, 1, BLOCKS, BLOCK, KV_HEADS)?;
        bench.measure.numbers(&bench.stream, cache.values_mut(), 3)?;
        let mut rng = ChaCha8Rng::seed_from_u64(1);
        let mut blocks: Vec<u32> = (0..BLOCKS as u32).collect();
        (1..BLOCKS).rev().for_each(|i| blocks.swap(i, rng.random_range(0..=i)));
        let attention =
            Attention::load(device, HEADS, KV_HEADS, 64)?.ok_or("this build has no kernels for the device")?;
        Ok(Self { bench, attention, angles: Angles::new(device, 1e6, 40_960)?, cache, blocks })
    }

    /// Tokens at the last position of a request each, with the blocks from `from` on.
    fn tokens(&self, count: usize, context: usize, from: usize) -> Result<Tokens> {
        let row = context.div_ceil(BLOCK);
        let blocks: Vec<u32> = (0..count * row).map(|i| self.blocks[(from + i) % BLOCKS]).collect();
        let device = &self.bench.device;
        let (position, table) = (vec![context as i32 - 1; count], (0..count as u32).collect::<Vec<_>>());
        Ok(Tokens::of(device.upload(&position)?, device.upload(&table)?, device.upload(&blocks)?, row))
    }

    /// The time of one of many kernels.
    fn time(&mut self, count: usize, context: usize) -> Result<f64> {
        let step = |i: usize| self.tokens(count, context, i * count * context.div_ceil(BLOCK));
        let steps = (0..LAYERS).map(step).collect::<Result<Vec<_>>>()?;
        let device = &self.bench.device;
        let qkv: Vec<f32> = (0..count * (HEADS + 2 * KV_HEADS) * HEAD_WIDTH).map(|i| (i as f32 * 0.37).sin()).collect();
        let (qkv, norm): (_, Buffer<f32>) = (device.upload(&qkv)?, device.upload(&[1.0; HEAD_WIDTH])?);
        let mut output = device.zeroed(count * HEADS * HEAD_WIDTH)?;
        let norms = HeadNorms { queries: &norm, keys: &norm, epsilon: 1e-6 };
        let mut work = Vec::new();
        for tokens in &steps {
            let layer = Layer { qkv: &qkv, output: &mut output, norms, cache: (&mut self.cache, 0), left: None };
            work.push(self.attention.decode(layer, tokens, &self.angles, count)?);
        }
        Ok(self.bench.time(&work)? / LAYERS as f64)
    }
}
