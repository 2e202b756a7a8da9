//! Attention over pages of the cache.
//!
//! One query token meets its row's pages where they lie: no copy of the keys, no tensor, no thread where one is enough. For a
//! chunk of tokens each head's keys are gathered first, a copy that the many queries share.

use pulp::{Arch, Simd, WithSimd};
use rayon::prelude::*;

use super::attention::{Heads, attend};
use super::cache::{BlockCache, RowCache, TILE};
use super::softmax::softmax;

/// Numbers of keys from which a second thread pays.
const PAYS: usize = 1 << 16;

/// Numbers of a value that are summed in registers.
const STRIP: usize = 64;

/// Sums that a score is made of: one addition has to wait for the one before, four chains do not wait for each other.
const CHAINS: usize = 4;

/// The queries of one row's chunk.
pub(crate) struct Queries<'a> {
    /// [T, N * D].
    pub(crate) queries: &'a [f32],
    pub(crate) cache: RowCache<'a>,
    /// Keys that the last token sees, its own among them.
    pub(crate) length: usize,
}

/// Attention of a chunk: [T, N * D]. Each token sees the keys up to its own.
pub(crate) fn attend_chunk(heads: Heads, chunk: &Queries<'_>) -> candle_core::Result<Vec<f32>> {
    let (width, group) = (heads.queries * heads.width, heads.queries / heads.keys * heads.width);
    let past = chunk.length - chunk.queries.len() / width;
    let task = |head: usize| {
        let queries = chunk.queries.chunks_exact(width).flat_map(|row| &row[head * group..(head + 1) * group]);
        let (keys, values) = chunk.cache.gather(head, chunk.length);
        let shared = Heads { queries: heads.queries / heads.keys, keys: 1, width: heads.width };
        attend(shared, queries.copied().collect(), keys, values, Some(past))
    };
    let parts = (0..heads.keys).into_par_iter().map(task).collect::<candle_core::Result<Vec<_>>>()?;
    let mut out = vec![0.0; chunk.queries.len()];
    for (t, row) in out.chunks_exact_mut(width).enumerate() {
        for (out, part) in row.chunks_exact_mut(group).zip(&parts) {
            out.copy_from_slice(&part[t * group..(t + 1) * group]);
        }
    }
    Ok(out)
}

/// Attention of rows of one token each, into `out` [rows, N * D]. The queries that share a key/value head go together.
pub(crate) fn attend_tokens(heads: Heads, rows: &[Queries<'_>], out: &mut [f32]) {
    let group = heads.queries / heads.keys * heads.width;
    let keys: usize = rows.iter().map(|row| row.length * heads.keys * heads.width).sum();
    let work = |(i, out): (usize, &mut [f32])| {
        let (row, head) = (&rows[i / heads.keys], i % heads.keys);
        let queries = &row.queries[head * group..(head + 1) * group];
        Arch::new().dispatch(Head { cache: row.cache, head, length: row.length, queries, out });
    };
    if keys < PAYS {
        out.chunks_exact_mut(group).enumerate().for_each(work);
    } else {
        out.par_chunks_exact_mut(group).enumerate().for_each(work);
    }
}

/// The queries [N / K, D] of one key/value head of one row.
struct Head<'a> {
    cache: RowCache<'a>,
    head: usize,
    length: usize,
    queries: &'a [f32],
    out: &'a mut [f32],
}

impl WithSimd for Head<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let (width, length) = (self.cache.width(), self.length);
        let mut scores = vec![0.0; self.queries.len() / width * length];
        let mut first = 0;
        for block in self.cache.blocks(self.head, length) {
            for (query, scores) in self.queries.chunks_exact(width).zip(scores.chunks_exact_mut(length)) {
                score(simd, query, &block, &mut scores[first..first + block.tokens]);
            }
            first += block.tokens;
        }
        for scores in scores.chunks_exact_mut(length) {
            softmax(scores, 1.0 / (width as f32).sqrt());
        }
        self.out.fill(0.0);
        first = 0;
        for block in self.cache.blocks(self.head, length) {
            for (out, scores) in self.out.chunks_exact_mut(width).zip(scores.chunks_exact(length)) {
                weigh(&scores[first..first + block.tokens], &block, out);
            }
            first += block.tokens;
        }
    }
}

/// The products of one query with every key of a block, a tile of keys at a time. Written in vectors: from plain loops the
/// compiler makes one that is ten times slower.
#[inline(always)]
fn score<S: Simd>(simd: S, query: &[f32], block: &BlockCache<'_>, scores: &mut [f32]) {
    let tiles = block.keys.chunks_exact(TILE * query.len());
    for (tile, scores) in tiles.zip(scores.chunks_mut(TILE)) {
        let (vectors, _) = S::as_simd_f32s(tile);
        for (part, scores) in scores.chunks_mut(S::F32_LANES).enumerate() {
            let found = [score_part(simd, query, vectors, part)];
            let found = bytemuck::cast_slice(&found);
            scores.copy_from_slice(&found[..scores.len()]);
        }
    }
}

/// The products of one query with the keys in one vector of a tile.
#[inline(always)]
fn score_part<S: Simd>(simd: S, query: &[f32], vectors: &[S::f32s], part: usize) -> S::f32s {
    let across = TILE / S::F32_LANES;
    let (queries, rest) = query.as_chunks::<CHAINS>();
    let mut sums = [simd.splat_f32s(0.0); CHAINS];
    for (query, vectors) in queries.iter().zip(vectors.chunks_exact(CHAINS * across)) {
        for chain in 0..CHAINS {
            let product = simd.mul_f32s(simd.splat_f32s(query[chain]), vectors[chain * across + part]);
            sums[chain] = simd.add_f32s(sums[chain], product);
        }
    }
    for (&query, vectors) in rest.iter().zip(vectors[queries.len() * CHAINS * across..].chunks_exact(across)) {
        sums[0] = simd.add_f32s(sums[0], simd.mul_f32s(simd.splat_f32s(query), vectors[part]));
    }
    simd.add_f32s(simd.add_f32s(sums[0], sums[1]), simd.add_f32s(sums[2], sums[3]))
}

/// `out += sum of weight * value` over a block, a strip of numbers at a time.
#[inline(always)]
fn weigh(weights: &[f32], block: &BlockCache<'_>, out: &mut [f32]) {
    let width = out.len();
    let (strips, rest) = out.as_chunks_mut::<STRIP>();
    for (i, strip) in strips.iter_mut().enumerate() {
        let mut sums = *strip;
        for (&weight, value) in weights.iter().zip(block.values.chunks_exact(width)) {
            if let Some(value) = value[i * STRIP..].first_chunk::<STRIP>() {
                add_product(&mut sums, weight, value);
            }
        }
        *strip = sums;
    }
    let start = width - rest.len();
    for (&weight, value) in weights.iter().zip(block.values.chunks_exact(width)) {
        rest.iter_mut().zip(&value[start..]).for_each(|(sum, &value)| *sum += weight * value);
    }
}

#[inline(always)]
fn add_product<const N: usize>(sums: &mut [f32; N], factor: f32, numbers: &[f32; N]) {
    for i in 0..N {
        sums[i] += factor * numbers[i];
    }
}

#[cfg(test)]
mod tests {
    use super::super::cache::{Cache, CacheShape};
    use super::*;

    fn numbers(count: usize, seed: usize) -> Vec<f32> {
        (0..count).map(|i| ((i * 7919 + seed * 104_729) % 2003) as f32 / 1001.0 - 1.0).collect()
    }

    #[test]
    fn paged_attention_is_that_over_keys_side_by_side() {
        for (width, block) in [(24, 16), (70, 16), (128, 16), (128, 5), (72, 40)] {
            let heads = Heads { queries: 4, keys: 2, width };
            let shape = CacheShape { layers: 1, blocks: 130, block, kv_heads: 2, width };
            let mut cache = Cache::new(shape).unwrap();
            for length in [1usize, 3, 16, 17, 33, 600] {
                let table: Vec<u32> = (0..length.div_ceil(block) as u32).map(|i| i * 7 % 130).collect();
                let (keys, values) = (numbers(length * 2 * width, 1), numbers(length * 2 * width, 2));
                cache.write(0, &table, 0, &keys, &values);
                let queries = numbers(4 * width, 3);
                let mut out = vec![f32::NAN; 4 * width];
                let row = Queries { queries: &queries, cache: cache.row(0, &table), length };
                attend_tokens(heads, &[row], &mut out);
                let exact = attend(heads, queries.clone(), keys.clone(), values.clone(), Some(length - 1)).unwrap();
                let worst = out.iter().zip(&exact).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
                assert!(worst < 1e-5, "{width} {block} {length}: {worst}");
                let tokens = length.div_ceil(2);
                let queries = numbers(tokens * 4 * width, 4);
                let chunk = Queries { queries: &queries, cache: cache.row(0, &table), length };
                let found = attend_chunk(heads, &chunk).unwrap();
                let exact = attend(heads, queries.clone(), keys, values, Some(length - tokens)).unwrap();
                let worst = found.iter().zip(&exact).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
                assert!(found.len() == exact.len() && worst < 1e-5, "{width} {block} {length}: {worst}");
            }
        }
    }

    #[test]
    fn a_row_gets_the_same_bits_alone_and_among_many() {
        let heads = Heads { queries: 4, keys: 2, width: 24 };
        let shape = CacheShape { layers: 1, blocks: 200, block: 16, kv_heads: 2, width: 24 };
        let mut cache = Cache::new(shape).unwrap();
        let tables: Vec<Vec<u32>> = (0..4).map(|row| (row * 50..row * 50 + 50).collect()).collect();
        let queries: Vec<Vec<f32>> = (0..4).map(|row| numbers(96, row)).collect();
        for (row, table) in tables.iter().enumerate() {
            cache.write(0, table, 0, &numbers(800 * 48, row), &numbers(800 * 48, row + 9));
        }
        let query =
            |row: usize| Queries { queries: &queries[row], cache: cache.row(0, &tables[row]), length: 790 - row };
        let mut together = vec![0.0; 4 * 96];
        attend_tokens(heads, &[query(0), query(1), query(2), query(3)], &mut together);
        for row in 0..4 {
            let mut alone = vec![0.0; 96];
            attend_tokens(heads, &[query(row)], &mut alone);
            assert_eq!(alone, together[row * 96..(row + 1) * 96]);
        }
    }
}
