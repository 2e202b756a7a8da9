//! What the benchmarks share: the machine's name, and how fast its memory can be read, measured in the same run.
//!
//! Every figure of a benchmark stands beside a plain read of as many bytes by the same threads, because a share of what the
//! machine can do says more than a time on a machine that others use too.

use std::fs;
use std::hint::black_box;
use std::time::{Duration, Instant};

use rayon::prelude::*;

/// The processor's name, the threads in use and the instruction set, for the first line of a benchmark.
pub fn machine() -> String {
    let threads = rayon::current_num_threads();
    format!("{}, {threads} threads, {}", processor(), std::env::consts::ARCH)
}

fn processor() -> String {
    let info = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let line = info.lines().find_map(|line| line.strip_prefix("model name"));
    line.map_or("unknown processor", |line| line.trim_start_matches(['\t', ' ', ':'])).to_owned()
}

/// Seconds that the threads need to read `bytes` once, the best of `rounds`. The words are summed, so that the reads happen.
pub fn read_seconds(bytes: &[u64], rounds: usize) -> f64 {
    let part = bytes.len().div_ceil(rayon::current_num_threads()).max(1);
    let read = || bytes.par_chunks(part).map(sum).reduce(|| 0, u64::wrapping_add);
    (0..rounds).map(|_| time(read).as_secs_f64()).fold(f64::INFINITY, f64::min)
}

/// Eight sums at once, so that the processor waits for memory and not for an addition.
fn sum(words: &[u64]) -> u64 {
    let mut sums = [0u64; 8];
    let chunks = words.chunks_exact(8);
    let rest = chunks.remainder().iter().fold(0, |sum: u64, &word| sum.wrapping_add(word));
    for chunk in chunks {
        for (sum, &word) in sums.iter_mut().zip(chunk) {
            *sum = sum.wrapping_add(word);
        }
    }
    sums.iter().fold(rest, |sum, &word| sum.wrapping_add(word))
}

/// How long `work` takes once.
pub fn time<T>(work: impl FnOnce() -> T) -> Duration {
    let start = Instant::now();
    black_box(work());
    start.elapsed()
}
