//! Attention on a device against sums in f64 over the keys and values that the cache holds.

use std::ops::Range;
use std::thread;

use half::bf16;
use karst_kernels::{Angles, Attention, Buffer, Device, HEAD_WIDTH, HeadNorms, KvCache, Layer, Stream, Tokens};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

const EPSILON: f32 = 1e-6;
const THETA: f64 = 1e6;
const POSITIONS: usize = 32768;
const POISON: bf16 = bf16::NAN;

struct World {
    device: Device,
    stream: Stream,
    angles: Angles,
}

fn world() -> World {
    let device = Device::open(0).expect("a device");
    let angles = Angles::new(&device, THETA, POSITIONS).expect("angles");
    World { stream: device.stream().expect("a stream"), angles, device }
}

#[derive(Debug, Clone, Copy)]
struct Shape {
    heads: usize,
    kv_heads: usize,
    block: usize,
}

impl Shape {
    fn row(&self) -> usize {
        (self.heads + 2 * self.kv_heads) * HEAD_WIDTH
    }

    fn width(&self) -> usize {
        self.heads * HEAD_WIDTH
    }

    fn attention(&self, world: &World, tokens: usize, clusters: bool) -> Attention {
        let load = if clusters { Attention::load } else { Attention::load_without_clusters };
        load(&world.device, self.heads, self.kv_heads, tokens).expect("a module").expect("kernels for this device")
    }
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Path {
    Decode,
    General,
}

/// A step: its tokens, and what the cache holds before it. All of the cache that no earlier token wrote is poisoned.
struct Case {
    shape: Shape,
    layers: usize,
    positions: Vec<i32>,
    table: Vec<u32>,
    blocks: Vec<u32>,
    row_blocks: usize,
    qkv: Vec<f32>,
    norms: [Vec<f32>; 2],
    cache: Vec<bf16>,
    cache_blocks: usize,
}

/// What a step leaves.
struct Found {
    output: Vec<bf16>,
    cache: Vec<bf16>,
}

impl Case {
    /// `requests` says of each token which request it belongs to; the cache has each request's positions below its first token.
    fn new(shape: Shape, layers: usize, positions: &[i32], requests: &[usize], sharpness: f32, seed: u64) -> Self {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let (tokens, rows) = (positions.len(), requests.iter().max().unwrap() + 1);
        let mut lengths = vec![0; rows];
        let mut past = vec![usize::MAX; rows];
        for (&position, &row) in positions.iter().zip(requests).filter(|(position, _)| **position >= 0) {
            lengths[row] = lengths[row].max(position as usize + 1);
            past[row] = past[row].min(position as usize);
        }
        let row_blocks = lengths.iter().max().unwrap().div_ceil(shape.block).max(1) + 1;
        let cache_blocks = lengths.iter().map(|length| length.div_ceil(shape.block)).sum::<usize>() + 3;
        let mut free: Vec<u32> = (0..cache_blocks as u32).collect();
        for i in (1..cache_blocks).rev() {
            free.swap(i, rng.random_range(0..=i));
        }
        // Rows of the table are in another order than requests, and one is nobody's.
        let row_of = |request: usize| rows - request;
        let mut blocks = vec![u32::MAX; (rows + 1) * row_blocks];
        let block_len = shape.kv_heads * 2 * shape.block * HEAD_WIDTH;
        let mut cache = vec![POISON; layers * cache_blocks * block_len];
        for request in 0..rows {
            for b in 0..lengths[request].div_ceil(shape.block) {
                let id = free.pop().unwrap();
                blocks[row_of(request) * row_blocks + b] = id;
                let known = past[request].saturating_sub(b * shape.block).min(shape.block) * HEAD_WIDTH;
                let start = ((layers - 1) * cache_blocks + id as usize) * block_len;
                for rows in cache[start..][..block_len].chunks_exact_mut(shape.block * HEAD_WIDTH) {
                    for four in rows[..known].chunks_exact_mut(4) {
                        let bits = rng.random::<u64>();
                        for (i, value) in four.iter_mut().enumerate() {
                            *value = bf16::from_f32(f32::from((bits >> (16 * i)) as i16) / 16384.0);
                        }
                    }
                }
            }
        }
        let norm =
            |rng: &mut ChaCha8Rng, scale: f32| (0..HEAD_WIDTH).map(|_| rng.random_range(0.5..1.5) * scale).collect();
        Self {
            qkv: (0..tokens * shape.row()).map(|_| rng.random_range(-3.0..3.0)).collect(),
            norms: [norm(&mut rng, sharpness), norm(&mut rng, 1.0)],
            table: requests.iter().map(|&request| row_of(request) as u32).collect(),
            positions: positions.to_vec(),
            shape,
            layers,
            blocks,
            row_blocks,
            cache,
            cache_blocks,
        }
    }

    fn upload_cache(&self, world: &World) -> KvCache {
        let Shape { block, kv_heads, .. } = self.shape;
        let mut cache = KvCache::new(&world.device, self.layers, self.cache_blocks, block, kv_heads).unwrap();
        cache.values_mut().write(0, &self.cache).unwrap();
        cache
    }

    /// Runs some of the tokens on a cache.
    fn run(
        &self,
        world: &World,
        attention: &Attention,
        path: Path,
        cache: &mut KvCache,
        which: Range<usize>,
    ) -> Vec<bf16> {
        let World { device, stream, angles } = world;
        let (count, row) = (which.len(), self.shape.row());
        let mut tokens = Tokens::new(device, count, self.blocks.len() / self.row_blocks, self.row_blocks).unwrap();
        tokens.position.write(0, &self.positions[which.clone()]).unwrap();
        tokens.table.write(0, &self.table[which.clone()]).unwrap();
        tokens.blocks.write(0, &self.blocks).unwrap();
        let [queries, keys] = self.norms.each_ref().map(|norm| device.upload(norm).unwrap());
        let qkv = device.upload(&self.qkv[which.start * row..which.end * row]).unwrap();
        let mut output = device.upload(&vec![POISON; count * self.shape.width()]).unwrap();
        let norms = HeadNorms { queries: &queries, keys: &keys, epsilon: EPSILON };
        let layer = Layer { qkv: &qkv, output: &mut output, norms, cache: (cache, self.layers - 1), left: None };
        let work = match path {
            Path::Decode => vec![attention.decode(layer, &tokens, angles, count).unwrap()],
            Path::General => attention.general(layer, &tokens, angles, count).unwrap().to_vec(),
        };
        work.iter().for_each(|work| stream.run(work).unwrap());
        stream.synchronize().unwrap();
        output.read().unwrap()
    }

    fn run_all(&self, world: &World, attention: &Attention, path: Path) -> Found {
        let mut cache = self.upload_cache(world);
        let output = self.run(world, attention, path, &mut cache, 0..self.positions.len());
        Found { output, cache: cache.values().read().unwrap() }
    }

    /// Where the key (0) or value (1) of a position of a token's request begins.
    fn place(&self, token: usize, head: usize, side: usize, position: usize) -> usize {
        let Shape { block, kv_heads, .. } = self.shape;
        let id = self.blocks[self.table[token] as usize * self.row_blocks + position / block] as usize;
        let rows = (((self.layers - 1) * self.cache_blocks + id) * kv_heads + head) * 2 + side;
        (rows * block + position % block) * HEAD_WIDTH
    }

    /// A query or key of a token after norm and rotation, in f64.
    fn turned(&self, token: usize, head: usize, norm: usize) -> Vec<f64> {
        let x = &self.qkv[token * self.shape.row() + head * HEAD_WIDTH..][..HEAD_WIDTH];
        let mean = x.iter().map(|&x| f64::from(x).powi(2)).sum::<f64>() / HEAD_WIDTH as f64;
        let scale = 1.0 / (mean + f64::from(EPSILON)).sqrt();
        let normed = |i: usize| f64::from(x[i]) * scale * f64::from(self.norms[norm][i]);
        let half = HEAD_WIDTH / 2;
        let turn = |i: usize| {
            let frequency = THETA.powf(-((2 * (i % half)) as f64) / HEAD_WIDTH as f64) as f32;
            let (sin, cos) = f64::from(self.positions[token] as f32 * frequency).sin_cos();
            let (sin, cos) = (f64::from(sin as f32), f64::from(cos as f32));
            if i < half { normed(i) * cos - normed(i + half) * sin } else { normed(i) * cos + normed(i - half) * sin }
        };
        (0..HEAD_WIDTH).map(turn).collect()
    }

    /// Compares a token's results with sums over the cache that was found: the greatest error as a part of its bound, and how many are over.
    fn check(&self, found: &Found, token: usize) -> (f64, usize) {
        let Shape { heads, kv_heads, .. } = self.shape;
        let output = &found.output[token * self.shape.width()..][..self.shape.width()];
        let Ok(position) = usize::try_from(self.positions[token]) else {
            return (0.0, output.iter().filter(|value| value.to_bits() != 0).count());
        };
        let (mut worst, mut over) = (0.0f64, 0);
        for head in 0..heads {
            let shared = head / (heads / kv_heads);
            let query = self.turned(token, head, 0);
            let side =
                |side, at| found.cache[self.place(token, shared, side, at)..][..HEAD_WIDTH].iter().map(|x| x.to_f64());
            let dot = |at| side(0, at).zip(&query).map(|(k, q)| k * q).sum::<f64>() / (HEAD_WIDTH as f64).sqrt();
            let mut scores: Vec<f64> = (0..=position).map(dot).collect();
            // A query is kept to some 17 bits, so that scores are as uncertain as their terms are large.
            let terms =
                |at| side(0, at).zip(&query).map(|(k, q)| (k * q).abs()).sum::<f64>() / (HEAD_WIDTH as f64).sqrt();
            let uncertain = 1e-5 + 1e-6 * (0..=position).map(terms).fold(0.0, f64::max);
            let most = scores.iter().copied().fold(f64::MIN, f64::max);
            scores.iter_mut().for_each(|score| *score = (*score - most).exp());
            let total: f64 = scores.iter().sum();
            let mut sums = [(0.0, 0.0); HEAD_WIDTH];
            for (at, score) in scores.iter().enumerate() {
                for (sum, v) in sums.iter_mut().zip(side(1, at)) {
                    *sum = (sum.0 + score * v, sum.1 + (score * v).abs());
                }
            }
            for ((sum, spread), found) in sums.iter().zip(&output[head * HEAD_WIDTH..]) {
                let bound = (sum / total).abs() / 256.0 * 1.001 + spread / total * uncertain;
                let part = (found.to_f64() - sum / total).abs() / bound;
                worst = if part.is_nan() { f64::INFINITY } else { worst.max(part) };
                over += usize::from(part.is_nan() || part > 1.0);
            }
        }
        (worst, over)
    }

    /// The cache has the tokens' keys and values, and is otherwise what it was.
    fn check_cache(&self, found: &[bf16]) {
        let Shape { heads, kv_heads, .. } = self.shape;
        let mut expected = self.cache.clone();
        for (token, &position) in self.positions.iter().enumerate().filter(|(_, position)| **position >= 0) {
            for head in 0..kv_heads {
                let key = self.place(token, head, 0, position as usize);
                for (i, exact) in self.turned(token, heads + head, 1).into_iter().enumerate() {
                    let error = (found[key + i].to_f64() - exact).abs();
                    assert!(
                        error <= exact.abs() / 256.0 * 1.001 + 2e-6,
                        "key of token {token}: {} for {exact}",
                        found[key + i]
                    );
                    expected[key + i] = found[key + i];
                }
                let value = self.place(token, head, 1, position as usize);
                let from = token * self.shape.row() + (heads + kv_heads + head) * HEAD_WIDTH;
                for (to, &x) in expected[value..][..HEAD_WIDTH].iter_mut().zip(&self.qkv[from..]) {
                    *to = bf16::from_f32(x);
                }
            }
        }
        assert_same(&expected, found, "the cache");
    }

    fn try_everything(&self, world: &World) {
        let tokens = self.positions.len();
        let attention = self.shape.attention(world, tokens, true);
        let found = self.run_all(world, &attention, Path::Decode);
        self.check_cache(&found.cache);
        let checks = thread::scope(|scope| {
            let found = &found;
            let checks: Vec<_> = (0..tokens).map(|token| scope.spawn(move || self.check(found, token))).collect();
            checks.into_iter().map(|check| check.join().unwrap()).collect::<Vec<_>>()
        });
        let worst = checks.iter().map(|check| check.0).fold(0.0, f64::max);
        let over: usize = checks.iter().map(|check| check.1).sum();
        println!(
            "{:?} {:?}, clusters {}: error at most {worst:.3} of its bound, {over} over",
            self.shape,
            self.positions,
            attention.has_clusters()
        );
        assert_eq!(over, 0, "elements over their bounds: {checks:?}");
        for (clusters, path) in
            [(true, Path::Decode), (true, Path::General), (false, Path::Decode), (false, Path::General)]
        {
            let again = self.run_all(world, &self.shape.attention(world, tokens, clusters), path);
            assert_same(&found.output, &again.output, &format!("{path:?}, clusters {clusters}"));
            assert_same(&found.cache, &again.cache, &format!("{path:?}, clusters {clusters}"));
        }
        let (mut cache, width) = (self.upload_cache(world), self.shape.width());
        for token in 0..tokens {
            let alone = self.run(world, &attention, Path::Decode, &mut cache, token..token + 1);
            assert_same(&found.output[token * width..][..width], &alone, "alone");
        }
    }
}

fn assert_same(a: &[bf16], b: &[bf16], what: &str) {
    assert_eq!(a.len(), b.len());
    let differing = a.iter().zip(b).filter(|(a, b)| a.to_bits() != b.to_bits()).count();
    assert_eq!(differing, 0, "{differing} of {} differ: {what}", a.len());
}

const AWKWARD: [i32; 16] = [0, 1, -1, 15, 16, 17, 31, 63, 64, 255, 256, -1, 511, 512, 1023, 1100];

#[test]
fn tokens_at_awkward_positions_are_right() {
    let world = world();
    for (heads, kv_heads, block) in
        [(2, 1, 16), (4, 2, 32), (32, 8, 16), (3, 1, 16), (5, 1, 64), (16, 2, 16), (2, 2, 32)]
    {
        let requests: Vec<usize> = (0..AWKWARD.len()).collect();
        Case::new(Shape { heads, kv_heads, block }, 2, &AWKWARD, &requests, 1.0, 7 + heads as u64)
            .try_everything(&world);
    }
}

#[test]
fn sharp_scores_are_right() {
    let world = world();
    let positions: Vec<i32> = (0..5).map(|i| 130 * i + 3).collect();
    Case::new(Shape { heads: 32, kv_heads: 8, block: 16 }, 1, &positions, &[0, 1, 2, 3, 4], 12.0, 5)
        .try_everything(&world);
}

#[test]
fn long_contexts_are_right() {
    let world = world();
    let shape = |heads, kv_heads, block| Shape { heads, kv_heads, block };
    Case::new(shape(32, 8, 16), 1, &[4095, -1, 2047], &[0, 1, 2], 1.0, 1).try_everything(&world);
    Case::new(shape(4, 1, 32), 1, &[16383, 32767, 20000], &[0, 1, 2], 1.0, 2).try_everything(&world);
}

#[test]
fn many_tokens_are_right() {
    let world = world();
    let mut rng = ChaCha8Rng::seed_from_u64(3);
    let positions: Vec<i32> = (0..64).map(|_| rng.random_range(-40..600).max(-1)).collect();
    let requests: Vec<usize> = (0..64).collect();
    Case::new(Shape { heads: 32, kv_heads: 8, block: 16 }, 1, &positions, &requests, 1.0, 4).try_everything(&world);
}

#[test]
fn several_tokens_of_a_request_are_as_one_after_the_other() {
    let world = world();
    let positions = [30, 31, 0, 32, 1, 33, 34, -1, 2, 35, 63, 64];
    let requests = [0, 0, 1, 0, 1, 0, 0, 2, 1, 0, 3, 3];
    for (heads, kv_heads) in [(4, 2), (32, 8), (8, 1)] {
        let case = Case::new(Shape { heads, kv_heads, block: 16 }, 1, &positions, &requests, 1.0, 9);
        let attention = case.shape.attention(&world, positions.len(), true);
        let together = case.run_all(&world, &attention, Path::General);
        case.check_cache(&together.cache);
        let mut cache = case.upload_cache(&world);
        let singly = (0..positions.len())
            .flat_map(|token| case.run(&world, &attention, Path::Decode, &mut cache, token..token + 1));
        assert_same(&together.output, &singly.collect::<Vec<_>>(), "one after the other");
        assert_same(&together.cache, &cache.values().read().unwrap(), "the cache");
        let over: usize = (0..positions.len()).map(|token| case.check(&together, token).1).sum();
        assert_eq!(over, 0, "elements over their bounds");
    }
}

#[test]
fn positions_and_blocks_that_do_not_exist_harm_nothing() {
    let world = world();
    let mut case = Case::new(Shape { heads: 4, kv_heads: 2, block: 16 }, 1, &[40, 20, 7], &[0, 1, 2], 1.0, 11);
    let attention = case.shape.attention(&world, 3, true);
    let right = case.run_all(&world, &attention, Path::Decode);
    case.positions = vec![64, i32::MIN, 7];
    for (path, table) in [(Path::Decode, 0), (Path::General, 0), (Path::Decode, u32::MAX), (Path::General, u32::MAX)] {
        case.table[0] = table;
        let found = case.run_all(&world, &attention, path);
        let (nothing, same) = found.output.split_at(2 * case.shape.width());
        assert!(nothing.iter().all(|value| value.to_bits() == 0), "places without a token");
        assert_same(same, &right.output[2 * case.shape.width()..], "its neighbour");
    }
    case.positions = vec![40, -1, -1];
    case.table[0] = case.table[1];
    case.run_all(&world, &attention, Path::Decode);
}

#[test]
#[should_panic(expected = "inputs for 2 x 768")]
fn a_buffer_that_is_too_small_is_refused() {
    let World { device, angles, .. } = &world();
    let mut cache = KvCache::new(device, 1, 4, 16, 1).unwrap();
    let attention = Attention::load(device, 4, 1, 2).unwrap().unwrap();
    let (norm, qkv): (Buffer<f32>, Buffer<f32>) = (device.zeroed(128).unwrap(), device.zeroed(768).unwrap());
    let mut output = device.zeroed(1024).unwrap();
    let norms = HeadNorms { queries: &norm, keys: &norm, epsilon: EPSILON };
    let layer = Layer { qkv: &qkv, output: &mut output, norms, cache: (&mut cache, 0), left: None };
    drop(attention.decode(layer, &Tokens::new(device, 2, 1, 4).unwrap(), angles, 2));
}
