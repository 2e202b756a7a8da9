//! Attention of many queries: products by candle, a block of queries of one head at a time.
//!
//! Scores exist for [`QUERIES`] queries at once, so memory grows with the number of keys, not with its square.

use candle_core::{Device, Result, Tensor};
use rayon::prelude::*;

use super::softmax::Softmax;

/// Queries in a block: with 16k keys their scores take 8 MB a thread.
const QUERIES: usize = 128;

/// How queries and keys are arranged.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Heads {
    /// Heads of queries: N.
    pub(crate) queries: usize,
    /// Heads of keys and values: K, which divides N.
    pub(crate) keys: usize,
    /// Numbers in a head: D.
    pub(crate) width: usize,
}

/// Attention of queries [T, N * D] over keys and values [S, K * D] -> [T, N * D].
///
/// With `past`, query `t` sees the first `past + t + 1` keys; without, all of them.
pub(crate) fn attend(
    heads: Heads,
    queries: Vec<f32>,
    keys: Vec<f32>,
    values: Vec<f32>,
    past: Option<usize>,
) -> Result<Vec<f32>> {
    let width = heads.queries * heads.width;
    let tokens = queries.len() / width;
    let (queries, keys, values) =
        (matrix(queries, width)?, matrix(keys, heads.keys * heads.width)?, matrix(values, heads.keys * heads.width)?);
    let blocks = tokens.div_ceil(QUERIES);
    let task = |i: usize| {
        let (head, start) = (i / blocks, i % blocks * QUERIES);
        let length = QUERIES.min(tokens - start);
        let seen = past.map_or(keys.dim(0)?, |past| past + start + length);
        let shared = head / (heads.queries / heads.keys);
        let part =
            |x: &Tensor, start, length, head| x.narrow(0, start, length)?.narrow(1, head * heads.width, heads.width);
        let softmax = Softmax { scale: 1.0 / (heads.width as f32).sqrt(), first: past.map(|past| past + start + 1) };
        let scores = part(&queries, start, length, head)?.matmul(&part(&keys, 0, seen, shared)?.t()?)?;
        scores.inplace_op1(&softmax)?;
        scores.matmul(&part(&values, 0, seen, shared)?)?.flatten_all()?.to_vec1::<f32>()
    };
    let parts = (0..heads.queries * blocks).into_par_iter().map(task).collect::<Result<Vec<_>>>()?;
    Ok(join(&parts, tokens, heads, blocks))
}

fn matrix(x: Vec<f32>, width: usize) -> Result<Tensor> {
    let rows = x.len() / width;
    Tensor::from_vec(x, (rows, width), &Device::Cpu)
}

/// Sets the blocks of each head [QUERIES, D], head after head, into [T, N * D].
fn join(parts: &[Vec<f32>], tokens: usize, heads: Heads, blocks: usize) -> Vec<f32> {
    let width = heads.queries * heads.width;
    let mut out = vec![0.0; tokens * width];
    for (i, part) in parts.iter().enumerate() {
        let (head, start) = (i / blocks, i % blocks * QUERIES);
        for (t, row) in part.chunks_exact(heads.width).enumerate() {
            let at = (start + t) * width + head * heads.width;
            out[at..at + heads.width].copy_from_slice(row);
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn numbers(count: usize, seed: usize) -> Vec<f32> {
        (0..count).map(|i| ((i * 7919 + seed * 104_729) % 2003) as f32 / 1001.0 - 1.0).collect()
    }

    /// The definition, in double precision.
    fn plain(heads: Heads, q: &[f32], k: &[f32], v: &[f32], past: Option<usize>) -> Vec<f64> {
        let (n, m, d) = (heads.queries * heads.width, heads.keys * heads.width, heads.width);
        let mut out = vec![0.0; q.len()];
        for t in 0..q.len() / n {
            let seen = past.map_or(k.len() / m, |past| past + t + 1);
            for head in 0..heads.queries {
                let shared = head / (heads.queries / heads.keys);
                let at = |s: usize, i: usize| s * m + shared * d + i;
                let score = |s: usize| {
                    let dot: f64 = (0..d).map(|i| f64::from(q[t * n + head * d + i]) * f64::from(k[at(s, i)])).sum();
                    (dot / (d as f64).sqrt()).exp()
                };
                let total: f64 = (0..seen).map(score).sum();
                for i in 0..d {
                    out[t * n + head * d + i] = (0..seen).map(|s| score(s) / total * f64::from(v[at(s, i)])).sum();
                }
            }
        }
        out
    }

    #[test]
    fn attention_is_its_definition_on_awkward_shapes() {
        let shapes = [(1, 1, 4, 1, None), (3, 3, 72, 131, None), (4, 2, 8, 130, Some(5)), (6, 2, 16, 7, Some(0))];
        for (queries, keys, width, tokens, past) in shapes {
            let heads = Heads { queries, keys, width };
            let all = tokens + past.unwrap_or(3);
            let q = numbers(tokens * queries * width, 1);
            let (k, v) = (numbers(all * keys * width, 2), numbers(all * keys * width, 3));
            let exact = plain(heads, &q, &k, &v, past);
            let found = attend(heads, q, k, v, past).unwrap();
            let worst = found.iter().zip(&exact).map(|(&a, &b)| (f64::from(a) - b).abs()).fold(0.0, f64::max);
            assert!(found.len() == exact.len() && worst < 1e-5, "{heads:?} {tokens} {past:?}: {worst}");
        }
    }
}
