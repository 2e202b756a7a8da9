//! Products with weights: one row beside a plain read of the same bytes, many rows beside the machine's multiply-add rate.
//!
//! Weights are a gigabyte for each form, far more than caches hold. Read and product take turns, matrix by matrix, and for
//! each matrix the best turn counts, because other programs only ever make it slower.

#![allow(missing_docs, reason = "criterion's macros make public functions without documentation")]

use std::hint::black_box;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use half::f16;
use karst_benches::{machine, read_seconds, time};
use karst_checkpoint::{Dtype, Gptq, Linear as Source, Tensor};
use karst_model::cpu::linear::Linear;
use pulp::{Arch, Simd, WithSimd};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use rayon::prelude::*;

/// Bytes of weights of each form.
const BYTES: usize = 1 << 30;

/// Turns of read and product.
const ROUNDS: usize = 12;

/// Inputs of a quantisation group.
const GROUP: usize = 128;

/// The kinds of weights of the published model, and what others hold: name, bits of a code (0: dense) and type.
const FORMS: [(&str, u32, Dtype); 5] = [
    ("4-bit codes", 4, Dtype::I32),
    ("8-bit codes", 8, Dtype::I32),
    ("F16", 0, Dtype::F16),
    ("BF16", 0, Dtype::BF16),
    ("F32", 0, Dtype::F32),
];

fn rng() -> ChaCha8Rng {
    ChaCha8Rng::seed_from_u64(5)
}

/// Random weights in one form, packed `count` times over.
fn linears(bits: u32, dtype: Dtype, inputs: usize, outputs: usize, count: usize) -> Vec<Linear> {
    let mut rng = rng();
    let load = |source: &Source<'_>| (0..count).map(|_| Linear::load(source).expect("good weights")).collect();
    if bits > 0 {
        let scales = (0..inputs / GROUP * outputs).map(|_| f16::from_f32(rng.random_range(0.001..0.01))).collect();
        let words: Vec<u32> = (0..inputs * bits as usize / 32 * outputs).map(|_| rng.random()).collect();
        let (qweight, order, zeros) = (words.into(), None, None);
        return load(&Source::Gptq(Gptq { bits, k: inputs, n: outputs, group: GROUP, order, qweight, zeros, scales }));
    }
    // 0.5 in either sign and format, its last bits random.
    let mut bytes: Vec<u8> = (0..inputs * outputs * dtype.bits() as usize / 8).map(|_| rng.random()).collect();
    let width = dtype.bits() as usize / 8;
    for number in bytes.chunks_exact_mut(width) {
        number[width - 1] = if dtype == Dtype::F16 { 0x38 } else { 0x3f } | number[width - 1] & 0x80;
    }
    let shape = [outputs, inputs];
    load(&Source::Dense { weight: Tensor { name: "weight", dtype, shape: &shape, bytes: &bytes }, bias: None })
}

fn activations(rows: usize, inputs: usize) -> Vec<f32> {
    let mut rng = rng();
    (0..rows * inputs).map(|_| rng.random_range(-1.0..1.0)).collect()
}

/// One row through all of `linears`, beside a plain read.
fn one_row(name: &str, linears: &[Linear]) {
    let bytes: usize = linears.iter().map(Linear::bytes).sum();
    let words = vec![1u64; bytes / 8];
    let part = words.len().div_ceil(linears.len());
    let x = activations(1, linears[0].inputs());
    let mut out = vec![0.0; linears[0].outputs()];
    let mut best = vec![(f64::INFINITY, f64::INFINITY); linears.len()];
    for _ in 0..ROUNDS {
        for ((read, _), part) in best.iter_mut().zip(words.chunks(part)) {
            *read = read.min(read_seconds(part, 1));
        }
        for ((_, product), linear) in best.iter_mut().zip(linears) {
            *product = product.min(time(|| linear.forward(&x, &mut out)).as_secs_f64());
        }
    }
    let (read, product) = best.iter().fold((0.0, 0.0), |sum, best| (sum.0 + best.0, sum.1 + best.1));
    let speed = |seconds: f64| bytes as f64 / seconds / 1e9;
    println!(
        "one row, {name:12} {:5.0} MB  read {:6.1} GB/s  product {:6.1} GB/s  {:.2} times the read",
        bytes as f64 / 1e6,
        speed(read),
        speed(product),
        product / read
    );
}

/// Rows through one matrix, beside the rate of multiply-adds in registers.
fn many_rows(name: &str, linear: &Linear, rows: usize) {
    let x = activations(rows, linear.inputs());
    let mut out = vec![0.0; rows * linear.outputs()];
    let (mut rate, mut product) = (0.0f64, f64::INFINITY);
    for _ in 0..ROUNDS {
        rate = rate.max(multiply_add_rate());
        product = product.min(time(|| linear.forward(&x, &mut out)).as_secs_f64());
    }
    let speed = 2.0 * (rows * linear.inputs() * linear.outputs()) as f64 / product;
    println!(
        "{rows:4} rows, {name:20} {:8.2} ms  {:6.1} of {:6.1} GFLOP/s  {:.0} %",
        product * 1e3,
        speed / 1e9,
        rate / 1e9,
        100.0 * speed / rate
    );
}

/// Multiply-adds of all threads, counted as two operations, per second.
fn multiply_add_rate() -> f64 {
    struct Chains(f32);
    impl WithSimd for Chains {
        type Output = usize;
        #[inline(always)]
        fn with_simd<S: Simd>(self, simd: S) -> usize {
            const STEPS: usize = 1 << 20;
            let (factor, mut sums) = (simd.splat_f32s(self.0), [simd.splat_f32s(1.0); 12]);
            for _ in 0..STEPS {
                for sum in &mut sums {
                    *sum = simd.mul_add_e_f32s(*sum, factor, factor);
                }
            }
            sums.iter().for_each(|&sum| _ = black_box(simd.reduce_sum_f32s(sum)));
            2 * STEPS * sums.len() * S::F32_LANES
        }
    }
    let threads = rayon::current_num_threads();
    let mut operations = 0;
    let took = time(|| {
        let counts = (0..threads).into_par_iter().map(|thread| Arch::new().dispatch(Chains(thread as f32 * 1e-9)));
        operations = counts.sum();
    });
    operations as f64 / took.as_secs_f64()
}

fn cases(criterion: &mut Criterion) {
    println!("{}", machine());
    for (name, bits, dtype) in FORMS {
        let width = if bits > 0 { bits as usize } else { dtype.bits() as usize };
        one_row(name, &linears(bits, dtype, 4096, 4096, BYTES / (4096 * 4096 * width / 8)));
    }
    for (name, bits, dtype, inputs, outputs, rows) in [
        ("4-bit 4096 x 12288", 4, Dtype::I32, 4096, 12288, &[2, 4, 8, 16, 32, 64, 512][..]),
        ("F16 tower 1152 x 4304", 0, Dtype::F16, 1152, 4304, &[1024]),
    ] {
        let linear = &linears(bits, dtype, inputs, outputs, 1)[0];
        rows.iter().for_each(|&rows| many_rows(name, linear, rows));
    }
    let mut group = criterion.benchmark_group("product");
    for (name, bits, dtype, inputs, outputs, rows) in [
        ("one row, 4-bit 256 x 256", 4, Dtype::I32, 256, 256, 1),
        ("one row, 4-bit 4096 x 4096", 4, Dtype::I32, 4096, 4096, 1),
        ("64 rows, 4-bit 4096 x 4096", 4, Dtype::I32, 4096, 4096, 64),
    ] {
        let linear = &linears(bits, dtype, inputs, outputs, 1)[0];
        let (x, mut out) = (activations(rows, inputs), vec![0.0; rows * outputs]);
        group.throughput(Throughput::Bytes(linear.bytes() as u64));
        group.bench_function(name, |bencher| bencher.iter(|| linear.forward(&x, &mut out)));
    }
    group.finish();
}

criterion_group!(benches, cases);
criterion_main!(benches);
